# SPDX-License-Identifier: MIT
"""What the benchmark runs in a folder, and mailfs itself: each returns what it took, and fails when it did not see everything."""

import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass

import corpus
from dovecot import die_with_parent
from harness import Mount, escape, is_mounted
from limits import cpu_s

PATIENCE_S = 600
ENV = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


class Failed(Exception):
    """A contestant did not do its work; the words say what was wrong."""


@dataclass
class Taken:
    """One measurement. value: the figure, in the unit of its case, seconds as a rule; None: not taken, nothing, or unknown."""
    value: float
    mount_s: float = None
    cpu_s: float = None
    rss_kib: int = None
    received: int = None
    sent: int = None
    round_trips: int = None
    note: str = ""

    def plain(self):
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


def run(command, timeout=PATIENCE_S, codes=(0,), **more):
    """Runs a program in a process group of its own, all of which ends with it; (seconds, output)."""
    more.setdefault("env", ENV)
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True, preexec_fn=die_with_parent, **more)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed("%s: not done after %d s" % (command[0], timeout)) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seconds = time.perf_counter() - begin
    if process.returncode not in codes:
        raise Failed("%s: exit code %d: %s" % (command[0], process.returncode, err.decode(errors="replace").strip()[-300:]))
    return seconds, out


def counted(script, path, expected):
    """Runs a pipeline, $1 being the path, that prints a number, which must be that; seconds."""
    seconds, out = run(["bash", "-o", "pipefail", "-c", script, "bash", path])
    if int(out) != expected:
        raise Failed("%s: %d, expected %d" % (script, int(out), expected))
    return seconds


def ls_l(path, mail):
    return counted('ls -l "$1" | wc -l', path, mail.count + 1)


def grep(path, mail):
    return counted('grep -rlF %s "$1" | wc -l' % corpus.NEEDLE, path, mail.found)


def rg(path, mail):
    return counted('rg --no-config --no-ignore --hidden -j8 -lF %s "$1" | wc -l' % corpus.NEEDLE, path, mail.found)


def wait_mounted(path, process, patience_s=60):
    end = time.monotonic() + patience_s
    while not is_mounted(path):
        if process.poll() is not None or time.monotonic() > end:
            raise Failed("no mount of " + " ".join(process.args[:1]))
        time.sleep(0.001)


class Mailfs(Mount):
    """mailfs in the foreground, with what it used; folder is where the mail is."""

    def __init__(self, suite, home, line, mail, *options, scheme="imaps", user=None, patience_s=60):
        self.line = line
        self.start = line.total()
        self.begin = time.perf_counter()
        url = "%s://%s@%s:%d" % (scheme, user or mail.name, suite.host, line.port)
        values = ["password_file=" + home.password_file, "tls_ca=" + escape(suite.server.ca), *options]
        super().__init__(home, url, values, patience_s=patience_s)
        self.mount_s = time.perf_counter() - self.begin
        self.folder = self.sub(corpus.FOLDER)
        self.mark()

    def _wait_mounted(self):
        try:
            wait_mounted(self.path, self.process, self.patience_s)
        except Failed:
            log = self.log().strip()[-300:]
            self.kill()
            raise Failed("no mount: " + log) from None

    def mark(self):
        """The CPU time and the traffic of what follows are counted from here."""
        self.cpu_before, self.before = cpu_s(self.pid), self.line.total()

    def taken(self, value, note="", whole=False):
        """What was used since the mark; whole: since the start, mounting included."""
        count = self.line.total() - (self.start if whole else self.before)
        used = cpu_s(self.pid) - (0 if whole else self.cpu_before)
        return Taken(value, self.mount_s, used, self.peak_rss_kib(), count.received, count.sent,
                     count.round_trips, note)

    def __exit__(self, kind, *exc):
        try:
            super().__exit__(kind, *exc)
        except (AssertionError, subprocess.SubprocessError) as error:
            self.kill()
            raise Failed("mailfs did not end well: %s" % error) from None


def children_s():
    times = os.times()
    return times.children_user + times.children_system


def through(line, work, alone=True):
    """What work(), which returns seconds, took, with its traffic; alone: the peer is the one program that it runs, whose CPU time counts."""
    before, used = line.total(), children_s()
    seconds = work()
    used, count = children_s() - used, line.total() - before
    return Taken(seconds, None, used if alone else None, None, count.received, count.sent, count.round_trips)
