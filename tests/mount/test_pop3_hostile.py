# SPDX-License-Identifier: MIT
"""POP3 servers that say what they should not: either the right files, or a clear error, in time and in little memory."""

import os
import time

import pytest

from drops import (alone, by_uidl, check, frugal, held, message, messages, read, sha256, side_by_side,
                   without)
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


def rows(*lines):
    return b"+OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b".\r\n"


NUMBERS = {
    "index 0": [b"0 %s", b"1 %s", b"2 %s", b"3 %s"],
    "only index 0": [b"0 %s"],
    "gap": [b"1 %s", b"3 %s"],
    "gap and more": [b"1 %s", b"3 %s", b"4 %s"],
    "huge": [b"1 %s", b"2 %s", b"3 %s", b"4294967297 %s"],
    "over 64 bits": [b"1 %s", b"2 %s", b"99999999999999999999999999 %s"],
    "2^31": [b"1 %s", b"2 %s", b"2147483648 %s"],
    "2^32-1": [b"1 %s", b"2 %s", b"4294967295 %s"],
    "negative": [b"-1 %s", b"1 %s", b"2 %s", b"3 %s"],
    "the same twice": [b"1 %s", b"2 %s", b"2 %s", b"3 %s"],
    "backwards": [b"3 %s", b"2 %s", b"1 %s"],
    "no number": [b"one %s", b"two %s", b"three %s"],
    "no second word": [b"1", b"2", b"3"],
    "blank lines": [b"", b"1 %s", b"", b"2 %s", b"3 %s", b""],
    "blanks": [b"  1 %s", b" 2 %s", b"3 %s"],
    "nothing": [],
    "NUL": [b"1 %s", b"2\0 %s", b"3 %s"],
    "+OK among them": [b"1 %s", b"+OK", b"2 %s", b"-ERR no", b"3 %s"],
}


def test_numbers_of_a_listing():
    def lie(case):
        verb, kind = case
        content = messages(3)

        def value(line):
            number = int(line.split()[0]) if line.split()[0].isdigit() else 9
            if verb == "LIST":
                return b"%d" % content[0].listed
            return content[number - 1].uidl if 1 <= number <= 3 else b"another"

        def answer(*_):
            return rows(*(line.replace(b"%s", value(line)) if b"%s" in line else line for line in NUMBERS[kind]))

        with alone(content) as drop:
            drop.server.change[verb] = answer
            right_or_refused(drop, content)

    side_by_side([(verb, kind) for verb in ("LIST", "UIDL") for kind in NUMBERS], lie)


SIZES = [b"0", b"-5", b"99999999999999999999999999", b"18446744073709551615", b"4294967296", b"x", b"", b"12abc", b"1e9"]


def test_sizes_of_a_list():
    def lie(size):
        content = messages(3)
        with alone(content) as drop:
            drop.server.change["LIST"] = lambda *_: rows(b"1 " + size, b"2 " + size, b"3 " + size)
            right_or_refused(drop, content)

    side_by_side(SIZES, lie)


STATS = [b"+OK 0 0", b"+OK 2 100", b"+OK 4 100", b"+OK 4294967299 5", b"+OK -3 -5", b"+OK", b"+OK three", b"+OK 3", b"-ERR No.",
         b"+OK 3 1 2 3"]


def test_stat_that_lies():
    def lie(stat):
        content = messages(3)
        with alone(content) as drop:
            drop.server.change["STAT"] = lambda *_: stat + b"\r\n"
            right_or_refused(drop, content)

    side_by_side(STATS, lie)


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
    """-ERR to some: the others come, one line counts those that did not."""
    content = messages(30)
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
    assert len(text.splitlines()) == 1 and "No." in text, (code, text)
    if code == 0:
        drop.background()


def endless(data, megabytes=64):
    """An answer that never ends its line."""
    def script(session, _args):
        session.flush()
        for _ in range(megabytes):
            session.sock.sendall(data * (1 << 20))
        session.end()
    return script


def test_a_line_without_end():
    """64 MB of it."""
    def try_it(verb):
        content = messages(3)
        with alone(content) as drop:
            drop.server.on[verb] = endless(b"x")
            right_or_refused(drop, content)

    side_by_side(["CAPA", "AUTH", "STAT", "LIST", "UIDL", "QUIT"], try_it)


def test_lines_without_end():
    """A multi-line answer that does not come to its end."""
    def script(session, _args):
        session.send(b"+OK\r\n")
        session.flush()
        for first in range(1, 1_000_000, 10_000):
            session.sock.sendall(b"".join(b"%d 1234567890\r\n" % number for number in range(first, first + 10_000)))
        session.end()

    def try_it(verb):
        content = messages(3)
        with alone(content) as drop:
            drop.server.on[verb] = script
            right_or_refused(drop, content, seconds=30)

    side_by_side(["LIST", "UIDL", "CAPA"], try_it)


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


SLOWLY = {"greeting": b"+OK Ready, after a while.\r\n", "CAPA": b"+OK\r\nTOP\r\nUIDL\r\nUSER\r\n.\r\n",
          "STAT": b"+OK 3 300" + b" " * 20 + b"\r\n",
          "UIDL": b"+OK\r\n1 aaaaaaa\r\n2 bbbbbbb\r\n3 ccccccc\r\n.\r\n", "RETR": b"+OK\r\nabcdefghijklmnopqrst\r\n.\r\n"}


def test_one_byte_a_second():
    """It ends by the time-out, which bytes that trickle in do not put off."""
    def try_it(verb):
        with alone(messages(3)) as drop:
            if verb == "greeting":
                drop.server.greeting = lambda session: session.trickle(SLOWLY[verb])
            else:
                drop.server.on[verb] = lambda session, _: session.trickle(SLOWLY[verb]) or True
            before = time.monotonic()
            code, text = drop.run("timeout=1")
            assert code == 3 and len(text.splitlines()) == 1, (code, text)
            assert time.monotonic() - before < 12 * SLOW

    side_by_side(SLOWLY, try_it)


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


GREETINGS = {"+OK": True, "+OK ": True, "+OK ready <1.2@example.org>": True, "+OK <>": True, "+OK <a> <b@c> <>": True,
             "+OK \xe4\xf6 \x07": True,
             "-ERR Go away.": False, "* OK IMAP4rev1": False, "220 smtp.example.org ESMTP": False, "HTTP/1.1 400 Bad Request": False,
             "": False, "+": False, "+OKAY": None, "\0": False, "+OK " + "x" * 400: True}


def test_greetings():
    def try_it(greeting):
        with alone(messages(2)) as drop:
            drop.server.greeting = greeting.encode("latin-1") + b"\r\n"
            code, text = drop.run("timeout=3")
            assert len(text.splitlines()) == (1 if code else 0), text
            assert GREETINGS[greeting] is None or (code == 0) == GREETINGS[greeting], (code, text)
            assert all(char.isprintable() for char in text.rstrip("\n")), text
            if code == 0:
                drop.background()
            else:
                assert drop.server.logins == []

    side_by_side(GREETINGS, try_it)


def test_words_of_the_server_do_no_harm(serve):
    """Control characters of an answer do not reach the terminal."""
    drop = serve(messages(1))
    drop.server.refuse_login = "\x1b[31mred\x07 and \x9bmore"
    code, text = drop.run()
    assert code == 5 and "red" in text and all(char.isprintable() for char in text.rstrip("\n")), text


EXTRAS = [b"+OK again\r\n", b"-ERR never asked\r\n", b".\r\n", b"\r\n", b"garbage\r\n"]


def test_an_answer_too_many():
    """Whatever comes out of turn does not end up in a file, nor a message under another's name."""
    def try_it(case):
        verb, extra = case
        content = messages(4)
        with alone(content, capability=without("PIPELINING")) as drop:
            drop.server.change[verb] = lambda _session, _args, data: data + extra
            right_or_refused(drop, content)

    side_by_side([(verb, extra) for verb in ("STAT", "LIST", "RETR") for extra in EXTRAS], try_it)


ANSWERS = [b"+OK\r\n", b"OK\r\n", b"\r\n", b"+OK\r\n.\r\r\n", b"-ERR\r\n", b"ok fine\r\n", b"+OK\n"]


def test_broken_answers_to_retr():
    """And then the connection breaks."""
    def try_it(answer):
        content = messages(4)
        with alone(content) as drop:
            drop.server.on["RETR"] = lambda session, args: args == "2" and (session.send(answer) or session.end())
            code, text = drop.run("timeout=2")
            assert len(text.splitlines()) <= 1
            if code == 0:
                path = os.path.join(drop.home.path, "mail")
                there = {read(os.path.join(path, name)) for name in os.listdir(path)}
                assert there <= {one.served for one in content}, there
                drop.background()

    side_by_side(ANSWERS, try_it)


def test_a_server_that_speaks_after_the_end(serve):
    """QUIT's answer, and then more."""
    content = messages(2)
    drop = serve(content)
    drop.server.change["QUIT"] = lambda _session, _args, data: data + b"+OK and another thing\r\n" * 1000
    with drop.mount("after=delete") as mount:
        check(mount, content)
    eventually(lambda: drop.server.messages == [])
