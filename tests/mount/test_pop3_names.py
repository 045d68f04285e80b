# SPDX-License-Identifier: MIT
"""POP3: names, inodes and times of messages: the same for ever, and on every machine."""

import calendar
import os
import random
import re

import pytest

from drops import by_uidl, check, messages, read
from fake.pop3 import Message
from harness import Home

AT = calendar.timegm((2025, 11, 21, 8, 55, 0))
FROM = b"From: Alice Smith <alice@example.org>\r\n"

# Header, and what the name and the time come to.
DATES = {
    "Received": (b"Received: from a by b; Fri, 21 Nov 2025 08:55:00 +0000\r\nDate: Mon, 1 Jan 2001 00:00:00 +0000\r\n", AT),
    "first Received": (b"Received: by c; Fri, 21 Nov 2025 09:55:00 +0100\r\nReceived: by b; Thu, 1 Jan 2004 00:00:00 +0000\r\n", AT),
    "folded Received": (b"Received: from a\r\n\tby b (semi; colon)\r\n\t; Fri, 21 Nov 2025 08:55:00 +0000 (UTC)\r\n", AT),
    "Date": (b"Date: Fri, 21 Nov 2025 08:55:00 +0000\r\n", AT),
    "Date, a bad Received": (b"Received: by b; whenever\r\nDate: Fri, 21 Nov 2025 08:55:00 +0000\r\n", AT),
    "none": (b"", 0),
    "bad": (b"Date: the other day\r\n", 0),
}


def test_names_and_times(serve):
    content = {kind: Message(field + FROM + b"Subject: Quarterly report\r\nX-Kind: " + kind.encode() + b"\r\n\r\nbody\r\n")
               for kind, (field, _) in DATES.items()}
    with serve(content.values()).mount() as mount:
        paths = by_uidl(mount)
        for kind, one in content.items():
            path, date = paths[one.uidl.decode()], DATES[kind][1]
            stem = "2025-11-21_0855" if date else "1970-01-01_0000"
            assert re.fullmatch(stem + r"_Alice-Smith_Quarterly-report\.[1-9]\d*\.eml", os.path.basename(path)), (kind, path)
            assert os.stat(path).st_mtime == date, kind


def facts(mount):
    """All that must never change."""
    return {name: (os.stat(mount.sub(name)).st_ino, os.stat(mount.sub(name)).st_mtime_ns, os.stat(mount.sub(name)).st_size,
                   os.getxattr(mount.sub(name), "user.mailfs.uid")) for name in mount.names()}


def test_the_same_at_every_mount(serve, home):
    content = messages(60)
    drop = serve(content)
    with drop.mount() as mount:
        first = facts(mount)
        numbers = [name.split(".")[-2] for name in first]
        assert len(set(numbers)) == 60 and all(0 < int(number) < 2**32 - 1 for number in numbers)
        assert [first[name][3].decode() for name in first] == numbers
    with drop.mount() as mount:
        assert facts(mount) == first
    home.wipe_cache()
    with drop.mount() as mount:
        assert facts(mount) == first
    assert len(drop.server.of("RETR")) == 60


def test_the_same_on_another_machine(serve):
    """With nothing kept, in another order of arrival."""
    content = messages(60)
    drop = serve(content)
    other = Home()
    try:
        drop.server.messages = content[:20]
        drop.mount().stop()
        drop.server.messages = content
        with drop.mount() as mount, drop.mount(home=other, env={"TZ": "Asia/Tokyo", "LC_ALL": "C"}) as far:
            assert mount.names() == far.names()
            assert {name: values[1:] for name, values in facts(mount).items()} == {name: values[1:] for name, values in facts(far).items()}
    finally:
        other.remove()


def test_renumbered_between_sessions(serve):
    """Numbers mean nothing: others came before, some went, the order is another."""
    content = messages(40)
    drop = serve(content[:30])
    with drop.mount() as mount:
        first = facts(mount)
    drop.server.messages = content[10:]
    random.Random(3).shuffle(drop.server.messages)
    with drop.mount() as mount:
        check(mount, content)
        assert {name: values for name, values in facts(mount).items() if name in first} == first
    assert len(drop.server.of("RETR")) == 40


def test_a_message_that_the_server_deleted_stays(serve):
    content = messages(4)
    drop = serve(content)
    drop.mount().stop()
    drop.server.messages = []
    for _ in range(2):
        with drop.mount() as mount:
            check(mount, content)


@pytest.mark.parametrize("option, pattern", [("uid", r"\d+\.eml"), ("%u-%Y%m%d-%s-%f.eml", r"\d+-20251121-number-\d-Alice-Smith\.eml")])
def test_names_option(serve, option, pattern):
    with serve(messages(3)).mount("names=" + option) as mount:
        assert len(mount.names()) == 3 and all(re.fullmatch(pattern, name) for name in mount.names()), mount.names()


def test_remembered_path_without_a_listing(serve):
    content = messages(3)
    drop = serve(content)
    with drop.mount() as mount:
        name = mount.names()[1]
    with drop.mount() as mount:
        assert read(mount.sub(name)) in [one.served for one in content]
        assert not os.path.exists(mount.sub(name.replace("Alice", "Bob")))
