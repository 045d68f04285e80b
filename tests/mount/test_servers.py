# SPDX-License-Identifier: MIT
"""Servers that say what they should not: no message is skipped, no lie is believed, the rest of the mount goes on."""

import errno
import os
import subprocess

import pytest

import mails
from fake.imap import CAPABILITY, Box, Message, Server, fetch_item, split_items
from harness import Mount

SMALL = b"From: Alice Smith <alice@example.org>\r\nSubject: number %d\r\n\r\nbody %d\r\n"
LARGE = mails.to_bytes(mails.large(megabytes=1))


def messages(count=3):
    return [Message(uid, SMALL % (uid, uid)) for uid in range(1, count + 1)]


@pytest.fixture
def serve(home):
    """Starts a server with these messages in INBOX: (server, function that mounts it)."""
    started = []

    def start(content, capability=CAPABILITY, **boxes):
        fake = Server({"INBOX": Box(content), **boxes}, capability)
        started.append(fake)
        return fake, lambda *options: Mount(home, "imap://me@127.0.0.1:%d" % fake.port,
                                            ["tls=none", "password_file=" + home.password_file, *options])

    yield start
    for fake in started:
        fake.__exit__()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def cat(path):
    return subprocess.run(["cat", path], check=True, capture_output=True).stdout


MALFORMED = {
    "date": b'* 2 FETCH (UID 2 FLAGS (\\Seen) INTERNALDATE "never" RFC822.SIZE 64)\r\n',
    "size": b'* 2 FETCH (UID 2 FLAGS () INTERNALDATE "14-Nov-2023 22:13:20 +0000" RFC822.SIZE huge)\r\n',
    "negative size": b'* 2 FETCH (UID 2 FLAGS () INTERNALDATE "14-Nov-2023 22:13:20 +0000" RFC822.SIZE -5)\r\n',
    "missing columns": b"* 2 FETCH (UID 2)\r\n",
    "open parenthesis": b'* 2 FETCH (UID 2 FLAGS (\\Seen INTERNALDATE "14-Nov-2023 22:13:20 +0000" RFC822.SIZE 64\r\n',
    "open string": b'* 2 FETCH (UID 2 FLAGS () INTERNALDATE "14-Nov-2023 22:13:20\r\n',
    "NIL header": b'* 2 FETCH (UID 2 FLAGS () INTERNALDATE "14-Nov-2023 22:13:20 +0000" RFC822.SIZE 64 BODY[HEADER.FIELDS (SUBJECT)] NIL)\r\n',
    "no UID": b'* 2 FETCH (FLAGS () RFC822.SIZE 64)\r\n',
    "UID 0": b'* 2 FETCH (UID 0 FLAGS () RFC822.SIZE 64)\r\n',
    "garbage": b"* 2 FETCH \x01\x02)))\r\n",
    "dropped": b"",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_row(serve, kind):
    """The message is in the listing, by its UID, and reading it gives its bytes or an error."""
    fake, mount_it = serve(messages())

    def row(_session, message, data):
        return MALFORMED[kind] if message.uid == 2 and b"RFC822.SIZE" in data else data

    fake.row = row
    with mount_it() as mount:
        paths = mount.by_uid("INBOX")
        assert sorted(paths) == [1, 2, 3], mount.names("INBOX")
        assert read(paths[1]) == SMALL % (1, 1) and read(paths[3]) == SMALL % (3, 3)
        try:
            assert read(paths[2]) == SMALL % (2, 2)
        except OSError as error:
            assert error.errno == errno.EIO


def test_rows_out_of_order(serve):
    fake, mount_it = serve(messages(50))

    def backwards(session, tag, args):
        _, _, items = args.partition(" ")
        if "RFC822.SIZE" not in items:
            return False
        for message in reversed(session.box.messages):
            row = b" ".join(fetch_item(message, name) for name in ["UID"] + split_items(items))
            session.send(b"* %d FETCH (%s)\r\n" % (message.uid, row))
        session.done(tag)
        return True

    fake.on["UID FETCH"] = backwards
    with mount_it() as mount:
        paths = mount.by_uid("INBOX")
        assert sorted(paths) == list(range(1, 51))
        assert all(read(path) == SMALL % (uid, uid) for uid, path in paths.items())


NOISE = (b"* OK [ALERT] The server is being watched.\r\n* OK Still here\r\n* FLAGS (\\Seen custom)\r\n* 3 EXISTS\r\n* 1 RECENT\r\n"
         b'* STATUS "INBOX" (MESSAGES 3)\r\n* XWARN whatever "it \\" is" {3}\r\n)))\r\n* 1 FETCH (FLAGS (\\Seen) UID 1)\r\n')


def test_untagged_noise(serve):
    """A server may say anything at any time."""
    fake, mount_it = serve(messages())
    fake.row = lambda _session, _message, row: NOISE + row + NOISE
    with mount_it() as mount:
        paths = mount.by_uid("INBOX")
        assert sorted(paths) == [1, 2, 3]
        assert all(read(path) == SMALL % (uid, uid) for uid, path in paths.items())


@pytest.mark.parametrize("data", [SMALL % (1, 1), LARGE], ids=["small", "large"])
@pytest.mark.parametrize("lie", [-500, -30, -1, 1, 30, 200000])
def test_wrong_size(serve, data, lie):
    """RFC822.SIZE is provisional: a reader gets all of the message, and the size is right afterwards."""
    size = max(1, len(data) + lie)
    _, mount_it = serve([Message(1, data, size=size)])
    with mount_it() as mount:
        path = mount.by_uid("INBOX")[1]
        assert cat(path) == data
        assert os.stat(path).st_size == len(data)
        assert read(path) == data
    with mount_it() as mount:
        assert os.stat(mount.by_uid("INBOX")[1]).st_size == len(data)


def test_gmail_labels(serve):
    content = messages(2)
    content[0].extra["X-GM-LABELS"] = '("\\\\Important" Work "two words")'
    content[1].extra["X-GM-LABELS"] = "()"
    fake, mount_it = serve(content, capability=CAPABILITY + " X-GM-EXT-1")
    with mount_it() as mount:
        paths = mount.by_uid("INBOX")
        labels = os.getxattr(paths[1], "user.mailfs.labels").decode()
        assert "Important" in labels and "Work" in labels and "two words" in labels
        assert os.getxattr(paths[2], "user.mailfs.labels") == b""
        assert "user.mailfs.labels" in os.listxattr(paths[1])
    assert fake.count("X-GM-LABELS") >= 1


def test_message_gone_without_a_word(serve):
    """OK, but no row: gone, not empty."""
    fake, mount_it = serve(messages())
    with mount_it() as mount:
        paths = mount.by_uid("INBOX")
        fake.boxes["INBOX"].messages.pop(1)
        with pytest.raises(OSError) as error:
            read(paths[2])
        assert error.value.errno in (errno.ENOENT, errno.EIO)
        assert read(paths[3]) == SMALL % (3, 3)


@pytest.mark.parametrize("answer", [b"BODY[] NIL", b'BODY[] ""', b"BODY[] {5}\r\nshort"], ids=["NIL", "empty", "short"])
def test_body_that_is_not_the_message(serve, answer):
    """Less than was announced is not the message, unless the server says so each time it is asked."""
    fake, mount_it = serve(messages())

    def row(_session, message, data):
        if message.uid == 2 and b"BODY[]" in data:
            return b"* 2 FETCH (UID 2 %s)\r\n" % answer
        return data

    fake.row = row
    with mount_it() as mount:
        paths = mount.by_uid("INBOX")
        try:
            assert cat(paths[2]) == (b"short" if b"short" in answer else b"")
            assert os.stat(paths[2]).st_size == (5 if b"short" in answer else 0)
        except subprocess.CalledProcessError:
            pass  # EIO: as good an answer
        assert read(paths[3]) == SMALL % (3, 3)


def test_body_refused(serve):
    """NO to one message is that message's error only."""
    fake, mount_it = serve(messages())

    def refuse(session, tag, args):
        if args.startswith("2 ") and "BODY" in args and "HEADER.FIELDS" not in args:
            session.done(tag, "NO Can not be read.")
            return True
        return False

    fake.on["UID FETCH"] = refuse
    with mount_it() as mount:
        paths = mount.by_uid("INBOX")
        for _ in range(2):
            with pytest.raises(OSError) as error:
                read(paths[2])
            assert error.value.errno == errno.EIO
        assert read(paths[1]) == SMALL % (1, 1)


STRUCTURES = {
    "not a list": b"NIL",
    "unbalanced": b'("TEXT" "PLAIN" NIL NIL NIL "7BIT"',
    "numbers": b"(1 2 3)",
    "deep": b"(" * 500 + b'"TEXT"' + b")" * 500,
    "empty": b"()",
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_structure_that_can_not_be_understood(serve, kind):
    """An error on that message's parts (or its whole as one part), not a hang or a crash; the others are there."""
    content = messages()
    content[1].structure = STRUCTURES[kind]
    _, mount_it = serve(content)
    with mount_it("timeout=5") as mount:
        paths = {uid: os.path.join(mount.sub("INBOX", ".parts"), os.path.basename(path)[:-4])
                 for uid, path in mount.by_uid("INBOX").items()}
        assert sorted(os.listdir(paths[1])) == sorted(os.listdir(paths[3])) == ["1-text.txt", "headers.txt"]
        assert read(os.path.join(paths[1], "1-text.txt")) == b"body 1\r\n"
        try:
            assert "headers.txt" in os.listdir(paths[2])
        except OSError as error:
            assert error.errno == errno.EIO
        assert read(mount.by_uid("INBOX")[2]) == SMALL % (2, 2)


def test_uidvalidity_changes(serve):
    """Other messages under the same UIDs are other files."""
    fake, mount_it = serve(messages(2))
    with mount_it("refresh=0") as mount:
        path = mount.by_uid("INBOX")[1]
        inode = os.stat(path).st_ino
        assert read(path) == SMALL % (1, 1)
    fake.boxes["INBOX"] = Box([Message(1, SMALL % (77, 77))], uidvalidity=1800000000)
    with mount_it("refresh=0") as mount:
        paths = mount.by_uid("INBOX")
        assert sorted(paths) == [1] and read(paths[1]) == SMALL % (77, 77)
        assert os.stat(paths[1]).st_ino != inode


def test_uidvalidity_changes_under_a_mount(serve):
    fake, mount_it = serve(messages(2))
    with mount_it("refresh=0") as mount:
        path = mount.by_uid("INBOX")[2]
        fake.boxes["INBOX"] = Box([Message(1, SMALL % (77, 77)), Message(2, SMALL % (78, 78))], uidvalidity=1800000000)
        for session in list(fake.sessions):
            session.cut()
        paths = mount.by_uid("INBOX")
        assert read(paths[2]) == SMALL % (78, 78)
        assert not os.path.exists(path)


def test_no_capabilities_in_the_greeting(serve):
    """Then they are asked for."""
    fake, mount_it = serve(messages())
    fake.greeting = "* OK Ready."
    with mount_it() as mount:
        assert len(mount.by_uid("INBOX")) == 3
    assert fake.count("CAPABILITY") >= 1


def test_bare_server(serve):
    """IMAP4rev1 and nothing else."""
    _, mount_it = serve(messages(), capability="IMAP4rev1")
    with mount_it() as mount:
        assert [read(path) for _, path in sorted(mount.by_uid("INBOX").items())] == [SMALL % (n, n) for n in (1, 2, 3)]


def test_bye_instead_of_a_greeting(serve, home):
    fake, _ = serve([])
    fake.greeting = "* BYE Too many connections from your address."
    code, text = home.run("imap://me@127.0.0.1:%d" % fake.port, home.mountpoint(), ["tls=none", "password_file=" + home.password_file])
    assert code != 0 and "Too many connections" in text and len(text.splitlines()) == 1


def test_a_line_without_end(serve, home):
    """A server that never ends its line costs a limited amount of memory and an error."""
    fake, _ = serve([])

    def endless(session, _tag, _args):
        session.send(b"* LIST (" + b"x" * 8_000_000)
        return True

    fake.on["LIST"] = endless
    code, text = home.run("imap://me@127.0.0.1:%d" % fake.port, home.mountpoint(),
                          ["tls=none", "timeout=5", "password_file=" + home.password_file])
    assert code != 0 and len(text.splitlines()) == 1, text


def test_literal_that_is_announced_too_large(serve):
    fake, mount_it = serve(messages())

    def row(_session, message, data):
        return b"* 2 FETCH (UID 2 BODY[] {4294967301}\r\n" if message.uid == 2 and b"BODY[]" in data else data

    fake.row = row
    with mount_it("timeout=5") as mount:
        paths = mount.by_uid("INBOX")
        with pytest.raises(OSError) as error:
            read(paths[2])
        assert error.value.errno in (errno.EIO, errno.ETIMEDOUT)
        assert read(paths[1]) == SMALL % (1, 1)
