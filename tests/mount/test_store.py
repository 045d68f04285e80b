# SPDX-License-Identifier: MIT
"""
A store that is full, read-only, gone, damaged, somebody else's, or not what it should be, before a mount and during it: what is read is right or an
error, nothing hangs, and nothing outside of it is written.
"""

import errno
import os
import pwd
import shutil
import subprocess
import threading
import time

import pytest

import mails
from drops import side_by_side
from harness import SLOW, Home, Mount, some
from maildir import Mail

FAILS = (errno.EIO, errno.ENOSPC, errno.EROFS, errno.ENOMEM, errno.EHOSTUNREACH)
LARGE = mails.to_bytes(mails.large(megabytes=2))
MESSAGES = [LARGE] + [b"From: a@example.org\r\nSubject: number %d\r\n\r\n" % n + b"body %d\r\n" % n * (200 + 2000 * (n % 3)) for n in range(2, 40)]
ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount and give files away")


def small_disk(path, size):
    os.makedirs(path, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%s" % size, "none", path], check=True)


def remount(path, *options):
    subprocess.run(["mount", "-o", "remount," + ",".join(options), path], check=True)


class Kind:
    """An account to mount, over IMAP or POP3, in homes of its own."""

    def __init__(self, server, name, scheme):
        self.server, self.name, self.scheme = server, name, scheme

    @property
    def folder(self):
        return "INBOX" if self.scheme == "imaps" else ""

    def place(self, home):
        """Where its stores lie."""
        return home.cache() if self.scheme == "imaps" else home.state()

    def store(self, home):
        (name,) = os.listdir(self.place(home))
        return os.path.join(self.place(home), name)

    def mount(self, home, *options):
        port = self.server.port_tls if self.scheme == "imaps" else self.server.port_pop3_tls
        return Mount(home, "%s://%s@localhost:%d" % (self.scheme, self.name, port),
                     ["password_file=" + home.password_file, "tls_ca=" + self.server.ca, "timeout=10", *options])

    def read_all(self, mount):
        """Each is right, or an error; how many were right."""
        right = 0
        names = [name for name in mount.names(self.folder) if name.endswith(".eml")]
        assert len(names) == len(MESSAGES), len(names)
        for name in names:
            before = time.monotonic()
            try:
                assert mount.read(self.folder, name) in MESSAGES, name
                right += 1
            except OSError as error:
                assert error.errno in FAILS, error
            assert time.monotonic() - before < 11 * SLOW
        return right


@pytest.fixture(scope="module", params=["imaps", "pop3s"])
def kind(request, server):
    name = "store-" + request.param
    server.add_user(name)
    server.deliver(name, "INBOX", [Mail(data, mails.START + n) for n, data in enumerate(MESSAGES)])
    return Kind(server, name, request.param)


@pytest.fixture
def disk(home, kind):
    """A small file system for its store."""
    path = os.path.dirname(kind.place(home))
    small_disk(path, "64m")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


@ROOT
@pytest.mark.parametrize("kind", ["imaps"], indirect=True)
def test_full_while_reading(kind, home, disk):
    """Before anything is kept, then in the middle; with room again it keeps what it reads. What a maildrop does without room: test_pop3_cuts.py."""
    filler = os.path.join(disk, "filler")
    with kind.mount(home) as mount:
        with open(filler, "wb") as out:
            with pytest.raises(OSError) as error:
                while True:
                    out.write(bytes(1 << 20))
                    out.flush()
            assert error.value.errno == errno.ENOSPC
        assert kind.read_all(mount) == len(MESSAGES)
        os.unlink(filler)
        assert kind.read_all(mount) == len(MESSAGES)
    with kind.mount(home) as mount:
        assert kind.read_all(mount) == len(MESSAGES)


@ROOT
def test_read_only(kind, home, disk):
    """While it runs, and from the start."""
    with kind.mount(home) as mount:
        kind.read_all(mount)
        # Refused where files are open for writing.
        busy = subprocess.run(["mount", "-o", "remount,ro", disk], stderr=subprocess.DEVNULL, check=False).returncode
        assert kind.read_all(mount) == len(MESSAGES)
    if busy:
        remount(disk, "ro")
    try:
        mount = kind.mount(home)
    except RuntimeError as error:
        assert "no mount: mailfs: " in str(error) and str(error).count("\n") == 1, error
    else:
        with mount:
            assert kind.read_all(mount) == len(MESSAGES)
    remount(disk, "rw")
    with kind.mount(home) as mount:
        assert kind.read_all(mount) == len(MESSAGES)


# --- What may have become of a file ---

def cut(path, _outside):
    os.truncate(path, os.path.getsize(path) // 2)


def empty(path, _outside):
    os.truncate(path, 0)


def other_bytes(path, _outside):
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(size // 3)
        file.write(b"\xa5" * max(1, size // 3))


def gone(path, _outside):
    os.unlink(path)


def directory(path, _outside):
    os.unlink(path)
    os.mkdir(path)
    with open(os.path.join(path, "file"), "w", encoding="ascii"):
        pass


def fifo(path, _outside):
    os.unlink(path)
    os.mkfifo(path)


def symlink(path, outside):
    """To a file that is not to be written."""
    os.unlink(path)
    os.symlink(os.path.join(outside, "precious"), path)


def dangling(path, outside):
    """To one that is not to be made."""
    os.unlink(path)
    os.symlink(os.path.join(outside, "new"), path)


DAMAGES = (cut, empty, other_bytes, gone, directory, fifo, symlink, dangling)


class Outside:
    """What must stay as it is."""

    def __init__(self, home):
        self.path = os.path.join(home.path, "outside")
        os.mkdir(self.path)
        with open(os.path.join(self.path, "precious"), "wb") as out:
            out.write(b"precious\n" * 100)
        self.before = self.state()

    def state(self):
        with open(os.path.join(self.path, "precious"), "rb") as file:
            return sorted(os.listdir(self.path)), file.read(), os.stat(os.path.join(self.path, "precious")).st_mode


def files_of(store):
    found = []
    for folder, _, names in os.walk(store):
        found += [os.path.join(folder, name) for name in names]
    return found


def is_body(path):
    return "/bodies/" in path


def damaged(kind, template, damage, during):
    home = Home()
    try:
        outside = Outside(home)
        shutil.copytree(template, kind.place(home), symlinks=True)
        mount = kind.mount(home) if during else None
        if mount:
            kind.read_all(mount)
        store = kind.store(home)
        for path in files_of(store):
            # What is mapped into a running process's memory is SQLite's affair, and nobody's who may not be killed by it.
            if during and not is_body(path) and damage in (cut, empty, other_bytes):
                continue
            # Nor is a large message of a maildrop, which was compared when it was read first, compared again.
            if during and kind.scheme == "pop3s" and damage is other_bytes and os.path.getsize(path) > 64 << 10:
                continue
            if os.path.basename(path) != "lock" or damage in (symlink, dangling, fifo, directory):
                damage(path, outside.path)
        if mount:
            use(kind, mount)
            mount.stop()
        try:
            mount = kind.mount(home)
        except RuntimeError as error:
            text = str(error)
            assert "no mount: mailfs: " in text or "\nmailfs: " in text, text
        else:
            with mount:
                use(kind, mount)
        assert outside.state() == outside.before, outside.state()
        # With another store all is well.
        shutil.rmtree(kind.place(home))
        with kind.mount(home) as mount:
            assert kind.read_all(mount) == len(MESSAGES)
    finally:
        home.remove()


def use(kind, mount):
    """A maildrop's messages have no other place to come from: they are errors, or fetched again."""
    try:
        right = kind.read_all(mount)
        assert kind.scheme == "pop3s" or right == len(MESSAGES), right
    except OSError as error:
        assert error.errno in FAILS, error


@pytest.mark.limit(120)
def test_damage(kind, home):
    with kind.mount(home) as mount:
        assert kind.read_all(mount) == len(MESSAGES)
    cases = some([(damage, during) for during in (False, True) for damage in DAMAGES], 5)
    side_by_side(cases, lambda case: damaged(kind, kind.place(home), *case), 4)


def test_removed_while_it_runs(kind, home):
    """All of it, also while somebody reads."""
    with kind.mount(home) as mount:
        names = [name for name in mount.names(kind.folder) if name.endswith(".eml")]
        reader = threading.Thread(target=lambda: use(kind, mount))
        reader.start()
        shutil.rmtree(kind.place(home), ignore_errors=True)
        reader.join()
        use(kind, mount)
        assert len(names) == len(MESSAGES)
    shutil.rmtree(kind.place(home), ignore_errors=True)
    with kind.mount(home) as mount:
        assert kind.read_all(mount) == len(MESSAGES)


@pytest.mark.parametrize("level", ["account", "all"])
def test_a_symlink_in_its_place(kind, home, level):
    """Where a directory of the store should be there is a link to somewhere else, made by somebody who may write there."""
    outside = Outside(home)
    with kind.mount(home) as mount:
        mount.names(kind.folder)
    path = kind.store(home) if level == "account" else os.path.join(kind.store(home), "bodies")
    shutil.rmtree(path)
    os.symlink(outside.path, path)
    try:
        mount = kind.mount(home)
    except RuntimeError as error:
        assert str(error).startswith("no mount: mailfs: ") and str(error).count("\n") == 1, error
    else:
        with mount:
            use(kind, mount)
    assert outside.state() == outside.before, outside.state()


@ROOT
def test_somebody_elses(kind, home):
    """A directory that another user owns is one that he may change: root, who is warned, puts up with that for a cache."""
    nobody = pwd.getpwnam("nobody")
    with kind.mount(home) as mount:
        assert kind.read_all(mount) == len(MESSAGES)
    for folder, folders, names in os.walk(kind.store(home)):
        for name in [folder] + [os.path.join(folder, name) for name in folders + names]:
            os.chown(name, nobody.pw_uid, nobody.pw_gid)
    if kind.scheme == "imaps":
        with kind.mount(home) as mount:
            assert kind.read_all(mount) == len(MESSAGES) and "belongs to another user" in mount.log(), mount.log()
        return
    with pytest.raises(RuntimeError) as error:
        kind.mount(home)
    assert str(error.value).startswith("no mount: mailfs: ") and "belongs to another user" in str(error.value), error.value
