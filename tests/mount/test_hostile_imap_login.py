# SPDX-License-Identifier: MIT
"""Hostile IMAP servers, from the greeting to the list of folders, and what comes in clear before a login. What must hold: hostile.py."""

import base64
import re
import zlib

import pytest

import hostile
from fake.imap import CAPABILITY
from hostile import LOGIN, NETWORK, OTHER, RIGHT, SECRET, exits, mounts
from hostile_imap import ImapTrial, able, answer, at_mount, both, flood, greeting, on, say, trickle

BAD_ANSWER = "can not be understood"
LARGE = "larger than the limit"
WRONG = "the server's part of it is wrong"
EARLY = {"secret": False}


def greets(data, cut=False):
    return greeting(say(data, cut))


OK = b"* OK [CAPABILITY " + CAPABILITY.encode() + b"] Ready.\r\n"
BARE = b"* OK Ready.\r\n"

# The greeting: what it is, and what the user sees. None of these may get a login.
GREETINGS = {
    "nothing, then the end": (b"", True, exits((NETWORK,), "closed")),
    "silence": (b"", False, exits(NETWORK, "timed out")),
    "a part of a line, then the end": (b"* OK [CAPABIL", True, exits(NETWORK, "closed")),
    "HTTP": (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", True, exits(OTHER, BAD_ANSWER)),
    "SSH": (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", False, exits(OTHER, BAD_ANSWER)),
    "SMTP": (b"220 mail.example.org ESMTP ready\r\n", False, exits(OTHER, BAD_ANSWER)),
    "POP3": (b"+OK POP3 ready <1.2@example.org>\r\n", False, exits(OTHER, BAD_ANSWER)),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x28", False, exits(NETWORK, "timed out")),
    "zeros": (b"\0" * 100_000, False, exits(NETWORK, "timed out")),
    "BYE": (b"* BYE Too many connections.\r\n", True, exits(NETWORK, "Too many connections")),
    "BYE with escapes": (b"* BYE \x1b]0;owned\x07\x1b[31m \xc2\x9b red\xff\r\n", True, exits(NETWORK, "owned")),
    "BYE of 100 KB": (b"* BYE " + b"long " * 20_000 + b"\r\n", True, exits(NETWORK, "long long")),
    "NO": (b"* NO Not now.\r\n", False, exits(OTHER, BAD_ANSWER)),
    "BAD": (b"* BAD Not now.\r\n", False, exits(OTHER, BAD_ANSWER)),
    "tagged": (b"C1 OK Ready.\r\n", False, exits(OTHER, BAD_ANSWER)),
    "FETCH": (b"* 1 FETCH (UID 1)\r\n", False, exits(OTHER, BAD_ANSWER)),
    "1 MB": (b"* OK " + b"x" * (1 << 20) + b"\r\n", False, exits(OTHER, LARGE)),
    "a literal": (b"* OK {5}\r\nabcde", False, exits(OTHER, BAD_ANSWER)),
}

# What the server says that it can do, where it lets nobody in.
ABILITIES = {
    "LOGINDISABLED": (b"IMAP4rev1 LOGINDISABLED", exits(LOGIN, "LOGINDISABLED")),
    "LOGINDISABLED and strange ways": (b"IMAP4rev1 LOGINDISABLED AUTH=GSSAPI AUTH=X-EVIL AUTH= AUTH", exits(LOGIN, "LOGINDISABLED")),
}

SPACES = {
    "nested": b"* NAMESPACE " + b"(" * 10_000 + b")" * 10_000 + b" NIL NIL\r\n",
    "not closed": b'* NAMESPACE (("" "/")\r\n',
    "of paths": b'* NAMESPACE (("" "/")("../../" "/")("/etc/" "/")) NIL NIL\r\n',
    "of control bytes": b'* NAMESPACE (("" "/")("\x01\x1b[31m" "/")) NIL NIL\r\n',
    "with a line break": b'* NAMESPACE (("" "/")({8}\r\na"\r\nX NO "/")) NIL NIL\r\n',
    "of 10,000": b'* NAMESPACE (("" "/")' + b"".join(b'("x%d/" "/")' % n for n in range(10_000)) + b") NIL NIL\r\n",
    "of numbers": b"* NAMESPACE ((1 2)(3 4)) 5 6\r\n",
    "NIL": b"* NAMESPACE NIL NIL NIL\r\n",
    "of 100 KB": b'* NAMESPACE (("' + b"p" * 100_000 + b'" "/")) NIL NIL\r\n',
    "without a delimiter": b'* NAMESPACE (("" NIL)("a" "")("b" "ab")) NIL NIL\r\n',
}

WORDS = {"ID": {"a list not closed": b'* ID ("name" "x\r\n', "100 KB": b'* ID ("name" "' + b"n" * 100_000 + b'")\r\n',
                "escapes": b'* ID ("name" "\x1b[31mred" "version" "\x07")\r\n', "nested": b"* ID " + b"(" * 10_000 + b"\r\n"},
         "ENABLE": {"what was not asked for": b"* ENABLED UTF8=ACCEPT QRESYNC X-EVIL\r\n", "garbage": b"* ENABLED ((((\x01\r\n"}}

QUOTAS = {
    "huge": b'* QUOTAROOT INBOX ""\r\n* QUOTA "" (STORAGE 18446744073709551615 18446744073709551615)\r\n',
    "over 64 bits": b'* QUOTA "" (STORAGE 99999999999999999999999999 1)\r\n',
    "negative": b'* QUOTA "" (STORAGE -5 -10 MESSAGE -1 -1)\r\n',
    "more used than there is": b'* QUOTA "" (STORAGE 100 1 MESSAGE 5 0)\r\n',
    "not closed": b'* QUOTA "" (STORAGE 1\r\n',
}

EVERYTHING = ("CAPABILITY", "LOGIN", "AUTHENTICATE", "ID", "ENABLE", "NAMESPACE", "LIST", "SELECT", "EXAMINE", "UID FETCH", "LOGOUT")


# --- SASL ---

def decoded(line):
    return base64.b64decode(line.strip())


def encoded(data):
    return base64.b64encode(data) + b"\r\n"


def dialogue(mechanism, *replies, tagged=b"OK Logged in."):
    """AUTHENTICATE: replies(what was heard last) one after the other, each as a challenge; then the end."""
    def script(session, tag):
        session.send(b"+ \r\n")
        heard = session.file.readline()
        session.server.said.append(heard)
        for reply in replies:
            session.send(b"+ " + reply(decoded(heard)))
            heard = session.file.readline()
            session.server.said.append(heard)
            if heard.strip() == b"*":
                session.done(tag, "BAD Cancelled.")
                return
        session.send(tag.encode() + b" " + tagged + b"\r\n")
    return both(able("IMAP4rev1 LOGINDISABLED AUTH=" + mechanism), on("AUTHENTICATE", script))


def nonce(heard):
    return re.search(rb"r=([^,]*)", heard).group(1)


def challenge(salt=b"salt", rounds=b"4096", mine=None, more=b"MORE"):
    def reply(heard):
        text = b"r=%s,s=%s,i=%s" % (nonce(heard) + more if mine is None else mine, base64.b64encode(salt), rounds)
        return encoded(text)
    return reply


def wrong_signature(_heard):
    return encoded(b"v=" + base64.b64encode(b"x" * 32))


def raw(data):
    return lambda _heard: data


SCRAM = "SCRAM-SHA-256"
FIRST = challenge()
SCRAMS = {
    "wrong signature": ((FIRST, wrong_signature), exits(LOGIN, WRONG)),
    "no signature": ((FIRST,), exits(LOGIN, "did not prove")),
    "no challenge": ((), exits(LOGIN, "did not prove")),
    "signature of another length": ((FIRST, raw(encoded(b"v=" + base64.b64encode(b"x")))), exits(LOGIN, WRONG)),
    "an error": ((FIRST, raw(encoded(b"e=invalid-proof"))), exits(LOGIN, "login refused")),
    "2^31 rounds": ((challenge(rounds=b"2147483648"),), exits(LOGIN, WRONG)),
    "2^31-1 rounds": ((challenge(rounds=b"2147483647"),), exits(LOGIN, WRONG)),
    "2^64 rounds": ((challenge(rounds=b"18446744073709551616"),), exits(LOGIN, WRONG)),
    "no rounds": ((challenge(rounds=b"0"),), exits(LOGIN, WRONG)),
    "-1 rounds": ((challenge(rounds=b"-1"),), exits(LOGIN, WRONG)),
    "another nonce": ((challenge(mine=b"notours"),), exits(LOGIN, WRONG)),
    "our nonce and no more": ((challenge(more=b""),), exits(LOGIN, WRONG)),
    "no salt": ((challenge(salt=b""), wrong_signature), exits(LOGIN, WRONG)),
    "a salt of 100 KB": ((challenge(salt=b"s" * 100_000), wrong_signature), exits(LOGIN, WRONG)),
    "salt that is no base64": ((lambda heard: encoded(b"r=%sX,s=!!!!,i=4096" % nonce(heard)),), exits(LOGIN, WRONG)),
    "no base64": ((raw(b"!!!!\r\n"),), exits(LOGIN, WRONG)),
    "an extension that must be known": ((lambda heard: encoded(b"m=x,r=%sX,s=c2FsdA==,i=4096" % nonce(heard)),), exits(LOGIN, WRONG)),
    "1 MB": ((raw(encoded(b"r=" + b"x" * 700_000)),), exits(LOGIN, WRONG)),
    "challenges without end": (tuple(raw(encoded(b"e=again")) for _ in range(100)), exits(LOGIN, WRONG)),
}


def flooded_challenges(session, _tag):
    session.send(b"+ \r\n")
    flood(b"", b"+ QUJD\r\n" * 10_000)(session, "")


# --- COMPRESS ---

def deflated(*pieces, raw_bytes=b""):
    """COMPRESS, and then this, whatever is asked."""
    def script(session, tag):
        out = zlib.compressobj(9, zlib.DEFLATED, -15)
        session.send(tag.encode() + b" OK Deflating.\r\n" + raw_bytes)
        try:
            for data in pieces:
                session.send(out.compress(data) + out.flush(zlib.Z_SYNC_FLUSH))
            if not raw_bytes:
                session.send(out.flush(zlib.Z_FINISH))
            session.file.read()
        finally:
            session.cut()
    return both(able(CAPABILITY + " COMPRESS=DEFLATE"), on("COMPRESS", script))


def bomb(session, tag):
    """A gigabyte of a line, and of lines, in a few bytes each."""
    session.send(tag.encode() + b" OK Deflating.\r\n")
    out = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = out.compress(b"* OK " + b"x" * (64 << 20)) + out.flush(zlib.Z_SYNC_FLUSH)
    flood(piece, piece)(session, tag)


COMPRESSED = {"options": ("compress=on",)}


def token(name, words, *replies, **more):
    return at_mount(name, dialogue("XOAUTH2", *replies, tagged=b"NO [AUTHENTICATIONFAILED] No."), exits(LOGIN, words), token=True, **more)


class LoginTrial(ImapTrial):
    """A token takes the password's place."""

    def start(self):
        server = super().start()
        server.said = []
        return server

    def credentials(self):
        return super().credentials() if self.mount or not self.case.token else ["token_command=echo the-token"]


CASES = [at_mount("greeting: " + name, greets(data, cut), seen, **EARLY) for name, (data, cut, seen) in GREETINGS.items()]
CASES += [at_mount("capability: " + name, greets(b"* OK [CAPABILITY %s] Ready.\r\n" % words), seen, **EARLY)
          for name, (words, seen) in ABILITIES.items()]
CASES += [at_mount("namespace: " + name, answer("NAMESPACE", data + b"%t OK Done.\r\n"),
                   mounts("NAMESPACE can not be understood") if name in ("nested", "not closed") else RIGHT) for name, data in SPACES.items()]
CASES += [at_mount("%s: %s" % (verb, name), both(able(CAPABILITY + " CONDSTORE"), answer(verb, data + b"%t OK Done.\r\n")), RIGHT)
          for verb, kinds in WORDS.items() for name, data in kinds.items()]
CASES += [at_mount("quota: " + name, both(able(CAPABILITY + " QUOTA"), answer("GETQUOTAROOT", data + b"%t OK Done.\r\n")), RIGHT)
          for name, data in QUOTAS.items()]
CASES += [at_mount("SCRAM: " + name, dialogue(SCRAM, *replies), seen, **EARLY) for name, (replies, seen) in SCRAMS.items()]
CASES += [
    at_mount("greeting: a byte a second", greeting(trickle(OK)), exits(NETWORK, "timed out"), **EARLY),
    at_mount("greeting: without end", greeting(flood(b"* OK ", b"x" * (1 << 20))), exits(OTHER, LARGE), **EARLY),
    at_mount("greeting: lines without end", greeting(flood(b"", b"\r\n" * 100_000)), exits(OTHER, BAD_ANSWER), **EARLY),
    at_mount("greeting: NULs in it", greets(b"* OK \0 Ready \0.\r\n"), RIGHT),
    at_mount("greeting: twice", greets(OK + OK), RIGHT),
    at_mount("greeting: PREAUTH in clear", greets(b"* PREAUTH Welcome.\r\n"), RIGHT, **EARLY),
    at_mount("greeting: an answer to a command that comes", greets(OK + b"C1 OK Logged in.\r\nC2 OK\r\n"), exits(OTHER, BAD_ANSWER)),
    at_mount("capability: 1 MB", both(greets(BARE), answer("CAPABILITY", b"* CAPABILITY IMAP4rev1" + b" X-WORD" * 140_000 + b"\r\n%t OK Done.\r\n")),
             RIGHT),
    at_mount("capability: none", both(greets(BARE), answer("CAPABILITY", b"%t OK Done.\r\n")), exits(OTHER, "capabilit"), **EARLY),
    at_mount("capability: BAD", both(greets(BARE), answer("CAPABILITY", b"%t BAD What?\r\n")), exits(OTHER, "CAPABILITY: the server says: What"), **EARLY),
    at_mount("capability: NO with escapes", both(greets(BARE), answer("CAPABILITY", b"%t NO \x1b[31mred\x07\r\n")), exits(OTHER, "CAPABILITY.*red"),
             **EARLY),
    at_mount("capability: BYE", both(greets(BARE), answer("CAPABILITY", b"* BYE Enough.\r\n", cut=True)), exits(NETWORK, "Enough"), **EARLY),
    at_mount("capability: control bytes", both(greets(BARE), answer("CAPABILITY", b"* CAPABILITY \x01\x02 \xff IMAP4rev1 \x7f\r\n%t OK Done.\r\n")),
                 RIGHT),
    at_mount("capability: a byte a second", both(greets(BARE), on("CAPABILITY", trickle(b"* CAPABILITY IMAP4rev1\r\n%t OK Done.\r\n"))),
             exits(NETWORK, "timed out"), **EARLY),
    at_mount("login: NO with escapes", answer("LOGIN", b"%t NO [AUTHENTICATIONFAILED] \x1b[2J\x07Wrong.\xc2\x85\r\n"), exits(LOGIN, "login refused.*Wrong")),
    at_mount("login: NO and the password", answer("LOGIN", b"%t NO [AUTHENTICATIONFAILED] not with " + SECRET.encode() + b"\r\n"),
             exits(LOGIN, "login refused.*not shown")),
    at_mount("login: NO [ALERT]", answer("LOGIN", b"%t NO [ALERT] \x1b]8;;http://evil.example\x07Call us.\r\n"), exits(LOGIN, "Call us")),
    at_mount("login: BAD", answer("LOGIN", b"%t BAD What?\r\n"), exits(LOGIN, "login refused.*What")),
    at_mount("login: BYE", answer("LOGIN", b"* BYE Enough.\r\n", cut=True), exits(NETWORK, "Enough")),
    at_mount("login: the end", answer("LOGIN", b"", cut=True), exits(NETWORK, "closed")),
    at_mount("login: silence", answer("LOGIN", b""), exits(NETWORK, "timed out")),
    at_mount("login: a byte a second", on("LOGIN", trickle(b"%t OK Logged in.\r\n")), exits(NETWORK, "timed out")),
    at_mount("login: continuations without end", on("LOGIN", flood(b"", b"+ go on\r\n" * 20_000)), exits(OTHER, BAD_ANSWER)),
    at_mount("login: another tag", answer("LOGIN", b"X1 OK Logged in.\r\n"), exits(OTHER, BAD_ANSWER)),
    at_mount("login: an answer of 10 MB", on("LOGIN", flood(b"%t OK ", b"y" * (1 << 20))), exits(OTHER, LARGE)),
    at_mount("login: yes, then no", answer("LOGIN", b"%t OK Logged in.\r\n%t NO Not really.\r\n"), exits(OTHER, BAD_ANSWER)),
    at_mount("authenticate: challenges without end", both(able("IMAP4rev1 LOGINDISABLED AUTH=" + SCRAM), on("AUTHENTICATE", flooded_challenges)),
             exits(LOGIN, WRONG), **EARLY),
    at_mount("authenticate: a challenge for PLAIN", dialogue("PLAIN", raw(encoded(b"more, please"))), exits(LOGIN, WRONG)),
    token("XOAUTH2: a challenge", "login refused.*No", raw(encoded(b'{"status":"401"}')), **EARLY),
    token("XOAUTH2: a challenge of 700 KB", "login refused.*No", raw(encoded(b'{"status":"' + b"x" * 500_000 + b'"}')), **EARLY),
    token("XOAUTH2: a challenge that is no base64", WRONG, raw(b"{}\r\n"), **EARLY),
    token("XOAUTH2: challenges without end", WRONG, *[raw(encoded(b"{}"))] * 50, **EARLY),
    at_mount("namespace: BAD", answer("NAMESPACE", b"%t BAD What?\r\n"), RIGHT),
    at_mount("ID: BAD", answer("ID", b"%t BAD What?\r\n"), RIGHT),
    at_mount("ID: BYE", answer("ID", b"* BYE Who are you?\r\n", cut=True), exits(NETWORK, "Who are you")),
    at_mount("ID: silence", answer("ID", b""), exits(NETWORK, "timed out")),
    at_mount("everything is BAD", both(*[answer(verb, b"%t BAD What?\r\n") for verb in EVERYTHING]), exits(LOGIN, "login refused")),
    at_mount("compress: garbage", deflated(raw_bytes=b"\xff" * 1000), RIGHT, **COMPRESSED),
    at_mount("compress: in clear", deflated(raw_bytes=b"* OK Not deflated at all.\r\n" * 100), RIGHT, **COMPRESSED),
    at_mount("compress: the end of the stream", deflated(b"* OK Soon over.\r\n"), exits(NETWORK, "ended the compressed stream"), **COMPRESSED),
    at_mount("compress: an answer to nothing", deflated(b"C99 OK Done.\r\n"), RIGHT, **COMPRESSED),
    at_mount("compress: a bomb", both(able(CAPABILITY + " COMPRESS=DEFLATE"), on("COMPRESS", bomb)), RIGHT, **COMPRESSED),
    at_mount("compress: refused", both(able(CAPABILITY + " COMPRESS=DEFLATE"), answer("COMPRESS", b"%t NO [COMPRESSIONACTIVE] \x1b[31m\r\n")),
                 RIGHT, **COMPRESSED),
    at_mount("compress: silence", both(able(CAPABILITY + " COMPRESS=DEFLATE"), answer("COMPRESS", b"")), RIGHT,
             timeout_s=hostile.TIMEOUT_S, **COMPRESSED),
]
suite = hostile.suite(LoginTrial, CASES)


@pytest.mark.parametrize("name", hostile.names(CASES))
def test_case(suite, name):
    suite(name)
