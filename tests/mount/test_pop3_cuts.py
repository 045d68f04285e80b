# SPDX-License-Identifier: MIT
"""POP3: killed, or cut off at any line: nothing is lost, nothing is there twice, and hardly anything is fetched again."""

import os
import random
import time

import pytest

from drops import alone, by_uidl, check, held, kill_all, message, messages, read, shown, side_by_side
from fake.pop3 import CAPABILITY, Message
from harness import SLOW, is_mounted
from proxy import Proxy

ONE_BY_ONE = [line for line in CAPABILITY if line != "PIPELINING"]
ROUNDS = 20
# What may be fetched again after a kill: a message cut off, what a commit was at work on, what lay in socket buffers.
IN_FLIGHT = 192 * 1024


def listing_bytes(content):
    """What a session costs before its first RETR."""
    return 600 + sum(len(one.uidl) + 30 for one in content)


@pytest.mark.limit(150)
def test_killed_at_random_moments(serve):
    """kill -9 of all processes, twenty times; then a mount has everything, once."""
    content = [message(number, filling=8000) for number in range(1, 1501)]
    drop = serve(content)
    chance = random.Random(20251121)
    with Proxy(drop.server.port) as proxy:
        proxy.bytes_per_s = 4_000_000 / SLOW
        for _ in range(ROUNDS):
            process, path = drop.start(port=proxy.port)
            time.sleep(chance.uniform(0.02, 0.22) * SLOW)
            kill_all(process, path)
        cut_off = drop.server.connections
        proxy.bytes_per_s = 0
        with drop.mount(port=proxy.port) as mount:
            check(mount, content)
            names = mount.names()
        again = proxy.received - sum(len(one.lines) for one in content)
        assert again <= (cut_off + 1) * (listing_bytes(content) + IN_FLIGHT * SLOW), (again, cut_off)
        drop.server.forget()
        with drop.mount(port=proxy.port) as mount:
            assert mount.names() == names and shown(mount) == held(content)
    assert drop.server.of("RETR") == [] and drop.server.of("DELE") == []


@pytest.mark.limit(120)
def test_killed_while_deleting(serve):
    """after=delete: what the server does not have any more is here, whenever it was killed."""
    content = messages(400, filling=300)
    drop = serve(content)
    drop.server.delay_s = 0.0004
    chance = random.Random(7)
    for _ in range(ROUNDS):
        process, path = drop.start("after=delete")
        drop.server.wait_for("CAPA")
        time.sleep(chance.uniform(0.0, 0.25) * SLOW)
        kill_all(process, path)
    left = held(drop.server.messages)
    drop.server.refuse_login = "Not now."
    if len(drop.server.messages) < 400:
        with drop.mount() as mount:
            assert not held(content) - (shown(mount) + left)
    drop.server.refuse_login = ""
    with drop.mount("after=delete") as mount:
        check(mount, content)
    assert drop.server.messages == []


LINES = [b"Subject: cut me\r\n", b"\r\n", b"one\r\n", b"..stuffed\r\n", b"..\r\n", b"last\r\n"]


def three():
    """The middle one's answer has 8 lines: +OK, six, and the dot."""
    middle = Message(b"".join(LINES).replace(b"..", b"."))
    assert middle.lines == b"".join(LINES) + b".\r\n"
    return [message(1), middle, message(3)]


@pytest.mark.parametrize("capability", [CAPABILITY, ONE_BY_ONE], ids=["pipelined", "one by one"])
def test_cut_at_every_line_of_retr(capability):
    """At the end of each line, and one byte into the next. The same mount goes on where it was."""
    def try_it(place):
        lines, more_bytes = place
        content = three()
        with alone(content, capability=capability) as drop:
            drop.server.cut("RETR", answer=2, lines=lines, more_bytes=more_bytes)
            with drop.mount() as mount:
                check(mount, content)
            retrieved = drop.server.of("RETR")
            assert drop.server.cuts_done == 1
            if capability is ONE_BY_ONE:
                # What broke off comes last: it may be what the connection breaks at each time.
                assert sorted(retrieved) == (["1", "2", "2", "3"] if lines < 8 else ["1", "2", "3"])
            else:
                assert retrieved.count("1") == 1 and len(retrieved) <= 5, retrieved

    side_by_side([(lines, 0) for lines in range(9)] + [(lines, 1) for lines in range(8)], try_it)


def test_cut_at_every_line_each_time(serve, home):
    """The connection breaks at each third message; each connection brings something, so the mount goes on."""
    content = messages(20)
    drop = serve(content, capability=ONE_BY_ONE)
    for answer in range(3, 27, 3):
        drop.server.cut("RETR", answer=answer, lines=3)
    with drop.mount() as mount:
        check(mount, content)
    assert drop.server.connections <= 11 and len(drop.server.of("RETR")) <= 29


def test_cut_for_good(serve):
    """A first mount that can not be completed says so, and the next goes on from there."""
    content = messages(10)
    drop = serve(content, capability=ONE_BY_ONE)

    def refuse(session, args):
        if int(args) > 6:
            session.end()
        return False

    drop.server.on["RETR"] = refuse
    code, text = drop.run()
    assert code == 3 and len(text.splitlines()) == 1, text
    assert not is_mounted(os.path.join(drop.home.path, "mail"))
    assert drop.server.of("RETR")[:7] == [str(number) for number in range(1, 8)] and drop.server.of("RETR").count("6") == 1
    drop.server.on.clear()
    drop.server.forget()
    with drop.mount() as mount:
        check(mount, content)
    assert drop.server.of("RETR") == ["7", "8", "9", "10"]


VERBS = {"greeting": 1, "CAPA": 9, "USER": 1, "PASS": 1, "AUTH": 1, "STAT": 1, "LIST": 5, "UIDL": 5}


def test_cut_before_the_first_message():
    """In any answer, at any line: a clear error or none, and then everything once."""
    def try_it(place):
        content = messages(3)
        with alone(content) as drop:
            drop.server.cut(place[0], lines=place[1])
            code, text = drop.run()
            assert code in (0, 3) and len(text.splitlines()) == (1 if code else 0), (code, text)
            if code:
                assert drop.run() == (0, "")
            path = os.path.join(drop.home.path, "mail")
            assert sorted(read(os.path.join(path, name)) for name in os.listdir(path)) == sorted(one.served for one in content)
            drop.background()

    side_by_side([(verb, lines) for verb in VERBS for lines in range(VERBS[verb] + 1)], try_it)


def lines_of(verb):
    """Where an answer of one line can be cut: before it, in it, after it."""
    return [(verb, 0, 0), (verb, 0, 2), (verb, 1, 0)]


@pytest.mark.parametrize("done", [True, False], ids=["deleted", "not deleted"])
def test_cut_while_deleting(done):
    """DELE and QUIT at every line; whether the server then deletes or not, everything is here once."""
    def try_it(place):
        with alone(messages(4)) as drop:
            cut_while_deleting(drop, done, *place)

    side_by_side(lines_of("DELE") + lines_of("QUIT"), try_it)


def cut_while_deleting(drop, done, verb, lines, more_bytes):
    content = list(drop.server.messages)
    if verb == "QUIT" and not done:
        drop.server.quit = "refused"
    elif verb == "DELE" and done:
        # Against RFC 1939 section 6, but there are servers that delete what was marked when the connection breaks.
        drop.server.on["DELE"] = lambda session, args: drop.server.delete([session.one(args)] if session.one(args) else [])
    drop.server.cut(verb, answer=2 if verb == "DELE" else 1, lines=lines, more_bytes=more_bytes)
    code, text = drop.run("after=delete")
    path = os.path.join(drop.home.path, "mail")
    assert code == 0 and len(text.splitlines()) <= 1, text
    assert sorted(read(os.path.join(path, name)) for name in os.listdir(path)) == sorted(one.served for one in content)
    drop.background()
    drop.server.on.clear()
    drop.server.quit = "ok"
    drop.server.forget()
    new = message(9)
    drop.server.messages.append(new)
    with drop.mount("after=delete") as mount:
        check(mount, content + [new])
        assert len(by_uidl(mount)) == 5
    assert drop.server.messages == []
    assert len(drop.server.of("RETR")) == 1


def test_no_room_on_the_disk_is_not_a_broken_file(serve, home):
    """What the disk does not take is an error, and not a file; what was taken stays."""
    if os.getuid():
        pytest.skip("only root can make a small file system")
    import subprocess
    place = os.path.join(home.path, "small")
    os.mkdir(place)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", place], check=True)
    try:
        content = messages(40, filling=200_000)
        drop = serve(content)
        code, text = drop.run("state_dir=" + place)
        assert code == 7 and len(text.splitlines()) == 1, (code, text)
        assert not is_mounted(os.path.join(home.path, "mail"))
        subprocess.run(["mount", "-o", "remount,size=100m", place], check=True)
        with drop.mount("state_dir=" + place) as mount:
            check(mount, content)
    finally:
        subprocess.run(["umount", "-l", place], check=True)
