# SPDX-License-Identifier: MIT
"""Programs that wait with inotify are told of each new message, once; and however mailfs or its herald ends, nothing hangs."""

import errno
import os
import select
import signal
import stat
import subprocess
import threading
import time

import pytest

from drops import message, messages
from harness import SLOW, eventually, is_mounted
from inotify import Watch, IN_CREATE, append, herald, listed, processes, state, unmount_soon, with_mail


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
    eventually(lambda: len(processes(path)) == 3)
    for pid in processes(path):
        assert os.readlink("/proc/%d/cwd" % pid) == "/"
    subprocess.run(["fusermount3", "-u", path], check=True)
    eventually(lambda: not processes(path))
