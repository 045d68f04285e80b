# SPDX-License-Identifier: MIT
"""
Hostile servers: a table of cases, and what must hold in each of them, whatever the server does:

  - what the user sees is what the case says
  - mailfs and what it starts never take more than 128 MiB of memory each, also where it does not mount; it does not crash, and says in one line of
    printable text why it can not mount
  - no file operation takes longer than timeout= and a second, nor does a mount, refused or not (POP3: each connection of it, and the pauses between)
  - afterwards, when the server behaves again, the listing and the bytes of all messages are right
  - the password is nowhere among the bytes that the server got, in clear or within TLS, where the case says so (secret=False), nor elsewhere
    than in a login (leaks.py)
  - nothing is written outside the store

Cases run side by side, in threads, each with a server, a home directory and a mount point of its own. What a busy machine has made late is tried
again; what is wrong is not. With MAILFS_TEST_HOSTILE=short one case of each kind runs (the words before the colon, where it strikes, whether it
succeeds), each day another one: under a sanitizer there is no time for more. A program gets them with

    CASES = [...]
    suite = hostile.suite(CASES)
    @pytest.mark.parametrize("name", hostile.names(CASES))
    def test_case(suite, name): suite(name)
"""

import collections
import concurrent.futures
import errno
import hashlib
import os
import re
import shutil
import threading
import time
import traceback
from dataclasses import dataclass

import pytest

from harness import SANITIZED, SLOW, Home, Lag, Mount, is_mounted, kept_waiting, running, unmount
from launcher import Launcher
from leaks import holds_secret, outside_a_login

SECRET = "The-marker-5ecret-0f-th1s-test"
TIMEOUT_S = 1       # timeout= of a case in which somebody may be waited for
PATIENT_S = 5       # of another: a busy machine must not look like a silent server
LIMIT_KIB = 128 * 1024
CASE_S = 40         # then a case counts as hung
RECOVERY_S = 15     # so long the mount may need to be itself again
SHORT = os.environ.get("MAILFS_TEST_HOSTILE") == "short"
SIDE_BY_SIDE = 32   # most of them wait
STARTING = 6        # processes that start at once, and so do not
USAGE, MOUNT, NETWORK, TLS, LOGIN, FOLDER, STORE, OTHER = range(1, 9)


def read(path):
    """As cat does: a size that is a lie is not made room for."""
    with open(path, "rb", buffering=0) as file:
        return b"".join(iter(lambda: file.read(1 << 16), b""))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Late(AssertionError):
    """Something took longer than it may. It may be that the machine was busy."""


# --- What the user must see ---

@dataclass
class Seen:
    """
    Right: the operation gives what is right; errors: or one of these, as errno. Of a mount: exit codes, and words that are in its only line; of one
    that is there, words of what it says, which is nothing where there are none. Both, or two errors, only where time decides.
    """
    right: bool
    errors: tuple = ()
    words: tuple = ()

    def check(self, error, what):
        assert self.right or error is not None, "%s: no error" % what
        if error is not None and error not in self.errors:
            raise unexpected(error, what)


def unexpected(error, what):
    """The exception for an errno that should not be."""
    kind = Late if error == errno.ETIMEDOUT else AssertionError
    return kind("%s: %s" % (what, errno.errorcode.get(error, error)))


RIGHT = Seen(True)


def fails(*errors):
    return Seen(False, errors)


def right_or(*errors):
    return Seen(True, errors)


def exits(code, *words):
    return Seen(False, code if isinstance(code, tuple) else (code,), words)


def mounts(*words):
    return Seen(True, (), words)


# --- The measuring ---

LAG = Lag()


class Clock:
    """How long something takes, without what the machine makes others wait; what a process waits for processors is told where it is known."""

    def __init__(self):
        self.before, self.lag = time.monotonic(), LAG.total

    def took_s(self, delay_s=0.0):
        return max(0.0, time.monotonic() - self.before - max(2 * (LAG.total - self.lag), delay_s))


class Longest:
    """How long the longest of some took, and what it was."""

    def __init__(self):
        self.took_s, self.limit_s, self.what = 0.0, 0.0, "none"

    def note(self, took_s, limit_s, what):
        if took_s > self.took_s:
            self.took_s, self.limit_s, self.what = took_s, limit_s, what

    def __str__(self):
        return "%.2f s of %.1f (%s)" % (self.took_s, self.limit_s, self.what)


class Figures:
    """Over all cases."""

    def __init__(self, launcher):
        self.lock, self.alone = threading.Lock(), threading.Lock()
        self.launcher, self.starting = launcher, threading.BoundedSemaphore(STARTING)
        self.cases = self.refused = self.peak_kib = 0
        self.peak_case = ""
        self.operations, self.mounts = Longest(), Longest()
        self.again = []     # cases that were tried again
        self.times = {}     # how long each case took
        self.texts = {}     # of mounts that were refused
        self.outcomes = {}  # what happened in each, in a few words

    def note(self, trial):
        case = trial.case
        with self.lock:
            self.cases += 1
            self.refused += trial.code is not None
            if trial.peak_kib > self.peak_kib:
                self.peak_kib, self.peak_case = trial.peak_kib, case.name
            self.operations.note(trial.longest_s, case.timeout_s + 1, case.name)
            if trial.mount_s:
                self.mounts.note(trial.mount_s, trial.mount_limit_s, case.name)

    def __str__(self):
        return "%d cases, %d of them refused mounts; peak %.1f MiB (%s); longest operation %s; longest mount under attack %s; %d tried again" % (
            self.cases, self.refused, self.peak_kib / 1024, self.peak_case, self.operations, self.mounts, len(self.again))


class Attempt(Mount):
    """
    A mount that may as well fail: then code and text are how. took_s: until it was mounted, or had failed. waits(): whether it is the server that it
    waits for now.
    """
    code = None
    delay_s = 0.0  # how long its busiest thread waited for a processor

    def __init__(self, figures, waits, *args, **more):
        self.figures, self.waits = figures, waits
        self.took_s = 0.0
        super().__init__(*args, **more)

    def _start(self, command, env):
        self.figures.starting.acquire()
        self.began, self.clock = time.monotonic(), Clock()
        return self.figures.launcher.start(command, env, self.log_path)

    def _wait_mounted(self):
        started = False
        try:
            while not is_mounted(self.path):
                if not started and self.waits():
                    started = True
                    self.figures.starting.release()
                elapsed = time.monotonic() - self.began
                self.delay_s = max(self.delay_s, kept_waiting(self.process.pid))
                if self.process.ended.wait(max(0.01, min(0.1, elapsed / 8))):
                    running.discard(self.process)
                    self.code = self.process.returncode
                    break
                if elapsed > self.patience_s * SLOW:
                    self.kill()
                    raise Late("neither mounted nor ended after %d s" % self.patience_s)
        finally:
            self.took_s = self.clock.took_s(self.delay_s)
            if not started:
                self.figures.starting.release()

    @property
    def text(self):
        return self.log()


class Cell(Home):
    """A home directory in a directory of its own: what is written beside the store shows there."""

    def __init__(self):
        super().__init__()
        self.outer, self.path = self.path, os.path.join(self.path, "a", "home")
        os.makedirs(self.path)
        os.unlink(self.password_file)
        self.password_file = self.write("password", SECRET + "\n", 0o600)

    def env(self, **more):
        os.makedirs(os.path.join(self.path, "run"), mode=0o700, exist_ok=True)
        return super().env(XDG_RUNTIME_DIR=os.path.join(self.path, "run"), **more)

    def strangers(self):
        """Files that have no place in it."""
        ours = re.compile(r"password|[\w.-]+\.log|mail\d*|run(/.*)?|\.cache(/mailfs(/.*)?)?|\.local(/state(/mailfs(/.*)?)?)?")
        found = []
        for folder, folders, files in os.walk(self.outer):
            for name in folders + files:
                path = os.path.join(folder, name)
                inside = os.path.relpath(path, self.path)
                if path not in (os.path.dirname(self.path), self.path) and not ours.fullmatch(inside):
                    found.append(path)
        return found

    def remove(self):
        super().remove()
        shutil.rmtree(self.outer, ignore_errors=True)


# --- A case ---

@dataclass
class Case:
    """
    at: where the attack strikes, and so which operation sees it:
      "mount"   before the mount
      "list"    while INBOX is listed for the first time
      "read"    while the second message of INBOX is read
      "parts"   while the parts of the second message are
      "again"   between two listings of INBOX
      "idle"    while the server is waited for; the listing afterwards sees it
    attack(server): arms it. seen: what the user sees. secret: whether the password may be sent.
    others, inbox: whether Work, and INBOX, must be right meanwhile. ghosts: UIDs that may be listed during the attack.
    timeout_s: by default what fits seen. check(trial, mount): more that must hold after the attack. token: the first mount logs in with one.
    lied: the other bytes that the server gave for the second message, which are believed: nobody can know. missing: so many messages are not there.
    world: what is different about the server. long: it takes more time than others, and so is begun first.
    """
    name: str
    at: str
    attack: object
    seen: Seen = None
    options: tuple = ()
    secret: bool = True
    world: dict = None
    check: object = None
    others: bool = True
    inbox: bool = True
    ghosts: tuple = ()
    token: bool = False
    lied: tuple = ()
    missing: int = 0
    timeout_s: int = 0
    long: bool = False

    def __post_init__(self):
        waits = (NETWORK,) if self.at == "mount" else (errno.ETIMEDOUT,)
        told = self.seen.words and not any("timed out" in word for word in self.seen.words)
        brief = self.at == "idle" or (set(waits) & set(self.seen.errors) and not told)
        self.timeout_s = self.timeout_s or (TIMEOUT_S if brief else PATIENT_S)


class Trial:
    """One case at work. What its protocol has to say, a subclass says: start(), disarm(), url(), right(), look()."""

    def __init__(self, case, figures):
        self.case, self.figures = case, figures
        self.home = Cell()
        self.longest_s = self.peak_kib = 0
        self.mount_s = self.mount_limit_s = 0   # the mount under attack
        self.code, self.seen = None, []
        self.mount = None

    # --- doing ---

    def timed(self, work, *args):
        """A file operation, in time: (result, None) or (None, errno)."""
        clock = Clock()
        try:
            return work(*args), None
        except OSError as error:
            return None, error.errno
        finally:
            took = clock.took_s()
            self.longest_s = max(self.longest_s, took)
            if took > (self.case.timeout_s + 1) * SLOW:
                raise Late("an operation took %.1f s" % took)

    def credentials(self):
        return ["password_file=" + self.home.password_file]

    def attempt(self, *options, patient=False):
        """patient: it must succeed, however busy the machine is."""
        options = [*self.credentials(), "timeout=%d" % (20 if patient else self.case.timeout_s), *options, *self.case.options]
        self.mount = Attempt(self.figures, lambda: self.server.struck, self.home, self.url(), options, patience_s=30)
        self.weigh()
        return self.mount

    def weigh(self):
        """What it took, if it has ended."""
        self.peak_kib = max(self.peak_kib, self.mount.process.peak_kib)
        assert self.mount.code is None or self.mount.process.peak_kib > 1024, "it is not known what it took"

    def mount_deadline_s(self):
        """How long mounting may take: it waits for the server once."""
        return self.case.timeout_s

    def under_attack(self):
        """The mount that is attacked."""
        self.attempt()
        self.code, self.mount_s, self.mount_limit_s = self.mount.code, self.mount.took_s, self.mount_deadline_s() + 1
        if self.mount_s > self.mount_limit_s * SLOW:
            raise Late("mounting took %.1f s, not %.1f" % (self.mount_s, self.mount_limit_s))

    def refused(self, seen):
        """How the mount failed."""
        code, text = self.mount.code, self.mount.text
        late = Late if "timed out" in text else AssertionError
        self.figures.texts[self.case.name] = text
        if code not in seen.errors:
            raise late("exit code %s: %s" % (code, text))
        *alerts, line = text.splitlines()
        assert all(alert.startswith("mailfs: the server says: ") for alert in alerts), text  # RFC 3501 section 7.1: [ALERT] must be shown
        assert line.startswith("mailfs: ") and len(line) < 700, text
        assert all(char.isprintable() for char in text.replace("\n", "")), ascii(text)
        for word in seen.words:
            if not re.search(word, line, re.IGNORECASE):
                raise late("no %r in: %s" % (word, text))

    def said(self):
        """What a mount says that is there."""
        text = self.mount.text
        assert all(char.isprintable() for char in text.replace("\n", "")), ascii(text)
        for word in self.case.seen.words:
            assert re.search(word, text, re.IGNORECASE), "no %r in: %s" % (word, text)
        assert self.case.seen.words or not text, "it says: %s" % text

    def stop(self):
        """It is alive, and ends as it should."""
        assert self.mount.process.poll() is None, "it has ended: %s, %s" % (self.mount.process.returncode, self.mount.log())
        unmount(self.mount.path)
        self.mount.wait(20)
        self.weigh()

    def recover(self):
        """The mount is itself again."""
        end = time.monotonic() + RECOVERY_S * SLOW
        while True:
            try:
                return self.right(self.mount)
            except (OSError, AssertionError):
                assert self.mount.process.poll() is None, "it has ended: %s" % self.mount.log()
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def outcome(self):
        """What happened, in a few words."""
        words = [] if self.code is None else ["exit %d" % self.code, repr(self.figures.texts.get(self.case.name))]
        return ", ".join(words + self.seen) or "as it should be"

    # --- the course of it ---

    def run(self):
        case = self.case
        if case.at != "mount":
            self.attempt()
            assert self.mount.code is None, "exit code %s: %s" % (self.mount.code, self.mount.text)
            self.prepare()
        case.attack(self.server)
        if case.at == "mount":
            self.under_attack()
            if self.mount.code is not None:
                self.refused(case.seen)
                self.heard()
                self.disarm()
                self.attempt(patient=True)
                assert self.mount.code is None, "after it: %s %s" % (self.mount.code, self.mount.text)
            else:
                assert case.seen.right, "it is mounted"
                self.first_look()
                self.said()
                self.heard()
        else:
            self.look()
        if case.check:
            case.check(self, self.mount)
        self.disarm()
        self.recover()
        self.stop()
        self.common()

    def heard(self):
        """Before it behaves: no secret where none may be sent."""
        if not self.case.secret:
            for data in self.server.heard + self.server.inside:
                assert not holds_secret(data, SECRET.encode()), "the password was sent: %r" % data
            assert not self.server.logins, "a login was sent: %r" % self.server.logins

    def common(self):
        assert not self.server.complaints, self.server.complaints
        if not self.server.struck:  # or it was too late for it
            raise (Late if "timed out" in self.figures.texts.get(self.case.name, "") else AssertionError)("the attack did not happen")
        if self.longest_s > (self.case.timeout_s + 1) * SLOW:  # also while it recovered
            raise Late("an operation took %.1f s" % self.longest_s)
        for data in self.server.heard + self.server.inside:
            leak = outside_a_login(data, SECRET.encode())
            assert leak is None, "the password is in %r" % leak
        assert SECRET not in self.mount.log()
        assert not os.listdir(self.mount.path)
        assert not self.home.strangers(), self.home.strangers()
        self.figures.note(self)
        assert self.peak_kib > 1024, "it is not known what it took"
        if not SANITIZED:  # a sanitizer needs memory of its own
            assert self.peak_kib <= LIMIT_KIB, "%d KiB" % self.peak_kib

    def kill(self):
        if self.mount:
            self.mount.kill()


def processor_times():
    """Of all processors, since the start of the machine: what its host took away, and all."""
    with open("/proc/stat", encoding="ascii") as lines:
        times = [int(word) for word in lines.readline().split()[1:9]]
    return times[7], sum(times)


def is_busy(since):
    """More work than processors, or processors that were somebody else's: then a second is not long enough for anything."""
    stolen, total = (now - before for now, before in zip(processor_times(), since))
    return os.getloadavg()[0] > 1.5 * len(os.sched_getaffinity(0)) or stolen > 0.1 * total


def play(trial_class, case, figures):
    """
    What went wrong in words, or None. What a busy machine has made late is tried again, one case at a time; what the server does is the same
    each time. Whatever else is wrong counts at once.
    """
    since = processor_times()
    wrong, late = play_once(trial_class, case, figures)
    for _ in range(2):
        if late and is_busy(since):
            with figures.alone:
                figures.again.append(case.name)
                wrong, late = play_once(trial_class, case, figures)
    return wrong


def play_once(trial_class, case, figures):
    """What went wrong, and whether only in that it was late."""
    trial = trial_class(case, figures)
    watchdog = threading.Timer(CASE_S * SLOW, trial.kill)  # ends system calls on the mount, too
    watchdog.start()
    try:
        before = time.monotonic()
        with trial.start() as trial.server:
            trial.run()
        figures.times[case.name] = time.monotonic() - before
        return None, False
    except BaseException as error:  # pylint: disable=broad-except
        log = trial.mount.log()[-1500:] if trial.mount else ""
        late = isinstance(error, Late) or (isinstance(error, OSError) and error.errno == errno.ETIMEDOUT)
        return "%s\n%s" % (traceback.format_exc(limit=-3).strip(), log), late
    finally:
        watchdog.cancel()
        trial.kill()
        trial.home.remove()
        figures.outcomes[case.name] = trial.outcome()


def kind_of(case):
    """What stands before the last colon, where it strikes, and whether it succeeds."""
    return case.name.rpartition(": ")[0], case.at, case.seen.right


def names(cases):
    """Of those that run: all; or one of each kind, each day another one."""
    if not SHORT:
        return [case.name for case in cases]
    kinds = collections.defaultdict(list)
    for case in cases:
        kinds[kind_of(case)].append(case.name)
    return [kind[int(time.time()) // 86400 % len(kind)] for kind in kinds.values()]


def suite(trial_class, cases):
    """The fixture that runs the cases that pytest was asked for, all of them before the first test."""
    assert len({case.name for case in cases}) == len(cases), [case.name for case in cases]

    @pytest.fixture(scope="module")
    def run(request, record_testsuite_property):
        wanted = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
        chosen = sorted((case for case in cases if case.name in wanted), key=lambda case: not case.long)
        before = time.monotonic()
        with Launcher() as launcher, concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            figures = Figures(launcher)
            wrong = dict(zip([case.name for case in chosen], pool.map(lambda case: play(trial_class, case, figures), chosen)))

        def report(name):
            if wrong[name]:
                pytest.fail(wrong[name], pytrace=False)

        report.texts = figures.texts
        yield report
        line = "%s, %.1f s in all" % (figures, time.monotonic() - before)
        record_testsuite_property("figures", line)
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print("\n" + line)
            if os.environ.get("MAILFS_TEST_TIMES"):
                print("\n".join("%.1f s %s" % (took, name) for name, took in sorted(figures.times.items(), key=lambda one: -one[1])[:25]))
            if os.environ.get("MAILFS_TEST_OUTCOMES"):
                print("\n".join("%s => %s" % (name, figures.outcomes[name]) for name in figures.outcomes))

    return run
