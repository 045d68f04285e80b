# SPDX-License-Identifier: MIT
"""What is fetched ahead of readers: nothing twice, nothing wrong, in few round trips, and nobody else waits for it."""

import hashlib
import os
import random
import statistics
import subprocess
import time

import pytest

import mails
from harness import SANITIZED, SLOW
from proxy import Proxy

SMALL = 500
RTT_S = 0.05


@pytest.fixture
def walked(account):
    """A folder of many messages behind a proxy, and what they must be: {uid: sha256}."""
    rng = random.Random(7)
    datas = []
    for n in range(SMALL):
        text = rng.randbytes(rng.choice([200, 1000, 4000, 30000])).hex()
        lines = "\r\n".join(text[k:k + 76] for k in range(0, len(text), 76))
        datas.append(b"Subject: %d\r\n\r\n%s\r\n" % (n, lines.encode()))
    datas += [mails.to_bytes(mails.large(4)), mails.to_bytes(mails.large(1))]
    account.deliver("INBOX", datas)
    account.sums = {n + 1: hashlib.sha256(data).hexdigest() for n, data in enumerate(datas)}
    account.bytes = sum(map(len, datas))
    with Proxy(account.server.port_tls) as proxy:
        account.proxy = proxy
        yield account


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def check_sums(account, paths):
    wrong = [uid for uid, path in paths.items() if digest(path) != account.sums[uid]]
    assert not wrong


@pytest.mark.parametrize("order", ["up", "down", "inode", "random"])
def test_every_byte_once(walked, order):
    """In a walk a message comes once, and many with one command."""
    with walked.mount(port=walked.proxy.port) as mount:
        paths = mount.by_uid("INBOX")
        walked.proxy.reset_counts()
        uids = sorted(paths, reverse=order == "down")
        if order == "inode":
            uids.sort(key=lambda uid: os.stat(paths[uid]).st_ino)
        if order == "random":
            random.Random(1).shuffle(uids)
        check_sums(walked, {uid: paths[uid] for uid in uids})
        assert walked.proxy.received <= walked.bytes * 1.05 + 500_000
        if order != "random":
            assert len(walked.commands("UID FETCH")) <= SMALL / 4
        if not SANITIZED:  # a sanitizer has memory of its own
            assert mount.peak_rss_kib() <= 96 * 1024


def test_parallel_readers(walked):
    with walked.mount(port=walked.proxy.port) as mount:
        paths = mount.by_uid("INBOX")
        walked.proxy.reset_counts()
        listed = "\0".join(paths[uid] for uid in sorted(paths))
        subprocess.run(["xargs", "-0", "-P", "4", "-n", "130", "cat"], input=listed.encode(), stdout=subprocess.DEVNULL, check=True)
        assert walked.proxy.received <= walked.bytes * 1.05 + 500_000
        check_sums(walked, paths)


@pytest.mark.limit(120)
def test_round_trips(walked):
    """Five hundred messages take as many round trips as a few dozen."""
    with walked.mount(port=walked.proxy.port) as mount:
        paths = mount.by_uid("INBOX")
        walked.proxy.latency(RTT_S)
        before = time.monotonic()
        check_sums(walked, {uid: paths[uid] for uid in range(1, SMALL + 1)})
        assert time.monotonic() - before < SMALL * RTT_S / 4 * SLOW


def test_cut_in_the_middle(walked):
    """A connection that is lost costs nothing but time."""
    with walked.mount(port=walked.proxy.port) as mount:
        paths = mount.by_uid("INBOX")
        walked.proxy.cut_after(3_000_000)
        check_sums(walked, paths)


@pytest.mark.limit(120)
def test_somebody_else_meanwhile(walked):
    """A single message, while another reader walks the folder: about as fast as on an idle mount."""
    with walked.mount(port=walked.proxy.port) as mount:
        paths = mount.by_uid("INBOX")
        walked.proxy.latency(RTT_S)
        walked.proxy.limit(4_000_000)

        def look(uid):
            before = time.monotonic()
            with open(paths[uid], "rb") as file:
                file.read(1000)
            return time.monotonic() - before

        idle = statistics.median(look(uid) for uid in (480, 300, 400))
        tar = subprocess.Popen(["cat", *[paths[uid] for uid in sorted(paths)]], stdout=subprocess.DEVNULL)
        time.sleep(0.7)
        busy = []
        for uid in (490, 390, 290, 470, 370):
            assert tar.poll() is None
            busy.append(look(uid))
        tar.wait()
        assert statistics.median(busy) <= 2 * idle + 0.1 * SLOW, (idle, busy)


def test_a_few_messages_fetch_nothing_else(walked):
    with walked.mount(port=walked.proxy.port) as mount:
        paths = mount.by_uid("INBOX")
        sizes = sum(os.stat(paths[uid]).st_size for uid in (10, 200, 400))
        walked.proxy.reset_counts()
        check_sums(walked, {uid: paths[uid] for uid in (10, 400, 200)})
        assert walked.proxy.received <= sizes + 20_000
