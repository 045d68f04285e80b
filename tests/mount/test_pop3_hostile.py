# SPDX-License-Identifier: MIT
"""POP3 servers that say what they should not: either the right files, or a clear error, in time and in little memory."""

import os
import re
import time

import pytest

from drops import alone, by_uidl, check, frugal, held, message, messages, read, sha256, side_by_side
from fake.pop3 import Message
from harness import SLOW, eventually, is_mounted


def right_or_refused(drop, content, *options, seconds=20):
    """
    Mounts: every file that is there is a message of the server; if it is mounted without a word, all of them are there. Then, from a
    server that is itself again, everything is there once. Returns (exit code, text).
    """
    before = time.monotonic()
    code, text = drop.run("timeout=3", *options)
    assert time.monotonic() - before < seconds * SLOW
    assert len(text.splitlines()) <= 1 and code in (0, 3, 4, 5, 8), (code, text)
    path = os.path.join(drop.home.path, "mail")
    if code == 0:
        there = sorted(sha256(read(os.path.join(path, name))) for name in os.listdir(path))
        wanted = sorted(held(content).elements())
        assert there == wanted or (text and set(there) <= set(wanted)), (text, len(there))
        drop.background()
    else:
        assert text.startswith("mailfs: ") and not is_mounted(path)
    drop.server.on.clear()
    drop.server.change.clear()
    with drop.mount(*options) as mount:
        check(mount, content)
        frugal(mount)
    return code, text


UIDLS = {
    "70 characters": b"u" * 70, "71 characters": b"v" * 71, "1000 characters": b"w" * 1000,
    "one character": b"!", "blanks in it": b"a b  c", "8-bit": b"\xe4\xf6\xfc\x80\xff", "control characters": b"\x01\x1b[31m\x7f",
    "NUL": b"a\0b", "SQL": b"'; DROP TABLE x; --", "path": b"../../../etc/passwd", "per cent": b"%s%n%u", "UTF-8": "台北".encode(),
}


def test_odd_unique_ids():
    """Two of them that differ in the last byte are two."""
    def try_it(kind):
        content = [message(1, uidl=UIDLS[kind]), message(2, uidl=UIDLS[kind] + b"2"), message(3)]
        with alone(content) as drop:
            for _ in range(2):
                with drop.mount() as mount:
                    check(mount, content)
                    if kind == "70 characters":
                        assert set(by_uidl(mount)) == {one.uidl.decode("latin-1") for one in content}
            assert len(drop.server.of("RETR")) == 3

    side_by_side(UIDLS, try_it)


def test_a_unique_id_of_60000_characters(serve):
    """It may be too much; then it is an error, as long as it is there."""
    content = messages(3)
    drop = serve(content)
    drop.server.change["UIDL"] = lambda _session, _args, data: data.replace(b"\r\n2 ", b"\r\n2 " + b"x" * 60000)
    right_or_refused(drop, content)


@pytest.mark.parametrize("same", [b"same", b""], ids=["twice", "none"])
def test_unique_id_of_two_messages(serve, same):
    """Known by their content: neither is lost, neither is there twice, today and at the next mount."""
    content = [message(1), message(2, uidl=same), message(3, uidl=same), message(4, uidl=same), message(5)]
    drop = serve(content)
    for _ in range(3):
        with drop.mount() as mount:
            check(mount, content)
    with drop.mount("after=delete") as mount:
        check(mount, content)
    assert drop.server.messages == ([] if same else content)  # a listing that lacks messages is no reason to delete


def test_two_messages_with_the_same_bytes(serve):
    """Under two unique-ids they are two; under one, two as well."""
    data = messages(1)[0].data
    for uidls in ((b"a", b"b"), (b"c", b"c")):
        drop = serve([Message(data, uidl) for uidl in uidls] + [message(5)])
        drop.user = uidls[1].decode()
        for _ in range(2):
            with drop.mount() as mount:
                check(mount, drop.server.messages)
                assert len(mount.names()) == 3


def test_unique_id_used_again_for_another_message(serve):
    """While the first may still be there or not: another size says that it is another message."""
    content = messages(3)
    drop = serve(content)
    drop.mount().stop()
    other = message(50, filling=900, uidl=content[1].uidl)
    drop.server.messages = [content[0], other, content[2]]
    for _ in range(2):
        with drop.mount() as mount:
            check(mount, content + [other])


def test_refused_messages(serve):
    """-ERR to some: the others come, once as their sizes tell them apart, and one line counts those that did not."""
    content = [message(number, filling=74 * number) for number in range(1, 31)]
    for number in (3, 4, 30):
        content[number - 1].refuse = "This one is broken."
    drop = serve(content)
    code, text = drop.run()
    assert code == 0 and len(text.splitlines()) == 1 and "3" in text and "broken" in text, text
    assert len(os.listdir(os.path.join(drop.home.path, "mail"))) == 27
    drop.background()
    for one in content:
        one.refuse = ""
    with drop.mount() as mount:
        check(mount, content)
    assert len(drop.server.of("RETR")) == 33


def test_all_messages_refused(serve):
    content = messages(5)
    for one in content:
        one.refuse = "No."
    drop = serve(content)
    code, text = drop.run()
    assert code == 8 and len(text.splitlines()) == 1 and re.search(r"refuses all 5 messages: .*No\.", text), (code, text)
    # One that came makes it a mount; then what is refused is spoken of, and there is something to show.
    content[0].refuse = ""
    with drop.mount() as mount:
        assert "refuses 4 of 5 messages" in mount.log()
        check(mount, content[:1])
    content[0].refuse = "No."
    with drop.mount() as mount:
        check(mount, content[:1])


def endless(data, megabytes=64):
    """An answer that never ends its line."""
    def script(session, _args):
        session.flush()
        for _ in range(megabytes):
            session.sock.sendall(data * (1 << 20))
        session.end()
    return script


def test_a_message_without_end(serve):
    """A line of 16 MB in a message, and then nothing more: an error, no file."""
    content = messages(3)
    drop = serve(content)

    def script(session, args):
        if args == "2":
            session.send(b"+OK\r\nSubject: x\r\n\r\n")
            endless(b"x", 16)(session, args)
        return False

    drop.server.on["RETR"] = script
    right_or_refused(drop, content, seconds=40)


def test_a_slow_line_is_not_a_silent_one(serve):
    """A large message that takes longer than timeout= comes, as long as it comes."""
    content = [message(1, filling=600_000)]
    drop = serve(content)

    def slowly(session, args):
        data = session.do_retr(args)
        session.flush()
        for at in range(0, len(data), 100_000):
            time.sleep(0.3)
            session.sock.sendall(data[at:at + 100_000])
        return True

    drop.server.on["RETR"] = slowly
    with drop.mount("timeout=1") as mount:
        check(mount, content)


def test_words_of_the_server_do_no_harm(serve):
    """Control characters of an answer do not reach the terminal."""
    drop = serve(messages(1))
    drop.server.refuse_login = "\x1b[31mred\x07 and \x9bmore"
    code, text = drop.run()
    assert code == 5 and "red" in text and all(char.isprintable() for char in text.rstrip("\n")), text


def test_a_server_that_speaks_after_the_end(serve):
    """QUIT's answer, and then more."""
    content = messages(2)
    drop = serve(content)
    drop.server.change["QUIT"] = lambda _session, _args, data: data + b"+OK and another thing\r\n" * 1000
    with drop.mount("after=delete") as mount:
        check(mount, content)
    eventually(lambda: drop.server.messages == [])
