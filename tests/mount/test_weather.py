# SPDX-License-Identifier: MIT
"""A server that goes down and up under many readers, and one that can not be reached: what is shown is right or an error, in time, and heals."""

import errno
import os
import random
import threading
import time

import pytest

from drops import Drop, by_uidl, message, messages, read
from fake.pop3 import Server
from harness import SLOW, Mount, eventually
from proxy import Proxy

TIMEOUT = 2
SECONDS = 2
ERRORS = (errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH)


def small(number):
    return b"From: a@example.org\r\nSubject: number %d\r\n\r\n" % number + b"body %d\r\n" % number * (50 + number % 7 * 3000)


@pytest.fixture
def account(account):
    account.deliver("INBOX", [small(n) for n in range(1, 80)])
    account.deliver("Other", [small(n) for n in range(1, 10)])
    return account


def storm(proxy, work, seed):
    """Runs work(chance) in eight threads while the server goes down and up; what went wrong in them."""
    ended, wrong = threading.Event(), []

    def weather():
        chance = random.Random(seed)
        while not ended.wait(chance.uniform(0.05, 0.4)):
            chance.choice((proxy.refuse, proxy.refuse, proxy.cut_idle, lambda: proxy.cut_after(chance.randrange(1, 3000))))()
            ended.wait(chance.uniform(0.05, 0.4))
            proxy.recover()
        proxy.recover()

    def run(index):
        chance = random.Random("%s %d" % (seed, index))
        while not ended.is_set() and not wrong:
            before = time.monotonic()
            try:
                work(chance)
            except OSError as error:
                if error.errno not in ERRORS:
                    wrong.append(error)
            except BaseException as error:  # pylint: disable=broad-except
                wrong.append(error)
            # A path has a few steps, each with its own deadline.
            if time.monotonic() - before > 3 * (TIMEOUT + 1) * SLOW:
                wrong.append("it took %.1f s" % (time.monotonic() - before))

    threads = [threading.Thread(target=weather)] + [threading.Thread(target=run, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    ended.set()
    for thread in threads:
        thread.join()
    return wrong


@pytest.mark.parametrize("options", [("refresh=0", "cache_size=1M"), ("offline=all",)], ids=lambda options: options[-1])
def test_imap(account, options):
    with Proxy(account.server.port_tls) as proxy:
        with account.mount("timeout=%d" % TIMEOUT, *options, port=proxy.port) as mount:
            paths = mount.by_uid("INBOX")

            def work(chance):
                uid = chance.randrange(1, 80)
                kind = chance.randrange(4)
                if kind == 0:
                    assert len(mount.by_uid("INBOX")) == 79
                elif kind == 1:
                    assert len(mount.by_uid("Other")) == 9
                elif kind == 2:
                    parts = mount.sub("INBOX", ".parts", os.path.basename(paths[uid])[:-4])
                    assert small(uid).startswith(read(os.path.join(parts, "headers.txt")))
                else:
                    assert read(paths[uid]) == small(uid), uid

            assert storm(proxy, work, "imap") == []
            eventually(lambda: heals(lambda: {uid: read(path) for uid, path in paths.items()} == {uid: small(uid) for uid in paths}), 20)
            eventually(lambda: heals(lambda: len(mount.by_uid("Other")) == 9), 20)


def heals(check):
    try:
        return check()
    except OSError:
        return False


def test_pop3(home):
    """It looks every second; messages come meanwhile; each is here once in the end."""

    content = messages(30, 2000)
    with Server(list(content)) as server, Proxy(server.port) as proxy:
        drop = Drop(home, server)
        with drop.mount("timeout=%d" % TIMEOUT, "poll=1", port=proxy.port) as mount:
            known = {one.uidl.decode(): one.served for one in content}

            def work(chance):
                if chance.random() < 0.02:
                    one = message(chance.randrange(1000, 100000), 2000)
                    if one.uidl.decode() not in known:
                        known[one.uidl.decode()] = one.served
                        server.messages.append(one)
                for uidl, path in by_uidl(mount).items():
                    assert read(path) == known[uidl], uidl

            assert storm(proxy, work, "pop3") == []
            eventually(lambda: {uidl: read(path) for uidl, path in by_uidl(mount).items()} == known, 30)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take the network away")
def test_no_network(account):
    """The address is unreachable: nothing to mount, or what is stored."""
    options = account.options("timeout=5")
    before = time.monotonic()
    with pytest.raises(RuntimeError) as error:
        Mount(account.home, account.url(host="127.0.0.1"), options, wrapper=["unshare", "-n", "--"])
    assert "unreachable" in str(error.value) and str(error.value).count("\n") == 1
    assert time.monotonic() - before < 4 * SLOW
    with account.mount() as mount:
        paths = mount.by_uid("INBOX")
        assert read(paths[5]) == small(5)
    with Mount(account.home, account.url(), options, wrapper=["unshare", "-n", "--"]) as mount:
        paths = mount.by_uid("INBOX")
        assert read(paths[5]) == small(5)
        before = time.monotonic()
        with pytest.raises(OSError) as error:
            read(paths[70])
        assert error.value.errno in ERRORS and time.monotonic() - before < 2 * SLOW
        with pytest.raises(OSError):
            mount.names("Other")
