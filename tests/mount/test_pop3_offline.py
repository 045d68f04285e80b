# SPDX-License-Identifier: MIT
"""POP3: the server is away or refuses: what is here is shown, with one line that says how old it is; at a first mount, an error."""

import os
import re
import time

from dovecot import free_port
from drops import alone, check, failed, message, messages, read, side_by_side
from fake.pop3 import Server
from harness import SLOW, eventually, is_mounted

NETWORK, LOGIN, FOLDER, OTHER = 3, 5, 6, 8


def away(drop):
    drop.server.close()


def refusing(drop):
    drop.server.refuse_login = "[AUTH] The password is not right."


def busy(drop):
    drop.server.refuse_login = "[IN-USE] Another session has the maildrop."


def delayed(drop):
    drop.server.refuse_login = "[LOGIN-DELAY] Not so often."


def silent(drop):
    drop.server.greeting = b""


def mute(drop):
    """Silent once one is logged in."""
    def script(session, _args):
        while True:
            session.read_line()
    drop.server.on["STAT"] = script


def slow(drop):
    """A byte a second, for longer than anybody waits."""
    drop.server.on["STAT"] = lambda session, _: session.trickle(b"+OK 3 300" + b" " * 60 + b"\r\n") or True


def refused_listing(drop):
    drop.server.on["LIST"] = drop.server.on["UIDL"] = drop.server.on["STAT"] = lambda session, _: session.send(b"-ERR Trouble.\r\n") or True


def shut(drop):
    drop.server.greeting = b"-ERR Closed for the night.\r\n"


TROUBLES = {"away": (away, (NETWORK,)), "login refused": (refusing, (LOGIN,)), "in use": (busy, (LOGIN, FOLDER)),
            "login delay": (delayed, (LOGIN, NETWORK)), "silent": (silent, (NETWORK,)), "mute": (mute, (NETWORK,)),
            "slow": (slow, (NETWORK,)), "closed": (shut, (NETWORK, LOGIN, OTHER)),
            "no listing": (refused_listing, (OTHER, FOLDER))}


# Nobody waits for those longer than timeout= and a second.
SILENT = ("silent", "mute", "slow")


def in_time(kind, begun, timeout):
    took = time.monotonic() - begun
    assert kind not in SILENT or took < timeout + SLOW, "it took %.1f s" % took


def at_the_first_mount(kind):
    """Nothing is mounted, one line says why, with the server's own words if it has said any."""
    trouble, codes = TROUBLES[kind]
    with alone(messages(3)) as drop:
        trouble(drop)
        timeout, begun = (2 if kind in SILENT else 10), time.monotonic()
        code, text = drop.run("timeout=%d" % timeout)
        in_time(kind, begun, timeout)
        assert code in codes and len(text.splitlines()) == 1 and text.startswith("mailfs: "), (code, text)
        for words in ("The password is not right.", "Another session has the maildrop.", "Not so often.", "Closed for the night."):
            if words in drop.server.refuse_login + drop.server.greeting.decode():
                assert words in text
        assert not is_mounted(os.path.join(drop.home.path, "mail"))


def at_a_later_mount(kind):
    """It is mounted, exit code 0, and one line says what failed and how old it is."""
    trouble, _ = TROUBLES[kind]
    content = messages(3)
    with alone(content) as drop:
        drop.mount().stop()
        trouble(drop)
        begun = time.monotonic()
        code, text = drop.run("timeout=2")
        in_time(kind, begun, 2)
        assert kind not in SILENT or "timed out" in text, text
        assert code == 0 and len(text.splitlines()) == 1, (code, text)
        assert re.search(r"as of 20\d\d-\d\d-\d\d \d\d:\d\d", text), text
        path = os.path.join(drop.home.path, "mail")
        assert sorted(read(os.path.join(path, name)) for name in os.listdir(path)) == sorted(one.served for one in content)
        drop.background()


def said(mount):
    return [line for line in mount.log().splitlines() if "as of" in line]


def with_poll(kind):
    """Mounted without the server; it goes on trying, the server comes back, and new mail appears."""
    content = messages(4)
    with alone(content) as drop:
        drop.mount().stop()
        TROUBLES[kind][0](drop)
        with drop.mount("poll=1", "timeout=2") as mount:
            check(mount, content)
            assert len(said(mount)) == 1, mount.log()
            drop.server.close()
            with Server(content + [message(9)], port=drop.server.port):
                eventually(lambda: len(mount.names()) == 5, 20)
                check(mount, content + [message(9)])
            # Nothing is said twice; that the server ends, if a look falls into it, is a reason of its own.
            assert len(set(said(mount))) == len(said(mount)) <= 2, mount.log()


def test_troubles():
    """Each kind of trouble, at each of the three times."""
    cases = {"%s: %s" % (work.__name__, kind): (work, kind) for work in (at_the_first_mount, at_a_later_mount, with_poll) for kind in TROUBLES}
    side_by_side(cases, lambda case: cases[case][0](cases[case][1]))


def test_an_inbox_that_was_empty(serve):
    """It was looked at once, and so it is known."""
    drop = serve([])
    drop.mount().stop()
    away(drop)
    code, text = drop.run()
    assert code == 0 and "as of 20" in text, text
    assert os.listdir(os.path.join(drop.home.path, "mail")) == []
    drop.background()


def test_after_a_first_mount_that_broke_off(serve):
    """What was stored is shown, and that it is not all."""
    content = messages(10)
    drop = serve(content, capability=["UIDL", "TOP", "USER"])
    drop.server.on["RETR"] = lambda session, args: int(args) > 6 and session.end()
    failed(drop.run(), NETWORK)
    away(drop)
    code, text = drop.run()
    assert code == 0 and len(text.splitlines()) == 1 and "4" in text, text
    assert len(os.listdir(os.path.join(drop.home.path, "mail"))) == 6
    drop.background()


def test_the_server_goes_while_the_mount_is_there(serve):
    content = messages(4)
    drop = serve(content)
    with drop.mount("poll=1") as mount:
        away(drop)
        check(mount, content)
        assert mount.process.poll() is None
        with Server(content + [message(9)], port=drop.server.port) as again:
            again.wait_for("QUIT", seconds=20 * SLOW)
            eventually(lambda: len(mount.names()) == 5)
            check(mount, content + [message(9)])


def test_host_unknown(home, serve):
    """And nothing of another account is shown."""
    drop = serve(messages(2))
    drop.mount().stop()
    failed(home.run("pop3s://me@no-such-host.invalid", home.mountpoint(), drop.options()[:1]), NETWORK, "no-such-host.invalid")


def test_connection_refused(home, serve):
    drop = serve([])
    port = free_port()
    failed(drop.run(port=port), NETWORK, str(port), "refused")


def test_an_account_that_was_never_mounted_is_not_another(serve):
    """What is here belongs to its user."""
    drop = serve(messages(2))
    drop.mount().stop()
    drop.server.refuse_login = "Nobody comes in."
    drop.user = "you"
    failed(drop.run(), LOGIN, "Nobody comes in.")
