# SPDX-License-Identifier: MIT
"""
A session cut off after N bytes, in either direction: mounting, listing, reading a message and a part of one. Each gives what is right, or an error;
and when the line is whole again everything is right. Each N is a mount of its own with an empty store.

MAILFS_TEST_CUTS=all tries every N; without it, those that a stride meets, from a place that differs from day to day.
"""

import errno
import os
import threading
import time

import pytest

import mails
from cutter import ENDINGS, TO_CLIENT, TO_SERVER, Cutter
from dovecot import Dovecot, Settings
from harness import SLOW, Home, Lag, Mount, eventually
from maildir import Mail

EVERY = os.environ.get("MAILFS_TEST_CUTS", "")
WORKERS = 6
TIMEOUT = 5
ERRORS = (errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH)
SMALL = [mails.to_bytes(mails.html()), mails.to_bytes(mails.message("Bob <bob@example.org>", "Two", "Short.\r\n")),
         b"From: c@example.org\r\nSubject: three\r\n\r\n" + b"line\r\n" * 40]
PART = b"In plain words.\r\n"


@pytest.fixture(scope="module")
def server():
    with Dovecot(Settings(rawlog=False)) as dovecot:
        dovecot.add_user("cuts")
        dovecot.deliver("cuts", "INBOX", [Mail(data, mails.START + n) for n, data in enumerate(SMALL)])
        dovecot.deliver("cuts", "Other", [Mail(SMALL[1], mails.START)])
        yield dovecot


class Kind:
    """What is mounted, and how it is looked at. reference: what it shows without a fault; {path: bytes}."""

    def __init__(self, server, scheme, port, *options):
        self.server, self.scheme, self.port, self.reference = server, scheme, port, {}
        self.options = ["timeout=%d" % TIMEOUT, *options]

    @property
    def folder(self):
        return "" if self.scheme.startswith("pop3") else "INBOX"

    def url(self, line):
        return "%s://cuts@localhost:%d" % (self.scheme, line.port)

    def trust(self, home):
        return ["password_file=" + home.password_file, "tls_ca=" + self.server.ca if self.scheme.endswith("s") else "tls=none"]

    def mount(self, home, line):
        return Mount(home, self.url(line), self.trust(home) + self.options)

    def learn(self, home, line):
        """All there is to see, without a fault; how many bytes that took in each direction."""
        line.arm()
        with self.mount(home, line) as mount:
            names = [name for name in mount.names(self.folder) if name.endswith(".eml")]
            assert sorted(map(mount.read, (os.path.join(self.folder, name) for name in names))) == sorted(SMALL)
            two = next(name for name in names if mount.read(self.folder, name) == SMALL[0])
            one = next(name for name in names if mount.read(self.folder, name) == SMALL[2])
            part = os.path.join(self.folder, ".parts", two[:-4], "1-text.txt")
            assert mount.read(part) == PART
            self.reference = {"": mount.names(), self.folder: mount.names(self.folder), os.path.join(self.folder, one): SMALL[2], part: PART}
        wipe(home)
        line.arm()
        with self.mount(home, line) as mount:
            assert not self.look(mount)
            passed = list(line.passed)
        wipe(home)
        return passed

    def look(self, mount):
        """What is not there: {path: errno}; what is there and wrong fails."""
        missing = {}
        for path, wanted in self.reference.items():
            before, lag = time.monotonic(), LAG.total
            try:
                got = mount.read(path) if isinstance(wanted, bytes) else mount.names(path)
                assert got == wanted, (path, got)
            except OSError as error:
                assert error.errno in ERRORS, (path, error)
                missing[path] = error.errno
            took = time.monotonic() - before - 2 * (LAG.total - lag)
            assert took < (TIMEOUT + 1) * SLOW, (path, took)
            Tally.longest = max(Tally.longest, took)
        return missing


LAG = Lag()


class Tally:
    longest = 0.0

    def __init__(self):
        self.cuts = self.refused = self.failed = 0
        self.lock = threading.Lock()

    def add(self, cuts, refused, missing):
        with self.lock:
            self.cuts += cuts
            self.refused += refused
            self.failed += bool(missing)


def wipe(home):
    home.wipe_cache()
    home.wipe_state()


def begin(kind, home, line):
    """A mount, or None where the server could not be reached: then it said so, in a line."""
    try:
        return kind.mount(home, line)
    except RuntimeError as error:
        text = str(error)
        assert text.count("\n") == 1 and "mailfs: " in text, text
        return None


def cut(kind, home, line, place, tally):
    way, after, ending, times = place
    line.arm(way, after, ending, times)
    mount = begin(kind, home, line)
    missing = kind.look(mount) if mount else {}
    tally.add(line.cuts, mount is None, missing)
    if mount and times > 1:
        line.arm()
    if mount is None:
        line.arm()
        mount = kind.mount(home, line)
    try:
        eventually(lambda: not kind.look(mount), 20)
        mount.stop()
    finally:
        mount.kill()
        wipe(home)


def in_parallel(kind, cutter, places, tally):
    """Each worker has a line and a home of its own, and takes the next place."""
    todo, wrong = list(reversed(places)), []

    def work():
        home, line = Home(), cutter.line(kind.port)
        try:
            while todo and len(wrong) < 10:
                try:
                    place = todo.pop()
                except IndexError:
                    break
                try:
                    cut(kind, home, line, place, tally)
                except BaseException as error:  # pylint: disable=broad-except
                    wrong.append("%s: %r" % (place, error))
        finally:
            home.remove()

    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, "%d:\n%s" % (len(wrong), "\n".join(wrong))


def chosen(length, count):
    """All places, or about so many, spread over the length, from another start each day."""
    if EVERY == "all":
        return range(length + 1)
    stride = max(1, length // count)
    return range(int(time.time()) // 86400 % stride, length + 1, stride)


KINDS = {"imap": ("imap", "port_plain", "connections=1"), "imaps": ("imaps", "port_tls", "connections=1"),
         "pop3": ("pop3", "port_pop3"), "pop3s": ("pop3s", "port_pop3_tls")}
COUNTS = {"imap": 40, "imaps": 8, "pop3": 16, "pop3s": 4}


@pytest.mark.limit(7200 if EVERY else 60)
@pytest.mark.parametrize("name", sorted(KINDS))
def test_cut(server, home, name):
    scheme, port, *options = KINDS[name]
    kind, tally = Kind(server, scheme, getattr(server, port), *options), Tally()
    with Cutter() as cutter:
        passed = kind.learn(home, cutter.line(kind.port))
        places = []
        for way, length in ((TO_CLIENT, passed[TO_CLIENT]), (TO_SERVER, passed[TO_SERVER])):
            for after in chosen(length, COUNTS[name] * length // sum(passed) + 4):
                # Once, or each connection that there is from then on.
                places.append((way, after, ENDINGS[after % 2], 1 if after % 3 else 1000000))
        began = time.monotonic()
        in_parallel(kind, cutter, places, tally)
    took = time.monotonic() - began
    print("\n%s: %d bytes to the client, %d to the server; %d places, %d cuts, %.1f places a second; %d were not mounted, %d gave an error; "
          "the longest operation took %.2f s of %d" % (name, *passed, len(places), tally.cuts, len(places) / took, tally.refused, tally.failed,
                                                       Tally.longest, TIMEOUT))
    assert tally.cuts >= len(places) * 0.8
