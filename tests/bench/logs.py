#!/usr/bin/env python3
"""How fast the output of programs gets into rotated files, and what that costs, beside other ways to do it.

Starts Taskmaster and each peer that is installed in turn (A B C, A B C, ...) with programs that write as fast as
they are read: together --megabytes of numbered lines of 100 bytes, into files of 50 MB of which two older ones
are kept. Prints for each the throughput (of all programs together, from the first byte that is written to the
last), the processor time of all that is not the programs per gigabyte, and the ratio of both to Taskmaster's,
round by round. Then compares all that is left in the files with what was written: it must be its end, byte for
byte; counts files that end within a line. Exits 1 if Taskmaster's are not so, if a supervisor is faster, or a bare
loop more than --limit times as fast.

    cargo build --release
    python3 tests/bench/logs.py [--megabytes 2048] [--programs 1 --programs 8] [--rounds 5] [--limit 1.3]
                                [--directory target/release]

The files are where TMPDIR says. What is no supervisor stands beside: `cat >file`, a process a program and nothing
rotated; and one loop of splice(2) over all pipes that does nothing else but rename full files. Peers, each left out
where it is not on the search path: supervisord, s6 (s6-svscan, s6-log), runit (runsvdir, svlogd), daemontools
(svscan, multilog).
"""

import argparse
import ctypes
import glob
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from place import Place

LINE, LINES = 100, 2621
BLOCK = LINE * LINES
FILE_MAX, OLDER = 50_000_000, 2
PATIENCE = 60
ME = os.path.abspath(__file__)
PIPE = 256 << 10


def blocks(total):
    """What a program writes: blocks of lines; the first line of each has the number of the block."""
    block = bytearray(b"".join(b"%011d %04d %s\n" % (0, n, b"x" * 82) for n in range(LINES)))
    for number in range(-(-total // BLOCK)):
        block[:11] = b"%011d" % number
        yield memoryview(block)[: total - number * BLOCK]


def write(go, told, total):
    """The program: waits for the word, writes all, says when it began and ended, and stays."""
    with open(go):
        pass
    begin = time.monotonic()
    for block in blocks(total):
        while block:
            block = block[os.write(1, block) :]
    with open(told + ".new", "w") as file:
        print(begin, time.monotonic(), file=file)
    os.rename(told + ".new", told)
    signal.pause()


def loop(directory, count, total):
    """Starts the programs and moves what they write: nothing less can be done with rotated files."""
    import fcntl
    import select

    poll, files, sizes, pipes = select.epoll(), {}, {}, {}

    def name(number):
        return os.path.join(directory, f"{number}.log")

    def fresh(pipe):
        files[pipe] = os.open(name(pipes[pipe]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        sizes[pipe] = 0

    for number in range(count):
        pipe, end = os.pipe2(os.O_CLOEXEC)
        fcntl.fcntl(pipe, 1031, PIPE)  # F_SETPIPE_SZ
        pipes[pipe] = number
        fresh(pipe)
        poll.register(pipe, select.EPOLLIN)
        subprocess.Popen(writer(directory, number, total), stdout=end)
        os.close(end)
    while True:
        for pipe, _ in poll.poll():
            sizes[pipe] += os.splice(pipe, files[pipe], PIPE, flags=2)  # SPLICE_F_NONBLOCK
            if sizes[pipe] >= FILE_MAX:
                os.close(files[pipe])
                names = [name(pipes[pipe]), *(f"{name(pipes[pipe])}.{n}" for n in range(1, OLDER + 1))]
                if os.path.exists(names[-1]):
                    os.unlink(names[-1])
                for newer, older in reversed(list(zip(names, names[1:]))):
                    if os.path.exists(newer):
                        os.rename(newer, older)
                fresh(pipe)


def writer(directory, number, total):
    """The command of a program."""
    go, told = os.path.join(directory, "go"), os.path.join(directory, f"{number}.told")
    return [sys.executable, ME, "--write", go, told, str(total)]


class Peer(Place):
    """One way to get output into files, in a directory of its own."""

    name = None
    needs = ()

    def __init__(self, directory, count, total):
        super().__init__(directory)
        self.count, self.total = count, total
        os.mkfifo(self.path("go"))

    def writer(self, number):
        return writer(self.directory, number, self.total)

    def prepare(self):
        pass

    def files(self, number):
        """The files of a program, oldest first."""
        older = [self.path(f"{number}.log.{n}") for n in range(OLDER, 0, -1)]
        return [path for path in [*older, self.path(f"{number}.log")] if os.path.exists(path)]

    def run(self):
        """Seconds, and seconds of processor time, for all output."""
        self.prepare()
        with open(self.path("console"), "wb") as console:
            process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        try:
            programs = self.await_each("does not start its programs", lambda n: waiting(self.path(f"{n}.told")))
            # Who is a step behind the others yet, the logger of a program for one.
            time.sleep(0.5)
            others = sorted(family(process.pid) - set(programs))
            before = used(others)
            with open(self.path("go"), "w"):
                spans = self.await_each("does not take all output", lambda n: said(self.path(f"{n}.told")))
            after = used(others)
            self.await_each("has not written all", self.is_written)
        finally:
            end(process)
        return max(last for _, last in spans) - min(first for first, _ in spans), after - before

    def await_each(self, what, look):
        found, until = {}, time.monotonic() + PATIENCE
        while len(found) < self.count:
            for number in range(self.count):
                seen = None if number in found else look(number)
                if seen is not None:
                    found[number] = seen
            if time.monotonic() > until:
                with open(self.path("console"), errors="replace") as console:
                    raise SystemExit(f"{self.name} {what}: {console.read()[-500:]}")
            time.sleep(0.005)
        return list(found.values())

    def is_written(self, number):
        """Whether the last line is there."""
        files = self.files(number)
        # A full file may have been followed by an empty one.
        text = b"".join(tail_of(path) for path in files[-2:])
        return True if text.endswith(b"%04d %s\n" % ((self.total - LINE) % BLOCK // LINE, b"x" * 82)) else None

    def look(self):
        """Bytes kept, files that end within a line, and whether all that is kept is the end of what was written."""
        kept = cut = 0
        right = True
        for number in range(self.count):
            files = self.files(number)
            sizes = [os.path.getsize(path) for path in files]
            cut += sum(size > 0 and not tail_of(path).endswith(b"\n") for path, size in zip(files, sizes))
            kept += sum(sizes)
            right &= same_end(files, sum(sizes), self.total)
        return kept, cut, right


class Taskmaster(Peer):
    name = "taskmaster"
    binaries = None

    def prepare(self):
        user = 'user = "root"\n' if os.geteuid() == 0 else ""
        here = "".join(f'{key} = "{self.path(key)}"\n' for key in ("log_dir", "state_dir", "runtime_dir"))
        programs = "".join(
            f"[programs.p{n}]\ncmd = {self.writer(n)}\n{user}starttime = 0\n"
            f'stdout = "{self.path(f"{n}.log")}"\nstderr = "stdout"\n'
            f"log_maxbytes = {FILE_MAX}\nlog_backups = {OLDER}\n"
            for n in range(self.count)
        )
        self.put("taskmaster.toml", f"[supervisor]\n{here}{programs}")

    def command(self):
        return [os.path.join(self.binaries, "taskmasterd"), "--no-shell", "-c", self.path("taskmaster.toml")]


class Supervisord(Peer):
    name, needs = "supervisord", ("supervisord",)

    def prepare(self):
        head = f"[supervisord]\nnodaemon=true\nlogfile={self.path('log')}\npidfile={self.path('pid')}\n"
        programs = "".join(
            f"[program:p{n}]\ncommand={' '.join(self.writer(n))}\nredirect_stderr=true\nstartsecs=0\n"
            f"stdout_logfile={self.path(f'{n}.log')}\nstdout_logfile_maxbytes={FILE_MAX}\n"
            f"stdout_logfile_backups={OLDER}\n"
            for n in range(self.count)
        )
        self.put("supervisord.conf", head + programs)

    def command(self):
        return ["supervisord", "-n", "-c", self.path("supervisord.conf")]


class Directories(Peer):
    """One directory a program, with a file `run`, and another with one for its logger."""

    def prepare(self):
        for n in range(self.count):
            os.makedirs(self.path("logs", str(n)))
            self.put(f"scan/{n}/run", f"#!/bin/sh\nexec {' '.join(self.writer(n))}\n", 0o755)
            self.put(f"scan/{n}/log/run", f"#!/bin/sh\nexec {self.logger(self.path('logs', str(n)))}\n", 0o755)

    def files(self, number):
        return [*sorted(glob.glob(self.path("logs", str(number), "@*"))), self.path("logs", str(number), "current")]


class S6(Directories):
    name, needs = "s6", ("s6-svscan", "s6-log")

    def logger(self, directory):
        return f"s6-log -b n{OLDER} s{FILE_MAX} {directory}"

    def command(self):
        return ["s6-svscan", "-c", str(2 * self.count + 10), self.path("scan")]


class Runit(Directories):
    name, needs = "runit", ("runsvdir", "svlogd")

    def prepare(self):
        super().prepare()
        for n in range(self.count):
            self.put(f"logs/{n}/config", f"s{FILE_MAX}\nn{OLDER}\n")
        # runsvdir puts off a directory that was changed within this second.
        time.sleep(1.2)

    def logger(self, directory):
        return f"svlogd -b 65536 {directory}"

    def command(self):
        return ["runsvdir", "-P", self.path("scan")]


class Daemontools(Directories):
    name, needs = "daemontools", ("svscan", "multilog")

    def prepare(self):
        super().prepare()
        for n in range(self.count):
            os.chmod(self.path("scan", str(n)), 0o1755)

    def logger(self, directory):
        # Its files cannot be larger: nine are about as much as three of 50 MB.
        return f"multilog s16777215 n9 {directory}"

    def command(self):
        return ["svscan", self.path("scan")]


class Cat(Peer):
    name = "cat >file"

    def command(self):
        lines = [f"{' '.join(self.writer(n))} | cat >{self.path(f'{n}.log')} &\n" for n in range(self.count)]
        return ["/bin/sh", "-c", "".join(lines) + "wait"]


class Splice(Peer):
    name = "splice loop"

    def command(self):
        return [sys.executable, ME, "--loop", self.directory, str(self.count), str(self.total)]


def family(root):
    """A process and all below it."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return set(found)


def waiting(told):
    """The process of the program that is to say its end there, once it runs."""
    for pid in family(os.getpid()):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if words[2:3] == [b"--write"] and words[4] == told.encode():
            return pid
    return None


def said(told):
    try:
        with open(told) as file:
            return tuple(map(float, file.read().split()))
    except FileNotFoundError:
        return None


def used(pids):
    """Seconds of processor time."""
    total = 0
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                    total += int(file.read().split()[0])
        except OSError:
            continue
    return total / 1e9


def end(process):
    """Ends a process in order, then all that is left of what it has started: that is ours to end."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        pass
    while left := family(os.getpid()) - {os.getpid()}:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)


def tail_of(path):
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LINE))
            return file.read()
    except FileNotFoundError:
        return b""


def same_end(files, kept, total):
    """Whether the files hold the last bytes of all that was written."""

    def parts():
        for path in files:
            with open(path, "rb") as file:
                while part := file.read(1 << 20):
                    yield part

    skip, have, read = total - kept, b"", parts()
    for block in blocks(total):
        if skip >= len(block):
            skip -= len(block)
            continue
        wanted, skip = bytes(block[skip:]), 0
        while len(have) < len(wanted) and (part := next(read, b"")):
            have += part
        if have[: len(wanted)] != wanted:
            return False
        have = have[len(wanted) :]
    return have == b"" and skip == 0


def compare(kinds, count, megabytes, rounds, limit):
    """Runs all in turn and prints the table; whether Taskmaster is not as it should be."""
    total = (megabytes << 20) // count // LINE * LINE
    measured, seen = {}, {}
    for number in range(rounds):
        for kind in kinds:
            with tempfile.TemporaryDirectory(prefix="taskmaster-bench-") as directory:
                os.chmod(directory, 0o755)
                peer = kind(os.path.join(directory, "peer"), count, total)
                seconds, processor = peer.run()
                gigabytes = count * total / 1e9
                measured.setdefault(kind, []).append((gigabytes * 1000 / seconds, processor / gigabytes))
                seen.setdefault(kind, []).append(peer.look())
    print(f"\n{count} programs, {count * total / 1e6:.0f} MB, {rounds} rounds: median (least to most)")
    print(f"{'':12} {'MB/s':>20} {'x':>6} {'CPU s/GB':>22} {'x':>6} {'kept MB':>8} {'cut':>4}  bytes")
    for kind in kinds:
        rates, costs = zip(*measured[kind])
        faster, dearer = ratios(measured, kind)
        kept, cut = max(kept for kept, _, _ in seen[kind]) / 1e6, max(cut for _, cut, _ in seen[kind])
        right = "as written" if all(right for _, _, right in seen[kind]) else "DIFFER"
        print(
            f"{kind.name:12} {spread(rates, '.0f'):>20} {faster:6.2f} {spread(costs, '.2f'):>22} {dearer:6.2f}"
            f" {kept:8.0f} {cut:4}  {right}",
            flush=True,
        )
    lost = not all(right and cut == 0 for _, cut, right in seen[Taskmaster])
    slower = max(ratios(measured, kind)[0] / (limit if kind is Splice else 1) for kind in kinds if kind is not Cat) > 1
    return lost or slower


def ratios(measured, kind):
    """How many times as fast as Taskmaster, and as dear: the median over the rounds."""
    pairs = list(zip(measured[kind], measured[Taskmaster]))
    return tuple(statistics.median(theirs[n] / max(own[n], 1e-9) for theirs, own in pairs) for n in (0, 1))


def spread(numbers, form):
    return f"{statistics.median(numbers):{form}} ({min(numbers):{form}}-{max(numbers):{form}})"


def main():
    if sys.argv[1:2] == ["--write"]:
        return write(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    if sys.argv[1:2] == ["--loop"]:
        return loop(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    # Whoever loses its parent becomes our child, so that it can be ended.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=2048)
    parser.add_argument("--programs", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=1.3, help="how many times as fast a bare loop may be")
    parser.add_argument("--only", action="append", help="these, and Taskmaster and the loop")
    parser.add_argument("--directory", default="target/release", help="where taskmasterd is")
    given = parser.parse_args()
    Taskmaster.binaries = os.path.abspath(given.directory)
    kinds = []
    for kind in [Taskmaster, Splice, Cat, Supervisord, S6, Runit, Daemontools]:
        if given.only and kind not in (Taskmaster, Splice) and kind.name not in given.only:
            continue
        if all(map(shutil.which, kind.needs)):
            kinds.append(kind)
        else:
            print(f"{kind.name}: not installed")
    failed = False
    for count in given.programs or [1, 8]:
        failed |= compare(kinds, count, given.megabytes, given.rounds, given.limit)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
