# SPDX-License-Identifier: MIT
"""POP3: poll= looks again, adds what is new, and tells the kernel and those who wait."""

import ctypes
import os
import select
import struct
import subprocess
import time

import pytest

from drops import check, message, messages
from harness import SLOW, eventually

IN_CREATE, IN_CLOSE_WRITE, IN_MOVED_TO = 0x100, 0x8, 0x80


def logins(drop):
    return len(drop.server.logins)


def test_no_poll_no_look(serve):
    """One connection, closed when all is here."""
    content = messages(3)
    drop = serve(content)
    with drop.mount() as mount:
        drop.server.wait_for("QUIT")
        drop.server.messages.append(message(9))
        time.sleep(1.2)
        check(mount, content)
    assert drop.server.connections == 1


def test_new_mail_appears(serve):
    """In a directory that the kernel has cached, within the interval and a second."""
    content = messages(3)
    drop = serve(content)
    with drop.mount("poll=1") as mount:
        for number in (7, 8):
            assert len(mount.names()) == number - 4
            before = os.stat(mount.path).st_mtime_ns
            drop.server.messages.append(message(number))
            start = time.monotonic()
            eventually(lambda count=number - 3: len(mount.names()) == count, 5)
            assert time.monotonic() - start <= 2 * SLOW
            assert os.stat(mount.path).st_mtime_ns > before
        check(mount, content + [message(7), message(8)])
        listed = subprocess.run(["ls", mount.path], check=True, capture_output=True, text=True).stdout.splitlines()
        assert sorted(listed) == mount.names()
    assert len(drop.server.of("RETR")) == 5


def test_a_name_that_was_missing(serve):
    """The kernel remembers that a name is not there; it is told when that changes."""
    drop = serve(messages(2))
    other = serve(messages(3))
    other.home = drop.home
    with other.mount(name="other") as mount:
        (name,) = [name for name in mount.names() if "number-3" in name]
    with drop.mount("poll=1") as mount:
        assert not os.path.exists(mount.sub(name)) and not os.path.exists(mount.sub(name))
        drop.server.messages.append(message(3))
        eventually(lambda: os.path.exists(mount.sub(name)), 5)
        assert mount.read(name) == message(3).served


class Watch:
    """Inotify on a directory."""

    def __init__(self, path, mask):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK)
        assert self.fd >= 0 and libc.inotify_add_watch(self.fd, path.encode(), mask) >= 0

    def wait(self, seconds=10):
        """The names of the next events: [(mask, name)]."""
        if not select.select([self.fd], [], [], seconds * SLOW)[0]:
            return []
        data, found = os.read(self.fd, 65536), []
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            found.append((mask, data[16:16 + length].rstrip(b"\0").decode()))
            data = data[16 + length:]
        return found

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self.fd)


def test_inotify(serve):
    """Programs that wait for new files are told, with the name, and the file can be read when they are."""
    content = messages(2)
    drop = serve(content)
    with drop.mount("poll=1") as mount:
        known = set(mount.names())
        with Watch(mount.path, IN_CREATE | IN_MOVED_TO) as watch:
            for number in (8, 9):
                drop.server.messages.append(message(number))
                events = watch.wait(6)
                assert len(events) == 1 and events[0][0] & IN_CREATE, events
                name = events[0][1]
                assert name not in known and mount.read(name) == message(number).served
                known.add(name)
        check(mount, content + [message(8), message(9)])


def test_inotify_off(serve):
    """Then there is no helper process; the listing is right all the same."""
    drop = serve(messages(2))
    with drop.mount("poll=1", "inotify=off") as mount:
        with Watch(mount.path, IN_CREATE) as watch:
            drop.server.messages.append(message(9))
            eventually(lambda: len(mount.names()) == 3, 5)
            assert watch.wait(0.3) == []


def test_interval(serve):
    """Looks come no faster than they were asked for, each in a connection of its own that ends with QUIT."""
    drop = serve(messages(2))
    with drop.mount("poll=1"):
        start, before = time.monotonic(), logins(drop)
        eventually(lambda: logins(drop) >= before + 3, 10)
        assert time.monotonic() - start >= 1.9
    eventually(lambda: len(drop.server.of("QUIT")) >= logins(drop) - 1)


def test_login_delay(serve):
    """A server that says how often it wants to be asked is not asked more often (RFC 2449 section 6.5)."""
    drop = serve(messages(2), capability=("UIDL", "TOP", "USER", "PIPELINING", "LOGIN-DELAY 3"))
    with drop.mount("poll=1"):
        time.sleep(2.5)
        assert logins(drop) == 1
        eventually(lambda: logins(drop) == 2, 5)


def test_polls_ask_for_nothing_that_is_here(serve):
    content = messages(50)
    drop = serve(content)
    with drop.mount("poll=1"):
        eventually(lambda: logins(drop) >= 3, 10)
    assert len(drop.server.of("RETR")) == 50 and drop.server.of("TOP") == []


def test_a_message_that_was_refused_is_tried_again(serve):
    content = messages(4)
    content[2].refuse = "Not yet."
    drop = serve(content)
    with drop.mount("poll=1") as mount:
        assert len(mount.names()) == 3
        content[2].refuse = ""
        eventually(lambda: len(mount.names()) == 4, 5)
        check(mount, content)


def test_a_poll_that_is_cut_off(serve):
    """The next look brings what it did not."""
    content = messages(3)
    drop = serve(content)
    with drop.mount("poll=1") as mount:
        for verb in ("greeting", "UIDL", "RETR"):
            drop.server.cut(verb, lines=1 if verb == "RETR" else 0)
            content.append(message(20 + len(content)))
            drop.server.messages.append(content[-1])
            eventually(lambda: len(mount.names()) == len(content), 8)
        check(mount, content)


def test_dovecot(drop):
    """New mail that is delivered while it is mounted."""
    content = messages(3)
    drop.account.deliver("INBOX", [one.data for one in content])
    from maildir import Mail
    with drop.mount("poll=1") as mount:
        check(mount, content)
        drop.server.add(drop.user, [Mail(message(9).data)])
        eventually(lambda: len(mount.names()) == 4, 8)
        check(mount, content + [message(9)])


@pytest.mark.parametrize("value", ["-1", "x", "1.5", ""])
def test_values_of_poll(serve, value):
    code, text = serve(messages(1)).run("poll=" + value)
    assert code == 1 and len(text.splitlines()) == 1 and "poll" in text, text
