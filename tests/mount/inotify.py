# SPDX-License-Identifier: MIT
"""For tests of inotify: who waits, what another client does meanwhile, and the processes of a mount."""

import ctypes
import os
import select
import struct
import subprocess
import threading
import time

from harness import SLOW, eventually

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
        """[(mask, name)]: waits for so many, as long as they keep coming, and then whether more come."""
        found = []
        end = time.monotonic() + seconds * SLOW
        while len(found) < count and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                end = time.monotonic() + seconds * SLOW
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
    """Another client brings new mail. Just after a folder was made anew, Dovecot may say for a moment that it is not there."""
    client = account.login()
    for number in range(first, first + count):
        data = b"From: a@example.org\r\nSubject: new %d\r\n\r\nbody\r\n" % number
        eventually(lambda data=data: client.append('"%s"' % folder, None, None, data)[0] == "OK")
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
    """The pid of the process that makes the names; it takes its own name a moment after it was made."""
    found = []

    def is_there():
        found[:] = [pid for pid in processes(mount.path) if comm(pid) == "mailfs-herald"]
        return len(found) == 1

    eventually(is_there)
    return found[0]


def comm(pid):
    """"" for one that has just ended."""
    try:
        with open("/proc/%d/comm" % pid, encoding="ascii") as name:
            return name.read().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


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
