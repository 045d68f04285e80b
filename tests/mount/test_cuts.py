# SPDX-License-Identifier: MIT
"""
A session cut off after N bytes, in either direction: mounting, listing, reading a message and a part of one. Each gives what is right, or an error;
and when the line is whole again everything is right. Each N is a mount of its own with an empty store. Over TLS, without it, in what is in clear before
STARTTLS and STLS, deflated, and while the server is waited for (IDLE).

MAILFS_TEST_CUTS=all tries every N, which takes hours; without it, those that a stride meets, from a place that differs from day to day.
"""

import collections
import concurrent.futures
import errno
import os
import threading
import time

import pytest

import fake.imap
import mails
from cutter import ENDINGS, TO_CLIENT, TO_SERVER, Cutter
from dovecot import Dovecot, Settings
from harness import SLOW, Home, Lag, Mount, eventually
from maildir import Mail

EVERY = os.environ.get("MAILFS_TEST_CUTS", "")
WORKERS = 12
TIMEOUT = 5
ERRORS = (errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH)
SMALL = [mails.to_bytes(mails.html()), mails.to_bytes(mails.message("Bob <bob@example.org>", "Two", "Short.\r\n")),
         b"From: c@example.org\r\nSubject: three\r\n\r\n" + b"line\r\n" * 40]
PART = b"In plain words.\r\n"


@pytest.fixture(scope="module")
def server():
    with Dovecot(Settings(rawlog=False, compress=True)) as dovecot:
        dovecot.add_user("cuts")
        dovecot.deliver("cuts", "INBOX", [Mail(data, mails.START + n) for n, data in enumerate(SMALL)])
        dovecot.deliver("cuts", "Other", [Mail(SMALL[1], mails.START)])
        yield dovecot


class Kind:
    """What is mounted, and how it is looked at. trust: what says whom to trust. reference: what it shows without a fault; {path: bytes}."""

    def __init__(self, server, scheme, port, trust, *options):
        self.server, self.scheme, self.port, self.reference = server, scheme, port, {}
        self.options = ["timeout=%d" % TIMEOUT, trust, *options]
        self.tally = Tally()

    @property
    def folder(self):
        return "" if self.scheme.startswith("pop3") else "INBOX"

    def url(self, line):
        return "%s://cuts@localhost:%d" % (self.scheme, line.port)

    def mount(self, home, line):
        return Mount(home, self.url(line), ["password_file=" + home.password_file, *self.options])

    def learn(self, home, line):
        """All there is to see, without a fault; how many bytes that took in each direction, and how many of them come before TLS."""
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
            passed, clear = list(line.passed), [max(head.find(HELLO), 0) for head in line.heads]
        wipe(home)
        return passed, clear

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
            self.tally.time(time.monotonic() - before, 2 * (LAG.total - lag), path)
        return missing


LAG = Lag()
HELLO = b"\x16\x03"


class Tally:
    """Of a kind. met: places at which something was cut. longest: without what the machine made others wait; raw: as it was, of the same or another operation."""

    def __init__(self):
        self.places = self.met = self.cuts = self.refused = self.failed = 0
        self.longest = self.raw = 0.0
        self.wrong = []
        self.lock = threading.Lock()

    def add(self, cuts, refused, missing):
        with self.lock:
            self.met += bool(cuts)
            self.cuts += cuts
            self.refused += refused
            self.failed += bool(missing)

    def time(self, took, lag, what):
        with self.lock:
            self.longest, self.raw = max(self.longest, took - lag), max(self.raw, took)
        assert took - lag < (TIMEOUT + 1) * SLOW, (what, took, lag)

    def __str__(self):
        return "%d places, %d of them met, %d cuts; %d were not mounted, %d gave an error; the longest operation took %.2f s of %d (raw: %.2f s)" % (
            self.places, self.met, self.cuts, self.refused, self.failed, self.longest, TIMEOUT + 1, self.raw)


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


def cut(kind, home, line, place):
    way, after, ending, times = place
    line.arm(way, after, ending, times)
    mount = begin(kind, home, line)
    missing = kind.look(mount) if mount else {}
    kind.tally.add(line.cuts, mount is None, missing)
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


# --- IDLE: a server of its own for each cut, as something happens there ---

def letter(number):
    return fake.imap.Message(number, b"Subject: letter %d\r\n\r\nbody %d\r\n" % (number, number))


class IdleKind(Kind):
    """A message comes while the server is waited for. Nothing but its word, or a new connection, can bring it: refresh= is a day."""

    def __init__(self):
        super().__init__(None, "imap", 0, "tls=none", "refresh=86400")

    def wait(self, server, line):
        """Until somebody waits, or it is over."""
        end = time.monotonic() + 10 * SLOW
        while time.monotonic() < end and not line.cuts and not any(session.idling for session in server.sessions):
            time.sleep(0.005)

    def holds(self, mount, server):
        """It shows what is there. False: not yet; wrong bytes fail."""
        try:
            paths = self.timed(mount.by_uid, "INBOX")
            for message in server.boxes["INBOX"].messages:
                if message.uid in paths:
                    assert self.timed(mount.read, paths[message.uid]) == message.data
            assert set(paths) <= {message.uid for message in server.boxes["INBOX"].messages}
            return len(paths) == len(server.boxes["INBOX"].messages)
        except OSError as error:
            assert error.errno in ERRORS, error
            return False

    def timed(self, work, *args):
        before, lag = time.monotonic(), LAG.total
        try:
            return work(*args)
        finally:
            self.tally.time(time.monotonic() - before, 2 * (LAG.total - lag), args)

    def play(self, home, cutter, place):
        """passed, when the message comes and when it was shown."""
        with fake.imap.Server({"INBOX": fake.imap.Box([letter(1), letter(2)])}, fake.imap.CAPABILITY + " IDLE") as server:
            line = cutter.line(server.port)
            line.arm(*place)
            mount = begin(self, home, line)
            refused = mount is None
            if refused:
                line.arm()
                mount = self.mount(home, line)
            try:
                self.holds(mount, server)
                self.wait(server, line)
                waiting = list(line.passed)
                server.add("INBOX", letter(3))
                if place and place[3] > 1 and not refused:
                    eventually(lambda: line.cuts > 1 or self.holds(mount, server), 20)
                    self.tally.add(line.cuts, refused, {})
                    line.arm()
                eventually(lambda: self.holds(mount, server), 20)
                if not (place and place[3] > 1):
                    self.tally.add(line.cuts, refused, {})
                shown = list(line.passed)
                mount.stop()
                return waiting, shown
            finally:
                mount.kill()
                wipe(home)


# --- All of them, side by side ---

def chosen(first, last, count):
    """All places, or about so many, spread over the length, from another start each day."""
    if EVERY == "all":
        return range(first, last + 1)
    stride = max(1, (last - first) // count)
    return range(first + int(time.time()) // 86400 % stride, last + 1, stride)


def place(way, after):
    """Once, or each connection that there is from then on."""
    return way, after, ENDINGS[after % 2], 1 if after % 3 else 1000000


KINDS = {"imap": ("imap", "port_plain", "tls=none", "connections=1"), "imaps": ("imaps", "port_tls", "", "connections=1"),
         "starttls": ("imap", "port_plain", "", "connections=1"), "deflate": ("imap", "port_plain", "tls=none", "connections=1", "compress=on"),
         "pop3": ("pop3", "port_pop3", "tls=none"), "pop3s": ("pop3s", "port_pop3_tls", ""), "stls": ("pop3", "port_pop3", "")}
COUNTS = {"imap": 20, "imaps": 6, "starttls": 3, "deflate": 8, "pop3": 8, "pop3s": 3, "stls": 2, "idle": 4}
# Of what is in clear before TLS, where there is TLS after it.
CLEAR = {"starttls": 8, "stls": 5}


def places_of(name, passed, clear):
    found = []
    for way in (TO_CLIENT, TO_SERVER):
        found += [place(way, after) for after in chosen(clear[way], passed[way], COUNTS[name] * passed[way] // sum(passed) + 2)]
        if name in CLEAR:
            assert clear[way] > 0, name
            found += [place(way, after) for after in chosen(0, clear[way] - 1, CLEAR[name] * clear[way] // sum(clear) + 2)]
    return found


def learn(server, home, cutter):
    """(kind, place) of each cut: what a worker does."""
    jobs, kinds = [], {}
    for name, (scheme, port, trust, *options) in KINDS.items():
        kind = kinds[name] = Kind(server, scheme, getattr(server, port), trust or "tls_ca=" + server.ca, *options)
        passed, clear = kind.learn(home, cutter.line(kind.port))
        print("\n%s: %d bytes to the client, %d to the server; %d and %d of them before TLS" % (name, *passed, *clear), end="")
        jobs.append([(kind, one) for one in places_of(name, passed, clear)])
    idle = kinds["idle"] = IdleKind()
    waiting, shown = idle.play(home, cutter, ())
    places = [place(way, after) for way in (TO_CLIENT, TO_SERVER)
              for after in (*chosen(0, waiting[way] - 1, 3), *chosen(waiting[way], shown[way], COUNTS["idle"]))]
    jobs.append([(idle, one) for one in places])
    return kinds, [job for each in jobs for job in each]


def work(cutter, todo):
    """A worker has a home of its own, and takes the next place."""
    home, lines = Home(), {}
    try:
        while True:
            try:
                kind, where = todo.popleft()
            except IndexError:
                return
            kind.tally.places += 1
            try:
                if isinstance(kind, IdleKind):
                    kind.play(home, cutter, where)
                else:
                    line = lines.get(kind.port) or cutter.line(kind.port)
                    lines[kind.port] = line
                    cut(kind, home, line, where)
            except BaseException as error:  # pylint: disable=broad-except
                kind.tally.wrong.append("%s: %r" % (where, error))
    finally:
        home.remove()


@pytest.fixture(scope="module")
def tallies(server):
    """Of all kinds: what happened."""
    home = Home()
    with Cutter() as cutter:
        try:
            kinds, jobs = learn(server, home, cutter)
        finally:
            home.remove()
        todo = collections.deque(sorted(jobs, key=lambda job: not job[0].scheme.startswith("pop3")))  # these take the longest
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            for done in [pool.submit(work, cutter, todo) for _ in range(WORKERS)]:
                done.result()
        print("\n%d places in %.1f s" % (len(jobs), time.monotonic() - began))
    return {name: kind.tally for name, kind in kinds.items()}


@pytest.mark.limit(24 * 3600 if EVERY else 120)
@pytest.mark.parametrize("name", [*KINDS, "idle"])
def test_cut(tallies, name, record_property):
    tally = tallies[name]
    print("\n%s: %s" % (name, tally))
    record_property("cuts", str(tally))
    assert not tally.wrong, "%d:\n%s" % (len(tally.wrong), "\n".join(tally.wrong[:10]))
    # What a session says differs by some bytes from one to the next: behind the end nothing is cut.
    assert tally.met >= tally.places * 0.7
