# SPDX-License-Identifier: MIT
"""
Mail that is made to hurt whoever takes it apart: it is whole as .eml, the folder's other messages are there, .parts shows what is within
limits and says in truncated.txt what is not; over IMAP, where the server takes it apart, and over POP3, where we do.
"""

import concurrent.futures
import contextlib
import errno
import os
import re
import stat
import time
import traceback

import pytest

import fake.imap
from dovecot import PASSWORD
from drops import frugal
from harness import SLOW, Home, Mount
from hostile_mails import DEEP, FIELDS, LONG, MANY, UNKNOWN, hostile, mixed, text
from leaks import outside_a_login
from maildir import Mail

REST = "Nothing of the message itself is missing: it is whole, as\n"
FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f/\\ \u202e\u200b\u2066]")


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


def check_name(name):
    """What a sender wrote has become a name that can be typed, and does not lie."""
    assert len(name.encode("utf-8", "strict")) <= 240
    assert not FORBIDDEN.search(name) and name[0].isdigit(), name


def check_truncated(directory, name, words):
    """truncated.txt is as it should be: its text, or None."""
    path = os.path.join(directory, "truncated.txt")
    if not words:
        assert "truncated.txt" not in os.listdir(directory)
        with pytest.raises(FileNotFoundError):
            os.stat(path)
        return None
    before = os.lstat(path)
    content = read(path)
    said = content.decode("ascii")
    assert before.st_size == len(content) == os.stat(path).st_size and stat.S_ISREG(before.st_mode)
    assert before.st_ino == os.stat(path).st_ino == [e.inode() for e in os.scandir(directory) if e.name == "truncated.txt"][0]
    assert all(word in said for word in words), said
    assert said.endswith(REST + name + ".eml\n") or REST + name in said, said
    with pytest.raises(OSError) as raised:
        os.getxattr(path, "user.mailfs.uid")
    assert raised.value.errno == errno.ENODATA and os.listxattr(path) == []
    return said[:said.index(REST)]


def check_values(path):
    """No value is longer than the kernel takes; all can be read."""
    for attribute in os.listxattr(path):
        value = os.getxattr(path, attribute)
        assert len(value) <= 65536
        value.decode("utf-8", "strict")


def served(account, uid):
    """A message as the server has it."""
    client = account.login()
    client.select("INBOX", readonly=True)
    data = client.uid("FETCH", str(uid), "(BODY.PEEK[])")[1][0][1]
    client.logout()
    return data


def by_content(mount, folder, wanted):
    """{case: name} of what is there, which is everything, byte for byte."""
    cases = {data: case for case, data in wanted.items()}
    assert len(cases) == len(wanted)
    found = {}
    for name in os.listdir(folder):
        check_name(name)
        assert name.endswith(".eml")
        data = read(folder, name)
        assert data in cases, name
        found[cases[data]] = name
        assert os.stat(os.path.join(folder, name)).st_size == len(data)
        check_values(os.path.join(folder, name))
    assert sorted(found) == sorted(wanted)
    # A field of any length takes none of the others away.
    assert "_Mallory_to-all." in found["recipients"]
    to = os.getxattr(os.path.join(folder, found["recipients"]), "user.mailfs.to").decode()
    assert to.startswith('"R 0" <r0@example.org>') and len(to.encode()) <= 65536 and to.count("@") > 1000
    assert found["a long subject"].count("s") > 100
    frugal(mount)
    return found


def check_parts(mount, folder, found, wanted, cut_of):
    """Every message's directory; {case: what truncated.txt says of it}."""
    said = {}
    for case, name in found.items():
        stem, message = name[:-len(".eml")], hostile()[case]
        directory = os.path.join(folder, ".parts", stem)
        start = time.monotonic()
        names = os.listdir(directory)
        assert time.monotonic() - start < 10 * SLOW, case
        said[case] = check_truncated(directory, stem, cut_of(message))
        parts = set(names) - {"headers.txt", "truncated.txt"}
        assert len(names) == len(set(names)) and "headers.txt" in names
        assert message.parts is None or len(parts) == message.parts, (case, len(parts))
        for part in parts:
            check_name(part)
        header = read(directory, "headers.txt")
        assert wanted[case].startswith(header) and os.stat(os.path.join(directory, "headers.txt")).st_size == len(header), case
        for part in sorted(parts)[:3]:
            if os.path.isfile(os.path.join(directory, part)):
                assert len(read(directory, part)) == os.stat(os.path.join(directory, part)).st_size
        frugal(mount)
    return said


@pytest.fixture(scope="module")
def texts():
    """What truncated.txt said, by protocol and case."""
    return {}


@pytest.mark.limit(120)
def test_imap(account, texts):
    wanted = {case: message.data for case, message in hostile().items()}
    account.server.deliver(account.name, "INBOX", [Mail(data, crlf=True) for data in wanted.values()])
    wanted["bare bytes"] = served(account, 1 + list(wanted).index("bare bytes"))  # the others are served as they are
    with account.mount() as mount:
        folder = mount.sub("INBOX")
        assert len(os.listdir(folder)) == len(wanted)
        found = by_content(mount, folder, wanted)
        texts["imap"] = check_parts(mount, folder, found, wanted, lambda message: message.cut)
        print("peak RSS, IMAP: %d KiB" % mount.peak_rss_kib())
    # What was cut is known to the next mount, and to one whose files the kernel does not open.
    with account.mount("ro") as mount:
        stem = found["nested multiparts"][:-len(".eml")]
        assert DEEP in read(mount.sub("INBOX", ".parts", stem, "truncated.txt")).decode()
        check_truncated(mount.sub("INBOX", ".parts", stem), stem, (DEEP,))


@pytest.mark.limit(120)
def test_pop3(drop, texts):
    wanted = {case: message.data for case, message in hostile().items()}
    drop.account.deliver("INBOX", [Mail(data, crlf=True) for data in wanted.values()])
    with drop.server.login_pop3(drop.user) as client:  # which serves the others as they are
        wanted["bare bytes"] = client.retr(1 + list(wanted).index("bare bytes"))
    with drop.mount() as mount:
        found = by_content(mount, mount.path, wanted)
        said = check_parts(mount, mount.path, found, wanted, lambda message: message.cut if message.pop3 is None else message.pop3)
        print("peak RSS, POP3: %d KiB" % mount.peak_rss_kib())
    for case, message in hostile().items():
        if message.pop3 is None and "imap" in texts:
            assert texts["imap"][case] == said[case], case


def test_xattr_of_a_long_subject(account):
    account.deliver("INBOX", [b"Subject: " + "ä".encode() * 100_000 + b"\r\n\r\nx\r\n", b"Subject: short\r\n\r\nx\r\n"])
    with account.mount() as mount:
        long, short = (os.getxattr(path, "user.mailfs.subject").decode() for _, path in sorted(mount.by_uid("INBOX").items()))
        assert short == "short" and long == "ä" * 32766 + "…"


# --- Many of them ---

COPIES, LARGE = 64, 8


def wide(number):
    """A message of as many parts as there may be, or of a part of that, each with a name, which is another in each message."""
    part = text(b"Content-Type: image/png; name=%d-%s.png\r\n" % (number, b"n" * 40))
    return mixed(b"number %d" % number, [part] * parts_of(number))


def parts_of(number):
    return 9990 if number < LARGE else 2100


def open_all(directories):
    """The number in a message's subject is in the names of its parts."""
    for directory in directories:
        names = os.listdir(directory)
        number = int(directory.rpartition("_number-")[2].partition(".")[0])
        assert len(names) == 1 + parts_of(number) and "1-%d-%s.png" % (number, "n" * 40) in names


@pytest.mark.limit(120)
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_memory(account, drop, protocol):
    """One after the other, then by eight readers at once."""
    account.deliver("INBOX", [wide(number) for number in range(COPIES)])
    with (account.mount() if protocol == "imap" else drop.mount()) as mount:
        folder = mount.sub("INBOX") if protocol == "imap" else mount.path
        stems = [name[:-len(".eml")] for name in sorted(os.listdir(folder))]
        assert len(stems) == COPIES
        directories = [os.path.join(folder, ".parts", stem) for stem in stems]
        open_all(directories)
        frugal(mount)
        large = [d for d in directories if int(d.rpartition("_number-")[2].partition(".")[0]) < LARGE]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda directory: open_all([directory]), large))
        print("peak RSS, %d messages, %d of them of 9,990 parts, %s: %d KiB" % (COPIES, LARGE, protocol, mount.peak_rss_kib()))
        frugal(mount)


def attached(number):
    """Attached messages of nine parts each, of which the names are long: a structure of megabytes, in directories of ten."""
    part = text(b"Content-Type: text/plain; name=" + b"z" * 900 + b"\r\n")
    inner = b"Content-Type: message/rfc822; name=" + b"m" * 300 + b"\r\n\r\n" + mixed(b"inner", [part] * 9, b"inner")
    return mixed(b"number %d" % number, [inner] * 900)


@pytest.mark.limit(120)
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_memory_of_attached_messages(account, drop, protocol):
    """Each reader in a thread of the mount's own, and what that allocates is not to be kept by each of them."""
    account.deliver("INBOX", [attached(number) for number in range(2)])

    def look(directories):
        for directory in directories:
            assert len(os.listdir(directory)) == 10

    with (account.mount() if protocol == "imap" else drop.mount()) as mount:
        top = mount.sub("INBOX", ".parts") if protocol == "imap" else mount.sub(".parts")
        messages = [os.path.join(top, name) for name in sorted(os.listdir(top))]
        inside = [[os.path.join(message, name) for name in os.listdir(message) if name not in ("headers.txt", "truncated.txt")] for message in messages]
        assert all(len(names) == 900 or protocol == "imap" and len(names) > 300 for names in inside)  # Dovecot's answer would be too long
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(look, [names[first:first + 10] for first in range(0, 100, 10) for names in inside]))
        print("peak RSS, 2 messages of 900 attached ones, %s: %d KiB" % (protocol, mount.peak_rss_kib()))
        frugal(mount)


# --- Servers that do not know what to do with it ---

PLAIN = b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1)'


def letters(count):
    return [fake.imap.Message(uid, b"Subject: letter %d\r\n\r\nbody %d\r\n" % (uid, uid)) for uid in range(1, count + 1)]


def stem_of(mount, uid):
    return os.path.basename(mount.by_uid("INBOX")[uid])[:-len(".eml")]


def check_others(mount, messages, but):
    """Every message is whole; the directories of all but one are in order."""
    assert sorted(mount.by_uid("INBOX")) == [message.uid for message in messages]
    for message in messages:
        assert read(mount.by_uid("INBOX")[message.uid]) == message.data
        if message.uid != but:
            assert sorted(mount.names("INBOX", ".parts", stem_of(mount, message.uid))) == ["1-text.txt", "headers.txt"]
    frugal(mount)


@contextlib.contextmanager
def mount_fake(home, server, *options):
    """Afterwards the password was sent in logins, and nowhere else."""
    with Mount(home, "imap://me@127.0.0.1:%d" % server.port, ["password_file=" + home.password_file, "tls=none", *options]) as mount:
        yield mount
    assert server.heard and server.logins
    for data in server.heard:
        leak = outside_a_login(data, PASSWORD.encode())
        assert leak is None, leak


STRUCTURES = {
    "a million parts": (b"(" + PLAIN * 1_000_000 + b' "MIXED")', (), None),
    "twenty thousand parts": (b"(" + PLAIN * 20_000 + b' "MIXED")', (MANY,), 9999),
    "nested": (b"(" * 100_000 + PLAIN + b' "MIXED")' * 100_000, (DEEP,), 0),
    "deep, and another": (b"(" + b"(" * 200 + PLAIN + b' "MIXED")' * 200 + PLAIN + b' "MIXED")', (DEEP,), 1),
    "NIL": (b"NIL", (UNKNOWN,), 0),
    "cut off": (b"((", (UNKNOWN,), 0),
    "no size": (b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" NIL 1)', (UNKNOWN,), 0),
    "a literal of a megabyte": (b'("TEXT" "PLAIN" ("NAME" {1000000}\r\n' + b"n" * 1_000_000 + b') NIL NIL "7BIT" 1 1)', (FIELDS,), 1),
    "names of sixteen megabytes": (b"(" + (b'("TEXT" "PLAIN" ("NAME" "' + b"n" * 8000 + b'") NIL NIL "7BIT" 1 1)') * 2000 + b' "MIXED")', (LONG,), None),
    "literals of sixteen megabytes": (b"(" + (b'("TEXT" "PLAIN" ("NAME" {8000}\r\n' + b"n" * 8000 + b') NIL NIL "7BIT" 1 1)') * 2000 + b' "MIXED")',
                                      (FIELDS,), 2000),
}


def check_structure(home, case):
    structure, words, parts = STRUCTURES[case]
    messages = letters(5)
    messages[2].structure = structure
    with fake.imap.Server({"INBOX": fake.imap.Box(messages)}) as server, mount_fake(home, server) as mount:
        for uid in (1, 2):  # walking, so that the next are asked for with it
            mount.names("INBOX", ".parts", stem_of(mount, uid))
        stem = stem_of(mount, 3)
        directory = mount.sub("INBOX", ".parts", stem)
        names = set(os.listdir(directory)) - {"headers.txt", "truncated.txt"}
        assert parts is None or len(names) == parts
        if case == "a million parts":
            words = (MANY,) if names else (UNKNOWN,)
        check_truncated(directory, stem, words)
        assert read(directory, "headers.txt") == messages[2].header
        check_others(mount, messages, 3)
        asked = len([command for command in server.commands if "BODYSTRUCTURE" in command])
        os.listdir(directory)
        assert len([command for command in server.commands if "BODYSTRUCTURE" in command]) == asked


def check_no_structure(home, how):
    """The server fails over one message: its directory is an error, and nothing else is."""
    messages = letters(5)

    def fetch(session, tag, args):
        uids, _, items = args.partition(" ")
        if "BODYSTRUCTURE" not in items or not fake.imap.in_set(3, uids, 5):
            return False
        if how == "cut":
            session.cut()
        else:
            session.done(tag, "OK Done." if how == "nothing" else how + " [SERVERBUG] That one is too much.")
        return True

    with fake.imap.Server({"INBOX": fake.imap.Box(messages)}) as server, mount_fake(home, server) as mount:
        server.on["UID FETCH"] = fetch
        directory = mount.sub("INBOX", ".parts", stem_of(mount, 3))
        for uid in (1, 2):
            assert sorted(mount.names("INBOX", ".parts", stem_of(mount, uid))) == ["1-text.txt", "headers.txt"]
        with pytest.raises(OSError) as raised:
            os.listdir(directory)
        assert raised.value.errno == errno.EIO
        check_others(mount, messages, 3)
        # The message has been read meanwhile: its own bytes tell.
        assert sorted(os.listdir(directory)) == ["1-text.txt", "headers.txt"]
        assert read(directory, "1-text.txt") == messages[2].text


ROWS = {
    "a subject of 12 MB": lambda row: row.replace(b"BODY[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID)] {23}\r\nSubject: letter 3\r\n\r\n",
                                                  b"BODY[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID)] {12000013}\r\nSubject: "
                                                  + b"s" * 12_000_000 + b"\r\n\r\n"),
    "the year 99999": lambda row: row.replace(b"14-Nov-2023", b"14-Nov-99999"),
    "the year 0": lambda row: row.replace(b"14-Nov-2023", b"14-Nov-0000"),
    "the 99th": lambda row: row.replace(b"14-Nov-2023", b"99-Nov-2023"),
    "no date": lambda row: row.replace(b'"14-Nov-2023 22:13:20 +0000"', b"NIL"),
    "no header": lambda row: row.replace(b"{23}\r\nSubject: letter 3\r\n\r\n", b"NIL"),
    "malformed": lambda row: row.replace(b" INTERNALDATE", b" ((((INTERNALDATE"),
    "flags in flags": lambda row: row.replace(b"FLAGS ()", b"FLAGS (" + b"(" * 100_000 + b")" * 100_000 + b")"),
}


def check_row(home, case):
    messages = letters(5)
    with fake.imap.Server({"INBOX": fake.imap.Box(messages)}) as server:
        server.row = lambda _session, message, row: ROWS[case](row) if message.uid == 3 and b"INTERNALDATE" in row else row
        with mount_fake(home, server) as mount:
            for name in mount.names("INBOX"):
                check_name(name)
            check_others(mount, messages, None)
            os.stat(mount.by_uid("INBOX")[3])
            check_values(mount.by_uid("INBOX")[3])


FAKE = {"%s: %s" % (what, case): (check, case) for what, check, cases in (
    ("structure", check_structure, STRUCTURES), ("no structure", check_no_structure, ("NO", "BAD", "nothing", "cut")), ("row", check_row, ROWS))
        for case in cases}


def gone_wrong(name):
    """What went wrong in it, in a home directory of its own."""
    check, case = FAKE[name]
    home = Home()
    try:
        check(home, case)
        return None
    except BaseException:  # pylint: disable=broad-except
        return traceback.format_exc(limit=-4)
    finally:
        home.remove()


@pytest.fixture(scope="module")
def wrong(request):
    """Those that pytest was asked for, side by side."""
    names = [item.callspec.params["name"] for item in request.session.items if "name" in item.fixturenames]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return dict(zip(names, pool.map(gone_wrong, names)))


@pytest.mark.parametrize("name", FAKE)
def test_server(wrong, name):
    if wrong[name]:
        pytest.fail(wrong[name], pytrace=False)
