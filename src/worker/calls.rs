//! The system calls that each worker keeps, each with its reason. Found by tracing them under all tests,
//! and, for what only another C library or another machine does, by its source.
//!
//! No worker listens, executes, or becomes anybody; only the notifier opens and connects, as far as
//! landlock lets it. `sandbox` says what happens to the rest.

use crate::system::sandbox::{Call, Calls, When};

pub static LOGGER: Calls =
    Calls { allowed: &[COMMON, OPEN_ONLY, LOOP, FILES, NAME, HAND, CLIENTS, ATTACHED], fatal: NEVER, unknown: UNKNOWN };
pub static NOTIFIER: Calls = Calls {
    allowed: &[COMMON, LOOP, FILES, CLIENTS, THREADS, NETWORK, NAMES, DIRECTORIES],
    fatal: NEVER,
    unknown: UNKNOWN,
};
pub static SHELL: Calls =
    Calls { allowed: &[COMMON, OPEN_ONLY, CLIENTS, TERMINAL, HISTORY, THREADS], fatal: NEVER, unknown: UNKNOWN };

const READ_WRITE_ONLY: When = When::Bits(2, libc::PROT_EXEC as u64, 0);
const AN_OPEN_FILE: u64 = libc::AT_EMPTY_PATH as u64;
const OF_A_DESCRIPTOR: &[u64] = &[
    libc::F_GETFD as u64,
    libc::F_SETFD as u64,
    libc::F_GETFL as u64,
    libc::F_SETFL as u64,
    libc::F_DUPFD_CLOEXEC as u64,
    libc::F_SETPIPE_SZ as u64,
    libc::F_GET_SEALS as u64,
];

/// What every program of ours needs to live and to talk to the core.
const COMMON: &[Call] = &[
    Call::always(libc::SYS_brk, "memory"),
    Call::always(libc::SYS_munmap, "memory is given back"),
    Call::always(libc::SYS_mremap, "a large buffer grows"),
    Call::always(libc::SYS_madvise, "memory is given back"),
    Call::when(libc::SYS_mmap, READ_WRITE_ONLY, "memory, but none that can be executed"),
    Call::when(libc::SYS_mprotect, READ_WRITE_ONLY, "the allocator's heaps and thread stacks; never to be executed"),
    Call::always(libc::SYS_futex, "locks"),
    Call::always(libc::SYS_getrandom, "the seed of hash tables and of the allocator"),
    Call::always(libc::SYS_clock_gettime, "the time, where the kernel does not give it without a call"),
    Call::always(libc::SYS_read, "pipes, the terminal, the history"),
    Call::always(libc::SYS_write, "files, the terminal, clients, last words on standard error"),
    Call::always(libc::SYS_writev, "last words of the C library"),
    Call::always(libc::SYS_close, "whatever is done with"),
    Call::always(libc::SYS_sendmsg, "messages to the core, connections for it"),
    Call::always(libc::SYS_recvmsg, "messages from the core, with descriptors"),
    #[cfg(target_arch = "x86_64")]
    Call::always(libc::SYS_poll, "whether one descriptor is ready"),
    Call::always(libc::SYS_ppoll, "poll(2) where there is no call of that name"),
    Call::when(
        libc::SYS_fcntl,
        When::OneOf(1, OF_A_DESCRIPTOR),
        "non-blocking, close-on-exec, a duplicate, a larger pipe, memory that cannot shrink",
    ),
    Call::always(libc::SYS_fstat, "fstat(3) of the others"),
    Call::always(libc::SYS_ftruncate, "a file that is full is emptied, a half line cut off"),
    Call::always(libc::SYS_sigaltstack, "set up and taken down with a thread"),
    Call::always(libc::SYS_rt_sigprocmask, "a thread begins, abort(3)"),
    Call::always(libc::SYS_rt_sigaction, "SIGINT and SIGWINCH for the line editor, abort(3)"),
    Call::always(libc::SYS_rt_sigreturn, "back from a signal handler"),
    Call::always(libc::SYS_restart_syscall, "the kernel goes on with a wait that a stop interrupted"),
    Call::always(libc::SYS_getpid, "abort(3), and whom to wake: ourselves"),
    Call::always(libc::SYS_gettid, "abort(3), the name of a thread that panics"),
    Call::when(libc::SYS_tgkill, When::Ourselves(0), "abort(3): a signal to ourselves only"),
    Call::always(libc::SYS_exit, "a thread ends"),
    Call::always(libc::SYS_exit_group, "the end"),
];

/// What a worker that opens nothing may ask of files.
const OPEN_ONLY: &[Call] = &[
    Call::when(libc::SYS_statx, When::Bits(2, AN_OPEN_FILE, AN_OPEN_FILE), "the size of an open file"),
    Call::when(libc::SYS_newfstatat, When::Bits(3, AN_OPEN_FILE, AN_OPEN_FILE), "fstat(3) of some C libraries"),
];

/// A loop over epoll.
const LOOP: &[Call] = &[
    Call::always(libc::SYS_epoll_create1, "the loop"),
    Call::always(libc::SYS_epoll_ctl, "what is watched"),
    #[cfg(target_arch = "x86_64")]
    Call::always(libc::SYS_epoll_wait, "the loop"),
    Call::always(libc::SYS_epoll_pwait, "epoll_wait(2) where there is no call of that name"),
];

/// A log file that somebody has renamed or removed.
const NAME: &[Call] = &[Call::always(libc::SYS_readlinkat, "what an open file is called now")];

/// Files that came as descriptors.
const FILES: &[Call] = &[Call::always(libc::SYS_pread64, "the end of a file: its last lines, its unfinished one")];

/// Bytes in hand, from a pipe to a file.
const HAND: &[Call] = &[
    Call::always(libc::SYS_splice, "bytes leave a pipe and are in hand, in one step that no death cuts in two"),
    Call::always(libc::SYS_tee, "what lies in a pipe is looked at and left there"),
    Call::always(libc::SYS_lseek, "how much is in hand; nothing any more"),
    Call::always(libc::SYS_pwrite64, "the record of where it goes"),
];

/// Connections between a client and the core.
const CLIENTS: &[Call] =
    &[Call::always(libc::SYS_recvfrom, "what the other end says"), Call::always(libc::SYS_sendto, "what it is told")];

/// A client is never waited for; the size of a program's terminal is that of whoever is attached to it.
const OF_CLIENTS_AND_MASTERS: &[u64] = &[libc::FIONBIO, libc::TIOCGWINSZ, libc::TIOCSWINSZ];
const ATTACHED: &[Call] =
    &[Call::when(libc::SYS_ioctl, When::OneOf(1, OF_CLIENTS_AND_MASTERS), "clients, the size of a program's terminal")];

/// What may be asked of a terminal: nothing that types into it (TIOCSTI) or pastes (TIOCLINUX).
const OF_A_TERMINAL: &[u64] = &[
    libc::FIONBIO,
    libc::TIOCGWINSZ,
    libc::TCGETS,
    libc::TCSETS,
    libc::TCSETSW,
    libc::TCSETSF,
    // The same four for newer C libraries.
    libc::TCGETS2,
    libc::TCSETS2,
    libc::TCSETSW2,
    libc::TCSETSF2,
];

/// The line editor, and waiting for a key or the supervisor.
const TERMINAL: &[Call] = &[
    Call::when(libc::SYS_ioctl, When::OneOf(1, OF_A_TERMINAL), "the terminal's settings and size, without a wait"),
    Call::always(libc::SYS_pselect6, "the line editor waits for keys and for lines to print"),
    #[cfg(target_arch = "x86_64")]
    Call::always(libc::SYS_select, "the same with other C libraries"),
    Call::always(libc::SYS_pipe2, "lines to print go to the editor through a pipe"),
    Call::always(libc::SYS_signalfd4, "Ctrl-C as something to wait for"),
    Call::when(libc::SYS_socketpair, When::OneOf(0, &[libc::AF_UNIX as u64]), "a connection: one end for the core"),
    Call::when(libc::SYS_kill, When::Ourselves(0), "wakes the line editor; Ctrl-Z, which nobody heeds"),
];

const HISTORY: &[Call] = &[Call::always(libc::SYS_lseek, "the history from its end")];

/// No raw sockets, and none to the kernel (netlink, packets).
const FAMILIES: &[u64] = &[libc::AF_INET as u64, libc::AF_INET6 as u64, libc::AF_UNIX as u64];

/// Connections to servers. None is ever accepted, and no port taken.
const NETWORK: &[Call] = &[
    Call::when(libc::SYS_socket, When::OneOf(0, FAMILIES), "a connection to a server or a log daemon"),
    Call::always(libc::SYS_connect, "where to"),
    Call::always(libc::SYS_getsockopt, "whether the connection has come about"),
    Call::always(libc::SYS_setsockopt, "no delay; the resolver wants to hear of errors"),
    Call::always(libc::SYS_shutdown, "the end of what is sent"),
    Call::always(libc::SYS_eventfd2, "news for the main thread, orders for the other"),
];

/// getaddrinfo(3), as far as it gets without netlink and modules that would be loaded.
const NAMES: &[Call] = &[
    Call::always(libc::SYS_getsockname, "which of the addresses are near"),
    Call::always(libc::SYS_getpeername, "whom the resolver talks to"),
    Call::always(libc::SYS_sendmmsg, "both questions at once"),
    Call::when(
        libc::SYS_ioctl,
        When::OneOf(1, &[libc::FIONREAD, libc::FIONBIO]),
        "how long the answer is; a log daemon is never waited for",
    ),
    Call::always(libc::SYS_uname, "the machine's own name and domain"),
];

/// Files by name. Which ones, landlock says: settings and certificates are read, the spool is written.
const DIRECTORIES: &[Call] = &[
    Call::always(libc::SYS_openat, "settings, certificates, the spool"),
    Call::always(libc::SYS_statx, "whether a file is there, and how large"),
    Call::always(libc::SYS_newfstatat, "the same for the C library: settings that have changed"),
    #[cfg(target_arch = "x86_64")]
    Call::always(libc::SYS_stat, "the same before glibc 2.33"),
    #[cfg(target_arch = "x86_64")]
    Call::always(libc::SYS_access, "whether nscd is there"),
    Call::always(libc::SYS_faccessat, "access(2) where there is no call of that name"),
    #[cfg(target_arch = "x86_64")]
    Call::always(libc::SYS_readlink, "where the names of certificates lead"),
    Call::always(libc::SYS_readlinkat, "readlink(2) where there is no call of that name"),
    Call::always(libc::SYS_getdents64, "what lies in the spool, which certificates there are"),
    Call::always(libc::SYS_lseek, "how much of a file is left to read"),
    Call::always(libc::SYS_fsync, "what is accepted is on disk"),
    Call::always(libc::SYS_fdatasync, "the same of contents alone"),
    #[cfg(target_arch = "x86_64")]
    Call::always(libc::SYS_renameat, "a complete file gets its name"),
    Call::always(libc::SYS_renameat2, "renameat(2) where there is no call of that name"),
    Call::always(libc::SYS_unlinkat, "what was sent leaves the spool"),
    Call::always(libc::SYS_mkdirat, "the parts of the spool"),
];

const THREAD: u64 = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND) as u64;
/// Flags that make another process, or another view of the system.
const PROCESS: u64 = (libc::CLONE_VFORK
    | libc::CLONE_PTRACE
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32 as u64;
const NO_MORE_THREADS: &[When] = &[When::OneOf(0, &[0]), When::OneOf(1, &[libc::RLIMIT_NPROC as u64])];

/// Threads beside the first: all of them in the beginning.
const THREADS: &[Call] = &[
    Call::when(libc::SYS_clone, When::Bits(0, THREAD | PROCESS, THREAD), "threads, no processes"),
    Call::always(libc::SYS_set_robust_list, "a thread begins"),
    Call::always(libc::SYS_rseq, "a thread begins"),
    Call::always(libc::SYS_sched_getaffinity, "a thread looks for its stack"),
    Call::always(libc::SYS_sched_yield, "a thread waits for another"),
    Call::when(libc::SYS_prctl, When::OneOf(0, &[libc::PR_SET_NAME as u64]), "a thread gets its name"),
    Call::always(libc::SYS_clock_nanosleep, "a pause before the next try"),
    Call::when(libc::SYS_prlimit64, When::All(NO_MORE_THREADS), "once all threads run, no more of them"),
];

/// Its arguments lie behind a pointer: without it, threads begin with clone(2).
const UNKNOWN: &[libc::c_long] = &[libc::SYS_clone3];

/// What no worker ever has a reason for: whoever tries is ended.
const NEVER: &[libc::c_long] = &[
    // Become another program, or read and change one.
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    // Become another user.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Change the file system that others see.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_open_by_handle_at,
    // Change the kernel.
    libc::SYS_bpf,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    // Ways around a filter, and to its keys.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_personality,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_call_stands_once_in_a_list_with_a_reason_and_none_is_both_allowed_and_fatal() {
        for calls in [LOGGER, NOTIFIER, SHELL] {
            let mut seen = BTreeSet::new();
            for call in calls.allowed.iter().copied().flatten() {
                assert!(seen.insert(call.number), "call {} stands twice", call.number);
                assert!(call.reason.len() > 3, "call {} has no reason", call.number);
            }
            for number in calls.fatal.iter().chain(calls.unknown) {
                assert!(seen.insert(*number), "call {number} has two answers");
            }
        }
    }

    fn allowed(calls: &Calls) -> BTreeSet<libc::c_long> {
        calls.allowed.iter().copied().flatten().map(|call| call.number).collect()
    }

    #[test]
    fn no_worker_may_listen_execute_or_give_files_away() {
        for calls in [LOGGER, NOTIFIER, SHELL] {
            for number in [
                libc::SYS_openat2,
                libc::SYS_bind,
                libc::SYS_listen,
                libc::SYS_accept4,
                libc::SYS_execve,
                libc::SYS_fchmod,
                libc::SYS_fchown,
                libc::SYS_linkat,
                libc::SYS_symlinkat,
                libc::SYS_memfd_create,
            ] {
                assert!(!allowed(&calls).contains(&number), "call {number}");
            }
        }
    }

    #[test]
    fn logger_and_shell_may_not_open_or_connect_either() {
        for calls in [LOGGER, SHELL] {
            for number in [
                libc::SYS_openat,
                libc::SYS_socket,
                libc::SYS_connect,
                libc::SYS_unlinkat,
                libc::SYS_renameat2,
                libc::SYS_mkdirat,
            ] {
                assert!(!allowed(&calls).contains(&number), "call {number}");
            }
        }
    }
}
