# SPDX-License-Identifier: MIT
"""
Each fault of the line at each stage of a session: what a program asks for ends within its deadline, is right or an error, and is right again when the
line is whole; and the mount can be left at once, also in the middle.
"""

import errno
import os
import subprocess
import threading
import time

import pytest

import mails
from cutter import FAULTS, Cutter
from dovecot import Dovecot, Settings
from drops import side_by_side
from harness import SLOW, Home, Lag, Mount, eventually, is_mounted, some, unmount
from maildir import Mail

TIMEOUT = 2
AT_ONCE = 6
ERRORS = (errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH)
# A mount is made of a few commands, each with its own deadline.
MOUNTING = 3 * TIMEOUT + 4
LARGE = mails.to_bytes(mails.large(megabytes=1))
SMALL = [mails.to_bytes(mails.html()), mails.to_bytes(mails.message("Bob <bob@example.org>", "Two", "Short.\r\n"))]
STAGES_MOUNTING = (b"LOGIN", b"AUTHENTICATE", b"LIST")
STAGES = (b" \"INBOX\"", b"RFC822.SIZE", b"BODY.PEEK[]", b"BODYSTRUCTURE", b"BODY.PEEK[]<")
STAGES_POP3 = (b"CAPA", b"AUTH", b"STAT", b"UIDL", b"RETR 2", b"QUIT")
# What need not be said, or not in time to be hit: another login, all that is read first comes with something else, the end.
RARE = (b"BODY.PEEK[]<", b"AUTHENTICATE", b"LOGIN", b"QUIT")
# These go on, only later.
SLOW_ONES = ("trickle", "delay")


class Longest:
    """took: without what the machine made others wait; raw: as it was, of the same or another operation."""
    took, raw, what = 0.0, 0.0, ""

    @classmethod
    def note(cls, took, lag, what):
        cls.raw = max(cls.raw, took)
        if took - lag > cls.took:
            cls.took, cls.what = took - lag, what


LAG = Lag()


@pytest.fixture(scope="module")
def server():
    with Dovecot(Settings(rawlog=False)) as dovecot:
        dovecot.add_user("stages")
        dovecot.deliver("stages", "INBOX", [Mail(data, mails.START + n) for n, data in enumerate(SMALL)])
        dovecot.deliver("stages", "Large", [Mail(LARGE, mails.START)])
        yield dovecot


@pytest.fixture(scope="module")
def cutter():
    with Cutter() as made:
        yield made


def options(home, *more):
    return ["password_file=" + home.password_file, "tls=none", "timeout=%d" % TIMEOUT, *more]


def mounted(home, line):
    """Its deadlines are short, and hold for mounting, too: on a machine that is very busy that fails."""
    for _ in range(3):
        try:
            return Mount(home, "imap://stages@localhost:%d" % line.port, options(home, "refresh=0"))
        except RuntimeError:
            pass
    return Mount(home, "imap://stages@localhost:%d" % line.port, options(home, "refresh=0"))


def timed(what, path, work):
    """One system call, or a few that wait for one thing: it ends in time."""
    before, lag = time.monotonic(), LAG.total
    try:
        return work()
    finally:
        # The kernel, mailfs and the proxy wait for the machine, too.
        took, lag = time.monotonic() - before, 2 * (LAG.total - lag)
        Longest.note(took, lag, "%s %s" % (what, path))
        assert took - lag < (TIMEOUT + 1) * SLOW, (what, path, took, lag)


def read(path):
    got = b""
    with timed("open", path, lambda: open(path, "rb", buffering=0)) as file:
        while True:
            piece = timed("read", path, lambda: file.read(65536))
            if not piece:
                return got
            got += piece


def outcome(mount, path, wanted):
    """Its errno; 0: it is what is wanted. Each step of a path is an operation of its own, with a deadline of its own."""
    names = path.split("/")
    try:
        for count in range(1, len(names) + 1):
            timed("stat", names[:count], lambda count=count: os.stat(mount.sub(*names[:count])))
        if isinstance(wanted, list):
            got = sorted(timed("list", path, lambda: os.listdir(mount.sub(path))))
        else:
            got = read(mount.sub(path))
        assert got == wanted, path
        return 0
    except OSError as error:
        assert error.errno in ERRORS, (path, error)
        return error.errno


class Looks:
    """What the mount shows when all is well: {path: names or bytes}."""

    def __init__(self, server, home, cutter):
        with mounted(home, cutter.line(server.port_plain)) as mount:
            inbox, large = mount.by_uid("INBOX"), mount.by_uid("Large")
            parts = os.path.join("INBOX", ".parts", os.path.basename(inbox[1])[:-4])
            self.all = {path: mount.names(path) for path in ("INBOX", "Large")}
            for path, data in ((inbox[1], SMALL[0]), (inbox[2], SMALL[1]), (large[1], LARGE)):
                self.all[os.path.relpath(path, mount.path)] = data
            # No two readers go to the same place: the kernel has the second wait until the first is answered, and then asks for him.
            self.all[os.path.join(parts, "1-text.txt")] = b"In plain words.\r\n"

    def heal(self, mount):
        """Each of it is right again. On a busy machine not all at the first attempt, as the deadline is short."""
        for path, wanted in self.all.items():
            eventually(lambda path=path, wanted=wanted: outcome(mount, path, wanted) == 0, 20)


@pytest.fixture(scope="module")
def looks(server, cutter):
    home = Home()
    yield Looks(server, home, cutter)
    home.remove()


def begin_all(mount, looks):
    """Readers of all of it: (threads, what went wrong, what gave an error)."""
    wrong, failed = [], []

    def run(path, wanted):
        try:
            if outcome(mount, path, wanted):
                failed.append(path)
        except BaseException as error:  # pylint: disable=broad-except
            wrong.append(error)

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in looks.all.items()]
    for thread in threads:
        thread.start()
    return threads, wrong, failed


def in_use(server, cutter, looks, case):
    word, fault, again = case
    home, line = Home(), cutter.line(server.port_plain)
    try:
        with mounted(home, line) as mount:
            line.expect(word, fault, again)
            threads, wrong, failed = begin_all(mount, looks)
            for thread in threads:
                thread.join()
            assert not wrong, wrong
            assert line.faults or failed or word in RARE, case
            line.arm()
            looks.heal(mount)
    finally:
        home.remove()


@pytest.mark.limit(120)
def test_in_use(server, cutter, looks, record_property):
    cases = some([(word, fault, again) for again in (False, True) for word in STAGES for fault in FAULTS], 6)
    side_by_side(cases, lambda case: in_use(server, cutter, looks, case), AT_ONCE)
    line = "%d faults in use: the longest operation took %.2f s of %d (raw: %.2f s): %s" % (len(cases), Longest.took, TIMEOUT + 1, Longest.raw, Longest.what)
    print("\n" + line)
    record_property("figures", line)


def left(server, cutter, looks, case):
    """In the middle, while somebody waits: the mount point is free at once, who waits gets an error in time, and the process ends."""
    home, line = Home(), cutter.line(server.port_plain)
    try:
        mount = mounted(home, line)
        line.expect(*case, again=True)
        threads, *_ = begin_all(mount, looks)
        end = time.monotonic() + 5 * SLOW
        while not line.faults and time.monotonic() < end and any(thread.is_alive() for thread in threads):
            time.sleep(0.005)
        before = time.monotonic()
        subprocess.run(["fusermount3", "-uz", mount.path], check=True)
        assert time.monotonic() - before < 1 * SLOW and not is_mounted(mount.path)
        for thread in threads:
            thread.join((TIMEOUT + 3) * SLOW)
            assert not thread.is_alive(), "a reader hangs"
        mount.wait(TIMEOUT + 8)
    finally:
        home.remove()


@pytest.mark.limit(120)
def test_left(server, cutter, looks):
    side_by_side(some([(word, fault) for word in STAGES[:3] for fault in FAULTS], 6), lambda case: left(server, cutter, looks, case), AT_ONCE)


def while_mounting(cutter, looks, case):
    """It fails in time, in one line; or works, if the fault can be waited for or tried again."""
    scheme, port, word, fault, again = case
    home, line = Home(), cutter.line(port)
    url, path = "%s://stages@localhost:%d" % (scheme, line.port), home.mountpoint()
    try:
        line.expect(word, fault, again)
        before = time.monotonic()
        code, text = home.run(url, path, options(home))
        took = time.monotonic() - before
        assert took < MOUNTING * SLOW, took
        assert line.faults or word in RARE, case
        assert code in (0, 3) and len(text.splitlines()) <= 1, (code, text)
        line.arm()
        if code:
            assert not is_mounted(path) and text.startswith("mailfs: "), text
            home.run(url, path, options(home)[:-1])
            assert is_mounted(path)
        if scheme == "imap":
            eventually(lambda: sorted(os.listdir(os.path.join(path, "INBOX"))) == looks.all["INBOX"], 10)
        else:
            assert sorted(read(os.path.join(path, name)) for name in os.listdir(path)) == sorted(SMALL)
        unmount(path)
    finally:
        home.remove()


@pytest.mark.limit(120)
def test_while_mounting(server, cutter, looks):
    cases = [("imap", server.port_plain, word, fault, again) for word in STAGES_MOUNTING for fault in FAULTS for again in (False, True)]
    cases += [("pop3", server.port_pop3, word, fault, False) for word in STAGES_POP3 for fault in FAULTS]
    cases = some(cases, 6)
    side_by_side(cases, lambda case: while_mounting(cutter, looks, case), AT_ONCE)
    print("\n%d faults while mounting" % len(cases))
