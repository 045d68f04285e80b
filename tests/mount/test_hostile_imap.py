# SPDX-License-Identifier: MIT
"""Hostile IMAP servers: framing, numbers, listings, bodies. What must hold in each case: hostile.py."""

import errno

import pytest

import hostile
from fake.imap import Box, Message
from hostile import RIGHT, fails, read, right_or, sha256
from hostile_imap import IO, SMALL, ImapTrial, answer, at_list, at_read, at_walk, before, between, body, first, flood, flow, listing, message, messages, once, row, say, swap, trickle

EIO = errno.EIO
ROW = b'* 2 FETCH (UID 2 FLAGS () INTERNALDATE "14-Nov-2023 22:13:20 +0000" RFC822.SIZE 64 '
HEADER = b"BODY[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID)] "


def sized(text):
    return swap(b"RFC822.SIZE 68", b"RFC822.SIZE " + text)


def dated(text):
    return swap(b'"14-Nov-2023 22:13:20 +0000"', text)


def flagged(text):
    return swap(b"FLAGS ()", b"FLAGS (" + text + b")")


# What breaks the framing, or looks as if it did. As a listing, and as a body.
FRAMES = {
    "PERMANENTFLAGS not closed": b"* OK [PERMANENTFLAGS (\r\n",
    "ANNOTATION not closed": b'* ANNOTATION "message" "x*\r\n',
    "literal of 4294967295": b"* 2 FETCH (UID 2 BODY[] {4294967295}\r\nabc",
    "literal of 4294967301": b"* 2 FETCH (UID 2 BODY[] {4294967301}\r\nabcde)\r\n",
    "literal of 2^64 and more": b"* 2 FETCH (UID 2 BODY[] {99999999999999999999999}\r\nabc",
    "literal of 2^63": b"* 2 FETCH (UID 2 BODY[] {9223372036854775808}\r\nabc",
    "literal of -1": b"* 2 FETCH (UID 2 BODY[] {-1}\r\nabc",
    "literal without a size": b"* 2 FETCH (UID 2 BODY[] {}\r\nabc",
    "literal with blanks": b"* 2 FETCH (UID 2 BODY[] { 5 }\r\nabc",
    "literal in hex": b"* 2 FETCH (UID 2 BODY[] {0x10}\r\nabc",
    "65 literals": b"* 2 FETCH (UID 2" + b" X {1}\r\na" * 65 + b")\r\n",
    "blank lines": b"\r\n" * 100,
    "NUL in a line": b"* 2 FETCH (UID 2 FLAGS (\\Se\0en) RFC822.SIZE 3)\r\n",
    "lone CR": b"* 2 FETCH (UID 2\rFLAGS ())\r\n",
    "8-bit atoms": b"* \xff\xfe \x80\xe4\xf6 (\xfc)\r\n* 2 \xc0\xaf (UID 2)\r\n",
    "parentheses not closed": b"* 2 FETCH (UID 2 FLAGS ((((((((\r\n",
    "parentheses not opened": b"* 2 FETCH UID 2 FLAGS ())))))))))\r\n",
    "100,000 parentheses": b"* 2 FETCH (UID 2 X " + b"(" * 100_000 + b")" * 100_000 + b")\r\n",
    "string not closed": b'* 2 FETCH (UID 2 FLAGS () X "abc\r\n',
    "tagged by another tag": b"X999 OK Done.\r\n",
    "tagged by no tag": b" OK Done.\r\n",
    "tag of later": b"C9999 OK Done.\r\n",
    "tagged with no status": b"%t\r\n",
    "tagged with a strange status": b"%t MAYBE Done.\r\n",
    "a star alone": b"*\r\n* \r\n*  \r\n",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html></html>\r\n",
    "continuation": b"+ go on\r\n",
    "100,000 continuations": b"+ go on\r\n" * 100_000,
}
# After these the connection goes on: what comes behind them is right, and so is what the user sees.
HARMLESS = ("PERMANENTFLAGS not closed", "ANNOTATION not closed", "8-bit atoms")
# In a listing a row that can not be understood costs nothing either: the right one comes as well.
ROWS = ("65 literals", "NUL in a line", "lone CR", "parentheses not closed", "parentheses not opened", "100,000 parentheses", "string not closed")

NUMBERS = {
    "999 EXPUNGE of 3": b"* 999 EXPUNGE\r\n",
    "0 EXPUNGE": b"* 0 EXPUNGE\r\n",
    "EXISTS 4294967295": b"* 4294967295 EXISTS\r\n",
    "EXISTS 4294967296": b"* 4294967296 EXISTS\r\n",
    "EXISTS 0": b"* 0 EXISTS\r\n",
    "RECENT 2^64": b"* 18446744073709551616 RECENT\r\n",
    "VANISHED of all UIDs": b"* VANISHED 1:4294967295\r\n",
    "VANISHED (EARLIER) unasked": b"* VANISHED (EARLIER) 1:4294967295\r\n",
    "VANISHED malformed": b"* VANISHED 1:,,::*\r\n",
    "SEARCH unasked": b"* SEARCH 1 2 3 99999999999999999999\r\n",
    "ESEARCH unasked": b'* ESEARCH (TAG "x") UID ALL 1:4294967295 COUNT -1\r\n',
    "UIDNEXT goes back": b"* OK [UIDNEXT 1] Lower.\r\n",
    "UIDNEXT 2^32": b"* OK [UIDNEXT 4294967296] High.\r\n",
    "UIDVALIDITY 0": b"* OK [UIDVALIDITY 0] None.\r\n",
    "UIDVALIDITY changes": b"* OK [UIDVALIDITY 1800000000] New.\r\n",
    "UIDVALIDITY 2^32": b"* OK [UIDVALIDITY 4294967296] High.\r\n",
    "HIGHESTMODSEQ 2^64": b"* OK [HIGHESTMODSEQ 18446744073709551616] High.\r\n",
    "FETCH 0": b"* 0 FETCH (UID 2 FLAGS (\\Deleted))\r\n",
    "FETCH of a UID not asked for": b"* 4 FETCH (UID 77 FLAGS () RFC822.SIZE 3 BODY[] {3}\r\nabc)\r\n",
    "FETCH without a UID": b"* 2 FETCH (FLAGS (\\Deleted))\r\n",
    "FETCH of UID 0": b"* 2 FETCH (UID 0 FLAGS ())\r\n",
    "FETCH of UID 2^32": b"* 2 FETCH (UID 4294967296 FLAGS ())\r\n",
    "another folder's STATUS": b'* STATUS "Work" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 1)\r\n',
    "LIST unasked": b'* LIST (\\Noselect) "/" INBOX\r\n* LIST (\\NonExistent) "/" Work\r\n',
    "CAPABILITY unasked": b"* CAPABILITY NOTHING LOGINDISABLED\r\n",
    "QUOTA unasked": b'* QUOTAROOT INBOX ""\r\n* QUOTA "" (STORAGE -1 99999999999999999999999)\r\n',
    "NAMESPACE unasked": b'* NAMESPACE (("../" "/")) NIL NIL\r\n',
    "ALERT with escapes": b"* NO [ALERT] \x1b[31mred\x07\x9b\r\n",
    "an unknown word": b"* XYZZY (((( \x01 {3}\r\nabc\r\n",
}
# What says that something changed is looked into at the next listing; none of it changes what is read now.
SIZES = {"2^63": b"9223372036854775808", "2^64-1": b"18446744073709551615", "2^64": b"18446744073709551616", "-1": b"-1", "none": b"NIL",
         "a list": b"(68)", "0": b"0"}
DATES = {"none": b"NIL", "garbage": b'"yesterday"', "year 0000": b'"01-Jan-0000 00:00:00 +0000"', "year 9999": b'"31-Dec-9999 23:59:59 -1400"',
         "32nd": b'"32-Jan-2023 25:61:61 +9999"', "8-bit": b'"\xff\xff-Nov-2023 22:13:20 +0000"', "an atom": b"now"}
FLAGS = {"64 KiB": b"x" * 65536, "100,000 of them": b" ".join([b"\\F%05d" % n for n in range(100_000)]), "control bytes": b"a\x01\x1b[31mb \x7f",
         "a list in it": b"(((\\Seen)))", "the same 50,000 times": b" ".join([b"\\Seen"] * 50_000)}


def rows(*uids):
    """A listing of these UIDs."""
    return b"".join(b'* %d FETCH (UID %d FLAGS () INTERNALDATE "14-Nov-2023 22:13:20 +0000" RFC822.SIZE 68 %sNIL)\r\n' % (number, uid, HEADER)
                    for number, uid in enumerate(uids, 1))


def answered(data):
    return listing(say(data + b"%t OK Done.\r\n"))


def bodies(text):
    """The whole answer to who wants the second message."""
    return body(say(text if b"%t" in text else text + b"%t OK Done.\r\n"))


SECOND = b"From: Alice Smith <alice@example.org>\r\nSubject: number 2\r\n\r\nbody 2\r\n"
OTHER = SECOND.replace(b"2", b"9")


def literal(data):
    return b"{%d}\r\n%s" % (len(data), data)


# What there is instead of the second message's bytes.
BODIES = {
    "of another UID": (b"* 2 FETCH (UID 3 BODY[]<0> %s)\r\n" % literal(OTHER), fails(EIO)),
    "of two UIDs": (b"* 2 FETCH (UID 2 UID 3 BODY[]<0> %s)\r\n" % literal(OTHER), fails(EIO)),
    "twice, other bytes": (b"* 2 FETCH (UID 2 BODY[]<0> %s)\r\n* 2 FETCH (UID 2 BODY[]<0> %s)\r\n" % (literal(SECOND), literal(OTHER)),
                          fails(EIO)),
    "twice in one row": (b"* 2 FETCH (UID 2 BODY[]<0> %s BODY[]<0> %s)\r\n" % (literal(SECOND), literal(OTHER)), fails(EIO)),
    "of another section": (b"* 2 FETCH (UID 2 BODY[TEXT]<0> %s)\r\n" % literal(OTHER), fails(EIO)),
    "from another place": (b"* 2 FETCH (UID 2 BODY[]<7> %s)\r\n" % literal(SECOND), fails(EIO)),
    "from 2^64": (b"* 2 FETCH (UID 2 BODY[]<18446744073709551616> %s)\r\n" % literal(SECOND), fails(EIO)),
    "NIL": (b"* 2 FETCH (UID 2 BODY[]<0> NIL)\r\n", fails(EIO)),
    "an atom": (b"* 2 FETCH (UID 2 BODY[]<0> atom)\r\n", fails(EIO)),
    "a list": (b"* 2 FETCH (UID 2 BODY[]<0> (%s))\r\n" % literal(SECOND), fails(EIO)),
    "a literal8": (b"* 2 FETCH (UID 2 BODY[]<0> ~%s)\r\n" % literal(SECOND), RIGHT),
    "a non-synchronizing literal": (b"* 2 FETCH (UID 2 BODY[]<0> {%d+}\r\n%s)\r\n" % (len(SECOND), SECOND), RIGHT),
    "without a value": (b"* 2 FETCH (UID 2 BODY[]<0>)\r\n", fails(EIO)),
    "of a row not closed": (b"* 2 FETCH (UID 2 BODY[]<0> %s\r\n" % literal(SECOND), fails(EIO)),
    "refused with a row": (b"* 2 FETCH (UID 2 BODY[]<0> %s)\r\n%%t NO Not really.\r\n" % literal(OTHER), fails(EIO)),
    "refused, BAD": (b"%t BAD What?\r\n", fails(EIO)),
    "answered twice": (b"* 2 FETCH (UID 2 BODY[]<0> %s)\r\n%%t OK Done.\r\n" % literal(SECOND), RIGHT),
}

# The second message has 3 MiB.
LARGE = {"boxes": lambda: {"INBOX": Box([message(1), Message(2, SECOND + b"large\r\n" * 450_000), message(3)]), "Work": Box(messages(2, 5))}}

CUTS = {
    "in a literal": b"* 2 FETCH (UID 2 BODY[]<0> {68}\r\nFrom: Al", "in a line": b"* 2 FETCH (UID 2 BO",
    "behind the size": b"* 2 FETCH (UID 2 BODY[]<0> {68}",
    "behind a CR": b"* 2 FETCH (UID 2 FLAGS ())\r", "behind a tag": b"%t", "behind a tag and a blank": b"%t ", "behind OK": b"%t OK",
    "at once": b"",
}


def structure(data):
    def arm(server):
        server.boxes["INBOX"].messages[1].structure = data
        before("UID FETCH", b"", "BODYSTRUCTURE")(server)
    return arm


STRUCTURES = {
    "100,000 deep": b"(" * 100_000 + b'"TEXT"' + b")" * 100_000,
    "100,000 deep, not closed": b"(" * 100_000,
    "100,000 parts": b"(" + b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1)' * 20_000 + b' "MIXED")',
    "a size of 2^64": b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 18446744073709551616 1)',
    "a size of -1": b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" -1 1)',
    "a size of 2^63": b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 9223372036854775807 1)',
    "a name of a path": b'("TEXT" "PLAIN" ("NAME" "../../../etc/passwd") NIL NIL "7BIT" 8 1)',
    "a name of 100 KB": b'("TEXT" "PLAIN" ("NAME" "%s") NIL NIL "7BIT" 8 1)' % (b"n" * 100_000),
    "of another message": b'("IMAGE" "PNG" ("NAME" "a.png") NIL NIL "BASE64" 4000000000 NIL NIL NIL NIL)',
}

def reads_all(trial, _mount):
    """The messages that were listed before it."""
    for uid, digest in trial.wanted("INBOX").items():
        assert sha256(read(trial.paths[uid])) == digest, uid


CASES = []
for name, data in FRAMES.items():
    CASES.append(at_list("list: " + name, listing(first(data)), RIGHT if name in HARMLESS + ROWS else fails(EIO)))
    CASES.append(at_read("read: " + name, body(first(data)), RIGHT if name in HARMLESS else fails(EIO)))
for name, data in NUMBERS.items():
    CASES.append(at_read("unasked: " + name, body(first(data)), fails(EIO) if name == "UIDVALIDITY changes" else RIGHT))
CASES += [at_read("unasked: UIDVALIDITY changes, once", body(once(first(NUMBERS["UIDVALIDITY changes"]))), fails(EIO), others=False, options=("connections=1",),
                  check=reads_all)]
CASES += [at_list("size: " + name, sized(text), RIGHT) for name, text in SIZES.items()]
CASES += [at_list("date: " + name, dated(text), RIGHT) for name, text in DATES.items()]
CASES += [at_list("flags: " + name, flagged(text), RIGHT) for name, text in FLAGS.items()]
CASES += [at_read("body: " + name, bodies(text), seen) for name, (text, seen) in BODIES.items()]
CASES += [at_read("cut: " + name, body(say(data, cut=True)), fails(EIO)) for name, data in CUTS.items()]
CASES += [hostile.Case("structure: " + name, "parts", structure(data), RIGHT) for name, data in STRUCTURES.items()]
CASES += [
    at_list("list: a line without end", listing(flood(b"* 2 FETCH (UID 2 FLAGS (", b"x" * (1 << 20))), fails(*IO)),
    at_list("list: rows without end", listing(flood(b"", ROW + HEADER + b"NIL)\r\n" + rows(1) * 2000)), fails(*IO)),
    at_list("list: unknown responses without end", listing(flood(b"", b"* XYZZY and so on\r\n" * 20_000)), fails(*IO)),
    at_list("list: OK without end", listing(flood(b"", b"* OK Still here.\r\n" * 20_000)), fails(*IO)),
    at_list("list: ALERT without end", listing(flood(b"", b"* OK [ALERT] Look!\r\n" * 20_000)), fails(*IO)),
    at_list("list: literals without end", listing(flood(b"", b"* 2 FETCH (UID 2 X %s)\r\n" % literal(b"x" * 1_000_000))), fails(*IO)),
    at_list("list: a byte a second", listing(trickle(rows(1, 2, 3) + b"%t OK Done.\r\n")), fails(errno.ETIMEDOUT)),
    at_list("list: 2 KiB a second", listing(flow(rows(1), b"* OK Still at it.\r\n" * 10)), fails(errno.ETIMEDOUT)),
    at_list("list: silence", listing(say(b"")), fails(errno.ETIMEDOUT)),
    at_read("read: a line without end", body(flood(b"* 2 FETCH (UID 2 FLAGS (", b"x" * (1 << 20))), fails(*IO)),
    at_read("read: a literal of zeros without end", body(flood(b"* 2 FETCH (UID 2 BODY[]<0> {4000000000}\r\n", b"\0" * (1 << 20))), fails(*IO)),
    at_read("read: rows without end", body(flood(b"", rows(1) * 2000)), fails(*IO)),
    at_read("read: other bodies without end", body(flood(b"", b"* 1 FETCH (UID 1 BODY[]<0> %s)\r\n" % literal(b"x" * 100_000))), fails(*IO)),
    at_read("read: a byte a second", body(trickle(b"* 2 FETCH (UID 2 BODY[]<0> {68}\r\n" + SECOND)), fails(errno.ETIMEDOUT)),
    at_read("read: 2 KiB a second", body(flow(b"* 2 FETCH (UID 2 BODY[]<0> {60000}\r\n", b"x" * 200)), fails(errno.ETIMEDOUT)),
    at_read("read: 2 KiB a second of a large message", body(flow(b"* 2 FETCH (UID 2 BODY[]<0> {100000}\r\n", b"x" * 200)), fails(errno.ETIMEDOUT),
            world=LARGE),
    at_read("read: silence", body(say(b"")), fails(errno.ETIMEDOUT)),
    at_read("read: BYE", body(say(b"* BYE Enough.\r\n", cut=True)), fails(EIO)),
    at_read("read: tagged twice", body(say(b"* 2 FETCH (UID 2 BODY[]<0> %s)\r\n%%t OK Done.\r\n%%t OK Done.\r\n" % literal(SECOND))), RIGHT),
    at_read("read: an early answer", body(say(b"%%t OK Done.\r\n* 2 FETCH (UID 2 BODY[]<0> %s)\r\n" % literal(SECOND))), fails(EIO)),
    at_list("list: no rows", answered(b""), RIGHT),
    at_list("list: a row is missing", answered(rows(1, 3)), RIGHT),
    at_list("list: a UID twice", answered(rows(1, 2, 2, 3)), RIGHT),
    at_list("list: UIDs descend", answered(rows(3, 2, 1)), RIGHT),
    at_list("list: UID 0", answered(rows(0, 1, 2, 3)), RIGHT),
    at_list("list: a UID past UIDNEXT", answered(rows(1, 2, 3, 4294967295)), RIGHT, options=("refresh=0",), ghosts=(4294967295,)),
    at_list("list: UID 2^32", answered(rows(1, 2, 3, 4294967296)), RIGHT),
    at_list("list: bare LF", row(lambda data: data.replace(b"\r\n", b"\n")), RIGHT),
    at_list("list: an unknown item", swap(b"FLAGS ()", b"X-UNKNOWN (a (b {1}\r\nc)) Y \"z\" FLAGS ()"), RIGHT),
    at_list("list: no size at all", swap(b"RFC822.SIZE 68", b""), RIGHT),
    at_list("list: NO", answer("UID FETCH", b"%t NO [SERVERBUG] \x1b[31mNot today.\r\n", "RFC822.SIZE"), fails(EIO)),
    at_list("list: BAD", answer("UID FETCH", b"%t BAD What?\r\n", "RFC822.SIZE"), fails(EIO)),
    at_list("list: BYE", listing(say(b"* BYE Enough.\r\n", cut=True)), fails(EIO)),
    at_list("search of 5 million numbers", before("UID FETCH", b"* SEARCH" + b" 1234567" * 5_000_000 + b"\r\n", "RFC822.SIZE"), fails(EIO)),
]
# It may as well come behind the command that is sent at the same time: what is in its answer then is an error.
CASES += [at_read("between: " + name, between(script), right_or(*IO)) for name, script in {
    "20 MB of EXISTS": say(b"* 3 EXISTS\r\n" * 1_600_000), "20 MB of a line": say(b"* OK " + b"x" * 20_000_000),
    "EXPUNGE of all": say(b"* 1 EXPUNGE\r\n" * 3),
    "a tagged answer": say(b"C0 OK Done.\r\n"), "the next answer": say(b"".join(b"C%d OK Done.\r\n" % n for n in range(1, 100))),
    "the body of another": say(b"* 2 FETCH (UID 2 BODY[]<0> %s)\r\n" % literal(OTHER)),
    "a part of a literal": say(b"* 2 FETCH (UID 2 BODY[]<0> {68}\r\nFrom"),
    "BYE": say(b"* BYE Enough.\r\n", cut=True), "the end": say(b"", cut=True), "UIDVALIDITY": say(b"* OK [UIDVALIDITY 5] New.\r\n"),
}.items()]



def few(most):
    """So many bytes of the victim's at a time."""
    def change(data):
        head, _, rest = data.rpartition(b"{%d}\r\n" % len(data[data.index(b"}") + 3:-3]))
        return head + literal(rest[:-3][:most]) + b")\r\n"
    return row(change, "BODY[]<")


CASES += [at_read("few: %d bytes at a time" % most, few(most), fails(EIO), world=LARGE) for most in (1, 100, 256)]
CASES.append(at_read("few: 100,000 bytes at a time", few(100_000), RIGHT, world=LARGE))

# Messages over 256 KiB, which are handed on before they are there.
WALK = {"boxes": lambda: {"INBOX": Box([Message(n, SMALL % (n, n) + b"%d large\r\n" % n * 33_000) for n in range(1, 9)]), "Work": Box(messages(2, 5))}}


def lies(change):
    """The third message and those behind it are others, as often as they are asked for: change(row), in which the bytes are, and the row's end."""
    def arm(server):
        def run(session, one, data):
            head, found, rest = data.partition(b"}\r\n")
            if one.uid < 3 or session.box is not server.boxes["INBOX"] or b"BODY[]" not in head:
                return data
            server.struck += 1
            return change(head + found, b"Q" * (len(rest) - 3), rest)
        server.row = run
    return arm


CASES += [at_walk("ahead: " + name, lies(change), right_or(EIO), options=options, world=WALK)
          for options in ((), ("ro",)) for name, change in {
    "of two UIDs%s" % "".join(", " + one for one in options): lambda head, other, rest: head + other + b" UID 77)\r\n",
    "two contents%s" % "".join(", " + one for one in options): lambda head, other, rest: head + other + b' BODY[] "")\r\n',
    "not closed%s" % "".join(", " + one for one in options): lambda head, other, rest: head + other + b" FLAGS ()\r\n",
}.items()]
# A reader may have had the first before the second came; nobody after that.
CASES.append(at_walk("ahead: twice", lies(lambda head, other, rest: head + other + b")\r\n" + head + rest), right_or(EIO), lied=(b"Q",), world=WALK))
suite = hostile.suite(ImapTrial, CASES)


@pytest.mark.parametrize("name", hostile.names(CASES))
def test_case(suite, name):
    suite(name)
