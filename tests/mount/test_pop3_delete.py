# SPDX-License-Identifier: MIT
"""POP3: after=. The server is told to delete what is durable here, never anything else, and is not believed too early."""

import os
import sqlite3

import pytest

from drops import alone, by_uidl, check, held, kill_all, message, messages, read, shown, side_by_side
from fake.pop3 import QUITS
from harness import eventually


def test_keep_is_the_default(serve):
    content = messages(5)
    drop = serve(content)
    for options in ([], ["after=keep"], ["poll=1"]):
        with drop.mount(*options) as mount:
            check(mount, content)
    assert drop.server.of("DELE") == [] and drop.server.messages == content
    eventually(lambda: len(drop.server.of("QUIT")) == drop.server.connections)


def test_delete(serve):
    content = messages(30, filling=2000)
    drop = serve(content)
    with drop.mount("after=delete") as mount:
        check(mount, content)
        assert drop.server.messages == []
    assert sorted(map(int, drop.server.of("DELE"))) == list(range(1, 31))
    with drop.mount("after=delete") as mount:
        check(mount, content)
    assert len(drop.server.of("RETR")) == len(drop.server.of("DELE")) == 30


def test_delete_what_was_kept_before(serve):
    """Downloaded by an earlier mount: the files are read and compared, not fetched."""
    content = messages(10)
    drop = serve(content)
    drop.mount().stop()
    with drop.mount("after=delete") as mount:
        check(mount, content)
        assert drop.server.messages == []
    assert len(drop.server.of("RETR")) == 10


def test_each_dele_is_for_what_a_crash_can_not_take(serve):
    """Killed as soon as the first DELE is there: all that was to be deleted is in the next mount, the server is not."""
    content = messages(300, filling=500)
    drop = serve(content)
    victim = []

    def kill(session, args):
        if victim:
            kill_all(*victim[0])
            victim.clear()
        session.end()

    drop.server.on["DELE"] = kill
    victim.append(drop.start("after=delete"))
    eventually(lambda: not victim, 20)
    asked = [int(number) for _, line in drop.server.commands for verb, _, number in [line.partition(" ")] if verb == "DELE"]
    assert asked
    drop.server.close()
    with drop.mount() as mount:
        assert not held(content[number - 1] for number in asked) - shown(mount)


def test_no_dele_before_the_message_is_durable(serve):
    """While a message has not come to its end, nobody is told to delete it; nor after it has broken off."""
    content = messages(10)
    drop = serve(content)

    def broken(session, args):
        if args == "7":
            session.send(b"+OK\r\nSubject: half of it\r\n")
            session.end()
        return False

    drop.server.on["RETR"] = broken
    drop.run("after=delete")
    seven = content[6]
    assert seven in drop.server.messages and seven not in drop.server.marked
    assert not held(content) - (held(drop.server.messages) + held(drop.server.marked))
    drop.server.on.clear()
    with drop.mount("after=delete") as mount:
        check(mount, content)
    assert drop.server.messages == []


def test_a_message_that_can_not_be_had_is_not_deleted(serve):
    content = messages(6)
    content[3].refuse = "Can not be read."
    drop = serve(content)
    code, text = drop.run("after=delete")
    assert code == 0 and len(text.splitlines()) == 1 and "1" in text, text
    path = os.path.join(drop.home.path, "mail")
    assert len(os.listdir(path)) == 5
    drop.background()
    assert drop.server.messages == [content[3]] and "4" not in drop.server.of("DELE")
    content[3].refuse = ""
    with drop.mount("after=delete") as mount:
        check(mount, content)
    assert drop.server.messages == []


LIES = {  # what RETR n brings; d: what it should
    "nothing": lambda _server, _number, _d: b".\r\n",
    "nothing, at first": lambda _server, number, d: b".\r\n" if number < 4 else d,
    "headers only": lambda _server, _number, d: d[:d.index(b"\r\n\r\n") + 4] + b".\r\n",
    "half": lambda _server, _number, d: d[:len(d) // 2] + b"\r\n.\r\n",
    "a page that says why not": lambda _server, _number, _d: b"Internal error: the storage is away\r\n.\r\n",
    "the next one": lambda server, number, _d: server.messages[number % 6].lines,
    "the one before": lambda server, number, _d: server.messages[number - 2].lines,
    "no answer to one": lambda _server, number, d: None if number == 2 else d,
    "two answers to one": lambda _server, number, d: d + (b"+OK\r\n" + d if number == 2 else b""),
    "+OK and no more for one": lambda _server, number, d: b"" if number == 2 else d,
}


def test_what_is_not_the_whole_right_message_is_not_deleted():
    """Neither when the server lies about it, nor when it is honest at the next mount."""
    def case(name):
        name, same, _ = name.partition(", all of one size")
        content = [message(number, 0 if same else 74 * number) for number in range(1, 7)]
        with alone(content) as drop:
            def lie(session, args):
                data = LIES[name](drop.server, int(args), session.one(args).lines)
                if data is not None:
                    session.send(b"+OK\r\n" + data)
                return True

            drop.server.on["RETR"] = lie
            if drop.run("after=delete", "timeout=1")[0] == 0:
                drop.background()
            drop.server.on.clear()
            for _ in range(2):
                with drop.mount("after=delete") as mount:
                    here = shown(mount)
                    lost = held(content) - here - held(drop.server.messages)
                    assert not lost, "deleted, and not here: %s" % lost

    side_by_side([*LIES, "no answer to one, all of one size", "two answers to one, all of one size"], case)


@pytest.mark.parametrize("quit_", [name for name in QUITS if name != "ok"])
def test_quit_without_ok(serve, quit_):
    """Not believed: what is listed again is deleted again, and neither fetched nor shown twice."""
    content = messages(5)
    drop = serve(content)
    drop.server.quit = quit_
    code, text = drop.run("after=delete", "timeout=2")
    assert code == 0 and len(text.splitlines()) <= 1, text
    drop.background()
    drop.server.quit = "ok"
    drop.server.forget()
    with drop.mount("after=delete") as mount:
        check(mount, content)
    assert drop.server.messages == [] and drop.server.of("RETR") == []
    assert len(drop.server.of("DELE")) == (0 if QUITS[quit_][1] else 5)


def test_dele_refused(serve):
    """Said in one line, tried again at the next look; the others are deleted."""
    content = messages(5)
    drop = serve(content)

    def refuse(session, args):
        if args == "2":
            session.send(b"-ERR Locked.\r\n")
        return args == "2"

    drop.server.on["DELE"] = refuse
    code, text = drop.run("after=delete")
    assert code == 0 and len(text.splitlines()) == 1 and "Locked" in text, text
    drop.background()
    assert drop.server.of("DELE").count("2") == 1
    assert drop.server.messages == [content[1]]
    drop.server.on.clear()
    with drop.mount("after=delete") as mount:
        check(mount, content)
    assert drop.server.messages == []


def test_unique_ids_that_are_used_again(serve):
    """After the server has deleted a message, its unique-id may stand for another one."""
    content = messages(3)
    drop = serve(content)
    drop.mount("after=delete").stop()
    other = message(77, uidl=content[1].uidl)
    drop.server.messages = [other]
    with drop.mount("after=delete") as mount:
        check(mount, content + [other])
    assert drop.server.messages == []


def test_a_deleted_message_that_is_listed_again(serve):
    """A server that brings back what it had deleted: the same bytes are not shown twice."""
    content = messages(3)
    drop = serve(content)
    drop.mount("after=delete").stop()
    drop.server.messages = list(content)
    with drop.mount("after=delete") as mount:
        check(mount, content)
    assert drop.server.messages == []


def kept(home, data):
    """Where a message lies that is kept here: [(file, offset)]; small ones share a file."""
    found = []
    for folder, _, files in os.walk(home.state()):
        for name in files:
            at = read(os.path.join(folder, name)).find(data)
            if at >= 0:
                found.append((os.path.join(folder, name), at))
    return found


@pytest.mark.parametrize("filling", [0, 200_000], ids=["small", "large"])
def test_damage_is_no_reason_to_delete(serve, home, filling):
    """What is here is compared before DELE; what is not the message any more is fetched again."""
    content = messages(4, filling)
    drop = serve(content)
    drop.mount().stop()
    ((path, at),) = kept(home, content[2].served)
    with open(path, "r+b") as file:
        file.seek(at + len(content[2].served) // 2)
        file.write(b"\xff")
    seen = []
    drop.server.on["DELE"] = lambda session, args: seen.append((session.one(args), drop.server.of("RETR").count("3")))
    for _ in range(2):
        code, _ = drop.run("after=delete")
        assert code == 0
        drop.background()
    with drop.mount("after=delete") as mount:
        check(mount, content)
    assert drop.server.messages == [] and len(drop.server.of("RETR")) == 5
    # Not before it was fetched for the second time: then it is number 3 still, or the only one.
    assert all(count == 2 or len(seen) == 4 for one, count in seen if one is content[2]), seen


@pytest.mark.parametrize("filling", [0, 200_000], ids=["small", "large"])
def test_a_file_that_is_gone_is_fetched_again(serve, home, filling):
    """And is shown again, and not deleted on the server before."""
    content = messages(4, filling)
    drop = serve(content)
    drop.mount().stop()
    ((path, _),) = kept(home, content[0].served)
    os.unlink(path)
    for _ in range(2):
        code, _ = drop.run("after=delete")
        assert code == 0
        drop.background()
    with drop.mount() as mount:
        check(mount, content)
    assert drop.server.messages == []


@pytest.mark.parametrize("verb, answer", [
    ("LIST", b"+OK\r\n1 100\r\n2 100\r\n.\r\n"),
    ("LIST", b"+OK\r\n1 100\r\n2 100\r\n2 100\r\n3 100\r\n.\r\n"),
    ("LIST", b"+OK\r\n1 100\r\n2 what\r\n3 100\r\n.\r\n"),
    ("STAT", b"+OK 7 700\r\n"),
    ("UIDL", b"+OK\r\n1 %s\r\n2 %s\r\n4 %s\r\n.\r\n"),
], ids=["one missing", "one twice", "nonsense", "other count", "other numbers"])
def test_nothing_is_deleted_by_a_listing_that_contradicts_itself(serve, verb, answer):
    content = messages(3)
    drop = serve(content)
    drop.server.change[verb] = lambda *_: answer % tuple(one.uidl for one in content) if b"%" in answer else answer
    code, text = drop.run("after=delete", "timeout=5")
    assert len(text.splitlines()) <= 2, text
    if code == 0:
        drop.background()
    assert drop.server.of("DELE") == [] and drop.server.messages == content
    drop.server.change.clear()
    with drop.mount("after=delete") as mount:
        check(mount, content)
    assert drop.server.messages == []


def earlier(home, seconds):
    """Makes all downloads so much older."""
    changed = 0
    for folder, _, files in os.walk(home.state()):
        for name in files:
            path = os.path.join(folder, name)
            if read(path)[:15] != b"SQLite format 3":
                continue
            with sqlite3.connect(path) as db:
                tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                for table in tables:
                    columns = [row[1] for row in db.execute("PRAGMA table_info('%s')" % table)]
                    for column in columns:
                        if column in ("stored", "stored_s"):
                            changed += db.execute("UPDATE '%s' SET %s = %s - ?" % (table, column, column), (seconds,)).rowcount
            db.close()
    return changed


def test_delete_after_days(serve, home):
    """Counted from the download, not from the message's date."""
    content = messages(4)
    drop = serve(content)
    with drop.mount("after=delete:3") as mount:
        check(mount, content)
    assert drop.server.of("DELE") == []
    assert earlier(home, 2 * 86400) == 4
    drop.mount("after=delete:3").stop()
    assert drop.server.of("DELE") == []
    earlier(home, 86400)
    late = message(5)
    drop.server.messages.append(late)
    with drop.mount("after=delete:3") as mount:
        check(mount, content + [late])
    assert drop.server.messages == [late]


@pytest.mark.parametrize("value", ["delete:", "delete:x", "delete:-1", "destroy", ""])
def test_values_of_after(serve, value):
    drop = serve(messages(1))
    code, text = drop.run("after=" + value)
    assert code == 1 and len(text.splitlines()) == 1 and "after" in text, text
    assert drop.server.connections == 0


def test_new_mail_is_deleted_by_polls(serve):
    content = messages(2)
    drop = serve(content)
    with drop.mount("after=delete", "poll=1") as mount:
        new = message(9)
        drop.server.messages.append(new)
        eventually(lambda: drop.server.messages == [])
        check(mount, content + [new])
        assert len(by_uidl(mount)) == 3


def test_dovecot(drop):
    """A real server, from which nothing is left in the end."""
    content = messages(20, filling=500)
    drop.account.deliver("INBOX", [one.data for one in content])
    with drop.mount("after=delete") as mount:
        check(mount, content)
        with drop.server.login_pop3(drop.user) as client:
            assert client.sizes() == {}
    with drop.mount("after=delete") as mount:
        check(mount, content)
    assert len(drop.server.commands_pop3(drop.user, "DELE")) == 20
