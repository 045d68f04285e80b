# SPDX-License-Identifier: MIT
"""POP3: the server's bytes are the file's bytes, nothing can be changed, and parts and attributes are those of IMAP."""

import errno
import os
import stat
import subprocess

import pytest

import mails
from drops import by_uidl, check, failed, message, messages, read, shown, sha256
from fake.pop3 import CAPABILITY, Message
from harness import Home
from leaves import compare, of_message
from maildir import Mail
from proxy import Proxy

CORPUS = list(mails.nasty().values())
HEAD = b"From: Mallory <mallory@example.org>\r\nSubject: %s\r\n\r\n"


@pytest.fixture(scope="module")
def served(server):
    """An account that holds the corpora, and what ordinary clients get from it: over POP3, over IMAP."""
    server.add_user("corpus")
    server.deliver("corpus", "INBOX", [Mail(data) for data in CORPUS + [data for _, data in mails.corpora()]])
    with server.login_pop3("corpus") as client:
        pop3 = {uidl: client.retr(number) for uidl, number in client.uidls().items()}
    return pop3, server.bodies("corpus")


@pytest.fixture
def corpus(served, drop):
    drop.user = drop.account.name = "corpus"
    return drop


@pytest.mark.limit(120)
def test_every_message(corpus, served):
    """At the first mount from the server, at the second from the disk."""
    for _ in range(2):
        with corpus.mount() as mount:
            paths = by_uidl(mount)
            assert sorted(paths) == sorted(served[0])
            assert [uidl for uidl, path in paths.items() if read(path) != served[0][uidl]] == []
            assert all(os.stat(path).st_size == len(served[0][uidl]) for uidl, path in paths.items())
    # Ours, and the fixture's; and a few that Dovecot lists with another size than they have are asked for again.
    assert 0 <= len(corpus.server.commands_pop3("corpus", "RETR")) - 2 * len(served[0]) <= len(served[0]) // 10


# What lies on the server, and what it says between RETR's +OK and the final dot.
WIRE = {
    "plain": HEAD % b"plain" + b"body\r\n",
    "NUL": HEAD % b"NUL" + b"before\0after\r\n\0\0\0\r\n\0",
    "8-bit": HEAD % b"8-bit" + bytes(range(128, 256)) * 4 + b"\r\n",
    "every byte": HEAD % b"all" + bytes(byte for byte in range(256) if byte not in b"\r\n.") + b"\r\n",
    "no last line end": HEAD % b"no end" + b"the end",
    "no body": b"Subject: no body\r\n\r\n",
    "no blank line": b"Subject: no blank line\r\n",
    "no header": b"\r\nonly a body\r\n",
    "nothing": b"",
    "one line end": b"\r\n",
    "lone dots": HEAD % b"dots" + b".\r\n..\r\n...\r\n.\r\n\r\n.\r\n",
    "dots first": b".\r\n.From: a dot\r\n\r\n.\r\n",
    "dots in lines": HEAD % b"dots" + b"a.\r\n .\r\n.a\r\n..a\r\nx.\r\n.x",
    "bare LF": HEAD % b"LF" + b"one\ntwo\n\nthree\n\r\n",
    "bare CR": HEAD % b"CR" + b"one\rtwo\r\rthree\r\r\n",
    "dots behind bare LF": HEAD % b"LF dots" + b"one\n.two\n..three\n.\n.\n\r\n.four\r\n\n.\n",
    "dots behind bare CR": HEAD % b"CR dots" + b"one\r.two\r..three\r.\r.\r\r\n.four\r",
    "mixed line ends": HEAD % b"mixed" + b"\n\r\r\n\r\n\n\r\nend\r\r\r\n\n\n\r\n",
    "line of 1 MB": HEAD % b"long line" + b"y" * 1_000_000 + b"\r\nend\r\n",
    "header of 1 MB": b"Subject: long\r\nX-Long: " + b"z" * 1_000_000 + b"\r\n\r\nbody\r\n",
    "line of 1 MB of dots": HEAD % b"long dots" + b"." * 1_000_000 + b"\r\n",
    "1 MB of lone dots": HEAD % b"many dots" + b".\r\n" * 333_333,
    "dots at every place": HEAD % b"places" + b"".join(b"x" * n + b"\r\n.\r\n" for n in range(400)),
}


@pytest.mark.parametrize("pipelining", [True, False])
def test_bytes_that_no_mail_store_keeps(serve, pipelining):
    content = [Message(data) for data in WIRE.values()]
    drop = serve(content, capability=[line for line in CAPABILITY if pipelining or line != "PIPELINING"])
    with drop.mount() as mount:
        paths = by_uidl(mount)
        assert len(paths) == len(content)
        wrong = [kind for kind, one in zip(WIRE, content) if read(paths[one.uidl.decode()]) != one.served]
        assert wrong == []
        assert all(os.stat(paths[one.uidl.decode()]).st_size == len(one.served) for one in content)


@pytest.mark.parametrize("ok", [b"+OK\n", b"+OK\r\n"])
def test_a_server_of_bare_line_feeds(serve, ok):
    """All its lines end so, dots are put before dots there, and the file has what it has."""
    content = [message(1), Message(b"Subject: LF\n\n.dot\n..\n.\nend\n", wire=b"Subject: LF\n\n..dot\n...\n..\nend\n.\n")]
    drop = serve(content)
    drop.server.change["RETR"] = lambda _session, args, data: data.replace(b"+OK Here it is.\r\n", ok) if args == "2" else data
    with drop.mount() as mount:
        assert sorted(map(mount.read, mount.names())) == sorted([content[0].served, content[1].data])


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
def test_however_the_wire_is_cut_into_pieces(serve, piece):
    """Line ends, dots and the end of a message may fall between two reads."""
    content = [Message(WIRE[kind]) for kind in ("lone dots", "dots first", "mixed line ends", "nothing", "NUL")]
    drop = serve(content)

    def in_pieces(session, args):
        data = session.do_retr(args)
        session.flush()
        for at in range(0, len(data), piece):
            session.sock.sendall(data[at:at + piece])
        return True

    drop.server.on["RETR"] = in_pieces
    with drop.mount() as mount:
        check(mount, content)


def test_sizes_that_are_not_those_of_the_list(serve):
    """LIST counts as it likes (RFC 1939 section 11); the file's size is that of its bytes. They are believed when they come twice."""
    content = [message(number, size=size) for number, size in enumerate((0, 1, 10**9, 2**63, 50, 77), 1)]
    drop = serve(content)
    for _ in range(2):
        with drop.mount() as mount:
            check(mount, content)
    assert len(content) < len(drop.server.of("RETR")) <= 2 * len(content)


@pytest.fixture
def mounted(serve):
    content = messages(12, filling=5000)
    with serve(content).mount() as mount:
        yield mount, content


def test_tools(mounted, home):
    """cp, rsync, tar and grep read what is there."""
    mount, content = mounted
    wanted = {name: sha256(mount.read(name)) for name in mount.names()}
    places = [os.path.join(home.path, name) for name in ("cp", "rsync", "tar")]
    for place in places:
        os.mkdir(place)
    subprocess.run(["cp", "-a", mount.path + "/.", places[0]], check=True)
    subprocess.run(["rsync", "-a", mount.path + "/", places[1] + "/"], check=True)
    subprocess.run("tar -C '%s' -cf - . | tar -C '%s' -xf -" % (mount.path, places[2]), shell=True, check=True)
    for place in places:
        assert {name: sha256(read(os.path.join(place, name))) for name in os.listdir(place)} == wanted
        assert all(os.stat(os.path.join(place, name)).st_mtime == os.stat(mount.sub(name)).st_mtime for name in wanted)
    again = subprocess.run(["rsync", "-ai", mount.path + "/", places[1] + "/"], check=True, capture_output=True, text=True).stdout
    assert again == ""
    found = subprocess.run(["grep", "-rlE", "^body 7\r?$", mount.path], check=True, capture_output=True, text=True).stdout
    assert len(found.splitlines()) == 1 and len(content) == 12


def changes(mount):
    path, new = mount.sub(mount.names()[0]), mount.sub("new.eml")
    return {
        "write": lambda: os.open(path, os.O_WRONLY),
        "append": lambda: os.open(path, os.O_WRONLY | os.O_APPEND),
        "open and truncate": lambda: os.open(path, os.O_RDONLY | os.O_TRUNC),
        "create": lambda: os.open(new, os.O_CREAT | os.O_WRONLY),
        "truncate": lambda: os.truncate(path, 0),
        "unlink": lambda: os.unlink(path),
        "rename": lambda: os.rename(path, new),
        "link": lambda: os.link(path, new),
        "symlink": lambda: os.symlink("x", new),
        "mkdir": lambda: os.mkdir(mount.sub("New")),
        "mknod": lambda: os.mknod(new, 0o600 | stat.S_IFIFO),
        "chmod": lambda: os.chmod(path, 0o644),
        "chown": lambda: os.chown(path, 1, 1),
        "utime": lambda: os.utime(path, (1, 1)),
        "setxattr": lambda: os.setxattr(path, "user.mailfs.flags", b"\\Seen"),
        "removexattr": lambda: os.removexattr(path, "user.mailfs.flags"),
    }


@pytest.mark.parametrize("options", [[], ["ro"], ["poll=1"]], ids=["", "ro", "poll"])
def test_every_change_is_refused(serve, options):
    with serve(messages(2)).mount(*options) as mount:
        before = [(name, os.stat(mount.sub(name))) for name in mount.names()]
        for name, change in changes(mount).items():
            with pytest.raises(OSError) as error:
                change()
            assert error.value.errno == errno.EROFS, name
        for command in ("touch new.eml", "touch *number-1*.eml", "rm -f *.eml", "mv *number-1*.eml x", ": >new.eml", ": >>new.eml",
                        "mkdir d", "ln -s a b", "setfattr -n user.x -v y *.eml"):
            done = subprocess.run(["sh", "-c", command], cwd=mount.path, capture_output=True, text=True, check=False)
            assert done.returncode != 0 and "ead-only file system" in done.stderr, (command, done.stderr)
        assert [(name, os.stat(mount.sub(name))) for name in mount.names()] == before


def tree(path):
    """Everything below a directory, by its path in it."""
    return {os.path.relpath(os.path.join(folder, name), path): read(os.path.join(folder, name))
            for folder, _, files in os.walk(path) for name in files}


@pytest.mark.limit(120)
def test_parts_and_attributes_are_those_of_imap(corpus, served):
    """The same mailbox both ways, tree and bytes."""
    pop3, imap = served
    with corpus.mount() as mount, corpus.account.mount(name="imap") as other:
        paths, others = by_uidl(mount), other.by_uid("INBOX")
        same = {uidl: int(uidl[:8], 16) for uidl in paths if pop3[uidl] == imap[int(uidl[:8], 16)]}
        # Over POP3 the last line has an end, and a NUL is one.
        mended = {uidl: imap[int(uidl[:8], 16)] for uidl in paths if uidl not in same}
        assert all(pop3[uidl] == data + b"\r\n"[data.endswith(b"\r"):] or b"\0" in pop3[uidl] for uidl, data in mended.items())
        wrong, broken = {}, []
        for uidl, uid in same.items():
            ours = mount.sub(".parts", os.path.basename(paths[uidl])[:-4])
            theirs = other.sub("INBOX", ".parts", os.path.basename(others[uid])[:-4])
            if tree(ours) != tree(theirs):
                broken.append(uid)
                # The structure over IMAP is the server's idea. Where we have another, it is that of Python's email package.
                if uid <= len(CORPUS) or (why := compare(ours, of_message(pop3[uidl]))):
                    wrong[uid] = sorted(tree(ours)), sorted(tree(theirs)), uid > len(CORPUS) and why
            for name in ("from", "to", "subject", "message_id", "size"):
                if attribute(paths[uidl], name) != attribute(others[uid], name):
                    wrong[uid] = name, attribute(paths[uidl], name), attribute(others[uid], name)
        assert wrong == {} and len(broken) <= len(same) // 20, broken


def attribute(path, name):
    try:
        return os.getxattr(path, "user.mailfs." + name)
    except OSError as error:
        return error.errno


def test_parts_next_time_and_without_the_server(corpus, served):
    """Structures and sizes are kept, and what is decoded is not needed from anywhere else."""
    with Proxy(corpus.server.port_pop3_tls) as proxy:
        with corpus.mount(port=proxy.port) as mount:
            names = [os.path.basename(path) for path in by_uidl(mount).values()][:24]
            first = {name: tree(mount.sub(".parts", name[:-4])) for name in names}
        port = proxy.port
    code, text = corpus.run(port=port)
    assert code == 0, text
    try:
        path = os.path.join(corpus.home.path, "mail")
        assert {name: tree(os.path.join(path, ".parts", name[:-4])) for name in names} == first
    finally:
        corpus.background()


def test_attributes(serve):
    data = (b"From: Alice Smith <alice@example.org>\r\nTo: =?utf-8?Q?J=C3=B6rg?= <j@example.org>, b@example.org\r\n"
            b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.org>\r\nDate: Fri, 21 Nov 2025 08:55:00 +0000\r\n\r\nbody\r\n")
    with serve([Message(data, b"the/unique id!")]).mount() as mount:
        (name,) = mount.names()
        path = mount.sub(name)
        got = {key: os.getxattr(path, key).decode() for key in os.listxattr(path)}
        assert got.pop("user.mailfs.date").startswith("2025-11-21")
        assert got == {"user.mailfs.uid": name.split(".")[-2], "user.mailfs.from": "Alice Smith <alice@example.org>",
                       "user.mailfs.to": "Jörg <j@example.org>, b@example.org", "user.mailfs.subject": "Grüße", "user.mailfs.flags": "",
                       "user.mailfs.message_id": "<1@example.org>", "user.mailfs.size": str(len(data)),
                       "user.mailfs.uidl": "the/unique id!"}


def test_modes_and_what_is_listed(serve):
    with serve(messages(3)).mount() as mount:
        assert ".parts" not in mount.names() and os.path.isdir(mount.sub(".parts"))
        assert sorted(os.listdir(mount.sub(".parts"))) == sorted(name[:-4] for name in mount.names())
        assert all(stat.S_ISREG(os.stat(mount.sub(name)).st_mode) for name in mount.names())
        with pytest.raises(FileNotFoundError):
            os.stat(mount.sub("INBOX"))


def test_what_is_kept_is_private(serve, home):
    with serve(messages(3)).mount() as mount:
        mount.names()
    found = 0
    for folder, _, files in os.walk(home.state()):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        for name in files:
            found += 1
            assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) & 0o077 == 0, name
    assert found >= 3


def test_two_mounts_of_one_account(serve):
    """The second is refused, with a clear word; the first goes on."""
    content = messages(3)
    drop = serve(content)
    with drop.mount() as mount:
        failed(drop.run(name="second"), 7)
        check(mount, content)


def test_an_account_elsewhere(serve, home):
    """state_dir= says where it is kept; another account of the same server has a place of its own."""
    content = messages(3)
    drop = serve(content)
    place = os.path.join(home.path, "elsewhere")
    with drop.mount("state_dir=" + place) as mount:
        check(mount, content)
        drop.user = "you"
        with drop.mount(name="other") as other:
            check(other, content)
    assert sum(len(files) for _, _, files in os.walk(place)) >= 3
    drop.user = "me"
    with drop.mount("state_dir=" + place) as mount:
        check(mount, content)
    assert len(drop.server.of("RETR")) == 6


def test_another_machine_has_its_own(serve):
    content = messages(5)
    drop = serve(content)
    other = Home()
    try:
        with drop.mount() as mount, drop.mount(home=other) as far:
            assert shown(mount) == shown(far) and mount.names() == far.names()
    finally:
        other.remove()
