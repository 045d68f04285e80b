# SPDX-License-Identifier: MIT
"""Programs that wait with inotify are told of each message and each folder that goes, and of each folder that comes, once."""

import errno
import os
import select
import signal
import subprocess
import threading
import time

import pytest

from dovecot import Dovecot, Settings
from harness import SLOW, eventually
from inotify import (BOTH, IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_ISDIR, Watch, append, expunge, herald, listed, processes, state,
                     unmount_soon, with_mail)


# --- Messages ---

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
        assert len(processes(mount.path)) == 2  # mailfs, and its helper


# --- Many, and how it ends ---

MANY = 500


class Purge:
    """All mail is deleted, and somebody makes the mount see it."""

    def __init__(self, account, mount):
        self.mount, self.old = mount, mount.names("INBOX")
        expunge(account)
        self.thread = threading.Thread(target=self._look, daemon=True)

    def _look(self):
        try:
            while self.mount.names("INBOX"):
                time.sleep(0.01)
        except OSError:
            pass

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join()


def test_many(account):
    with_mail(account, MANY)
    with account.mount("refresh=0") as mount, Watch(mount.sub("INBOX"), BOTH) as watch:
        with Purge(account, mount) as purge:
            events = watch.events(MANY)
        assert sorted(events) == sorted((IN_DELETE, name) for name in purge.old)
        assert mount.names("INBOX") == []


@pytest.mark.parametrize("delay_ms", range(0, 20, 4))
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_ended_while_names_go(account, delay_ms, how):
    """At any moment: everybody ends, and the mount can be taken away."""
    with_mail(account, MANY)
    mount = account.mount("refresh=0")
    with Watch(mount.sub("INBOX"), BOTH) as watch:
        with Purge(account, mount):
            select.select([watch.fd], [], [], 10 * SLOW)
            time.sleep(delay_ms / 1000)
            os.kill(mount.pid, how)
            mount.process.wait(10 * SLOW)
    eventually(lambda: not processes(mount.path))
    if how == signal.SIGKILL:
        unmount_soon(mount.path)
    assert os.listdir(mount.path) == []


def test_unmounted_while_names_go(account):
    with_mail(account, MANY)
    mount = account.mount("refresh=0")
    with Watch(mount.sub("INBOX"), BOTH) as watch:
        with Purge(account, mount):
            select.select([watch.fd], [], [], 10 * SLOW)
            unmount_soon(mount.path)
    mount.wait()
    assert mount.log() == ""
    assert os.listdir(mount.path) == []
    eventually(lambda: not processes(mount.path))


# --- Folders ---

@pytest.fixture(scope="module")
def asked_server():
    """Without NOTIFY: the list of folders is asked for whenever a directory is opened, and nothing depends on when notices come."""
    words = ("IMAP4rev1 SASL-IR ID ENABLE IDLE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED CONDSTORE QRESYNC ESEARCH MOVE "
             "SPECIAL-USE QUOTA LITERAL+")
    with Dovecot(Settings(capability=words)) as dovecot:
        yield dovecot


@pytest.fixture
def asked(asked_server, new_account):
    return new_account(asked_server)


def change_folders(account, *commands):
    """
    Another client; each command is a method of imaplib and its arguments. A folder is deleted until it stays so for a moment: Dovecot's Maildir
    sometimes comes back when another session looks at it.
    """
    client = account.login()
    for command, *arguments in commands:
        assert getattr(client, command)(*('"%s"' % each for each in arguments))[0] == "OK"
    gone = [arguments[0] for command, *arguments in commands if command == "delete"]

    def stay_away():
        time.sleep(0.2)
        back = [name for name in gone if any(line and b"Noselect" not in line for line in client.list('""', '"%s"' % name)[1])]
        for name in back:
            client.delete('"%s"' % name)
        return not back

    if gone:
        eventually(stay_away)
    client.logout()


NEW_DIRECTORY, GONE_DIRECTORY = IN_CREATE | IN_ISDIR, IN_DELETE | IN_ISDIR


def test_folders(asked):
    with_mail(asked, 1)
    with asked.mount("refresh=0") as mount, Watch(mount.path, BOTH) as watch:
        before = os.stat(mount.path)
        assert "New" not in mount.names()
        change_folders(asked, ("create", "New"))
        eventually(lambda: "New" in mount.names())
        assert watch.events(1) == [(NEW_DIRECTORY, "New")]
        now = os.stat(mount.path)
        assert now.st_nlink == before.st_nlink + 1 and now.st_mtime > before.st_mtime
        append(asked, 1, folder="New")
        listed(mount, 1, "New")
        parts = mount.sub("New", ".parts")
        assert len(os.listdir(parts)) == 1
        change_folders(asked, ("delete", "New"))
        eventually(lambda: "New" not in mount.names())
        assert watch.events(1) == [(GONE_DIRECTORY, "New")]
        for path in (mount.sub("New"), parts, mount.sub(".parts", "New")):
            with pytest.raises(FileNotFoundError):
                os.stat(path)
        assert os.stat(mount.path).st_nlink == before.st_nlink


def test_folders_in_folders(asked):
    """A directory that is no mailbox comes with what is in it, and goes with it, if the server does not keep it."""
    with_mail(asked, 1)
    with asked.mount("refresh=0") as mount, Watch(mount.path, BOTH) as watch:
        change_folders(asked, ("create", "A/B/C"))
        eventually(lambda: "A" in mount.names())
        assert watch.events(1) == [(NEW_DIRECTORY, "A")]
        eventually(lambda: mount.names("A/B") == ["C"])
        with Watch(mount.sub("A", "B"), BOTH) as inner:
            change_folders(asked, ("create", "A/B/D"))
            eventually(lambda: mount.names("A/B") == ["C", "D"])
            assert inner.events(1) == [(NEW_DIRECTORY, "D")]
            change_folders(asked, ("delete", "A/B/C"))
            eventually(lambda: mount.names("A/B") == ["D"])
            assert inner.events(1) == [(GONE_DIRECTORY, "C")]
            change_folders(asked, ("delete", "A/B/D"))
            eventually(lambda: mount.names() and not os.path.exists(mount.sub("A", "B", "D")))
        if "A" not in mount.names():
            assert watch.events(1) == [(GONE_DIRECTORY, "A")]


def test_renamed_folder(asked):
    """The old name is gone, whoever is in there is not misled; the mail is under the new name."""
    asked.deliver("Old", [b"Subject: kept\r\n\r\nbody\r\n"])
    with asked.mount("refresh=0") as mount, Watch(mount.path, BOTH) as watch:
        [name] = mount.names("Old")
        was = mount.read("Old", name)
        directory = os.open(mount.sub("Old"), os.O_RDONLY)
        with open(mount.sub("Old", name), "rb", buffering=0) as file:
            change_folders(asked, ("rename", "Old", "New"))
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


def test_a_folder_that_comes_back(asked):
    """Also for a shell that never left it: its directory is gone, and the new one is another."""
    asked.deliver("Box", [b"Subject: first\r\n\r\nbody\r\n"])
    with asked.mount("refresh=0") as mount, Watch(mount.path, BOTH) as watch:
        mount.names("Box")
        with Inside(mount.sub("Box")) as inside:
            assert inside.run("ls") == 0
            change_folders(asked, ("delete", "Box"))
            eventually(lambda: "Box" not in mount.names())
            assert inside.run("ls") != 0
            # What comes back before its end was told of is told of neither way.
            assert watch.events(1) == [(GONE_DIRECTORY, "Box")]
            change_folders(asked, ("create", "Box"))
            eventually(lambda: "Box" in mount.names())
            append(asked, 2, folder="Box")
            listed(mount, 2, "Box")
            assert inside.run("ls") != 0
            assert inside.run("cd '%s' && ls" % mount.sub("Box")) == 0
        assert watch.events(1) == [(NEW_DIRECTORY, "Box")]


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


def test_the_root_goes_and_comes_back(asked):
    asked.deliver("Box/Deep", [b"Subject: first\r\n\r\nbody\r\n"])
    with asked.mount("refresh=0", folder="Box/Deep") as mount:
        [name] = mount.names()
        change_folders(asked, ("delete", "Box/Deep"))

        def is_gone():
            try:
                os.listdir(mount.path)
                return False
            except OSError as error:
                assert error.errno in (errno.EIO, errno.ENOENT)
                return True

        eventually(is_gone)
        eventually(lambda: not os.path.exists(mount.sub(name)))
        change_folders(asked, ("create", "Box/Deep"))
        append(asked, 1, folder="Box/Deep")
        eventually(lambda: not is_gone() and len(os.listdir(mount.path)) == 1)


def test_nobody_sees_a_folder_again(asked):
    names = ["f%02d" % n for n in range(20)]
    change_folders(asked, *(("create", name) for name in names))
    with asked.mount("refresh=0") as mount, Watch(mount.path, BOTH) as watch:
        eventually(lambda: set(names) < set(mount.names()))
        with Starer([mount.sub(name) for name in names]) as starer:
            change_folders(asked, *(("delete", name) for name in names))
            eventually(lambda: not set(names) & set(mount.names()))
            events = watch.events(len(names))
        assert sorted(events) == [(GONE_DIRECTORY, name) for name in names]
        assert starer.again == [] and len(starer.gone) == len(names)
