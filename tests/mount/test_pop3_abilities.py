# SPDX-License-Identifier: MIT
"""POP3 servers that can little, and inboxes that are large."""

import os
import time

import pytest

from drops import by_uidl, check, failed, frugal, held, message, messages, shown, without
from fake.pop3 import CAPABILITY, Message, multi
from harness import SANITIZED


def test_no_capa(serve):
    """RFC 1939 and no more: commands one by one, and what is needed is tried."""
    content = messages(6)
    drop = serve(content, capability=None)
    drop.server.watch_pipelining = True
    for _ in range(2):
        with drop.mount() as mount:
            check(mount, content)
    assert drop.server.pipelined == [] and len(drop.server.of("RETR")) == 6


def test_no_pipelining(serve):
    """Where it is not offered, each command waits for the answer before it."""
    content = messages(6)
    drop = serve(content, capability=without("PIPELINING"))
    drop.server.watch_pipelining = True
    with drop.mount("after=delete") as mount:
        check(mount, content)
    assert drop.server.pipelined == [] and drop.server.messages == []


def test_pipelining_where_it_is_offered(serve):
    content = messages(100)
    drop = serve(content)
    drop.server.watch_pipelining = True
    drop.server.patience_s = 0.0005
    with drop.mount() as mount:
        check(mount, content)
    assert len([line for line in drop.server.pipelined if line.startswith("RETR")]) > 50


def test_no_pipelining_before_login(serve):
    """Commands may not be sent behind those that change what the connection is (RFC 2449 section 6.6)."""
    drop = serve(messages(2))
    drop.server.watch_pipelining = True
    drop.mount().stop()
    assert [line for line in drop.server.pipelined if line.split(" ")[0] in ("AUTH", "PASS", "APOP", "STLS", "QUIT")] == []


def test_abilities_after_login(serve):
    """CAPA may say more then, or less."""
    content = messages(5)
    drop = serve(content)
    drop.server.change["CAPA"] = lambda session, _args, data: data if session.logged_in else multi([b"USER"])
    with drop.mount() as mount:
        check(mount, content)
    drop = serve(content)
    drop.user = "you"
    drop.server.watch_pipelining = True
    drop.server.change["CAPA"] = lambda session, _args, data: multi([b"UIDL"]) if session.logged_in else data
    with drop.mount() as mount:
        check(mount, content)
    assert [line for line in drop.server.pipelined if line.startswith("RETR")] == []


def no_uidl(drop):
    drop.server.on["UIDL"] = lambda session, _: session.send(b"-ERR Unknown command.\r\n") or True
    return drop


@pytest.mark.parametrize("capability", [without("UIDL"), CAPABILITY, None], ids=["not offered", "refused", "no CAPA"])
def test_no_uidl_is_refused(serve, capability):
    """With the option that helps."""
    drop = no_uidl(serve(messages(3), capability=capability))
    failed(drop.run(), 8, "uidl=hash")
    assert drop.server.of("RETR") == []


@pytest.mark.parametrize("top", [True, False])
def test_no_uidl_by_hash(serve, top):
    """The same bytes are the same message; two of the same are two. Where there is TOP, nothing is fetched again."""
    twin = Message(message(2).data)
    content = messages(5) + [twin]
    drop = no_uidl(serve(content, capability=without("UIDL") if top else without("UIDL", "TOP")))
    with drop.mount("uidl=hash") as mount:
        check(mount, content)
        names = mount.names()
        assert len(names) == 6
    with drop.mount("uidl=hash") as mount:
        assert mount.names() == names and shown(mount) == held(content)
    assert len(drop.server.of("RETR")) <= (6 + 2 if top else 12)
    drop.server.messages = [message(9), *reversed(content)]
    with drop.mount("uidl=hash") as mount:
        check(mount, content + [message(9)])
        assert set(names) < set(mount.names())
    with drop.mount("uidl=hash", "after=delete") as mount:
        check(mount, content + [message(9)])
    assert drop.server.messages == []


def test_top_says_less_than_retr(serve):
    """Two messages with the same header and size are two, and neither is deleted for the other."""
    head = b"Subject: the same\r\n\r\n"
    content = [Message(head + b"one\r\n"), Message(head + b"two\r\n")]
    drop = no_uidl(serve(content[:1], capability=without("UIDL")))
    drop.mount("uidl=hash").stop()
    drop.server.messages = content[1:]
    drop.server.marked.clear()
    with drop.mount("uidl=hash", "after=delete") as mount:
        assert shown(mount) == held(content) or drop.server.messages == content[1:]
    # Not to be deleted unless it is here.
    assert drop.server.messages == content[1:] or drop.server.marked == content[1:]


# --- large ---

@pytest.mark.limit(200)
def test_a_hundred_thousand_messages(serve):
    """Downloaded, listed, and mounted again."""
    count = 100_000 if not SANITIZED else 10_000
    content = [Message(b"Subject: %d\r\n\r\n%d\r\n" % (number, number), b"%08x" % number) for number in range(count)]
    drop = serve(content)
    start = time.monotonic()
    with drop.mount(patience_s=150) as mount:
        download = time.monotonic() - start
        start = time.monotonic()
        names = mount.names()
        listing = time.monotonic() - start
        assert len(names) == count == len({name.split(".")[-2] for name in names})
        for name in names[::count // 200]:
            number = name.split("_")[-1].split(".")[0].encode()
            assert mount.read(name) == b"Subject: %s\r\n\r\n%s\r\n" % (number, number)
        peak = mount.peak_rss_kib()
        frugal(mount)
    drop.server.forget()
    start = time.monotonic()
    with drop.mount() as mount:
        again = time.monotonic() - start
        assert len(mount.names()) == count
        frugal(mount)
        print("\n%d messages: %.1f s to download, %.1f s to list, %.1f s to mount again; peak %d and %d KiB" % (
            count, download, listing, again, peak, mount.peak_rss_kib()))
    assert drop.server.of("RETR") == []


@pytest.mark.parametrize("kind", ["lines", "one line"])
def test_a_message_of_60_mb(serve, kind):
    """Peak RSS 32 MiB: it is never in memory as a whole."""
    body = (b"0123456789" * 7 + b"abcdef\r\n") * 770_000 if kind == "lines" else b"y" * 60_000_000 + b"\r\n"
    content = [Message(b"From: a@example.org\r\nSubject: large\r\n\r\n" + body), message(2)]
    drop = serve(content)
    with drop.mount() as mount:
        print("\npeak %d KiB" % mount.peak_rss_kib())
        frugal(mount, 32 * 1024)
        paths = by_uidl(mount)
        assert os.stat(paths[content[0].uidl.decode()]).st_size == len(content[0].served)
        check(mount, content)
