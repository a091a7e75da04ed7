#!/usr/bin/env python3
"""How long `taskmasterctl status` takes as a whole process, beside its peers.

Starts Taskmaster and each peer that is installed with the same number of sleeping programs, waits until all
run, and times each one's status command in turn (A B C, A B C, ...), so that what the machine does meanwhile
meets all of them. Prints the median, the least and the most of each, and the ratio to Taskmaster's, round by
round. Exits 1 if the median is above --limit.

    cargo build --release
    python3 tests/bench/status.py [--programs 1000] [--runs 20] [--limit 15] [--directory target/release]

Peers, each left out where it is not on the search path: s6 (s6-svscan, s6-svstat), runit (runsvdir, sv),
daemontools (svscan, svstat; at most 900 programs), supervisord (supervisorctl).
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from place import Place

PATIENCE = 120


class Peer(Place):
    """A supervisor in a directory of its own."""

    name = needs = None
    most = 100_000

    def __init__(self, directory, count):
        super().__init__(directory)
        self.count = min(count, self.most)

    def start(self):
        self.prepare()
        with open(self.path("console"), "wb") as console:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        until = time.monotonic() + PATIENCE
        while self.running() < self.count:
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{self.name}: not all programs run: {self.path('console')}")
            time.sleep(0.2)

    def running(self):
        """How many the status command says run."""
        shown = subprocess.run(self.status(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return sum(self.word in line for line in shown.stdout.splitlines())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Taskmaster(Peer):
    name, word = "taskmaster", "RUNNING"
    binaries = None

    def prepare(self):
        user = 'user = "nobody"\n' if os.geteuid() == 0 else ""
        one = '[programs.p{}]\ncmd = "sleep 100000"\n' + user + 'starttime = 0\nstdout = "discard"\nstderr = "discard"\n'
        here = "".join(f'{key} = "{self.path(key)}"\n' for key in ("log_dir", "state_dir", "runtime_dir"))
        self.put("taskmaster.toml", f"[supervisor]\n{here}" + "".join(one.format(n) for n in range(self.count)))

    def command(self):
        return [os.path.join(self.binaries, "taskmasterd"), "--no-shell", "-c", self.path("taskmaster.toml")]

    def status(self):
        return [os.path.join(self.binaries, "taskmasterctl"), "-s", self.path("runtime_dir", "control.sock"), "status"]


class Directories(Peer):
    """One directory a program, with a file `run`."""

    def prepare(self):
        for n in range(self.count):
            self.put(f"scan/p{n}/run", "#!/bin/sh\nexec sleep 100000\n", 0o755)

    def services(self):
        return [self.path("scan", f"p{n}") for n in range(self.count)]


class S6(Directories):
    name, needs, word = "s6", ("s6-svscan", "s6-svstat"), "up (pid"

    def command(self):
        return ["s6-svscan", "-c", str(self.count + 10), self.path("scan")]

    def status(self):
        return ["/bin/sh", "-c", f"for d in {self.path('scan')}/p*; do s6-svstat $d; done"]


class Runit(Directories):
    name, needs, word = "runit", ("runsvdir", "sv"), "run:"

    def command(self):
        return ["runsvdir", "-P", self.path("scan")]

    def status(self):
        return ["sv", "status", *self.services()]

    def stop(self):
        # What ends runsvdir and its services.
        self.process.send_signal(signal.SIGHUP)
        self.process.wait(PATIENCE)


class Daemontools(Directories):
    name, needs, word, most = "daemontools", ("svscan", "svstat", "svc"), "up (pid", 900

    def command(self):
        return ["svscan", self.path("scan")]

    def status(self):
        return ["svstat", *self.services()]

    def stop(self):
        super().stop()
        subprocess.run(["svc", "-dx", *self.services()])


class Supervisord(Peer):
    name, needs, word = "supervisord", ("supervisord", "supervisorctl"), "RUNNING"

    def prepare(self):
        socket = self.path("s.sock")
        head = f"""[unix_http_server]
file={socket}
[supervisord]
nodaemon=true
logfile={self.path("log")}
pidfile={self.path("pid")}
minfds={1024 + 3 * self.count}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{socket}
"""
        one = "[program:p{}]\ncommand=sleep 100000\nstartsecs=0\nstdout_logfile=NONE\nstderr_logfile=NONE\n"
        self.put("supervisord.conf", head + "".join(one.format(n) for n in range(self.count)))

    def command(self):
        return ["supervisord", "-n", "-c", self.path("supervisord.conf")]

    def status(self):
        return ["supervisorctl", "-c", self.path("supervisord.conf"), "status"]


def measure(peers, runs):
    """Milliseconds of each run of each; a first round does not count."""
    took = {peer.name: [] for peer in peers}
    for number in range(runs + 1):
        for peer in peers:
            begin = time.perf_counter()
            subprocess.run(peer.status(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if number > 0:
                took[peer.name].append((time.perf_counter() - begin) * 1000)
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--programs", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--limit", type=float, default=15.0, help="milliseconds")
    parser.add_argument("--directory", default="target/release", help="where taskmasterd and taskmasterctl are")
    given = parser.parse_args()
    Taskmaster.binaries = os.path.abspath(given.directory)
    kinds = [Taskmaster, S6, Runit, Daemontools, Supervisord]
    with tempfile.TemporaryDirectory(prefix="taskmaster-bench-") as directory:
        os.chmod(directory, 0o755)
        peers = []
        try:
            for kind in kinds:
                if kind.needs and not all(map(shutil.which, kind.needs)):
                    print(f"{kind.name}: not installed")
                    continue
                peers.append(kind(os.path.join(directory, kind.name), given.programs))
                peers[-1].start()
            took = measure(peers, given.runs)
        finally:
            for peer in peers:
                peer.stop()
    ours = took[Taskmaster.name]
    print(f"{'':12} {'programs':>8} {'median ms':>10} {'least':>8} {'most':>8} {'ratio':>8}")
    for peer in peers:
        times = took[peer.name]
        ratio = statistics.median(theirs / own for theirs, own in zip(times, ours))
        shown = (statistics.median(times), min(times), max(times), ratio)
        print(f"{peer.name:12} {peer.count:8} {shown[0]:10.1f} {shown[1]:8.1f} {shown[2]:8.1f} {shown[3]:8.1f}")
    return int(statistics.median(ours) > given.limit)


if __name__ == "__main__":
    sys.exit(main())
