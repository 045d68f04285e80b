# SPDX-License-Identifier: MIT
"""
Starts programs from a small process of its own, which says of each that has ended how it ended and how much memory it took at most, the processes
that it started included (wait4). Of a fork of the tests themselves the kernel would count their memory as the program's.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading

START_S = 60  # then the small process has ended, or hangs
RESET = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE)


class Process:
    """As one of subprocess.Popen, as far as it is needed. peak_kib: known when it has ended."""

    def __init__(self, number, launcher):
        self.number, self.launcher = number, launcher
        self.pid = self.returncode = self.error = None
        self.peak_kib = 0
        self.started, self.ended = threading.Event(), threading.Event()

    def poll(self):
        return self.returncode

    def wait(self, seconds=None):
        if not self.ended.wait(seconds):
            raise subprocess.TimeoutExpired("mailfs", seconds)
        return self.returncode

    def kill(self):
        """By the launcher, which knows whether the number is still this process's."""
        if not self.ended.is_set():
            self.launcher.tell({"kill": self.number})


class Launcher:
    """A context manager."""

    def __init__(self):
        self.lock, self.processes = threading.Lock(), {}
        self.helper = subprocess.Popen([sys.executable, "-I", "-S", os.path.abspath(__file__)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       start_new_session=False)
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, order):
        with self.lock:
            self.helper.stdin.write(json.dumps(order).encode() + b"\n")
            self.helper.stdin.flush()

    def start(self, command, env, log):
        """log: the path of what it writes."""
        with self.lock:
            process = Process(len(self.processes), self)
            self.processes[process.number] = process
        self.tell({"start": process.number, "command": command, "env": env, "log": log})
        if not process.started.wait(START_S):
            raise subprocess.TimeoutExpired(command[0], START_S)
        if process.error:
            raise OSError(process.error, os.strerror(process.error), command[0])
        return process

    def _listen(self):
        for line in self.helper.stdout:
            told = json.loads(line)
            process = self.processes[told["number"]]
            if "pid" in told:
                process.pid, process.error = told["pid"], told["error"]
                process.started.set()
            else:
                process.peak_kib, process.returncode = told["peak_kib"], told["code"]
                process.ended.set()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.helper.stdin.close()
        self.helper.wait()


# --- The small process ---

def spawn(order):
    out = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.posix_spawnp(order["command"][0], order["command"], order["env"], setsigdef=RESET, setsigmask=(),
                               file_actions=[(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)]), 0
    except OSError as error:
        return 0, error.errno
    finally:
        os.close(out)
        os.close(null)


def say(**told):
    os.write(1, json.dumps(told).encode() + b"\n")


def reap(pids):
    """pids: {number: pid}"""
    while pids:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
        if not pid:
            return
        number = next(number for number, one in pids.items() if one == pid)
        del pids[number]
        say(number=number, code=os.waitstatus_to_exitcode(status), peak_kib=usage.ru_maxrss)


def obey(order, pids):
    if "kill" in order:
        if order["kill"] in pids:
            os.kill(pids[order["kill"]], signal.SIGKILL)
        return
    pid, error = spawn(order)
    if pid:
        pids[order["start"]] = pid
    say(number=order["start"], pid=pid, error=error)


def main():
    """Until nobody is there to give orders."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pids, rest = {}, b""
    while True:
        ready = select.select([0, wake], [], [])[0]
        if wake in ready:
            os.read(wake, 4096)
            reap(pids)
        if 0 in ready:
            data = os.read(0, 1 << 16)
            if not data:
                break
            *orders, rest = (rest + data).split(b"\n")
            for order in orders:
                obey(json.loads(order), pids)
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
