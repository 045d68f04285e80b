# SPDX-License-Identifier: MIT
"""
Hostile servers: a table of cases, and what must hold in each of them, whatever the server does:

  - what the user sees is what the case says
  - mailfs never takes more than 128 MiB of memory, does not crash, and says in one line of printable text why it can not mount
  - no file operation takes longer than timeout= and a second
  - afterwards, when the server behaves again, the listing and the bytes of all messages are right
  - the password is nowhere among the bytes that the server got in clear, where the case says so (secret=False), nor elsewhere than in a login
  - nothing is written outside the store

Cases run side by side, in threads, each with a server, a home directory and a mount point of its own. A program gets them with

    CASES = [...]
    suite = hostile.suite(CASES)
    @pytest.mark.parametrize("name", [case.name for case in CASES])
    def test_case(suite, name): suite(name)
"""

import base64
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

from harness import SLOW, Home, Mount, is_mounted, running, unmount

SECRET = "The-marker-5ecret-0f-th1s-test"
TIMEOUT_S = 1       # timeout= of a case in which somebody may be waited for
PATIENT_S = 5       # of another: a busy machine must not look like a silent server
LIMIT_KIB = 128 * 1024
CASE_S = 40         # then a case counts as hung
RECOVERY_S = 15     # so long the mount may need to be itself again
SIDE_BY_SIDE = 16
USAGE, MOUNT, NETWORK, TLS, LOGIN, FOLDER, STORE, OTHER = range(1, 9)


def read(path):
    """As cat does: a size that is a lie is not made room for."""
    with open(path, "rb", buffering=0) as file:
        return b"".join(iter(lambda: file.read(1 << 16), b""))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


# --- What the user must see ---

@dataclass
class Seen:
    """Right: the operation gives what is right; errors: or one of these, as errno. Of a mount: exit codes, and words that are in its only line."""
    right: bool
    errors: tuple = ()
    words: tuple = ()

    def check(self, error, what):
        assert self.right or error is not None, "%s: no error" % what
        assert error is None or error in self.errors, "%s: %s" % (what, errno.errorcode.get(error, error))


RIGHT = Seen(True)


def fails(*errors):
    return Seen(False, errors)


def right_or(*errors):
    return Seen(True, errors)


def exits(code, *words):
    return Seen(False, code if isinstance(code, tuple) else (code,), words)


def mounts_or_exits(code, *words):
    return Seen(True, code if isinstance(code, tuple) else (code,), words)


# --- The measuring ---

class Figures:
    """Over all cases."""

    def __init__(self):
        self.lock, self.alone = threading.Lock(), threading.Lock()
        self.watched = {}
        self.peak_kib = self.cases = 0
        self.peak_case = self.longest_case = ""
        self.longest_s = 0.0
        self.again = []     # cases that were tried again
        self.times = {}     # how long each case took
        self.texts = {}     # of mounts that were refused
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self):
        """A process that ends by itself takes its figures with it."""
        while True:
            for pid in list(self.watched):
                self.look(pid)
            time.sleep(0.02)

    def look(self, pid):
        try:
            with open("/proc/%d/status" % pid, encoding="ascii") as status:
                lines = dict(line.split(":", 1) for line in status)
            if lines["Name"].strip() == "mailfs":  # not before exec()
                self.watched[pid] = max(self.watched.get(pid, 0), int(lines["VmHWM"].split()[0]))
        except (OSError, KeyError, ValueError):
            pass  # it has ended

    def note(self, case, peak_kib, longest_s):
        with self.lock:
            self.cases += 1
            if peak_kib > self.peak_kib:
                self.peak_kib, self.peak_case = peak_kib, case.name
            if longest_s > self.longest_s:
                self.longest_s, self.longest_case = longest_s, "%s, timeout=%d" % (case.name, case.timeout_s)

    def __str__(self):
        return "%d cases; peak %.1f MiB (%s); longest operation %.2f s (%s); %d tried again" % (
            self.cases, self.peak_kib / 1024, self.peak_case, self.longest_s, self.longest_case, len(self.again))


class Attempt(Mount):
    """A mount that may as well fail: then code and text are how."""
    code = None

    def _wait_mounted(self):
        end = time.monotonic() + self.patience_s * SLOW
        while not is_mounted(self.path):
            if self.process.poll() is not None:
                running.discard(self.process)
                self.code = self.process.returncode
                return
            if time.monotonic() > end:
                self.kill()
                raise AssertionError("neither mounted nor ended after %d s" % self.patience_s)
            time.sleep(0.02)

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


# --- Secrets ---

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{8,}={0,2}")


def holds_secret(data, secret=SECRET.encode()):
    """In clear, or in base64 wherever it begins there."""
    if secret in data:
        return True
    for word in _BASE64.findall(data):
        for start in range(4):
            part = word.rstrip(b"=")[start:]
            part = part[:len(part) // 4 * 4]
            if secret[:12] in base64.b64decode(part):
                return True
    return False


def secret_outside_a_login(data):
    """Any line that holds the secret, and is neither a login nor what belongs to one."""
    login = False
    for line in bytes(data).split(b"\r\n"):
        upper = line.upper()
        login = login or any(word in upper for word in (b" LOGIN ", b"AUTHENTICATE", b"AUTH ", b"PASS "))
        if holds_secret(line) and not login:
            return line
    return None


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
    lied: the other bytes that the server gave for the second message, if they are believed: nobody can know.
    world: what is different about the server.
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
    timeout_s: int = 0

    def __post_init__(self):
        waits = (NETWORK,) if self.at == "mount" else (errno.EIO, errno.ETIMEDOUT)
        told = self.seen.words and not any("timed out" in word for word in self.seen.words)
        brief = self.at == "idle" or (set(waits) & set(self.seen.errors) and not told)
        self.timeout_s = self.timeout_s or (TIMEOUT_S if brief else PATIENT_S)


class Trial:
    """One case at work. What its protocol has to say, a subclass says: start(), disarm(), url(), right(), look()."""

    def __init__(self, case, figures):
        self.case, self.figures = case, figures
        self.home = Cell()
        self.longest_s = self.peak_kib = 0
        self.mount = None

    # --- doing ---

    def timed(self, work, *args):
        """A file operation, in time: (result, None) or (None, errno)."""
        before = time.monotonic()
        try:
            return work(*args), None
        except OSError as error:
            return None, error.errno
        finally:
            took = time.monotonic() - before
            self.longest_s = max(self.longest_s, took)
            assert took <= (self.case.timeout_s + 1) * SLOW, "an operation took %.1f s" % took

    def credentials(self):
        return ["password_file=" + self.home.password_file]

    def attempt(self, *options, patient=False):
        """patient: it must succeed, however busy the machine is."""
        options = [*self.credentials(), "timeout=%d" % (20 if patient else self.case.timeout_s), *options, *self.case.options]
        self.mount = Attempt(self.home, self.url(), options, patience_s=30)
        if self.mount.code is None:
            self.figures.watched[self.mount.pid] = 0
        return self.mount

    def sample(self):
        self.figures.look(self.mount.pid)
        self.peak_kib = max(self.peak_kib, self.figures.watched.get(self.mount.pid, 0))

    def refused(self, seen):
        """How the mount failed."""
        code, text = self.mount.code, self.mount.text
        self.figures.texts[self.case.name] = text
        assert code in seen.errors, "exit code %s: %s" % (code, text)
        *alerts, line = text.splitlines()
        assert all(alert.startswith("mailfs: the server says: ") for alert in alerts), text  # RFC 3501 section 7.1: [ALERT] must be shown
        assert line.startswith("mailfs: ") and len(line) < 700, text
        assert all(char.isprintable() for char in text.replace("\n", "")), ascii(text)
        for word in seen.words:
            assert re.search(word, line, re.IGNORECASE), "no %r in: %s" % (word, text)

    def stop(self):
        """It is alive, and ends as it should."""
        self.sample()
        assert self.mount.process.poll() is None, "it has ended: %s, %s" % (self.mount.process.returncode, self.mount.log())
        unmount(self.mount.path)
        self.mount.wait(20)
        del self.figures.watched[self.mount.pid]

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
            time.sleep(0.1)

    # --- the course of it ---

    def run(self):
        case = self.case
        if case.at != "mount":
            self.attempt()
            assert self.mount.code is None, "exit code %s: %s" % (self.mount.code, self.mount.text)
            self.prepare()
        case.attack(self.server)
        if case.at == "mount":
            self.attempt()
            if self.mount.code is not None:
                assert not case.seen.right or case.seen.errors, "exit code %s: %s" % (self.mount.code, self.mount.text)
                self.refused(case.seen)
                self.heard()
                self.disarm()
                self.attempt(patient=True)
                assert self.mount.code is None, "after it: %s %s" % (self.mount.code, self.mount.text)
            else:
                assert case.seen.right, "it is mounted"
                self.first_look()
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
        heard = b"\n".join(map(bytes, self.server.heard))
        if not self.case.secret:
            assert not holds_secret(heard), "the password was sent"
            assert not self.server.logins, "a login was sent: %r" % self.server.logins

    def common(self):
        assert not self.server.complaints, self.server.complaints
        assert self.server.struck, "the attack did not happen"
        assert self.longest_s <= (self.case.timeout_s + 1) * SLOW, "an operation took %.1f s" % self.longest_s  # also while it recovered
        for data in list(self.server.heard):
            line = secret_outside_a_login(data)
            assert line is None, "the password is in %r" % line
        assert SECRET not in self.mount.log()
        assert not os.listdir(self.mount.path)
        assert not self.home.strangers(), self.home.strangers()
        self.figures.note(self.case, self.peak_kib, self.longest_s)
        if SLOW == 1:  # a sanitizer needs memory of its own
            assert self.peak_kib <= LIMIT_KIB, "%d KiB" % self.peak_kib

    def kill(self):
        if self.mount:
            self.mount.kill()
            self.figures.watched.pop(self.mount.pid, None)


def is_busy():
    """More work than processors: then a second is not long enough for anything."""
    return os.getloadavg()[0] > 1.5 * os.cpu_count()


def play(trial_class, case, figures):
    """
    What went wrong in words, or None. What a busy machine may have done is tried again, one case at a time; what the server does is the same
    each time.
    """
    wrong = play_once(trial_class, case, figures)
    for _ in range(2):
        if wrong and is_busy():
            with figures.alone:
                figures.again.append(case.name)
                wrong = play_once(trial_class, case, figures)
    return wrong


def play_once(trial_class, case, figures):
    """What went wrong."""
    trial = trial_class(case, figures)
    watchdog = threading.Timer(CASE_S * SLOW, trial.kill)  # ends system calls on the mount, too
    watchdog.start()
    try:
        before = time.monotonic()
        with trial.start() as trial.server:
            trial.run()
        figures.times[case.name] = time.monotonic() - before
        return None
    except BaseException:  # pylint: disable=broad-except
        log = trial.mount.log()[-1500:] if trial.mount else ""
        return "%s\n%s" % (traceback.format_exc(limit=-3).strip(), log)
    finally:
        watchdog.cancel()
        trial.kill()
        trial.home.remove()


def suite(trial_class, cases):
    """The fixture that runs the cases that pytest was asked for, all of them before the first test."""
    assert len({case.name for case in cases}) == len(cases), [case.name for case in cases]

    @pytest.fixture(scope="module")
    def run(request, record_testsuite_property):
        figures = Figures()
        wanted = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
        chosen = [case for case in cases if case.name in wanted]
        before = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
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

    return run
