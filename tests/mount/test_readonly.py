# SPDX-License-Identifier: MIT
"""
A mount that is read-only (-o ro, and any POP3 mount) opens nothing: the kernel reads by inode alone. All the bytes, whatever was said of
their number; errors at the read; and no OPEN.
"""

import errno
import mmap
import os
import re
import subprocess
import tarfile
import threading
import time

import pytest

import mails
from fake.imap import Box, Message, Server
from harness import SLOW, Mount, eventually
from leaves import compare, of_message

HEAD = b"From: a@example.org\r\nSubject: %s\r\n\r\n"
LINE = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n"
SMALL = HEAD % b"small" + b"body\r\n"


def body(size):
    """A message of so many bytes, in which each line is another."""
    data = HEAD % b"filled"
    lines = b"".join(b"%07d %s" % (n, LINE) for n in range(size // 72 + 1))
    return (data + lines)[:size - 6] + b" end\r\n"


# Length, and what the server says of it. Below and above what is fetched whole, within one page and across many.
SIZES = [(length, said) for length in (300, 5000, 140_000, 700_000)
         for said in (length // 2, length - 1, length + 1, length + 5000, length + 300_000, 0)]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def mapped(path):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        return view[:]


def fake_mount(home, fake, *options, **more):
    return Mount(home, "imap://me@127.0.0.1:%d" % fake.port, ["tls=none", "password_file=" + home.password_file, *options], **more)


def fails(number, work):
    with pytest.raises(OSError) as error:
        work()
    assert error.value.errno in ([number] if isinstance(number, int) else number), error.value


def opened(mount):
    """What the kernel asked for: how often which request."""
    asked = re.findall(r"opcode: (\w+)", mount.log())
    return {name: asked.count(name) for name in set(asked)}


# --- Sizes that are wrong ---

def lying():
    messages = [Message(uid, body(length), size=said) for uid, (length, said) in enumerate(SIZES, 1)]
    return {message.uid: message.data for message in messages}, Server({"INBOX": Box(messages)})


def by_cat(path, _place):
    return subprocess.run(["cat", path], check=True, capture_output=True).stdout


def by_cp(path, place):
    target = os.path.join(place, "copy")
    subprocess.run(["cp", path, target], check=True)
    return read(target)


def by_grep(path, _place):
    return subprocess.run(["grep", "-a", "", path], check=True, capture_output=True).stdout


def by_one_byte_first(path, _place):
    with open(path, "rb", buffering=0) as file:
        pieces = [file.read(1)]
        while pieces[-1]:
            pieces.append(file.read(5000))
        return b"".join(pieces)


@pytest.mark.limit(120)
@pytest.mark.parametrize("options, reader", [
    (["ro"], by_cat), (["ro"], by_cp), (["ro"], by_grep), (["ro"], by_one_byte_first), ([], by_cp)], ids=["cat", "cp", "grep", "small", "cp-rw"])
def test_wrong_sizes(home, options, reader):
    """Complete at the first time, and then the size is what was read."""
    bodies, fake = lying()
    with fake, fake_mount(home, fake, *options) as mount:
        paths = mount.by_uid("INBOX")
        for uid, data in bodies.items():
            got = reader(paths[uid], home.path)
            assert got == data, (uid, SIZES[uid - 1], len(got))
            assert os.stat(paths[uid]).st_size == len(data), SIZES[uid - 1]
        assert all(mapped(paths[uid]) == data for uid, data in bodies.items())


def test_wrong_sizes_backwards(home):
    """From the end that was announced to the start."""
    bodies, fake = lying()
    with fake, fake_mount(home, fake, "ro") as mount:
        for uid, path in mount.by_uid("INBOX").items():
            data, fd = bodies[uid], os.open(path, os.O_RDONLY)
            for offset in range(max(SIZES[uid - 1]) // 4096 * 4096, -1, -65536):
                assert os.pread(fd, 100, offset) in (data[offset:offset + 100], b""), (SIZES[uid - 1], offset)
            assert data.startswith(os.pread(fd, len(data) + 1, 0))
            assert read(path) == data, SIZES[uid - 1]
            os.close(fd)


@pytest.mark.limit(120)
@pytest.mark.parametrize("options", [["ro"], []], ids=["ro", "rw"])
def test_wrong_sizes_in_an_archive(home, options):
    """tar takes what stat said: all the bytes, or it says that something is not right. At the second time it is."""
    bodies, fake = lying()
    with fake, fake_mount(home, fake, *options) as mount:
        paths = mount.by_uid("INBOX")
        wrong = 0
        for uid, path in paths.items():
            done, data = archive(home, path)
            wrong += data != bodies[uid]
            assert data == bodies[uid] or done.returncode == 1 and done.stderr, SIZES[uid - 1]
            done, data = archive(home, path)
            assert done.returncode == 0 and data == bodies[uid], (SIZES[uid - 1], done.stderr)
        assert options or wrong <= 8


@pytest.mark.parametrize("options, length", [(["ro"], 5000), (["ro"], 300_000), ([], 300_000)], ids=["ro", "ro-large", "rw-large"])
def test_told_again_while_it_is_read(home, options, length):
    """The kernel does not cut a size that it was told again after it asked for the bytes: no reader may get zeros for that."""
    datas = {1: body(length)}
    messages = [Message(uid, data, size=len(data) + 200_000) for uid, data in datas.items()]
    with Server({"INBOX": Box(messages)}, PUSHING) as fake, fake_mount(home, fake, *options) as mount:
        paths, got = mount.by_uid("INBOX"), {}
        reached, go = threading.Semaphore(0), threading.Event()

        def wait(_session, _message, row):
            if b"BODY[]" in row:
                reached.release()
                go.wait(20)
            return row

        def work(uid):
            got[uid] = read(paths[uid])

        fake.row = wait
        readers = [threading.Thread(target=work, args=(uid,)) for uid in datas]
        for reader in readers:
            reader.start()
        assert reached.acquire(timeout=10)
        time.sleep(0.2)
        fake.add("INBOX", Message(9, SMALL))
        eventually(lambda: len(os.listdir(mount.sub("INBOX"))) == len(datas) + 1, 20)
        subprocess.run(["ls", "-l", mount.sub("INBOX")], check=True, capture_output=True)
        go.set()
        for reader in readers:
            reader.join()
        assert {uid: len(data) for uid, data in got.items()} == {uid: len(data) for uid, data in datas.items()}
        assert got == datas


def archive(home, path):
    target = os.path.join(home.path, "a.tar")
    done = subprocess.run(["tar", "-cf", target, "-C", os.path.dirname(path), os.path.basename(path)], capture_output=True, check=False)
    with tarfile.open(target) as tar:
        return done, tar.extractfile(tar.next()).read()


def test_sizes_that_nobody_has_told(home):
    """The server leaves RFC822.SIZE out of what it lists."""
    bodies = {uid: body(length) for uid, length in enumerate((300, 5000, 140_000, 700_000), 1)}
    with Server({"INBOX": Box([Message(uid, data) for uid, data in bodies.items()])}) as fake:
        fake.row = lambda _session, _message, row: re.sub(rb" RFC822\.SIZE \d+", b"", row)
        with fake_mount(home, fake, "ro") as mount:
            for uid, path in mount.by_uid("INBOX").items():
                assert os.stat(path).st_size >= len(bodies[uid])
                assert by_cat(path, None) == bodies[uid]
                assert os.stat(path).st_size == len(bodies[uid])


@pytest.mark.limit(120)
def test_parts(account):
    """Of parts there is a bound at first, and the kernel's pages in between."""
    sample = [mail.data for mail in mails.sample()["INBOX"]] + [mails.to_bytes(mails.large(megabytes=1))]
    account.deliver("INBOX", sample)
    bodies = account.server.bodies(account.name)
    for _ in range(2):
        with account.mount("ro") as mount:
            base = mount.sub("INBOX", ".parts")
            for name in os.listdir(base):
                data = bodies[int(name.rsplit(".", 1)[1])]
                assert compare(os.path.join(base, name), of_message(data)) == "", name
                for folder, _, files in os.walk(os.path.join(base, name)):
                    for file in files:
                        path = os.path.join(folder, file)
                        assert by_cp(path, mount.home.path) == read(path) and os.stat(path).st_size == len(read(path)), path


# --- Requests ---

def test_nothing_is_opened(account):
    account.deliver("INBOX", [HEAD % b"n" + b"%d\r\n" % n for n in range(50)])
    for options, wanted in ((("ro",), 1), ((), 100)):
        with account.mount(*options, "debug") as mount:
            for _ in range(2):
                for path in mount.by_uid("INBOX").values():
                    assert read(path).startswith(b"From")
                subprocess.run(["ls", "-l", mount.sub("INBOX")], check=True, capture_output=True)
            for _ in range(100):  # RELEASE comes after close()
                asked = opened(mount)
                if options or asked.get("RELEASE", 0) == asked["OPEN"]:
                    break
                time.sleep(0.1)
            subprocess.run(["ls", "-l", mount.sub("INBOX")], check=True, capture_output=True)
            again = opened(mount)
        # What is in the directory is in the kernel's cache, attributes and all.
        assert all(again.get(name, 0) == asked.get(name, 0) for name in ("READDIR", "READDIRPLUS", "LOOKUP", "GETATTR")), again
        assert asked["OPEN"] == wanted and asked.get("RELEASE", 0) == (0 if options else wanted), asked
        assert asked["READ"] == 50 and asked.get("FLUSH", 0) <= 1, asked
        # root, INBOX, and user.* of the first file
        assert asked.get("LOOKUP", 0) <= 2 and asked.get("GETATTR", 0) <= 4 and asked.get("GETXATTR", 0) <= 4, asked


def test_nothing_can_be_written(account):
    account.deliver("INBOX", [SMALL])
    with account.mount("ro") as mount:
        path = mount.by_uid("INBOX")[1]
        assert read(path)
        fails(errno.EROFS, lambda: os.open(path, os.O_WRONLY))
        fails(errno.EROFS, lambda: os.truncate(path, 0))
        assert read(path)


# --- Errors, where open no longer tells of them ---

def test_gone(home):
    """Expunged: for who finds it by name, and for who has it open and lacks bytes of it."""
    data = body(3_000_000)
    with Server({"INBOX": Box([Message(1, data), Message(2, SMALL), Message(3, SMALL)])}, PUSHING) as fake, fake_mount(home, fake, "ro") as mount:
        paths = mount.by_uid("INBOX")
        fd, unread = os.open(paths[1], os.O_RDONLY), os.open(paths[2], os.O_RDONLY)
        assert os.read(fd, 1000) == data[:1000]
        fake.remove("INBOX", 1)
        fake.remove("INBOX", 2)
        eventually(lambda: len(os.listdir(mount.sub("INBOX"))) == 1, 20)
        eventually(lambda: not os.path.exists(paths[1]))  # the kernel is told of it a moment later
        fails(errno.ENOENT, lambda: os.open(paths[1], os.O_RDONLY))
        fails((errno.EIO, errno.ENOENT), lambda: os.read(unread, 1))
        with pytest.raises(OSError) as error:
            got = [data[:1000]]
            while True:
                got.append(os.read(fd, 1 << 20))
                assert got[-1], "a short file: %d bytes" % sum(map(len, got))
        assert error.value.errno in (errno.EIO, errno.ENOENT)
        assert data.startswith(b"".join(got))
        os.close(fd)
        os.close(unread)
        assert read(paths[3]) == SMALL


PUSHING = "IMAP4rev1 NAMESPACE UIDPLUS SPECIAL-USE ENABLE ID UNSELECT CONDSTORE QRESYNC ESEARCH IDLE NOTIFY"


def test_refused(home):
    """The server says NO to the body: an error at the read, none afterwards."""
    with Server({"INBOX": Box([Message(1, SMALL), Message(2, body(700_000))])}) as fake, fake_mount(home, fake, "ro", "timeout=3") as mount:
        paths = mount.by_uid("INBOX")
        fetch = fake.on["UID FETCH"] = lambda session, tag, _args: session.done(tag, "NO [SERVERBUG] not now") or True
        for path in paths.values():
            fails((errno.EIO, errno.ENOENT, errno.EACCES), lambda path=path: read(path))
        assert fake.on.pop("UID FETCH") is fetch
        time.sleep(1.2)
        assert read(paths[1]) == SMALL and read(paths[2]) == body(700_000)


def test_cut_off(home):
    """A connection that ends within the body, each time: an error, and no byte too many or too few."""
    data = body(700_000)
    with Server({"INBOX": Box([Message(1, data)])}) as fake, fake_mount(home, fake, "ro", "timeout=5") as mount:
        path = mount.by_uid("INBOX")[1]

        def cut(session, _message, row):
            if b"BODY[]" not in row:
                return row
            session.send(row[:len(row) // 2])
            session.cut()
            return b""

        fake.row = cut
        fails((errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH), lambda: read(path))
        fake.row = lambda _session, _message, row: row
        eventually(lambda: whole(path) == data, 20)


def whole(path):
    try:
        return read(path)
    except OSError:
        return None


def test_offline(home):
    with Server({"INBOX": Box([Message(1, SMALL), Message(2, SMALL)])}) as fake:
        with fake_mount(home, fake, "ro") as mount:
            assert read(mount.by_uid("INBOX")[1]) == SMALL
    with fake_mount(home, fake, "ro") as mount:
        paths = mount.by_uid("INBOX")
        assert read(paths[1]) == SMALL
        before = time.monotonic()
        fails((errno.EHOSTUNREACH, errno.EIO), lambda: read(paths[2]))
        assert time.monotonic() - before < 3 * SLOW


# --- Many at once, and the end ---

@pytest.mark.limit(90)
def test_many_readers(account):
    """More files than are kept, by more threads than serve, each as it likes."""
    bodies = [body(300 + n * 97) for n in range(300)] + [body(900_000)]
    account.deliver("INBOX", bodies)
    bodies, wrong = account.server.bodies(account.name), []
    with account.mount("ro") as mount:
        paths = mount.by_uid("INBOX")

        def work(which):
            for uid in sorted(paths, key=lambda uid: (uid * 7919 + which * 31) % 1009):
                if read(paths[uid]) != bodies[uid]:
                    wrong.append(uid)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        eventually(lambda: open_bodies(mount) == 0, 10)  # a second after the last read


def open_bodies(mount):
    """Files of the store that the process has open."""
    links = []
    for fd in os.listdir("/proc/%d/fd" % mount.pid):
        try:
            links.append(os.readlink("/proc/%d/fd/%s" % (mount.pid, fd)))
        except OSError:
            pass
    return sum("/bodies/" in link for link in links)


def test_unmounted_while_it_is_read(home):
    """The reader gets an error, and the process ends."""
    with Server({"INBOX": Box([Message(1, SMALL)])}) as fake, fake_mount(home, fake, "ro") as mount:
        path = mount.by_uid("INBOX")[1]
        reached, go = threading.Event(), threading.Event()

        def wait(_session, _message, row):
            if b"BODY[]" in row:
                reached.set()
                go.wait(20)
            return row

        fake.row = wait
        with subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as reader:
            assert reached.wait(10)
            mount.process.terminate()
            assert reader.wait(10 * SLOW) != 0
        mount.wait()
        go.set()


# --- POP3 ---

def test_a_maildrop(account, drop):
    account.deliver("INBOX", [body(length) for length in (300, 5000, 140_000, 700_000)])
    bodies = sorted(account.server.bodies(account.name).values())
    with drop.mount("debug") as mount:
        for _ in range(2):
            paths = [mount.sub(name) for name in mount.names()]
            assert sorted(map(read, paths)) == bodies
        assert sorted(map(mapped, paths)) == bodies
        parts = [mount.sub(".parts", name, "1-text.txt") for name in mount.names(".parts")]
        assert sorted(map(read, parts)) == sorted(data.partition(b"\r\n\r\n")[2] for data in bodies)
        asked = opened(mount)
        assert asked["OPEN"] == 1 and "RELEASE" not in asked, asked
        refused(paths[0])
        assert sorted(map(read, paths)) == bodies


def refused(path):
    """It is not mounted with ro, so that inotify works: what is written is refused all the same, and leaves nothing behind."""
    fails(errno.EROFS, lambda: os.truncate(path, 0))
    fails(errno.EROFS, lambda: os.open(path, os.O_WRONLY | os.O_TRUNC))
    before, fd = read(path), os.open(path, os.O_RDWR)
    fails(errno.EROFS, lambda: os.pwrite(fd, b"x" * 100, 10))
    with mmap.mmap(fd, 0) as view:
        view[:1] = b"x"
        with pytest.raises(OSError):
            view.flush()
    os.close(fd)
    eventually(lambda: read(path) == before, 5)
