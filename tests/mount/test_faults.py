# SPDX-License-Identifier: MIT
"""
A line that delays, cuts, stalls, truncates and loses: every operation ends in time, what is read is right or an error, and after
that all is as before.
"""

import errno
import os
import random
import signal
import subprocess
import threading
import time

import pytest

import mails
from harness import SLOW, eventually
from proxy import Proxy

TIMEOUT = 2
LARGE = mails.to_bytes(mails.large(megabytes=2))
ERRORS = (errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH)
FAULTS = {"stall": lambda proxy: proxy.stall(), "black hole": lambda proxy: proxy.blackhole(),
          "silent black hole": lambda proxy: proxy.blackhole("silent")}


def small(number):
    return b"From: a@example.org\r\nSubject: number %d\r\n\r\n" % number + b"body %d\r\n" % number * 200


@pytest.fixture
def account(account):
    account.deliver("INBOX", [LARGE, *(small(n) for n in range(2, 60))])
    account.deliver("Other", [small(n) for n in range(1, 10)])
    with Proxy(account.server.port_tls) as proxy:
        account.proxy = proxy
        yield account


def mounted(account, *options):
    return account.mount("timeout=%d" % TIMEOUT, *options, port=account.proxy.port)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def expected(uid):
    return LARGE if uid == 1 else small(uid)


def outcome(work):
    """(seconds, errno or 0)."""
    before = time.monotonic()
    try:
        work()
        return time.monotonic() - before, 0
    except OSError as error:
        return time.monotonic() - before, error.errno


def all_at_once(works):
    """Runs them side by side; their outcomes."""
    results = [None] * len(works)

    def run(index):
        results[index] = outcome(works[index])

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def is_immediate(work):
    took, number = outcome(work)
    assert number == 0 and took < 1 * SLOW, (took, number)


def unmounts_at_once(mount):
    before = time.monotonic()
    subprocess.run(["fusermount3", "-u", mount.path], check=True)
    assert time.monotonic() - before < 1 * SLOW
    mount.wait(10)


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_line_that_is_silent(account, fault):
    """Each operation ends within timeout=, what is known is there at once, and after the end of it all works again."""
    with mounted(account) as mount:
        paths = mount.by_uid("INBOX")
        assert read(paths[2]) == small(2)
        FAULTS[fault](account.proxy)
        works = [lambda: read(paths[1]), lambda: read(paths[3]), lambda: mount.names("Other"),
                 lambda: os.listdir(mount.sub("INBOX", ".parts", os.path.basename(paths[4])[:-4]))]
        waiting = threading.Thread(target=lambda: results.extend(all_at_once(works)))
        results = []
        waiting.start()
        time.sleep(0.3)
        # While those wait: what is known.
        is_immediate(lambda: mount.names("INBOX"))
        is_immediate(lambda: [os.stat(path) for path in paths.values()])
        is_immediate(lambda: os.getxattr(paths[3], "user.mailfs.subject"))
        is_immediate(lambda: os.statvfs(mount.path))
        assert read(paths[2]) == small(2)
        waiting.join()
        for took, number in results:
            assert number in ERRORS and took < (TIMEOUT + 1) * SLOW, results
        # After the first failed attempt to connect nothing waits any more.
        eventually(lambda: outcome(lambda: read(paths[5]))[1] == errno.EHOSTUNREACH, 2 * TIMEOUT)
        took, number = outcome(lambda: read(paths[6]))
        assert number in ERRORS and took < 2 * SLOW
        is_immediate(lambda: mount.names("INBOX"))
        account.proxy.recover()
        eventually(lambda: outcome(lambda: read(paths[3]))[1] == 0, 10)
        assert read(paths[1]) == LARGE
        assert len(mount.names("Other")) == 9


@pytest.mark.parametrize("fault", ["silent black hole", "stall"])
def test_an_end_in_silence(account, fault):
    """Somebody waits, and the mount is left all the same, at once."""
    mount = mounted(account)
    paths = mount.by_uid("INBOX")
    FAULTS[fault](account.proxy)
    with subprocess.Popen(["cat", paths[1]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as reader:
        time.sleep(0.3)
        for number in (signal.SIGINT, signal.SIGKILL):
            with subprocess.Popen(["cat", paths[3]], stdout=subprocess.DEVNULL) as other:
                time.sleep(0.2)
                before = time.monotonic()
                other.send_signal(number)
                assert other.wait(5 * SLOW) == -number
                assert time.monotonic() - before < 1 * SLOW
        reader.kill()
        assert reader.wait(5 * SLOW) == -signal.SIGKILL
    unmounts_at_once(mount)


@pytest.mark.parametrize("ending", ["rst", "fin", "truncate"])
def test_cuts_at_many_places(account, ending):
    """Whatever was cut, and however: the right bytes, or an error; and after that the right bytes."""
    chance = random.Random(ending)
    larger = [b"Subject: larger %d\r\n\r\n" % n + mails.noise(150_000, seed=n).hex().encode() + b"\r\n" for n in range(12)]
    account.deliver("Larger", larger)
    with mounted(account) as mount:
        paths, others = mount.by_uid("Larger"), mount.by_uid("INBOX")
        failed = 0
        for place, wanted in enumerate(larger):
            # Of the greeting, of the login, of an answer, of a literal.
            account.proxy.cut_after(chance.choice((300, 3000, 30_000, 100_000)) + chance.randrange(2000), times=place % 3 + 1, ending=ending)
            try:
                assert read(paths[place + 1]) == wanted, place
            except OSError as error:
                assert error.errno in ERRORS
                failed += 1
            eventually(lambda: outcome(lambda: check(others, 2 + place))[1] == 0, 10)
        # What was fetched ahead before the line was cut needs no line.
        assert account.proxy.cuts >= len(larger) // 2
        assert failed < len(larger)
        account.proxy.recover()
        eventually(lambda: outcome(lambda: read(paths[1]))[1] == 0, 10)
        assert [read(paths[uid]) for uid in sorted(paths)] == larger


def test_a_slow_line(account):
    """Less than a chunk in timeout= comes through, as long as something does; and a long way costs time, not answers."""
    with account.mount("timeout=15", port=account.proxy.port) as mount:
        paths = mount.by_uid("INBOX")
        account.proxy.latency(0.2)
        assert [read(paths[uid]) == small(uid) for uid in range(10, 14)] == [True] * 4
    account.proxy.latency(0)
    with mounted(account) as mount:
        paths = mount.by_uid("INBOX")
        account.proxy.limit(1_000_000)
        assert read(paths[1]) == LARGE


def test_it_is_lost_and_found_again_and_again(account):
    """A line that comes and goes every half second: nothing wrong, nothing hangs, and it heals."""
    with mounted(account) as mount:
        paths = mount.by_uid("INBOX")
        ended = threading.Event()

        def weather():
            chance = random.Random(7)
            while not ended.wait(0.3):
                chance.choice((account.proxy.blackhole, account.proxy.stall, account.proxy.cut_idle, account.proxy.refuse))()
                ended.wait(0.3)
                account.proxy.recover()

        storm = threading.Thread(target=weather)
        storm.start()
        try:
            end = time.monotonic() + 3
            while time.monotonic() < end:
                uid = random.randrange(1, 60)
                took, number = outcome(lambda uid=uid: check(paths, uid))
                assert number in (0, *ERRORS) and took < (TIMEOUT + 1) * SLOW, (took, number)
        finally:
            ended.set()
            storm.join()
        account.proxy.recover()
        eventually(lambda: outcome(lambda: read(paths[59]))[1] == 0, 10)
        assert {uid: read(path) for uid, path in paths.items()} == {uid: expected(uid) for uid in paths}


def check(paths, uid):
    assert read(paths[uid]) == expected(uid), uid
