# SPDX-License-Identifier: MIT
"""What goes over the wire, and when."""

import os
import re
import subprocess
import threading
import time

import pytest

import mails
from fake.imap import Box, Message, Server
from harness import Mount, eventually
from maildir import Mail
from proxy import Proxy


@pytest.fixture
def proxied(account):
    """The account behind a proxy: mount(*options) and counts."""
    with Proxy(account.server.port_tls) as proxy:
        account.proxy = proxy
        yield account


def ranges(account, uid):
    """The (offset, length) of the partial fetches of a message, in their order."""
    pattern = re.compile(r"UID FETCH %d \(.*BODY\.PEEK\[\]<(\d+)\.(\d+)>" % uid)
    found = [pattern.match(command) for command in account.commands("UID FETCH")]
    return [tuple(map(int, match.groups())) for match in found if match]


def ls(mount):
    return subprocess.run(["ls", "-lR", mount.path], check=True, capture_output=True, text=True).stdout


def test_beginning_of_a_large_message(proxied):
    """The first 4 KiB of 30 MB cost at most 300 KiB."""
    proxied.deliver("INBOX", [mails.to_bytes(mails.large())])
    with proxied.mount(port=proxied.proxy.port) as mount:
        path = mount.by_uid("INBOX")[1]
        proxied.proxy.reset_counts()
        fd = os.open(path, os.O_RDONLY)
        assert len(os.pread(fd, 4096, 0)) == 4096
        os.close(fd)
        time.sleep(0.3)  # what might still be read ahead counts too
        assert proxied.proxy.total <= 300 * 1024


def test_end_of_a_large_message(proxied):
    proxied.deliver("INBOX", [mails.to_bytes(mails.large())])
    with proxied.mount(port=proxied.proxy.port) as mount:
        path = mount.by_uid("INBOX")[1]
        proxied.proxy.reset_counts()
        subprocess.run(["tail", "-c", "1000", path], check=True, stdout=subprocess.DEVNULL)
        assert proxied.proxy.total <= 600 * 1024


def test_chunks_grow_with_sequential_reading(account):
    """From the beginning to the end in few commands, none of them twice; one small read in the middle stays small."""
    account.deliver("INBOX", [mails.to_bytes(mails.large()), mails.to_bytes(mails.large(4))])
    with account.mount() as mount:
        paths = mount.by_uid("INBOX")
        fd = os.open(paths[1], os.O_RDONLY)
        assert len(os.pread(fd, 4096, 20_000_000)) == 4096
        os.close(fd)
        assert sum(length for _, length in ranges(account, 1)) <= 256 * 1024
        subprocess.run(["cat", paths[2]], check=True, stdout=subprocess.DEVNULL)
        chunks = ranges(account, 2)
        assert max(length for _, length in chunks) > 2 * chunks[0][1]
        assert len(chunks) <= 16
        assert sum(length for _, length in chunks) <= os.stat(paths[2]).st_size + 256 * 1024


def test_second_listing(proxied):
    """A second ls -lR within refresh= costs nothing; after it, one look at each folder."""
    proxied.deliver("INBOX", [b"Subject: %d\r\n\r\nbody\r\n" % n for n in range(500)])
    proxied.deliver("Other", [b"Subject: %d\r\n\r\nbody\r\n" % n for n in range(500)])
    with proxied.mount("refresh=3", port=proxied.proxy.port) as mount:
        first = ls(mount)
        eventually(lambda: proxied.commands("NOTIFY SET"))
        time.sleep(0.7)  # the watch has begun, and what is shown is looked at once more
        proxied.server.forget_commands(proxied.name)
        proxied.proxy.reset_counts()
        assert ls(mount) == first
        # The watch, which has just begun, may look at the list of folders; nothing else is asked.
        assert not [command for command in proxied.commands() if command.startswith(("SELECT", "EXAMINE", "UID"))]
        time.sleep(3.1)
        assert ls(mount) == first
        # Two folders, 500 messages: a flag scan of each would be more than 30 bytes for each message.
        assert proxied.proxy.total <= 16 * 1024


def test_second_mount_lists_from_the_store(proxied):
    proxied.deliver("INBOX", [b"Subject: %d\r\n\r\nbody\r\n" % n for n in range(500)])
    with proxied.mount() as mount:
        first = mount.names("INBOX")
    proxied.server.forget_commands(proxied.name)
    with proxied.mount() as mount:
        assert mount.names("INBOX") == first
    assert proxied.commands("HEADER.FIELDS") == []


def test_new_mail_appears(account):
    account.deliver("INBOX", [b"Subject: one\r\n\r\nbody\r\n"])
    with account.mount("refresh=1") as mount:
        assert sorted(mount.by_uid("INBOX")) == [1]
        before = os.stat(mount.sub("INBOX")).st_mtime_ns
        client = account.login()
        client.append("INBOX", None, None, b"Subject: two\r\n\r\nbody\r\n")
        eventually(lambda: sorted(mount.by_uid("INBOX")) == [1, 2])
        assert os.stat(mount.sub("INBOX")).st_mtime_ns > before
        assert mount.read(mount.by_uid("INBOX")[2]) == b"Subject: two\r\n\r\nbody\r\n"
        client.select("INBOX")
        client.uid("STORE", "1", "+FLAGS", "(\\Deleted)")
        client.expunge()
        eventually(lambda: sorted(mount.by_uid("INBOX")) == [2])
        assert os.getxattr(mount.sub("INBOX"), "user.mailfs.messages") == b"1"
        client.uid("STORE", "2", "+FLAGS", "(\\Flagged)")
        client.logout()

        def flagged():
            return b"\\Flagged" in os.getxattr(mount.by_uid("INBOX")[2], "user.mailfs.flags")
        eventually(flagged)


def test_flags_change_nothing_that_a_backup_looks_at(account):
    account.deliver("INBOX", [Mail(b"Subject: one\r\n\r\nbody\r\n")])
    with account.mount("refresh=1") as mount:
        path = mount.by_uid("INBOX")[1]
        before, folder = os.stat(path), os.stat(mount.sub("INBOX"))
        client = account.login()
        client.select("INBOX")
        client.uid("STORE", "1", "+FLAGS", "(\\Seen)")
        client.logout()

        def seen():
            mount.names("INBOX")
            return b"\\Seen" in os.getxattr(path, "user.mailfs.flags")
        eventually(seen)
        after = os.stat(path)
        assert (after.st_mtime, after.st_ctime, after.st_size, after.st_ino) == (
            before.st_mtime, before.st_ctime, before.st_size, before.st_ino)
        assert os.stat(mount.sub("INBOX")).st_mtime_ns == folder.st_mtime_ns


def test_entries_are_handed_out_as_they_arrive(home):
    """The first listing of a folder shows its beginning while the rest is still on its way."""
    messages = [Message(uid, b"From: a@example.org\r\nSubject: number %d\r\n\r\nbody\r\n" % uid) for uid in range(1, 3001)]
    go_on = threading.Event()
    held = threading.Event()

    with Server({"INBOX": Box(messages)}) as fake:

        def row(_session, message, data):
            if message.uid == 2000 and not go_on.is_set():
                held.set()
                go_on.wait(30)
            return data

        fake.row = row
        with Mount(home, "imap://me@127.0.0.1:%d" % fake.port, ["tls=none", "password_file=" + home.password_file]) as mount:
            with os.scandir(mount.sub("INBOX")) as entries:
                first = next(entries)
                assert first.name.endswith(".eml") and not go_on.is_set()
                assert held.wait(10)
                go_on.set()
                rest = [entry.name for entry in entries]
            assert len({first.name, *rest}) == 1 + len(rest) == 3000
            assert len(mount.names("INBOX")) == 3000
