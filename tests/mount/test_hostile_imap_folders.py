# SPDX-License-Identifier: MIT
"""Hostile IMAP servers: lists of folders, SELECT, what changes between two listings, and IDLE. What must hold: hostile.py."""

import errno
import os

import pytest

import hostile
from fake.imap import CAPABILITY, Box, Message, _uidnext
from hostile import NETWORK, OTHER, RIGHT, Case, exits, fails, mounts, right_or
from hostile_imap import IO, ImapTrial, answer, at_list, at_mount, before, both, flood, message, on, push, say, trickle

SYNC = CAPABILITY + " CONDSTORE QRESYNC ESEARCH"
IDLE = CAPABILITY + " IDLE"


# --- LIST ---

def sane(trial, mount):
    """Every name is one, and the tree ends; what is not the server's is not in it."""
    names, error = trial.timed(os.listdir, mount.path)
    assert not error and "INBOX" in names and len(names) == len(set(names)), (error, names)
    for name in names:
        assert name.isprintable() and "/" not in name and name not in (".", "..") and len(name.encode()) <= 255, ascii(name)
    for folder, folders, _ in os.walk(mount.path):
        folders[:] = [name for name in folders if folder.count("/") - mount.path.count("/") < 5][:3]
    assert not os.path.exists(mount.sub("passwd"))


def listed(*lines, more=b""):
    """LIST with these besides."""
    data = b"".join(b"* LIST " + line + b"\r\n" for line in lines) + more
    return before("LIST", data)


def named(name):
    return b'(\\HasNoChildren) "/" ' + name


def literal(data):
    return b"{%d}\r\n%s" % (len(data), data)


NAMES = {
    "../../etc/passwd": b'"../../etc/passwd"', "/etc/passwd": b'"/etc/passwd"', "a//b": b'"a//b"', "..": b'".."', ".": b'"."', "/": b'"/"',
    "...": b'"..."',
    "blank": b'" "', "nothing": b'""', "control bytes": b'"a\x01\x1b[31m\x7fb"',
    "line break": literal(b"a\r\nX LOGOUT\r\nb"), "NUL": literal(b"a\0b"),
    "10 KB": b'"' + b"n" * 10_000 + b'"', "depth 1,000": b'"' + b"/".join([b"d"] * 1000) + b'"', "8-bit": b'"\xff\xfe\x80"',
    "not UTF-7": b'"&AAA&&&-"', "UTF-7 of a slash": b'"a&AC8-b"', "UTF-7 of NUL": b'"a&AAA-b"', "UTF-7 of half a pair": b'"&2AA-"',
    "RLO": b'"&IC4-gpj.exe"',
    "a message's": b'"2023-11-14_2213_Alice-Smith_number-1.1.eml"', ".parts": b'".parts"', "INBOX/.parts": b'"INBOX/.parts"',
    "inbox again": b'"inbox"', "per cent": b'"%s%n%d"', "SQL": b'"\'; DROP TABLE mailbox; --"', "a list": b"(a b)", "a number": b"5", "NIL": b"NIL",
    "wildcards": b'"*%*"',
}
LINES = {
    "the same twice": [named(b'"Twice"'), named(b'"Twice"')],
    "names that differ in case": [named(b'"CASE"'), named(b'"Case"'), named(b'"case"')],
    "names that fall together": [named(b'"a&AC8-b"'), named(b'"a_b"'), named(b'"a:b"'), named(b'"a\x01b"')],
    "a folder and a message of one name": [named(b'"Work/x"'), named(b'"Work/x/y"')],
    "delimiter NIL": [b'() NIL "a/b/c"'], "delimiter NUL": [b'() {1}\r\n\0 "a/b"'], "delimiter of two": [b'() "//" "a//b"'],
    "delimiter empty": [b'() "" "a/b"'],
    "delimiter of a letter": [b'() "a" "banana"'], "delimiter of a quote": [b'() "\\"" "a\\"b"'],
    "delimiters that change": [b'() "/" "p/q"', b'() "." "p.q"', b'() "\\\\" "p\\\\q"'],
    "delimiter of a control byte": [b'() "\x01" "a\x01b"'],
    "attributes without end": [b"(" + b"\\X " * 100_000 + b') "/" x'], "attributes nested": [b"((((\\Noselect)))) \"/\" x"],
    "not closed": [b'(\\HasNoChildren "/" x'], "an empty row": [b""], "one word": [b"x"], "numbers": [b"1 2 3"],
    "INBOX is not selectable": [b'(\\Noselect) "/" INBOX'], "Work does not exist": [b'(\\NonExistent) "/" Work'],
    "special uses": [b'(\\Sent \\Trash \\Junk \\All \\Sent) "/" Work'],
    "OLDNAME": [b'() "/" New ("OLDNAME" (INBOX))', b'() "/" New2 ("OLDNAME" (Work))'],
    "CHILDINFO of 100 KB": [b'() "/" New ("CHILDINFO" ("' + b"x" * 100_000 + b'"))'],
}


# What is said of, because it is no folder.
MISSING = ("NUL", "a list", "delimiter of two", "not closed", "an empty row", "one word", "numbers")


def listing_of(name):
    return mounts("a folder is missing") if name in MISSING else RIGHT


def many(count):
    def script(session, tag):
        session.send(b"".join(b'* LIST () "/" f%06d\r\n' % number for number in range(count)))
        return False
    return on("LIST", script)


# --- SELECT ---

def selects(verb="SELECT", **says):
    """SELECT of INBOX with other figures. says: exists, uidvalidity, uidnext, modseq, final, more."""
    def script(session, tag):
        box = session.box = session.server.boxes["INBOX"]
        session.untagged("FLAGS (\\Seen)")
        session.untagged("%s EXISTS" % says.get("exists", len(box.messages)))
        session.untagged("OK [UIDVALIDITY %s] Valid." % says.get("uidvalidity", box.uidvalidity))
        session.untagged("OK [UIDNEXT %s] Next." % says.get("uidnext", _uidnext(box)))
        session.untagged("OK [HIGHESTMODSEQ %s] Highest." % says.get("modseq", box.modseq))
        session.send(says.get("more", b""))
        session.done(tag, says.get("final", "OK [READ-WRITE] Selected."))
    return on(verb, script, '"INBOX"')


BIG = "4294967296"
BROKEN = fails(errno.EIO)
SILENT = fails(errno.ETIMEDOUT)
SELECTS = {
    "EXISTS 2^32-1": ({"exists": "4294967295"}, BROKEN),
    "EXISTS 2^32": ({"exists": BIG}, BROKEN),
    "EXISTS -1": ({"exists": "-1"}, BROKEN),
    "UIDVALIDITY 0": ({"uidvalidity": "0"}, BROKEN),
    "UIDVALIDITY 2^32": ({"uidvalidity": BIG}, BROKEN),
    "UIDVALIDITY of words": ({"uidvalidity": "x"}, BROKEN),
    "UIDNEXT 0": ({"uidnext": "0"}, RIGHT),
    "UIDNEXT 1": ({"uidnext": "1"}, RIGHT),
    "UIDNEXT 2^32": ({"uidnext": BIG}, RIGHT),
    "HIGHESTMODSEQ 2^64": ({"modseq": "18446744073709551616"}, RIGHT),
    "READ-ONLY": ({"final": "OK [READ-ONLY] Selected."}, RIGHT),
    "a strange access": ({"final": "OK [READ-NEVER] Selected."}, RIGHT),
    "no access": ({"final": "OK"}, RIGHT),
    "NO": ({"final": "NO [NOPERM] \x1b[31mNo."}, fails(errno.EACCES)),
    "BAD": ({"final": "BAD What?"}, BROKEN),
    "CLOSED": ({"more": b"* OK [CLOSED] Closed.\r\n"}, BROKEN),
    "UIDVALIDITY twice": ({"more": b"* OK [UIDVALIDITY 1] One.\r\n* OK [UIDVALIDITY 2] Two.\r\n"}, RIGHT),
    "EXISTS twice": ({"more": b"* 2 EXISTS\r\n* 3 EXISTS\r\n* 1000000 EXISTS\r\n* 3 EXISTS\r\n"}, RIGHT),
    "EXPUNGE": ({"more": b"* 1 EXPUNGE\r\n* 999 EXPUNGE\r\n"}, RIGHT),
    "VANISHED": ({"more": b"* VANISHED (EARLIER) 1:4294967295\r\n"}, RIGHT),
    "rows": ({"more": b"* 1 FETCH (UID 9 FLAGS ())\r\n* 2 FETCH (UID 8 FLAGS ())\r\n"}, RIGHT),
    "PERMANENTFLAGS not closed": ({"more": b"* OK [PERMANENTFLAGS (\r\n"}, RIGHT),
    "PERMANENTFLAGS of 100,000": ({"more": b"* OK [PERMANENTFLAGS (" + b"\\F " * 100_000 + b")] Flags.\r\n"}, RIGHT),
    "another folder's figures": ({"more": b'* STATUS "Work" (MESSAGES 77 UIDNEXT 1 UIDVALIDITY 3)\r\n* LIST () "/" Other\r\n'}, RIGHT),
}


# --- Between two listings ---

def changed(attack, change):
    def arm(server):
        if attack:
            attack(server)
        change(server)
    return arm


def lie(text):
    """VANISHED is sent, and this in it."""
    def arm(server):
        def vanished(_session, _uids, _text):
            server.struck += 1
            return text
        server.vanished = vanished
    return arm


def lists_one(server):
    """Of three that EXISTS, STATUS and SEARCH have. What is listed is said at least twice."""
    def run(session, one, data):
        hidden = one.uid != 1 and session.box is server.boxes["INBOX"] and b"BODY[]" not in data
        server.struck += hidden
        return b"" if hidden else data
    server.row = run


def shows_all(trial, mount):
    for _ in range(4):
        paths, error = trial.timed(mount.by_uid, "INBOX")
        assert error == errno.EIO or sorted(paths) == sorted(trial.wanted("INBOX")), (error, paths)


def seen_flag(server):
    server.flag("INBOX", 1, "\\Seen")


def noted(server):
    """It is the change that is looked at."""
    before("SELECT", b"", '"INBOX"')(server)


def empties(server):
    for uid in [one.uid for one in server.boxes["INBOX"].messages]:
        server.remove("INBOX", uid)


def renumbers(server):
    server.boxes["INBOX"] = Box([message(1), message(7)], uidvalidity=1800000000)


def swaps(server):
    """Other messages under another UIDVALIDITY, which are as many."""
    server.boxes["INBOX"] = Box([Message(uid, b"Subject: other\r\n\r\nother %d\r\n" % uid) for uid in (1, 2, 3)], uidvalidity=1800000001)


def again(name, attack, change, seen=RIGHT, capability=SYNC):
    attack = both(noted, attack) if attack is not noted else noted
    return Case("again: " + name, "again", changed(attack, change), seen, world={"capability": capability})


def nothing(_server):
    pass


# --- IDLE ---

def idle(name, attack):
    return Case("idle: " + name, "idle", attack, RIGHT, world={"capability": IDLE})


def strike(script):
    """On every connection that waits."""
    def arm(server):
        for session in list(server.sessions):
            if session.idling:
                server.struck += 1
                try:
                    script(session, "C0")
                except OSError:
                    pass  # it was cut off
    return arm


class FolderTrial(ImapTrial):
    """After a lie in IDLE something true happens: that must be seen."""

    def disarm(self):
        super().disarm()
        if self.case.at == "idle":  # twice: the first may end a line that the lie has begun
            self.server.add("INBOX", message(4))
            self.server.add("INBOX", message(5))


def disowned(name, rows, status=None):
    """In a later LIST a folder that has messages is said to hold none. It is looked at more than once."""
    def attack(server):
        answer("LIST", rows + b"%t OK Done.\r\n")(server)
        if status:
            answer("STATUS", status)(server)

    def check(trial, mount):
        for _ in range(3):
            assert "INBOX" in trial.timed(os.listdir, mount.path)[0]
            paths, error = trial.timed(mount.by_uid, "INBOX")
            assert error or sorted(paths) == sorted(trial.wanted("INBOX")), paths
        assert "does not stand by it" in mount.log() or b"Noselect" not in rows
        assert mount.log().count("does not stand by it") <= 1, mount.log()
    return Case("disowned: " + name, "again", attack, RIGHT, check=check, others=False)


OTHERS = b'* LIST () "/" Work\r\n'
CASES = [at_mount("name: " + name, listed(named(text)), listing_of(name), check=sane) for name, text in NAMES.items()]
CASES += [at_mount("list: " + name, listed(*lines), listing_of(name), check=sane, options=("refresh=0",)) for name, lines in LINES.items()]
CASES += [at_list("select: " + name, selects(**says), seen) for name, (says, seen) in SELECTS.items()]
CASES += [
    at_mount("list: 200,000 folders", many(200_000), exits(OTHER, "folders|more responses"), timeout_s=3),
    at_mount("list: 105,000 folders", many(105_000), exits(OTHER, "folders|more responses"), timeout_s=3),
    at_mount("list: no INBOX", answer("LIST", b'* LIST () "/" Work\r\n%t OK Done.\r\n'), RIGHT, options=("refresh=0",)),
    at_mount("list: nothing", answer("LIST", b"%t OK Done.\r\n"), RIGHT, others=False, options=("refresh=0",)),
    at_mount("list: nothing, nor INBOX", both(answer("LIST", b"%t OK Done.\r\n"), answer("STATUS", b"%t NO No.\r\n")), exits(OTHER, "lists no folders")),
    at_mount("list: nothing that is understood", answer("LIST", b'* LIST () "/" (a\r\n* LIST x\r\n%t OK Done.\r\n'),
             exits(OTHER, "LIST can not be understood")),
    at_mount("list: NO", answer("LIST", b"%t NO \x1b[31mNot today.\r\n"), exits(OTHER, "can not be listed.*Not today")),
    at_mount("list: BAD", answer("LIST", b"%t BAD What?\r\n"), exits(OTHER, "can not be listed.*What")),
    at_mount("list: BYE", answer("LIST", b"* BYE Enough.\r\n", cut=True), exits(NETWORK, "Enough")),
    at_mount("list: the end in a line", answer("LIST", b'* LIST () "/" Wo', cut=True), exits(NETWORK, "closed")),
    at_mount("list: silence", answer("LIST", b""), exits(NETWORK, "timed out")),
    at_mount("list: a byte a second", on("LIST", trickle(b'* LIST () "/" INBOX\r\n%t OK Done.\r\n')), exits(NETWORK, "timed out")),
    at_mount("list: a line without end", on("LIST", flood(b"* LIST (", b"x" * (1 << 20))), exits(OTHER, "larger than the limit")),
    at_mount("list: rows without end", on("LIST", flood(b"", b'* LIST () "/" x\r\n' * 10_000)), exits(OTHER, "more responses than there can be")),
    at_mount("list: long names without end", on("LIST", flood(b"", b"".join(b'* LIST () "/" %s\r\n' % (b"%03d" % n * 10_000) for n in range(30)))),
             exits(OTHER, "more than it can be")),
    at_mount("list: another's tag", answer("LIST", b"X1 OK Done.\r\n"), exits(OTHER, "nothing that was asked")),
    at_mount("list: LSUB instead", answer("LIST", b'* LSUB () "/" INBOX\r\n* LSUB () "/" Work\r\n%t OK Done.\r\n'), RIGHT,
             others=False, options=("refresh=0",)),
    at_list("select: silence", answer("SELECT", b"", '"INBOX"'), SILENT),
    at_list("select: a byte a second", on("SELECT", trickle(b"* 3 EXISTS\r\n%t OK Done.\r\n"), '"INBOX"'), SILENT),
    at_list("select: the end", answer("SELECT", b"* 3 EXI", '"INBOX"', cut=True), BROKEN),
    at_list("select: BYE", answer("SELECT", b"* BYE Enough.\r\n", '"INBOX"', cut=True), BROKEN),
    at_list("select: without end", on("SELECT", flood(b"", b"* 3 EXISTS\r\n" * 50_000), '"INBOX"'), fails(*IO)),
    at_list("select: rows without end", on("SELECT", flood(b"", b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n" * 30_000), '"INBOX"'), fails(*IO)),
    at_list("select: OK and no figures", answer("SELECT", b"%t OK Selected.\r\n", '"INBOX"'), BROKEN),
    again("VANISHED of all, which is not true", lie("1:4294967295"), seen_flag),
    again("VANISHED of one that is there", lie("2"), seen_flag),
    again("VANISHED of 0", lie("0"), seen_flag),
    again("VANISHED backwards", lie("3:1"), seen_flag),
    again("VANISHED malformed", lie("1,,2:"), seen_flag),
    again("VANISHED of a million numbers", lie(",".join(map(str, range(1, 1_000_000, 2)))), seen_flag),
    again("VANISHED of all, which is true", noted, empties),
    again("VANISHED that is left out", lie(""), lambda server: server.remove("INBOX", 2)),
    again("all are gone, by EXISTS alone", noted, empties, capability=CAPABILITY),
    again("EXISTS 0, which is not true", selects(exists="0"), nothing, BROKEN, capability=CAPABILITY),
    again("EXISTS 1, which is not true", selects(exists="1"), nothing, RIGHT, capability=CAPABILITY),
    again("EXISTS 1,000,000", selects(exists="1000000"), nothing, RIGHT, capability=CAPABILITY),
    Case("again: FETCH lists one of three", "again", lists_one, right_or(errno.EIO), world={"capability": CAPABILITY}, check=shows_all),
    again("UIDNEXT goes back", selects(uidnext="1"), nothing, RIGHT, capability=CAPABILITY),
    again("UIDNEXT goes back, with MODSEQ", selects(uidnext="1", modseq="1"), nothing),
    again("HIGHESTMODSEQ goes back", selects(modseq="0"), seen_flag),
    again("HIGHESTMODSEQ 2^64-1", selects(modseq="18446744073709551615"), seen_flag),
    again("UIDVALIDITY changes", noted, renumbers),
    again("UIDVALIDITY changes, as many messages", noted, swaps),
    again("UIDVALIDITY 0", selects(uidvalidity="0"), nothing, BROKEN),
    idle("999 EXPUNGE", push("999 EXPUNGE")), idle("0 EXPUNGE", push("0 EXPUNGE")), idle("EXPUNGE of all",
        push(b"1 EXPUNGE\r\n* 1 EXPUNGE\r\n* 1 EXPUNGE")),
    idle("EXISTS 2^32-1", push("4294967295 EXISTS")), idle("EXISTS goes down", push("1 EXISTS")), idle("EXISTS 0", push("0 EXISTS")),
    idle("VANISHED of all", push("VANISHED 1:4294967295")), idle("UIDVALIDITY", push("OK [UIDVALIDITY 5] New.")),
    idle("CLOSED", push("OK [CLOSED] Closed.")), idle("BYE", push("BYE Enough.")), idle("garbage", push("\x01((( {5}")), idle("a NUL",
        push("OK \0\0")),
    idle("a star", push("")), idle("ALERT", push("OK [ALERT] \x1b[31mred")), idle("a new UID", push("4 FETCH (UID 77 FLAGS ())")),
    idle("another folder", push('STATUS "Work" (MESSAGES 0)')), idle("LIST", push('LIST (\\NonExistent) "/" INBOX')),
    idle("a literal that does not come", strike(say(b"* 1 FETCH (X {1000}\r\n"))), idle("a part of a line", strike(say(b"* 4 EXIS"))),
    idle("continuations", strike(say(b"+ go on\r\n" * 100_000))), idle("a tagged answer too early", strike(say(b"C1 OK Done.\r\n"))),
    idle("a tagged answer of no one", strike(say(b"X9 NO Done.\r\n"))), idle("the end", strike(say(b"", cut=True))),
    idle("the end in a line", strike(say(b"* 4 EX", cut=True))), idle("a line without end", strike(flood(b"* OK ", b"x" * (1 << 20)))),
    idle("responses without end", strike(flood(b"", b"* 3 EXISTS\r\n* 4 EXISTS\r\n" * 20_000))),
    idle("a byte a second", strike(lambda session, tag: trickle(b"* 3 EX")(session, tag))),
]
CASES += [
    disowned("\\Noselect", b'* LIST (\\Noselect) "/" INBOX\r\n' + OTHERS),
    disowned("\\NonExistent, and STATUS is refused", b'* LIST (\\NonExistent \\Noselect) "/" INBOX\r\n' + OTHERS, b"%t NO No.\r\n"),
    disowned("left out", OTHERS),
]
suite = hostile.suite(FolderTrial, CASES)


@pytest.mark.parametrize("name", hostile.names(CASES))
def test_case(suite, name):
    suite(name)
