# SPDX-License-Identifier: MIT
"""
Programs that wait with inotify are told of each message and folder that comes or goes, once; and however mailfs or its herald
ends, nothing hangs.
"""

import ctypes
import errno
import os
import select
import signal
import stat
import struct
import subprocess
import threading
import time

import pytest

from drops import message, messages
from harness import SLOW, eventually, is_mounted

IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_Q_OVERFLOW, IN_ISDIR = 0x100, 0x200, 0x400, 0x4000, 0x40000000
BOTH = IN_CREATE | IN_DELETE
libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Who waits for new names in one directory."""

    def __init__(self, path, mask=IN_CREATE):
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0 or libc.inotify_add_watch(self.fd, os.fsencode(path), mask) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def read(self):
        """[(mask, name)] of what came by now."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return []
        found = []
        while data:
            _, mask, _, length = struct.unpack("iIII", data[:16])
            found.append((mask, os.fsdecode(data[16:16 + length].rstrip(b"\0"))))
            data = data[16 + length:]
        return found

    def names(self, count, seconds=10, quiet=0.3):
        """The names that were created."""
        found = self.events(count, seconds, quiet)
        assert all(mask == IN_CREATE for mask, _ in found), found
        return [name for _, name in found]

    def events(self, count, seconds=10, quiet=0.3):
        """[(mask, name)]: waits for so many, and then whether more come."""
        found = []
        end = time.monotonic() + seconds * SLOW
        while len(found) < count and time.monotonic() < end:
            select.select([self.fd], [], [], 0.1)
            found += self.read()
        time.sleep(quiet * SLOW)
        return found + self.read()

    def close(self):
        os.close(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def append(account, count, folder="INBOX", first=0):
    """Another client brings new mail."""
    client = account.login()
    for number in range(first, first + count):
        data = b"From: a@example.org\r\nSubject: new %d\r\n\r\nbody\r\n" % number
        assert client.append('"%s"' % folder, None, None, data)[0] == "OK"
    client.logout()


def expunge(account, what="1:*", folder="INBOX"):
    """Another client deletes mail for good."""
    client = account.login()
    client.select('"%s"' % folder)
    assert client.store(what, "+FLAGS", "\\Deleted")[0] == "OK"
    assert client.expunge()[0] == "OK"
    client.logout()


def listed(mount, count, folder="INBOX"):
    """
    The names, once they are so many: of a folder that is watched the server is not asked when it is listed, and it holds its notices
    back for a while.
    """
    eventually(lambda: len(mount.names(folder)) == count)
    return mount.names(folder)


def processes(path):
    """The pids of those that have the mount point in their command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as line:
                if os.fsencode(path) in line.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def herald(mount):
    """The pid of the process that makes the names."""
    found = []
    for pid in processes(mount.path):
        with open("/proc/%d/comm" % pid, encoding="ascii") as name:
            if name.read() == "mailfs-herald\n":
                found.append(pid)
    assert len(found) == 1
    return found[0]


def state(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii") as text:
        return text.read().rsplit(")", 1)[1].split()[0]


def unmount_soon(path, seconds=1):
    """As a user who tries again: busy is what it is while a name is being made."""
    end = time.monotonic() + seconds * SLOW
    while subprocess.run(["fusermount3", "-u", path], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        assert time.monotonic() < end, "still busy"
        time.sleep(0.02)


def with_mail(account, count=3):
    account.deliver("INBOX", [b"Subject: old %d\r\n\r\nbody\r\n" % n for n in range(count)])


def test_new_messages(account):
    """One event for each, with its name; none for those that were there."""
    with_mail(account)
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX")) as watch:
        old = mount.names("INBOX")
        assert watch.names(0) == []
        append(account, 2)
        listed(mount, 5)
        names = watch.names(2)
        assert len(names) == 2 and sorted(names) == sorted(set(mount.names("INBOX")) - set(old))
        assert all(mount.read("INBOX", name).endswith(b"body\r\n") for name in names)
        mount.names("INBOX")
        assert watch.names(0) == []


@pytest.mark.skipif(os.getuid() != 0, reason="allow_other is root's (or fuse.conf's)")
def test_where_the_kernel_checks_permissions(account):
    with_mail(account)
    with account.mount("allow_other", "refresh=0") as mount, Watch(mount.sub("INBOX")) as watch:
        mount.names("INBOX")
        append(account, 1)
        mount.names("INBOX")
        assert len(watch.names(1)) == 1


def test_the_name_is_there_when_it_is_told(account):
    """Whoever is told finds it: by its name, and in the listing."""
    with_mail(account)
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX")) as watch:
        for number in range(5):
            mount.names("INBOX")
            append(account, 1, first=number)
            mount.names("INBOX")
            select.select([watch.fd], [], [], 10 * SLOW)
            [(mask, name)] = watch.read()
            assert mask == IN_CREATE
            assert stat.S_ISREG(os.stat(mount.sub("INBOX", name)).st_mode)
            assert name in mount.names("INBOX")


def test_names_that_were_seen_first(account):
    """The kernel knows the name already, with all its attributes; it is announced all the same, and whoever has it open reads on."""
    with_mail(account)
    with account.mount("refresh=0") as mount:
        pid = herald(mount)
        mount.names("INBOX")
        os.kill(pid, signal.SIGSTOP)
        with Watch(mount.sub("INBOX")) as watch:
            append(account, 1)
            listed(mount, 4)
            new = [entry for entry in os.scandir(mount.sub("INBOX")) if entry.stat().st_size and b"new" in mount.read("INBOX", entry.name)]
            with open(new[0].path, "rb") as file:
                os.kill(pid, signal.SIGCONT)
                assert watch.names(1) == [new[0].name]
                assert b"Subject: new 0" in file.read()
            assert os.stat(new[0].path).st_ino == new[0].inode()


# --- What is gone ---

def test_gone_messages(account):
    """One event for each, with its name; it is not there any more when that is told."""
    with_mail(account, 5)
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX"), BOTH) as watch:
        old = mount.names("INBOX")
        os.stat(mount.sub("INBOX", old[0]))
        expunge(account, "1:3")
        left = listed(mount, 2)
        events = watch.events(3)
        assert sorted(events) == sorted((IN_DELETE, name) for name in set(old) - set(left))
        for name in set(old) - set(left):
            with pytest.raises(FileNotFoundError):
                os.stat(mount.sub("INBOX", name))
        assert sorted(mount.names("INBOX")) == sorted(left)
        assert watch.events(0) == []


def test_gone_and_new(account):
    """In the order in which it was found out, each once, over and over."""
    with_mail(account, 2)
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX"), BOTH) as watch:
        for number in range(5):
            old = mount.names("INBOX")
            expunge(account, "1")
            append(account, 1, first=number)
            eventually(lambda: len(set(mount.names("INBOX")) ^ set(old)) == 2)
            new = mount.names("INBOX")
            assert sorted(watch.events(2)) == sorted([(IN_DELETE, *set(old) - set(new)), (IN_CREATE, *set(new) - set(old))])


def test_open_while_it_goes(account):
    """Who has it open reads to its end; who asks how long it is hears what it was."""
    body = b"Subject: long\r\n\r\n" + b"0123456789abcde\n" * 4000
    account.deliver("INBOX", [body])
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX"), BOTH) as watch:
        [name] = mount.names("INBOX")
        whole = mount.read("INBOX", name)
        with open(mount.sub("INBOX", name), "rb", buffering=0) as file, open(mount.sub("INBOX", name), "rb", buffering=0) as idle:
            first = file.read(1000)
            expunge(account)
            listed(mount, 0)
            assert watch.events(1) == [(IN_DELETE, name)]
            assert os.fstat(file.fileno()).st_size == len(whole)
            rest = b"".join(iter(lambda: file.read(5000), b""))
            assert first + rest == whole
            assert idle.read() == whole
            with pytest.raises(FileNotFoundError):
                os.stat(mount.sub("INBOX", name))


def test_gone_itself(account):
    """Who waits for the file alone is told, too."""
    with_mail(account, 1)
    with account.mount("refresh=0") as mount:
        [name] = mount.names("INBOX")
        with Watch(mount.sub("INBOX", name), IN_DELETE_SELF) as watch:
            expunge(account)
            listed(mount, 0)
            assert (IN_DELETE_SELF, "") in watch.events(1)


class Starer:
    """Looks at names without end; what was gone once must not be seen again."""

    def __init__(self, paths):
        self.paths, self.gone, self.again = paths, set(), []
        self.ending = False
        self.threads = [threading.Thread(target=self._stare, daemon=True) for _ in range(2)]

    def _stare(self):
        while not self.ending:
            for path in self.paths:
                was_gone = path in self.gone
                try:
                    os.stat(path)
                    if was_gone:
                        self.again.append(path)
                except FileNotFoundError:
                    self.gone.add(path)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        for thread in self.threads:
            thread.join()


def test_nobody_sees_it_again(account):
    with_mail(account, 100)
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX"), BOTH) as watch:
        old = mount.names("INBOX")
        with Starer([mount.sub("INBOX", name) for name in old]) as starer:
            expunge(account)
            listed(mount, 0)
            events = watch.events(100)
        assert sorted(events) == sorted((IN_DELETE, name) for name in old)
        assert starer.again == [] and len(starer.gone) == 100
        assert mount.names("INBOX") == []


def test_gone_before_it_was_told(account):
    """While the herald sleeps, messages come and go: nothing is told of these, and all of the others."""
    with_mail(account, 2)
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX"), BOTH) as watch:
        old = mount.names("INBOX")
        pid = herald(mount)
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: state(pid) == "T")
        append(account, 1)  # the herald has this one already, and finds it gone
        listed(mount, 3)
        time.sleep(0.1)
        append(account, 2, first=1)
        listed(mount, 5)
        expunge(account, "1,3:4")
        left = listed(mount, 2)
        os.kill(pid, signal.SIGCONT)
        [kept], [gone] = set(left) - set(old), set(old) - set(left)
        assert sorted(event for event in watch.events(2, quiet=1) if "new-0" not in event[1]) == sorted([(IN_CREATE, kept), (IN_DELETE, gone)])


def test_removing_is_refused(account):
    """To take a name away is for the herald alone."""
    account.deliver("Box/Sub", [b"Subject: old\r\n\r\nbody\r\n"])
    with_mail(account, 1)
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX"), BOTH) as watch:
        [name] = mount.names("INBOX")
        for change in (lambda: os.unlink(mount.sub("INBOX", name)), lambda: os.rmdir(mount.sub("Box", "Sub")),
                       lambda: os.mkdir(mount.sub("INBOX", "new"))):
            with pytest.raises(OSError) as error:
                change()
            assert error.value.errno == errno.EROFS
        assert watch.events(0) == []
        assert mount.names("INBOX") == [name]


def test_switched_off(account):
    with_mail(account, 2)
    with account.mount("refresh=0", "inotify=off") as mount, Watch(mount.sub("INBOX"), BOTH) as watch:
        old = mount.names("INBOX")
        expunge(account, "1")
        append(account, 1)
        eventually(lambda: len(set(mount.names("INBOX")) ^ set(old)) == 2)
        assert watch.events(0) == []
        assert len(processes(mount.path)) == 1


# --- Folders ---

def change_folders(account, *commands):
    """Another client; each command is a method of imaplib and its arguments."""
    client = account.login()
    for command, *arguments in commands:
        assert getattr(client, command)(*('"%s"' % each for each in arguments))[0] == "OK"
    client.logout()


NEW_DIRECTORY, GONE_DIRECTORY = IN_CREATE | IN_ISDIR, IN_DELETE | IN_ISDIR


def test_folders(account):
    with_mail(account, 1)
    with account.mount("refresh=0") as mount, Watch(mount.path, BOTH) as watch:
        before = os.stat(mount.path)
        assert "New" not in mount.names()
        change_folders(account, ("create", "New"))
        eventually(lambda: "New" in mount.names())
        assert watch.events(1) == [(NEW_DIRECTORY, "New")]
        now = os.stat(mount.path)
        assert now.st_nlink == before.st_nlink + 1 and now.st_mtime > before.st_mtime
        append(account, 1, folder="New")
        listed(mount, 1, "New")
        parts = mount.sub("New", ".parts")
        assert len(os.listdir(parts)) == 1
        change_folders(account, ("delete", "New"))
        eventually(lambda: "New" not in mount.names())
        assert watch.events(1) == [(GONE_DIRECTORY, "New")]
        for path in (mount.sub("New"), parts, mount.sub(".parts", "New")):
            with pytest.raises(FileNotFoundError):
                os.stat(path)
        assert os.stat(mount.path).st_nlink == before.st_nlink


def test_folders_in_folders(account):
    """A directory that is no mailbox comes with what is in it."""
    with_mail(account, 1)
    with account.mount("refresh=0") as mount, Watch(mount.path, BOTH) as watch:
        change_folders(account, ("create", "A/B/C"))
        eventually(lambda: "A" in mount.names())
        assert watch.events(1) == [(NEW_DIRECTORY, "A")]
        eventually(lambda: mount.names("A/B") == ["C"])
        with Watch(mount.sub("A", "B"), BOTH) as inner:
            change_folders(account, ("create", "A/B/D"))
            eventually(lambda: mount.names("A/B") == ["C", "D"])
            assert inner.events(1) == [(NEW_DIRECTORY, "D")]
            change_folders(account, ("delete", "A/B/C"), ("delete", "A/B/D"))
            assert sorted(inner.events(2)) == [(GONE_DIRECTORY, "C"), (GONE_DIRECTORY, "D")]
            assert not os.path.exists(mount.sub("A", "B", "C"))


def test_renamed_folder(account):
    """The old name is gone, whoever is in there is not misled; the mail is under the new name."""
    account.deliver("Old", [b"Subject: kept\r\n\r\nbody\r\n"])
    with account.mount("refresh=0") as mount, Watch(mount.path, BOTH) as watch:
        [name] = mount.names("Old")
        was = mount.read("Old", name)
        directory = os.open(mount.sub("Old"), os.O_RDONLY)
        with open(mount.sub("Old", name), "rb", buffering=0) as file:
            change_folders(account, ("rename", "Old", "New"))
            eventually(lambda: "New" in mount.names() and "Old" not in mount.names())
            assert sorted(watch.events(2)) == sorted([(GONE_DIRECTORY, "Old"), (NEW_DIRECTORY, "New")])
            assert file.read() == was
        with pytest.raises(OSError):
            os.listdir(directory)
        os.close(directory)
        [again] = listed(mount, 1, "New")
        assert mount.read("New", again) == was
        with pytest.raises(FileNotFoundError):
            os.stat(mount.sub("Old", name))


def test_a_folder_that_comes_back(account):
    """Also for a shell that never left it: its directory is gone, and the new one is another."""
    account.deliver("Box", [b"Subject: first\r\n\r\nbody\r\n"])
    with account.mount("refresh=0") as mount, Watch(mount.path, BOTH) as watch:
        mount.names("Box")
        with Inside(mount.sub("Box")) as inside:
            assert inside.run("ls") == 0
            change_folders(account, ("delete", "Box"))
            eventually(lambda: "Box" not in mount.names())
            assert inside.run("ls") != 0
            change_folders(account, ("create", "Box"))
            eventually(lambda: "Box" in mount.names())
            append(account, 2, folder="Box")
            listed(mount, 2, "Box")
            assert inside.run("ls") != 0
            assert inside.run("cd '%s' && ls" % mount.sub("Box")) == 0
        assert watch.events(2) == [(GONE_DIRECTORY, "Box"), (NEW_DIRECTORY, "Box")]


class Inside:
    """A shell whose working directory is there."""

    def __init__(self, path):
        self.shell = subprocess.Popen(["sh"], cwd=path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def run(self, command):
        self.shell.stdin.write("{ %s; } >/dev/null; echo $?\n" % command)
        self.shell.stdin.flush()
        return int(self.shell.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shell.stdin.close()
        self.shell.wait()
        self.shell.stdout.close()


def test_the_root_goes_and_comes_back(account):
    account.deliver("Box/Deep", [b"Subject: first\r\n\r\nbody\r\n"])
    with account.mount("refresh=0", folder="Box/Deep") as mount:
        [name] = mount.names()
        change_folders(account, ("delete", "Box/Deep"))

        def is_gone():
            try:
                os.listdir(mount.path)
                return False
            except OSError as error:
                assert error.errno in (errno.EIO, errno.ENOENT)
                return True

        eventually(is_gone)
        eventually(lambda: not os.path.exists(mount.sub(name)))
        change_folders(account, ("create", "Box/Deep"))
        append(account, 1, folder="Box/Deep")
        eventually(lambda: not is_gone() and len(os.listdir(mount.path)) == 1)


def test_nobody_sees_a_folder_again(account):
    names = ["f%02d" % n for n in range(20)]
    change_folders(account, *(("create", name) for name in names))
    with account.mount("refresh=0") as mount, Watch(mount.path, BOTH) as watch:
        eventually(lambda: set(names) < set(mount.names()))
        with Starer([mount.sub(name) for name in names]) as starer:
            change_folders(account, *(("delete", name) for name in names))
            eventually(lambda: not set(names) & set(mount.names()))
            events = watch.events(len(names))
        assert sorted(events) == [(GONE_DIRECTORY, name) for name in names]
        assert starer.again == [] and len(starer.gone) == len(names)


def test_folder_with_any_name(account):
    for folder in ("INBOX", "A&B/100%", "Entwürfe/日本語"):
        account.deliver(folder, [b"Subject: old\r\n\r\nbody\r\n"])
    with account.mount("refresh=0") as mount:
        folders = [os.path.relpath(at, mount.path) for at, _, files in os.walk(mount.path) if files]
        assert len(folders) == 3
        for folder in folders:
            wire = os.getxattr(mount.sub(folder), "user.mailfs.mailbox").decode()
            with Watch(mount.sub(folder)) as watch:
                append(account, 1, folder=wire)
                listed(mount, 2, folder)
                assert len(watch.names(1)) == 1


def test_one_folder_as_root(account):
    account.deliver("Archive/2025", [b"Subject: old\r\n\r\nbody\r\n"])
    with account.mount("refresh=0", folder="Archive/2025") as mount, Watch(mount.path) as watch:
        mount.names()
        append(account, 1, folder="Archive/2025")
        mount.names()
        assert len(watch.names(1)) == 1


def test_changes_are_refused(account):
    """To make a name is for the herald alone, also while it makes one."""
    with_mail(account)
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX")) as watch:
        old = mount.names("INBOX")
        os.kill(herald(mount), signal.SIGSTOP)
        append(account, 1)
        new = (set(listed(mount, 4)) - set(old)).pop()
        for name in (new, "another.eml"):
            with pytest.raises(OSError) as error:
                os.mknod(mount.sub("INBOX", name), stat.S_IFREG | 0o600)
            assert error.value.errno in (errno.EROFS, errno.EEXIST)
        with pytest.raises(OSError) as error:
            os.mknod(mount.sub("INBOX", "another.eml"), stat.S_IFREG | 0o600)
        assert error.value.errno == errno.EROFS
        os.kill(herald(mount), signal.SIGCONT)
        assert watch.names(1) == [new]


def test_access(account):
    with_mail(account)
    with account.mount() as mount:
        for path in (mount.path, mount.sub("INBOX"), *mount.by_uid("INBOX").values()):
            assert os.access(path, os.F_OK) and os.access(path, os.R_OK)
            assert not os.access(path, os.W_OK)
        assert os.access(mount.sub("INBOX"), os.X_OK)
        assert not os.access(next(iter(mount.by_uid("INBOX").values())), os.X_OK)


def test_read_only_mount_has_none(account):
    with_mail(account)
    with account.mount("ro", "refresh=0") as mount, Watch(mount.sub("INBOX")) as watch:
        mount.names("INBOX")
        append(account, 1)
        listed(mount, 4)
        assert watch.names(0) == []


def test_pop3_that_nobody_lists(serve):
    """Who only waits looks at nothing: what poll= brings is told all the same."""
    drop = serve(messages(2))
    with drop.mount("poll=1") as mount, Watch(mount.path) as watch:
        drop.server.messages.append(message(9))
        [name] = watch.names(1)
        assert mount.read(name) == message(9).served


# --- How it ends ---

class Burst:
    """Many new messages, and somebody who makes the mount see them."""

    def __init__(self, account, mount, count):
        self.mount = mount
        mount.names("INBOX")
        self._copy(account, count)
        self.thread = threading.Thread(target=self._look, daemon=True)

    @staticmethod
    def _copy(account, count):
        """The server copies what is there: one command for many messages."""
        client = account.login()
        while count > 0:
            there = int(client.select("INBOX")[1][0])
            assert client.copy("1:%d" % min(count, there), "INBOX")[0] == "OK"
            count -= min(count, there)
        client.logout()

    def _look(self):
        try:
            os.listdir(self.mount.sub("INBOX"))
        except OSError:
            pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join()


BURST = 1000


def test_burst(account):
    with_mail(account)
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX")) as watch:
        with Burst(account, mount, BURST):
            names = watch.names(BURST)
        assert len(names) == BURST and len(set(names)) == BURST
        assert set(names) < set(mount.names("INBOX"))


def test_unmounted_behind_a_burst(account):
    with_mail(account)
    mount = account.mount("refresh=0")
    with Watch(mount.sub("INBOX")) as watch:
        with Burst(account, mount, BURST):
            select.select([watch.fd], [], [], 10 * SLOW)
    unmount_soon(mount.path)
    mount.wait()
    assert mount.log() == ""
    assert os.listdir(mount.path) == []  # the herald made nothing outside
    eventually(lambda: not processes(mount.path))


@pytest.mark.parametrize("delay_ms", range(0, 30, 3))
def test_mailfs_is_killed_in_a_burst(account, delay_ms):
    """At any moment: everybody ends, and the dead mount can be taken away."""
    with_mail(account)
    mount = account.mount("refresh=0")
    with Watch(mount.sub("INBOX")) as watch:
        with Burst(account, mount, BURST):
            select.select([watch.fd], [], [], 10 * SLOW)
            time.sleep(delay_ms / 1000)
            os.kill(mount.pid, signal.SIGKILL)
            mount.process.wait(10 * SLOW)
    eventually(lambda: not processes(mount.path))
    unmount_soon(mount.path)
    assert not is_mounted(mount.path)
    assert os.listdir(mount.path) == []


def test_mailfs_is_ended_in_a_burst(account):
    with_mail(account)
    mount = account.mount("refresh=0")
    with Watch(mount.sub("INBOX")) as watch:
        with Burst(account, mount, BURST):
            select.select([watch.fd], [], [], 10 * SLOW)
            os.kill(mount.pid, signal.SIGTERM)
    mount.wait()
    assert mount.log() == ""
    eventually(lambda: not processes(mount.path))


def test_herald_is_killed(account):
    """No more events; all else goes on."""
    with_mail(account)
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX")) as watch:
        with Burst(account, mount, 50):
            select.select([watch.fd], [], [], 10 * SLOW)
            os.kill(herald(mount), signal.SIGKILL)
        assert len(watch.names(0)) <= 50
        append(account, 1)
        listed(mount, 54)
        assert watch.names(0) == []


def test_herald_is_stopped(account):
    """The mount goes on, and its herald later on, too."""
    with_mail(account)
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX")) as watch:
        mount.names("INBOX")
        pid = herald(mount)
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: state(pid) == "T")
        append(account, 20)
        listed(mount, 23)
        for _ in range(3):
            start = time.monotonic()
            assert len(mount.names("INBOX")) == 23
            assert time.monotonic() - start < 0.9 * SLOW
        client = account.login()
        client.select("INBOX")
        client.store("1", "+FLAGS", "\\Deleted")
        client.expunge()
        client.logout()
        listed(mount, 22)
        assert watch.read() == []
        os.kill(pid, signal.SIGCONT)
        assert len(watch.names(20)) == 20


@pytest.mark.parametrize("how", ["fusermount", "signal", "kill"])
def test_end_with_a_stopped_herald(account, how):
    with_mail(account)
    mount = account.mount("refresh=0")
    mount.names("INBOX")
    pid = herald(mount)
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: state(pid) == "T")
    append(account, 5)
    mount.names("INBOX")
    if how == "fusermount":
        subprocess.run(["fusermount3", "-u", mount.path], check=True)
    else:
        os.kill(mount.pid, signal.SIGTERM if how == "signal" else signal.SIGKILL)
    if how == "kill":
        mount.kill()
    else:
        mount.wait()
    eventually(lambda: not processes(mount.path))


def test_background(account, home):
    """Nothing of the starter's is kept: whoever reads its output to the end, reads to the end."""
    with_mail(account)
    path = home.mountpoint()
    line = home.command(account.url(), path, account.options())
    done = subprocess.run(line, env=home.env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=30 * SLOW, check=True)
    assert done.stdout == b""
    pids = processes(path)
    assert len(pids) == 2
    for pid in pids:
        assert os.readlink("/proc/%d/cwd" % pid) == "/"
    subprocess.run(["fusermount3", "-u", path], check=True)
    eventually(lambda: not processes(path))
