//! What a confined worker can still do: tried, in a process of its own for each test.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::*;
use crate::system::sandbox::{Enforced, attempt};

/// Set in the process that a test runs in once more.
const ALONE: &str = "TASKMASTER_UNIT_TEST_ALONE";
/// A directory for that process, which is removed after it.
const DIRECTORY: &str = "TASKMASTER_UNIT_TEST_DIRECTORY";

/// Runs the body in a process of its own, which can be confined without harm to the other tests.
fn alone(test: &str, body: fn()) -> Option<(ExitStatus, String)> {
    if std::env::var_os(ALONE).is_some() {
        body();
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut again = Command::new(std::env::current_exe().expect("this test"));
    again.args(["--exact", &format!("worker::confine::tests::{test}"), "--nocapture"]).env(ALONE, "1");
    again.env(DIRECTORY, directory.path());
    let output = again.output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    Some((output.status, String::from_utf8_lossy(&said).into_owned()))
}

fn succeeds(test: &str, body: fn()) {
    if let Some((status, said)) = alone(test, body) {
        assert!(status.success() && said.contains("1 passed"), "{status}: {said}");
    }
}

fn enter(calls: &'static Calls) {
    let uses_network = std::ptr::eq(calls, &raw const NOTIFIER);
    confine(Allowance { descriptors: 64, file_bytes: Some(1000), starts_threads: true, uses_network, calls })
        .expect("confined");
}

const PATH: &std::ffi::CStr = c"/etc/passwd";

/// The call is refused by the filter, and by nothing else: without it, it would not fail with EPERM.
#[track_caller]
fn is_refused(name: &str, number: libc::c_long, arguments: [usize; 5]) {
    assert_eq!(attempt(number, arguments), Err(Errno::EPERM), "{name}");
}

fn number(value: i32) -> usize {
    usize::try_from(value).expect("not negative")
}

fn nothing_can_be_reached(calls: &'static Calls) {
    let here = libc::AT_FDCWD.cast_unsigned() as usize;
    let path = PATH.as_ptr() as usize;
    let (inet, unix, stream) = (number(libc::AF_INET), number(libc::AF_UNIX), number(libc::SOCK_STREAM));
    nothing_else_can_be_done(calls);
    is_refused("open for reading", libc::SYS_openat, [here, path, 0, 0, 0]);
    is_refused("open for writing", libc::SYS_openat, [here, path, number(libc::O_WRONLY | libc::O_CREAT), 0, 0]);
    is_refused("look at a file", libc::SYS_newfstatat, [here, path, 0, 0, 0]);
    is_refused("remove", libc::SYS_unlinkat, [here, path, 0, 0, 0]);
    is_refused("make a directory", libc::SYS_mkdirat, [here, path, 0o777, 0, 0]);
    is_refused("socket of the network", libc::SYS_socket, [inet, stream, 0, 0, 0]);
    is_refused("socket", libc::SYS_socket, [unix, stream, 0, 0, 0]);
    is_refused("connect", libc::SYS_connect, [0, 0, 0, 0, 0]);
}

/// What no worker can, the notifier neither.
fn nothing_else_can_be_done(calls: &'static Calls) {
    let here = libc::AT_FDCWD.cast_unsigned() as usize;
    let path = PATH.as_ptr() as usize;
    let parent = usize::try_from(nix::unistd::getppid().as_raw()).expect("a pid");
    let (inet, stream) = (number(libc::AF_INET), number(libc::SOCK_STREAM));
    enter(calls);
    is_refused("change a mode", libc::SYS_fchmod, [1, 0o777, 0, 0, 0]);
    is_refused("change a mode by name", libc::SYS_fchmodat, [here, path, 0o777, 0, 0]);
    is_refused("change an owner", libc::SYS_fchownat, [here, path, 0, 0, 0]);
    is_refused("make a link", libc::SYS_linkat, [here, path, here, path, 0]);
    is_refused("make a symbolic link", libc::SYS_symlinkat, [path, here, path, 0, 0]);
    is_refused("make a device", libc::SYS_mknodat, [here, path, 0, 0, 0]);
    is_refused("make memory to execute", libc::SYS_memfd_create, [path, 0, 0, 0, 0]);
    for family in [libc::AF_NETLINK, libc::AF_PACKET, libc::AF_ALG, libc::AF_VSOCK] {
        is_refused("a strange socket", libc::SYS_socket, [number(family), number(libc::SOCK_RAW), 0, 0, 0]);
    }
    is_refused("take a port", libc::SYS_bind, [0, 0, 0, 0, 0]);
    is_refused("listen", libc::SYS_listen, [0, 0, 0, 0, 0]);
    is_refused("accept", libc::SYS_accept4, [0, 0, 0, 0, 0]);
    is_refused("a pair of the network", libc::SYS_socketpair, [inet, stream, 0, 0, 0]);
    let exec = number(libc::PROT_READ | libc::PROT_EXEC);
    let anonymous = number(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    is_refused("memory to execute", libc::SYS_mmap, [0, 4096, exec, anonymous, usize::MAX]);
    is_refused("execute memory", libc::SYS_mprotect, [0, 0, exec, 0, 0]);
    is_refused("another process", libc::SYS_clone, [number(libc::SIGCHLD), 0, 0, 0, 0]);
    assert_eq!(attempt(libc::SYS_clone3, [0; 5]), Err(Errno::ENOSYS));
    is_refused("signal the parent", libc::SYS_kill, [parent, 0, 0, 0, 0]);
    is_refused("signal everybody", libc::SYS_kill, [usize::MAX, 0, 0, 0, 0]);
    is_refused("signal a thread", libc::SYS_tgkill, [parent, parent, 0, 0, 0]);
    is_refused("limit the parent", libc::SYS_prlimit64, [parent, number(libc::RLIMIT_NPROC.cast_signed()), 0, 0, 0]);
    is_refused("limit files", libc::SYS_prlimit64, [0, number(libc::RLIMIT_NOFILE.cast_signed()), 0, 0, 0]);
    is_refused("be dumpable", libc::SYS_prctl, [number(libc::PR_SET_DUMPABLE), 1, 0, 0, 0]);
    is_refused("another filter", libc::SYS_seccomp, [1, 0, 0, 0, 0]);
    for request in [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSCTTY, libc::TIOCSETD] {
        let request = usize::try_from(request).expect("fits");
        is_refused("ioctl", libc::SYS_ioctl, [0, request, path, 0, 0]);
        // What the kernel does not look at, the filter does not look at either.
        is_refused("ioctl", libc::SYS_ioctl, [0, request | 1 << 32, path, 0, 0]);
    }
}

#[test]
fn the_logger_reaches_nothing() {
    succeeds("the_logger_reaches_nothing", || nothing_can_be_reached(&LOGGER));
}

#[test]
fn the_notifier_can_do_nothing_but_open_and_connect() {
    succeeds("the_notifier_can_do_nothing_but_open_and_connect", || nothing_else_can_be_done(&NOTIFIER));
}

/// Puts a directory where the core would pass it.
fn pass(directory: &Path, number: RawFd) {
    let from = File::open(directory).expect("a directory");
    stdio::place(vec![(from.into(), number)]).expect("room");
}

fn refused<T>(result: io::Result<T>) {
    assert_eq!(result.map(drop).map_err(|error| error.kind()), Err(io::ErrorKind::PermissionDenied));
}

#[test]
fn the_notifier_reads_what_names_and_certificates_need_and_writes_where_it_is_told() {
    let test = "the_notifier_reads_what_names_and_certificates_need_and_writes_where_it_is_told";
    succeeds(test, || {
        let version = landlock_version();
        let directory = PathBuf::from(std::env::var_os(DIRECTORY).expect("a directory"));
        let (spool, other) = (directory.join("spool"), directory.join("other"));
        for directory in [&spool, &other] {
            std::fs::create_dir(directory).expect("made");
            std::fs::write(directory.join("old"), "x").expect("written");
        }
        pass(&spool, SPOOL);
        enter(&NOTIFIER);
        assert!(File::open("/etc/passwd").is_ok() && std::fs::read_dir("/etc/ssl").is_ok());
        let at = File::open(&spool).expect("the spool");
        mkdirat(&at, "queue", Mode::S_IRWXU).expect("a directory of the spool");
        std::fs::write(spool.join("tmp.1"), "y").expect("written");
        renameat(&at, "tmp.1", &at, "1").expect("a file gets its name");
        at.sync_all().expect("on disk");
        if version >= 2 {
            renameat(&at, "1", &at, "queue/1").expect("from one of its directories to another");
        }
        unlinkat(&at, "old", UnlinkatFlags::NoRemoveDir).expect("removed");
        assert_eq!(std::fs::read_dir(&spool).expect("read").count(), 1);
        if version >= 1 {
            refused(File::open(other.join("old")));
            refused(std::fs::write(other.join("new"), "x"));
            refused(std::fs::write("/etc/taskmaster-test-never-there", "x"));
            refused(File::open("/proc/self/status"));
            refused(std::fs::read_dir("/"));
            refused(std::fs::read_dir("/root"));
        }
    });
}

#[test]
fn the_notifier_connects_and_finds_names_but_takes_no_port() {
    succeeds("the_notifier_connects_and_finds_names_but_takes_no_port", || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let daemon = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let receiver = daemon.local_addr().expect("an address");
        enter(&NOTIFIER);
        drop(TcpStream::connect(("localhost", port)).expect("found and connected"));
        let unknown = std::net::ToSocketAddrs::to_socket_addrs(&("no-such-host.invalid", port));
        assert!(unknown.is_err(), "it is not found, and nothing worse happens");
        let datagrams = crate::system::socket::datagrams_to(receiver).expect("a socket");
        assert_eq!(datagrams.send(b"x").expect("sent"), 1);
        refused(TcpListener::bind("127.0.0.1:0"));
        refused(std::net::UdpSocket::bind("127.0.0.1:0"));
        refused(std::os::unix::net::UnixListener::bind("/tmp/taskmaster-test-never-there"));
        assert!(std::os::unix::net::UnixDatagram::unbound().is_ok());
        assert_eq!(std::thread::spawn(|| 42).join().expect("a thread"), 42);
    });
}

#[test]
fn the_shell_reaches_nothing() {
    succeeds("the_shell_reaches_nothing", || nothing_can_be_reached(&SHELL));
}

#[test]
fn the_shell_has_threads_until_it_says_that_it_needs_no_more() {
    succeeds("the_shell_has_threads_until_it_says_that_it_needs_no_more", || {
        let is_root = crate::system::account::own_uid().is_root();
        enter(&SHELL);
        let named = std::thread::Builder::new().name("another".to_owned());
        assert_eq!(named.spawn(|| 42).expect("a thread").join().expect("ends"), 42);
        start_no_more_threads().expect("it can be said");
        // Root itself is above this limit.
        if !is_root {
            assert!(std::thread::Builder::new().spawn(|| ()).is_err());
        }
    });
}

/// Ends with SIGSYS, whichever worker tries.
fn is_fatal(test: &str, body: fn()) {
    if let Some((status, said)) = alone(test, body) {
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}: {said}");
    }
}

#[test]
fn to_execute_is_fatal() {
    is_fatal("to_execute_is_fatal", || {
        enter(&SHELL);
        let _ = attempt(libc::SYS_execve, [PATH.as_ptr() as usize, 0, 0, 0, 0]);
    });
}

#[test]
fn to_trace_is_fatal() {
    is_fatal("to_trace_is_fatal", || {
        enter(&LOGGER);
        let _ = attempt(libc::SYS_ptrace, [0; 5]);
    });
}

#[test]
fn to_become_another_user_is_fatal() {
    is_fatal("to_become_another_user_is_fatal", || {
        enter(&NOTIFIER);
        let _ = attempt(libc::SYS_setresuid, [0; 5]);
    });
}

#[test]
fn limits_and_marks_are_set() {
    succeeds("limits_and_marks_are_set", || {
        let status = File::open("/proc/thread-self/status").expect("opens");
        let limits = File::open("/proc/self/limits").expect("opens");
        enter(&LOGGER);
        let read = |file: &File| {
            let mut text = vec![0; 8 << 10];
            let count = std::os::unix::fs::FileExt::read_at(file, &mut text, 0).expect("reads");
            String::from_utf8_lossy(&text[..count]).split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let status = read(&status);
        assert!(status.contains("NoNewPrivs: 1 Seccomp: 2 Seccomp_filters: 3"), "{status}");
        let limits = read(&limits);
        for limit in ["Max core file size 0 0", "Max open files 64 64", "Max file size 1000 1000"] {
            assert!(limits.contains(limit), "{limits}");
        }
    });
}

/// What the kernel knows of landlock (landlock_create_ruleset(2) with the flag that asks for it).
fn landlock_version() -> i64 {
    attempt(libc::SYS_landlock_create_ruleset, [0, 0, 1, 0, 0]).unwrap_or(0)
}

#[test]
fn without_the_filter_nothing_can_be_reached_by_name_either() {
    succeeds("without_the_filter_nothing_can_be_reached_by_name_either", || {
        let version = landlock_version();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let parent = nix::unistd::getppid();
        let null = File::open("/dev/null").expect("opens");
        let enforced = sandbox::reach_only(&Reach::NOTHING).expect("no kernel refuses");
        assert_eq!(enforced == Enforced::Nothing, version <= 0, "{enforced:?} of version {version}");
        if version >= 1 {
            refused(File::open("/etc/passwd").map(drop));
            refused(File::open("/proc/self/status").map(drop));
            refused(std::fs::read_dir("/").map(drop));
            refused(File::create("/tmp/taskmaster-test-never-there").map(drop));
            assert!(null.as_raw_fd() > 2 && null.metadata().is_ok(), "what is open stays open");
        }
        if version >= 4 {
            refused(TcpStream::connect(address).map(drop));
            refused(TcpListener::bind("127.0.0.1:0").map(drop));
        }
        if version >= 6 {
            refused(nix::sys::signal::kill(parent, None).map_err(Into::into));
        }
    });
}
