# SPDX-License-Identifier: MIT
"""COMPRESS=DEFLATE with a real server: on a slow line, on a fast one, on request, where the server fails at it, and when the line is cut."""

import json
import os
import random
import subprocess

import pytest

import harness
import mails
from dovecot import Dovecot, Settings
from dovecot import version as dovecot_version
from harness import SLOW, eventually
from proxy import Proxy

CTL = os.path.join(os.path.dirname(harness.EXE), "mailfsctl")
SLOW_LINE = 2_000_000  # bytes a second
FAST_LINE = 18_000_000  # what is faster counts as fast


@pytest.fixture(scope="module")
def server():
    with Dovecot(Settings(compress=True)) as dovecot:
        yield dovecot


@pytest.fixture
def proxied(account):
    with Proxy(account.server.port_tls) as proxy:
        account.proxy = proxy
        yield account


def text_mail(kilobytes, seed=1):
    """Words of a person: deflate takes them to a third or so."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("etaoinshrdlucmfwyp", k=rng.randint(2, 9))) for _ in range(500)]
    lines, size = [], 0
    while size < kilobytes * 1024:
        lines.append(" ".join(rng.choices(words, k=10)).encode())
        size += len(lines[-1]) + 2
    return b"From: Bob <b@example.org>\r\nSubject: text %d\r\n\r\n" % seed + b"\r\n".join(lines) + b"\r\n"


def status(mount):
    out = subprocess.run([CTL, "status", "--json", mount.path], env=mount.home.env(), stdin=subprocess.DEVNULL, capture_output=True,
                         check=True, timeout=50 * SLOW).stdout
    return json.loads(out)


def assert_push(account, mount, uid):
    """The server tells of what comes."""
    assert status(mount)["connection"]["push"] in ("notify", "idle")
    client = account.login()
    assert client.append("INBOX", None, None, b"Subject: news\r\n\r\nnews\r\n")[0] == "OK"
    client.logout()
    eventually(lambda: uid in mount.by_uid("INBOX"), 20)
    assert mount.read(mount.by_uid("INBOX")[uid]) == b"Subject: news\r\n\r\nnews\r\n"


@pytest.mark.limit(120)
def test_a_slow_line_is_found_out_and_remembered(proxied):
    """The first mount measures and deflates; the next one begins so, with all its connections."""
    datas = [text_mail(4096, 1), text_mail(2048, 2), text_mail(1024, 3), *(text_mail(2048, seed) for seed in (4, 5, 6))]
    proxied.deliver("INBOX", datas)
    proxied.proxy.limit(SLOW_LINE)
    # A second connection might begin plain, for somebody who waits for little.
    with proxied.mount("refresh=3600", "connections=1", port=proxied.proxy.port) as mount:
        assert status(mount)["traffic"]["rate"] is None
        assert status(mount)["connection"]["compressed"] == 0
        paths = mount.by_uid("INBOX")
        # Where the machine is busy it is not seen at once that it is the line that is slow.
        for uid in (1, 4, 5, 6):
            assert mount.read(paths[uid]) == datas[uid - 1]
            after = status(mount)
            if after["connection"]["compressed"]:
                break
        assert SLOW_LINE / 4 / SLOW < after["traffic"]["rate"] < SLOW_LINE * 3
        assert after["connection"]["compressed"] >= 1
        proxied.proxy.reset_counts()
        assert mount.read(paths[2]) == datas[1]
        assert proxied.proxy.received <= len(datas[1]) // 2
    proxied.proxy.reset_counts()
    with proxied.mount("refresh=3600", port=proxied.proxy.port) as mount:
        assert mount.read(mount.by_uid("INBOX")[3]) == datas[2]
        assert proxied.proxy.received <= len(datas[2]) // 2
        connection = status(mount)["connection"]
        assert connection["compressed"] == connection["connections"]
        assert_push(proxied, mount, len(datas) + 1)


def test_on_request(proxied):
    """All connections, from the beginning; listings, small and large messages, parts, and news go through it."""
    datas = [b"From: a@example.org\r\nSubject: %d\r\n\r\n%d\r\n" % (n, n) for n in range(300)] + [text_mail(2048), mails.to_bytes(mails.large(2))]
    proxied.deliver("INBOX", datas)
    with proxied.mount("compress=on", "cache_size=0", port=proxied.proxy.port) as mount:
        paths = mount.by_uid("INBOX")
        for number, data in list(enumerate(datas, 1))[-3:]:
            assert mount.read(paths[number]) == data
        proxied.proxy.reset_counts()
        assert mount.read(paths[301]) == datas[300]
        assert proxied.proxy.received <= len(datas[300]) // 2
        connection = status(mount)["connection"]
        assert connection["compressed"] == connection["connections"] >= 1
        assert_push(proxied, mount, 303)


def test_not_on_a_fast_line(account):
    data = mails.to_bytes(mails.large(8))
    account.deliver("INBOX", [data])
    with account.mount() as mount:
        assert mount.read(mount.by_uid("INBOX")[1]) == data
        after = status(mount)
        rate = after["traffic"]["rate"]
        # A machine that is busy with other tests may be the slower one.
        if rate is None or rate > FAST_LINE:
            assert after["connection"]["compressed"] == 0


def test_not_where_it_is_refused(proxied):
    data = text_mail(2048)
    proxied.deliver("INBOX", [data])
    proxied.proxy.limit(SLOW_LINE)
    with proxied.mount("compress=off", port=proxied.proxy.port) as mount:
        proxied.proxy.reset_counts()
        assert mount.read(mount.by_uid("INBOX")[1]) == data
        assert proxied.proxy.received > len(data)
        assert status(mount)["connection"]["compressed"] == 0


def test_a_server_that_can_not(new_account):
    """It announces what it was not built with: said once, and all goes on."""
    with Dovecot(Settings(capability="IMAP4rev1 SASL-IR LITERAL+ IDLE COMPRESS=DEFLATE")) as dovecot:
        if dovecot_version() >= (2, 4):
            pytest.skip("Dovecot 2.4 always can")
        account = new_account(dovecot)
        account.deliver("INBOX", [text_mail(100)])
        with account.mount("compress=on") as mount:
            assert mount.read(mount.by_uid("INBOX")[1]) == text_mail(100)
            after = status(mount)
            assert after["connection"]["compressed"] == 0
            if "compress-refused" not in after["server"]["quirks"]:
                pytest.fail(mount.log())


def test_cut_in_the_middle(proxied):
    """A deflated connection that is lost is made anew; what was half there is fetched again, none of it wrong."""
    datas = [text_mail(2048, seed) for seed in range(1, 4)]
    proxied.deliver("INBOX", datas)
    with proxied.mount("compress=on", port=proxied.proxy.port) as mount:
        paths = mount.by_uid("INBOX")
        for number, ending in ((1, "rst"), (2, "fin"), (3, "rst")):
            proxied.proxy.cut_after(200_000, 1, ending)
            assert mount.read(paths[number]) == datas[number - 1]
        assert proxied.proxy.cuts >= 3
        connection = status(mount)["connection"]
        assert connection["compressed"] >= 1 and "compress-refused" not in status(mount)["server"]["quirks"]
