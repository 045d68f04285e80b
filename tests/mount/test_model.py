# SPDX-License-Identifier: MIT
"""
A mailbox that another client changes at random (append, flag, move, expunge, many at once, and the server's renumbering), and a mount with
refresh=0 that agrees with it after each step: names, flags, bytes. On the three rungs of the ladder, which a Dovecot has when
its capabilities are masked.

A failure names its seed; MAILFS_TEST_SEED=… repeats it, MAILFS_TEST_SECONDS=… goes on for longer.
"""

import os
import random
import re
import time

import pytest

from dovecot import Dovecot, Settings
from proxy import Proxy

WORDS = ("IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE SORT THREAD=REFERENCES MULTIAPPEND UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED "
         "I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SPECIAL-USE QUOTA LITERAL+")
# What is left out; nothing watches on any of them, so that each step is found by the ladder.
RUNGS = {"qresync": (), "condstore": ("QRESYNC",), "scan": ("QRESYNC", "CONDSTORE", "ESEARCH")}
SECONDS = float(os.environ.get("MAILFS_TEST_SECONDS", "4"))
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "$Later")


@pytest.fixture(scope="module", params=list(RUNGS))
def rung(request):
    left = " ".join(word for word in WORDS.split() if word not in RUNGS[request.param])
    with Dovecot(Settings(capability=left)) as server:
        server.rung = request.param
        yield server


class Model:
    """The other client, and what it knows to be on the server."""

    def __init__(self, account, seed):
        self.account, self.random, self.log = account, random.Random(seed), []
        self.made = 0
        account.deliver("INBOX", [self.data() for _ in range(40)])
        account.deliver("Other", [])
        self.client = account.login()

    def data(self):
        self.made += 1
        return b"From: Bob <b@example.org>\r\nSubject: number %d\r\nMessage-ID: <%d@example.org>\r\n\r\n%s\r\n" % (
            self.made, self.made, b"x" * self.random.randrange(2000))

    def did(self, *what):
        self.log.append(" ".join(map(str, what)))

    def ok(self, answer):
        assert answer[0] == "OK", answer
        return answer[1]

    def server(self, folder="INBOX"):
        """{uid: (flags, bytes)} as the server has it."""
        self.ok(self.client.select(folder, readonly=True))
        rows = self.ok(self.client.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])"))
        found = {}
        for row in rows:
            if isinstance(row, tuple):
                uid = int(re.search(rb"UID (\d+)", row[0]).group(1))
                flags = re.search(rb"FLAGS \(([^)]*)\)", row[0]).group(1).decode().split()
                found[uid] = (set(flags) - {"\\Recent"}, row[1])
        return found

    def some(self, most):
        """UIDs that are there."""
        self.ok(self.client.select("INBOX"))
        uids = self.ok(self.client.uid("SEARCH", "ALL"))[0].split()
        return sorted(self.random.sample(uids, min(len(uids), self.random.randint(1, most))), key=int)

    def append(self):
        for _ in range(self.random.choice((1, 1, 1, 5))):
            flags = " ".join(self.random.sample(FLAGS, self.random.randrange(3)))
            self.ok(self.client.append("INBOX", "(%s)" % flags, None, self.data()))
        self.did("append")

    def flag(self, most=3):
        uids = self.some(most)
        if uids:
            how = self.random.choice(("+FLAGS", "-FLAGS", "FLAGS"))
            flags = " ".join(self.random.sample(FLAGS, self.random.randint(1, 2)))
            self.ok(self.client.uid("STORE", b",".join(uids).decode(), how, "(%s)" % flags))
            self.did(how, flags, uids)

    def expunge(self, most=3):
        uids = self.some(most)
        if uids:
            self.ok(self.client.uid("STORE", b",".join(uids).decode(), "+FLAGS.SILENT", "(\\Deleted)"))
            self.ok(self.client.expunge())
            self.did("expunge", uids)

    def move(self):
        uids = self.some(4)
        if uids:
            self.ok(self.client.uid("MOVE", b",".join(uids).decode(), "Other"))
            self.did("move", uids)

    def copy_back(self):
        self.ok(self.client.select("Other"))
        uids = self.ok(self.client.uid("SEARCH", "ALL"))[0].split()
        if uids:
            self.ok(self.client.uid("MOVE", self.random.choice(uids).decode(), "INBOX"))
            self.did("back")

    def many(self):
        """A flag for all, or half of them gone, or twenty more."""
        self.random.choice((lambda: self.flag(10000), lambda: self.expunge(60),
                            lambda: [self.append() for _ in range(10)]))()

    def came_and_went(self):
        self.ok(self.client.append("INBOX", "(\\Deleted)", None, self.data()))
        self.ok(self.client.select("INBOX"))
        self.ok(self.client.expunge())
        self.did("came and went")

    def renumber(self):
        """The server loses its list of UIDs, as after a restored backup."""
        self.client.logout()
        path = self.account.server.folder_path(self.account.name, "INBOX")
        for name in os.listdir(path):
            if name.startswith("dovecot") and os.path.isfile(os.path.join(path, name)):
                os.unlink(os.path.join(path, name))
        self.client = self.account.login()
        self.did("renumber")

    def step(self):
        kinds = (self.append, self.append, self.append, self.flag, self.flag, self.expunge, self.move, self.copy_back, self.many, self.came_and_went)
        for _ in range(self.random.choice((1, 1, 2, 4))):
            self.random.choice(kinds)()


def agree(model, mount, folder):
    expected = model.server(folder)
    paths = mount.by_uid(folder)
    assert sorted(paths) == sorted(expected)
    for uid, (flags, data) in expected.items():
        assert set(os.getxattr(paths[uid], "user.mailfs.flags").decode().split()) == flags, uid
        assert os.stat(paths[uid]).st_size == len(data), uid
    for uid in model.random.sample(sorted(expected), min(3, len(expected))):
        with open(paths[uid], "rb") as file:
            assert file.read() == expected[uid][1], uid


def run(model, mount):
    end, steps = time.monotonic() + SECONDS, 0
    while time.monotonic() < end or steps < 8:
        model.step()
        agree(model, mount, "INBOX")
        if steps % 3 == 0:
            agree(model, mount, "Other")
        steps += 1
    return steps


@pytest.mark.limit(60 + SECONDS)
def test_random_changes(rung, new_account):
    seed = int(os.environ.get("MAILFS_TEST_SEED") or random.randrange(1 << 32))
    account = new_account(rung)
    model = Model(account, seed)
    try:
        with account.mount("refresh=0") as mount:
            agree(model, mount, "INBOX")
            steps = run(model, mount)
        # What is stored is told apart from what has changed since.
        model.step()
        with account.mount("refresh=0") as mount:
            agree(model, mount, "INBOX")
            agree(model, mount, "Other")
        commands = account.commands()
    except BaseException:
        print("%s, seed %d: %s" % (rung.rung, seed, "; ".join(model.log[-12:])))
        raise
    print("%s: %d steps, seed %d" % (rung.rung, steps, seed))
    uses = {word: any(word in command for command in commands) for word in ("QRESYNC (", "CHANGEDSINCE", "UID SEARCH")}
    assert uses["QRESYNC ("] == (rung.rung == "qresync")
    assert uses["CHANGEDSINCE"] == (rung.rung == "condstore")


def test_renumbered(rung, new_account):
    """All UIDs are others; what was read is not fetched again, and is still right."""
    account = new_account(rung)
    model = Model(account, 1)
    for _ in range(5):
        model.append()
        model.expunge()
    with account.mount("refresh=0") as mount:
        agree(model, mount, "INBOX")
        before = {os.path.basename(path): mount.read(path) for path in mount.by_uid("INBOX").values()}
    # While no session has it open: Dovecot does not bear that.
    model.renumber()
    expected = model.server()
    account.server.forget_commands(account.name)
    with account.mount("refresh=0") as mount:
        paths = mount.by_uid("INBOX")
        assert sorted(paths) == sorted(expected)
        assert sorted(map(os.path.basename, paths.values())) != sorted(before)
        for uid, path in paths.items():
            assert mount.read(path) == expected[uid][1]
    assert account.commands("BODY.PEEK[]") == []


def test_wire_bytes(rung, new_account):
    """A remount of 3,000 messages, and what it costs: nothing when nothing has changed, and what has changed otherwise."""
    account = new_account(rung)
    account.deliver("INBOX", [b"From: Bob <b@example.org>\r\nSubject: number %d\r\n\r\nbody\r\n" % n for n in range(3000)])
    client = account.login()

    def cost(proxy):
        proxy.reset_counts()
        with account.mount(port=proxy.port) as mount:
            assert len(mount.names("INBOX")) == 3000
            return proxy.total

    with Proxy(account.server.port_tls) as proxy:
        first = cost(proxy)
        unchanged = cost(proxy)
        client.select("INBOX")
        client.uid("STORE", "1000:1099", "+FLAGS", "(\\Flagged)")
        client.uid("STORE", "2000:2099", "+FLAGS.SILENT", "(\\Deleted)")
        client.expunge()
        for number in range(100):
            client.append("INBOX", None, None, b"From: Bob <b@example.org>\r\nSubject: late %d\r\n\r\nbody\r\n" % number)
        changed = cost(proxy)
    client.logout()
    print("%s: first %d, unchanged %d, 300 changes %d bytes" % (rung.rung, first, unchanged, changed))
    if rung.rung == "scan":
        assert unchanged < first / 2
        return
    assert unchanged <= 8 * 1024
    assert changed - unchanged <= 300 * 200
