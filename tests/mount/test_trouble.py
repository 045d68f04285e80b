# SPDX-License-Identifier: MIT
"""Connections that break, servers that are slow or silent, messages that vanish: an error, never a short or a wrong file."""

import errno
import os
import signal
import subprocess
import threading
import time

import pytest

import mails
from fake.imap import Box, Message, Server
from harness import SLOW, Mount, eventually
from proxy import Proxy

SMALL = b"From: a@example.org\r\nSubject: small\r\n\r\nbody\r\n"
LARGE = mails.to_bytes(mails.large(megabytes=4))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def fake_mount(home, fake, *options):
    return Mount(home, "imap://me@127.0.0.1:%d" % fake.port, ["tls=none", "password_file=" + home.password_file, *options])


def fails(number, work):
    with pytest.raises(OSError) as error:
        work()
    assert error.value.errno in ([number] if isinstance(number, int) else number), error.value


class Gate:
    """A script for UID FETCH that keeps the answer for one UID's body back until it is opened."""

    def __init__(self, fake, uid):
        self.uid, self.open, self.reached = uid, threading.Event(), threading.Event()
        fake.row = self.row

    def row(self, _session, message, data):
        if message.uid == self.uid and b"BODY[]" in data:
            self.reached.set()
            self.open.wait(60)
        return data


@pytest.fixture
def slow(home):
    """A mount whose message 1 does not come until the gate is opened."""
    boxes = {"INBOX": Box([Message(uid, SMALL + b"%d\r\n" % uid) for uid in range(1, 40)]), "Other": Box([Message(1, SMALL)])}
    with Server(boxes) as fake:
        gate = Gate(fake, 1)
        with fake_mount(home, fake) as mount:
            paths = mount.by_uid("INBOX")
            yield gate, mount, paths
            gate.open.set()


def test_a_slow_message_blocks_nobody_else(slow):
    gate, mount, paths = slow
    got = []
    readers = [threading.Thread(target=lambda: got.append(read(paths[1]))) for _ in range(20)]
    for reader in readers:
        reader.start()
    assert gate.reached.wait(10)
    before = time.monotonic()
    assert read(paths[2]) == SMALL + b"2\r\n"
    assert len(mount.names("INBOX")) == 39
    assert len(mount.names("Other")) == 1
    assert os.stat(paths[1]).st_size == len(SMALL) + 3
    assert os.getxattr(paths[1], "user.mailfs.subject") == b"small"
    assert time.monotonic() - before < 5 * SLOW
    gate.open.set()
    for reader in readers:
        reader.join()
    assert got == [SMALL + b"1\r\n"] * 20


def test_an_interrupted_reader_returns_at_once(slow):
    gate, _, paths = slow
    for number in (signal.SIGINT, signal.SIGKILL):
        with subprocess.Popen(["cat", paths[1]], stdout=subprocess.DEVNULL) as reader:
            assert gate.reached.wait(10)
            time.sleep(0.2)
            before = time.monotonic()
            reader.send_signal(number)
            assert reader.wait(5 * SLOW) == -number
            assert time.monotonic() - before < 2 * SLOW
    gate.open.set()
    assert read(paths[1]) == SMALL + b"1\r\n"


def test_slow_readers_do_not_keep_the_mount(slow):
    """It is left by umount -l, or the process by a signal, while somebody waits."""
    gate, mount, paths = slow
    with subprocess.Popen(["cat", paths[1]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as reader:
        assert gate.reached.wait(10)
        os.kill(mount.pid, signal.SIGTERM)
        assert reader.wait(10 * SLOW) != 0
        reader.stderr.close()
    mount.wait()


@pytest.mark.limit(90)
def test_a_server_that_does_not_answer(home):
    """Each operation ends within timeout=: reading, listing, and the mount itself."""
    with Server({"INBOX": Box([Message(1, SMALL)]), "Other": Box([Message(1, SMALL)])}) as fake:
        with fake_mount(home, fake, "timeout=2") as mount:
            path = mount.by_uid("INBOX")[1]
            fake.on["UID FETCH"] = fake.on["SELECT"] = lambda *_: True
            for work in (lambda: read(path), lambda: mount.names("Other")):
                before = time.monotonic()
                fails((errno.ETIMEDOUT, errno.EIO), work)
                assert 1 < time.monotonic() - before < 10 * SLOW
            assert os.stat(path).st_size == len(SMALL)
            fake.on.clear()
            assert read(path) == SMALL


def test_mounting_from_a_server_that_does_not_answer(home):
    with Server({}) as fake:
        fake.on["LIST"] = lambda *_: True
        before = time.monotonic()
        code, text = home.run("imap://me@127.0.0.1:%d" % fake.port, home.mountpoint(),
                              ["tls=none", "timeout=2", "password_file=" + home.password_file])
        assert code == 3 and len(text.splitlines()) == 1, text
        assert time.monotonic() - before < 15 * SLOW


@pytest.fixture
def proxied(account):
    account.deliver("INBOX", [LARGE, SMALL])
    with Proxy(account.server.port_tls) as proxy:
        with account.mount(port=proxy.port) as mount:
            yield proxy, mount, mount.by_uid("INBOX")


def test_a_cut_connection_is_retried(proxied):
    proxy, _, paths = proxied
    proxy.cut_after(1_000_000)
    assert read(paths[1]) == LARGE
    assert proxy.cuts == 1


def test_a_connection_cut_again_is_an_error(proxied):
    proxy, mount, paths = proxied
    proxy.cut_after(50_000, times=1000)
    fails(errno.EIO, lambda: read(paths[1]))
    assert 2 <= proxy.cuts <= 100
    proxy.cut_after(10**12)
    assert read(paths[1]) == LARGE
    assert read(paths[2]) == SMALL
    assert mount.process.poll() is None


def test_silence_costs_one_time_out(account):
    """The kernel asks again for what it could not read ahead; a reader must not wait twice for that."""
    account.deliver("INBOX", [LARGE])
    with Proxy(account.server.port_tls) as proxy:
        with account.mount("timeout=3", port=proxy.port) as mount:
            path = mount.by_uid("INBOX")[1]
            proxy.hold()
            before = time.monotonic()
            fails((errno.ETIMEDOUT, errno.EIO), lambda: read(path))
            assert 2 < time.monotonic() - before < 5 * SLOW
            proxy.release()
            time.sleep(1)
            assert read(path) == LARGE


def test_the_server_restarts(account):
    """Connections that were idle when the server went are made again, without an error."""
    account.deliver("INBOX", [SMALL, SMALL])
    with Proxy(account.server.port_tls) as proxy:
        with account.mount("refresh=0", port=proxy.port) as mount:
            paths = mount.by_uid("INBOX")
            proxy.cut_idle()
            assert read(paths[1]) == SMALL
            proxy.cut_idle()
            assert len(mount.by_uid("INBOX")) == 2


def test_the_server_is_away(account):
    """What is known stays known; what is not gives an error, and comes back with the server."""
    account.deliver("INBOX", [SMALL, SMALL])
    account.deliver("Other", [SMALL])
    proxy = Proxy(account.server.port_tls)
    port = proxy.port
    with account.mount("refresh=1", "timeout=3", port=port) as mount:
        paths = mount.by_uid("INBOX")
        assert read(paths[1]) == SMALL
        proxy.close()
        assert read(paths[1]) == SMALL
        assert os.stat(paths[2]).st_size == len(SMALL)
        fails((errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH), lambda: read(paths[2]))
        fails((errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH), lambda: mount.names("Other"))
        with Proxy(account.server.port_tls, port=port):
            eventually(lambda: read_or_none(paths[2]) == SMALL, 20)
            assert len(mount.names("Other")) == 1


def read_or_none(path):
    try:
        return read(path)
    except OSError:
        return None


def test_a_message_that_vanishes(account):
    """Expunged by another client between two reads of it: all of it, or an error."""
    account.deliver("INBOX", [LARGE, SMALL, SMALL])
    with account.mount() as mount:
        paths = mount.by_uid("INBOX")
        fd = os.open(paths[1], os.O_RDONLY)
        assert os.read(fd, 1000) == LARGE[:1000]
        client = account.login()
        client.select("INBOX")
        client.uid("STORE", "1:2", "+FLAGS", "(\\Deleted)")
        client.expunge()
        client.logout()
        got = b""
        with pytest.raises(OSError) as error:
            while True:
                piece = os.read(fd, 1 << 20)
                assert piece, "a short file: %d of %d bytes" % (len(got) + 1000, len(LARGE))
                got += piece
        assert error.value.errno in (errno.EIO, errno.ENOENT)
        os.close(fd)
        fails((errno.EIO, errno.ENOENT), lambda: read(paths[2]))
        assert read(paths[3]) == SMALL
