# SPDX-License-Identifier: MIT
"""Hostile POP3 servers. What must hold in each case: hostile.py. A mailbox is downloaded at the mount, so that is where most of them strike."""

import base64
import time

import pytest

import hostile
from drops import message, messages
from fake.pop3 import CAPABILITY, Server
from harness import SLOW
from hostile import LOGIN, NETWORK, OTHER, RIGHT, SECRET, Case, Late, Trial, exits, mounts, read, sha256, unexpected

FLOOD_S = 30                       # so long nobody listens to one
PAUSES_S = (0.5, 1, 2)
LOGIN_S = 0.2   # what comes before the command that waits
EARLY = {"secret": False}
NOT_POP3 = exits(OTHER, "the greeting is not one of POP3")
NO_WAY = exits(LOGIN, "offers no way to log in")
WRONG = exits(LOGIN, "the server's part of it is wrong")
LONG_LINE, LONG_LIST = exits(OTHER, "a line is too long"), exits(OTHER, "a list is too long")
NOT_SHOWN = exits(LOGIN, "login refused.*not shown")
SILENT = exits(NETWORK, "timed out")
# The other messages are kept, and said so.
GONE = exits(NETWORK, "closed by the server; [12] of 3 messages were stored")
NEITHER = exits(OTHER, r"neither \+OK nor -ERR; [12] of 3 messages were stored")


# --- Attacks ---

def changed(verb, change, times=None):
    """change(data): the whole answer on its way out."""
    def arm(server):
        def run(_session, args, data):
            if times is not None and args not in times:
                return data
            server.struck += 1
            return change(data) if callable(change) else change
        server.change[verb] = run
    return arm


def on(verb, script, args=None):
    """script(session) instead of the answer."""
    def arm(server):
        def run(session, given):
            if args is not None and given != args:
                return False
            server.struck += 1
            return script(session) is not False
        server.on[verb] = run
    return arm


def greeting(script):
    def arm(server):
        def run(session):
            server.struck += 1
            script(session)
        server.greeting = run
    return arm


def say(data, end=False):
    def script(session):
        session.send(data)
        session.flush()
        if end:
            session.end()
    return script


def flood(start, chunk):
    """Without end, until the client goes, which it must."""
    def script(session):
        session.send(start)
        session.flush()
        end = time.monotonic() + FLOOD_S * SLOW
        while time.monotonic() < end:
            session.sock.sendall(chunk)
        session.server.complaints.append("a flood was not cut off")
        session.end()
    return script


def trickle(data):
    return lambda session: session.trickle(data)


def able(*lines):
    """What CAPA says."""
    def arm(server):
        server.capability = lines
        changed("CAPA", lambda data: data)(server)
    return arm


def both(*attacks):
    def arm(server):
        for attack in attacks:
            attack(server)
    return arm


def rows(*lines):
    return b"+OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b".\r\n"


def numbered(verb, lines):
    """LIST or UIDL with these rows; %s: what belongs to the number."""
    def arm(server):
        def value(line):
            number = int(line.split()[0]) if line.split() and line.split()[0].isdigit() else 9
            if verb == "LIST":
                return b"%d" % server.messages[0].listed
            return server.messages[number - 1].uidl if 1 <= number <= 3 else b"another"
        changed(verb, lambda _data: rows(*(line.replace(b"%s", value(line)) if b"%s" in line else line for line in lines)))(server)
    return arm


def wired(data):
    """What follows RETR's +OK for the second message."""
    return on("RETR", say(b"+OK\r\n" + data), "2")


# --- The tables ---

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
# And what STAT promises beyond what LIST and UIDL give is spoken of.
UNLISTED = exits(OTHER, "contradict each other: it says that it has 3 messages, and lists none$")
# Of these one more is told than there are; it is asked for, and not given.
TOLD = ("gap and more", "2^31", "2^32-1")
SIZES = [b"0", b"-5", b"99999999999999999999999999", b"18446744073709551615", b"4294967296", b"x", b"", b"12abc", b"1e9"]
STATS = [b"+OK 0 0", b"+OK 2 100", b"+OK 4 100", b"+OK 4294967299 5", b"+OK -3 -5", b"+OK", b"+OK three", b"+OK 3", b"-ERR No.", b"+OK 3 1 2 3"]
GREETINGS = {
    "+OK alone": (b"+OK\r\n", RIGHT), "blank": (b"+OK \r\n", RIGHT), "timestamp": (b"+OK ready <1.2@example.org>\r\n", RIGHT),
    "no timestamp": (b"+OK <>\r\n", RIGHT), "three timestamps": (b"+OK <a> <b@c> <>\r\n", RIGHT), "8-bit": (b"+OK \xe4\xf6 \x07\r\n", RIGHT),
    "400 bytes": (b"+OK " + b"x" * 400 + b"\r\n", RIGHT), "bare LF": (b"+OK Ready.\n", RIGHT),
    "-ERR": (b"-ERR Go away.\r\n", exits(NETWORK, "refuses the connection.*Go away")), "-ERR with escapes": (b"-ERR \x1b]0;owned\x07 \xc2\x9b2J\r\n", exits(NETWORK, "refuses the connection.*owned")),
    "IMAP": (b"* OK IMAP4rev1\r\n", NOT_POP3), "SMTP": (b"220 smtp.example.org ESMTP\r\n", NOT_POP3),
    "HTTP": (b"HTTP/1.1 400 Bad Request\r\n\r\n", NOT_POP3), "SSH": (b"SSH-2.0-OpenSSH_9.2p1\r\n", NOT_POP3),
    "TLS": (b"\x15\x03\x01\x00\x02\x02\x28", SILENT), "a blank line": (b"\r\n", NOT_POP3),
    "+": (b"+\r\n", NOT_POP3), "NUL": (b"\0\r\n", NOT_POP3), "1 MB": (b"+OK " + b"x" * (1 << 20) + b"\r\n", NOT_POP3),
}
# Timestamps that APOP must not be computed from: chosen challenges (CVE-2007-1558).
TIMESTAMPS = {"no at sign": b"<12>", "8-bit": b"<1\xff\xfe@x>", "control bytes": b"<1\x01\x02@x>", "blanks": b"<1 2@x>",
    "10 KB": b"<" + b"x" * 10_000 + b"@x>",
              "no end": b"<1.2@x"}
CAPAS = {
    "-ERR": (b"-ERR What?\r\n", RIGHT), "one line": (b"+OK\r\n.\r\n", NO_WAY), "NUL": (b"+OK\r\nTOP\0\r\nU\0IDL\r\n.\r\n", NO_WAY),
    "control bytes": (b"+OK\r\n\x1b[31m\x07\r\nTOP\r\nUIDL\r\n.\r\n", NO_WAY),
    "100,000 lines": (b"+OK\r\n" + b"X-EVIL\r\n" * 100_000 + b"UIDL\r\n.\r\n", LONG_LIST),
    "a line of 1 MB": (b"+OK\r\nSASL " + b"X" * (1 << 20) + b"\r\nUIDL\r\n.\r\n", LONG_LINE),
    "strange ways to log in": (b"+OK\r\nSASL GSSAPI X-EVIL ANONYMOUS EXTERNAL\r\nUSER\r\nUIDL\r\n.\r\n", RIGHT),
    "neither": (b"OK\r\nTOP\r\n.\r\n", exits(OTHER, r"neither \+OK nor -ERR")),
    "no final dot": (b"+OK\r\nTOP\r\nUIDL\r\n", SILENT),
}
CR = b"\r\n"
BODIES = {  # and what it is when it is believed
    "a NUL in it": (b"Subject: x\0y\r\n\r\nbo\0dy\r\n.\r\n", b"Subject: x\0y\r\n\r\nbo\0dy\r\n"),
    "dots not stuffed": (b"Subject: x\r\n\r\n.one\r\n..two\r\n...\r\n.\r\n", b"Subject: x\r\n\r\n.one\r\n.two\r\n..\r\n"),
    "a lone CR": (b"Subject: x\r\r\n\r\nbo\rdy\r\n.\r\n", b"Subject: x\r\r\n\r\nbo\rdy\r\n"),
    "another message's": (message(3).served + b".\r\n", message(3).served),
}
EXTRAS = [b"+OK again\r\n", b"-ERR never asked\r\n", b".\r\n", b"\r\n", b"garbage\r\n"]
BROKEN = {b"+OK\r\n": GONE, b"OK\r\n": NEITHER, b"\r\n": NEITHER, b"+OK\r\n.\r\r\n": GONE, b"-ERR\r\n": GONE, b"ok fine\r\n": NEITHER, b"+OK\n": GONE,
          b"+OK": GONE}
SLOWLY = {"CAPA": b"+OK\r\nTOP\r\nUIDL\r\nUSER\r\n.\r\n", "STAT": b"+OK 3 300" + b" " * 20 + CR,
          "UIDL": b"+OK\r\n1 aaaaaaa\r\n2 bbbbbbb\r\n3 ccccccc\r\n.\r\n", "LIST": b"+OK\r\n1 10\r\n2 10\r\n3 10\r\n.\r\n",
          "RETR": b"+OK\r\nabcdefghijklmnopqrst\r\n.\r\n", "AUTH": b"+OK Logged in.\r\n"}


# --- SASL ---

def scram(*replies):
    """AUTH SCRAM-SHA-256: the challenges, then a yes."""
    def script(session):
        session.send(b"+ \r\n")
        heard = session.read_line()
        for reply in replies:
            session.send(b"+ " + base64.b64encode(reply(base64.b64decode(heard))) + b"\r\n")
            heard = session.read_line()
            if heard == "*":
                session.send(b"-ERR Cancelled.\r\n")
                return
        session.send(b"+OK Logged in.\r\n")
    return both(able("UIDL", "TOP", "SASL SCRAM-SHA-256"), on("AUTH", script))


def first(rounds=b"4096", more=b"MORE"):
    return lambda heard: b"r=%s%s,s=c2FsdA==,i=%s" % (heard.rpartition(b"r=")[2], more, rounds)


SCRAMS = {
    "wrong signature": (first(), lambda _: b"v=" + base64.b64encode(b"x" * 32)), "no signature": (first(),), "2^31 rounds": (first(b"2147483648"),),
    "2^31-1 rounds": (first(b"2147483647"),), "no rounds": (first(b"0"),), "our nonce and no more": (first(more=b""),), "no challenge": (),
    "another nonce": (lambda _: b"r=x,s=c2FsdA==,i=4096",),
}


class Pop3Trial(Trial):
    """A mailbox with three messages."""

    def start(self):
        world = self.case.world or {}
        self.content = messages(3)
        server = Server(self.content, world.get("capability", CAPABILITY))
        server.complaints, server.struck = [], 0
        self.greeting, self.capability = server.greeting, server.capability
        return server

    def url(self):
        return "pop3://me@127.0.0.1:%d" % self.server.port

    def attempt(self, *options, patient=False):
        if self.case.at == "again":
            options += ("poll=1",)
        return super().attempt("tls=none", *options, patient=patient)

    def disarm(self):
        server = self.server
        server.on.clear()
        server.change.clear()
        server.greeting, server.capability, server.quit = self.greeting, self.capability, "ok"
        if self.case.at == "again":
            self.content = self.content + [message(4)]
            server.messages = list(self.content)

    def shown(self, mount):
        names, error = self.timed(mount.names)
        if error:
            raise unexpected(error, "listing")
        found = []
        for name in names:
            data, error = self.timed(read, mount.sub(name))
            if error:
                raise unexpected(error, name)
            found.append(sha256(data))
        return sorted(found)

    def wanted(self):
        return sorted(sha256(one.served) for one in self.content)

    def right(self, mount):
        shown, wanted = self.shown(mount), self.wanted()
        second = sha256(self.content[1].served)
        for data in self.case.lied:
            wanted = sorted([sha256(data)] + [one for one in wanted if one != second])
        assert shown == wanted, (shown, wanted)

    def mount_deadline_s(self):
        """
        Each connection has its own, and there is a pause before all but the first: those that bring something, and four, or one where the
        server is silent (sync/look.c).
        """
        silent = self.case.seen is SILENT
        tries = min(len(self.server.sessions), (1 if silent else len(PAUSES_S) + 1) + (len(self.content) if "RETR" in self.case.name else 0))
        return tries * (self.case.timeout_s + LOGIN_S) + sum(PAUSES_S[:tries - 1])

    def first_look(self):
        """What is there is right; what is not there, was spoken of."""
        shown, wanted = self.shown(self.mount), self.wanted()
        self.seen.append("%d of %d" % (len(set(shown) & set(wanted)), len(wanted)) + (", %s" % self.mount.log().splitlines() if self.mount.log() else ""))
        if self.case.missing:
            assert len(shown) == len(set(shown)) == len(wanted) - self.case.missing and set(shown) < set(wanted), (shown, wanted)
        else:
            self.right(self.mount)

    def prepare(self):
        assert self.shown(self.mount) == self.wanted()

    def look(self):
        """The attack is on a look in the background: what was here stays."""
        end = time.monotonic() + 10 * SLOW
        while not self.server.struck:
            if time.monotonic() > end:
                raise Late("it does not look")
            time.sleep(0.05)
        assert self.shown(self.mount) == self.wanted()

    def recover(self):
        if self.case.at == "mount" and self.code is None:
            self.stop()
            self.attempt(patient=True)
            assert self.mount.code is None, "at the next mount: %s %s" % (self.mount.code, self.mount.text)
        super().recover()


def at_mount(name, attack, seen, **more):
    return Case(name, "mount", attack, seen, **more)


def no_apop(trial, _mount):
    """Not while it was under attack: afterwards it may behave."""
    assert not trial.server.of("APOP") and not trial.server.of("PASS"), trial.server.commands


def again(name, attack):
    return Case("again: " + name, "again", attack, RIGHT, long=True)


PIPE_LESS = {"capability": tuple(line for line in CAPABILITY if line != "PIPELINING")}
REFUSED = mounts("the server refuses 1 of 4 messages")


def extra_seen(verb, extra):
    """A blank line is one that some servers send; behind a message it is a new session that goes on."""
    return RIGHT if extra == CR or verb == "RETR" else exits(OTHER, "more than was asked for")


def stat_seen(stat):
    if stat.startswith(b"-"):
        return exits(OTHER, "STAT failed.*No")
    more = stat.split()[1:2] in ([b"4"], [b"4294967299"])
    return mounts("says that it has %s messages, and lists 3; what it does not list can not be downloaded" % stat.split()[1].decode()) if more else RIGHT


def listed(*numbers):
    """LIST and UIDL that leave others out."""
    return both(*(numbered(verb, [b"%d %%s" % number for number in numbers]) for verb in ("LIST", "UIDL")))


JUNK = rows(b"no", b"number")
CASES = [at_mount("%s: %s" % (verb, name), numbered(verb, lines), REFUSED if name in TOLD else RIGHT)
         for verb in ("LIST", "UIDL") for name, lines in NUMBERS.items()]
CASES += [at_mount("size: " + size.decode(), changed("LIST", rows(b"1 " + size, b"2 " + size, b"3 " + size), [""]), RIGHT) for size in SIZES]
CASES += [at_mount("STAT: " + stat.decode(), changed("STAT", stat + CR), stat_seen(stat))
          for stat in STATS]
CASES += [at_mount("greeting: " + name, greeting(say(data)), seen, secret=seen.right) for name, (data, seen) in GREETINGS.items()]
CASES += [at_mount("APOP: " + name, both(able("UIDL", "TOP"), greeting(say(b"+OK " + stamp + CR))), NO_WAY, check=no_apop, **EARLY)
          for name, stamp in TIMESTAMPS.items()]
CASES += [
    at_mount("APOP: a timestamp in CAPA's answer", changed("CAPA", b"+OK <1.2@example.org>\r\nTOP\r\nUIDL\r\n.\r\n"), NO_WAY, check=no_apop, **EARLY),
    at_mount("APOP: a timestamp behind the greeting", both(able("UIDL", "TOP"), greeting(say(b"+OK\r\n+OK <1.2@example.org>\r\n"))),
             exits(OTHER, "more than was asked for"), check=no_apop, **EARLY),
    at_mount("APOP: refused", both(able("UIDL", "TOP", "USER"), greeting(say(b"+OK <1.2@example.org>\r\n")), on("APOP", say(b"-ERR No.\r\n"))),
             exits(LOGIN), **EARLY),
]
CASES += [at_mount("CAPA: " + name, changed("CAPA", data), seen, secret=seen.right) for name, (data, seen) in CAPAS.items()]
CASES += [at_mount("SCRAM: " + name, scram(*replies), WRONG, **EARLY) for name, replies in SCRAMS.items()]
CASES += [at_mount("RETR: " + name, wired(data), RIGHT, lied=(believed,)) for name, (data, believed) in BODIES.items()]
CASES += [at_mount("one more after %s: %r" % (verb, extra), changed(verb, lambda data, extra=extra: data + extra), extra_seen(verb, extra),
                   world=PIPE_LESS, long=True) for verb in ("STAT", "LIST", "RETR") for extra in EXTRAS]
CASES += [at_mount("RETR, then the end: %r" % data, on("RETR", say(data, end=True), "2"), seen, long=True) for data, seen in BROKEN.items()]
CASES += [at_mount("a byte a second: " + verb, on(verb, trickle(data)), SILENT, long=True) for verb, data in SLOWLY.items()]
CASES += [at_mount("a line without end: " + verb, on(verb, flood(b"", b"x" * (1 << 20))), RIGHT if verb == "QUIT" else LONG_LINE, long=True)
          for verb in ("CAPA", "AUTH", "STAT", "LIST", "UIDL", "QUIT")]
CASES += [at_mount("lines without end: " + verb, on(verb, flood(b"+OK\r\n", b"".join(b"%d 1234567890\r\n" % n for n in range(10_000)))), LONG_LIST,
                   long=True) for verb in ("LIST", "UIDL", "CAPA")]
CASES += [
    at_mount("greeting: nothing, then the end", greeting(say(b"", end=True)), exits(NETWORK, "closed by the server"), **EARLY),
    at_mount("greeting: silence", greeting(lambda session: session.read_line()), SILENT, **EARLY),
    at_mount("greeting: a byte a second", greeting(trickle(b"+OK Ready, after a while.\r\n")), SILENT, **EARLY),
    at_mount("greeting: a line without end", greeting(flood(b"+OK ", b"x" * (1 << 20))), NOT_POP3, **EARLY),
    at_mount("login: -ERR with escapes", on("AUTH", say(b"-ERR [AUTH] \x1b[31mred\x07 \xc2\x9b\r\n")), exits(LOGIN, "login refused.*red")),
    at_mount("login: -ERR and the password", on("AUTH", say(b"-ERR [AUTH] not with " + SECRET.encode() + b"\r\n")), NOT_SHOWN),
    at_mount("login: -ERR and what was sent", on("AUTH", say(b"-ERR [AUTH] not with " + base64.b64encode(b"\0me\0" + SECRET.encode()) + b"!\r\n")), NOT_SHOWN),
    at_mount("login: a challenge for PLAIN", on("AUTH", say(b"+ bW9yZQ==\r\n+ bW9yZQ==\r\n")), WRONG),
    at_mount("login: challenges without end", on("AUTH", flood(b"", b"+ QUJD\r\n" * 10_000)), WRONG),
    at_mount("login: the end", on("AUTH", say(b"", end=True)), exits(NETWORK, "closed by the server")),
    at_mount("login: neither yes nor no", on("AUTH", say(b"maybe\r\n")), exits(OTHER, r"neither \+OK nor -ERR")),
    at_mount("RETR: no final dot, then the end", on("RETR", say(b"+OK\r\nSubject: x\r\n\r\nbody\r\n", end=True), "2"), GONE, long=True),
    at_mount("RETR: swapped", both(wired(message(3).lines), on("RETR", lambda session: session.send(b"+OK\r\n" + message({"2": 3, "3": 2}.get(
        session.server.of("RETR")[-1], 1)).lines))), RIGHT),
    at_mount("RETR: a line of 10 MB", wired(b"Subject: x\r\n\r\n" + b"y" * 10_000_000 + b"\r\n.\r\n"), RIGHT,
             lied=(b"Subject: x\r\n\r\n" + b"y" * 10_000_000 + b"\r\n",)),
    at_mount("RETR: without end", on("RETR", flood(b"+OK\r\nSubject: x\r\n\r\n", b"x" * 998 + CR), "2"), exits(OTHER, "a message does not end"), long=True),
    at_mount("RETR: silence in it", on("RETR", lambda session: session.send(b"+OK\r\nSubject: x\r\n") or session.read_line(), "2"), SILENT,
             long=True),
    at_mount("RETR: -ERR in the middle", wired(b"Subject: x\r\n\r\n-ERR Disk trouble.\r\n.\r\n"), RIGHT,
             lied=(b"Subject: x\r\n\r\n-ERR Disk trouble.\r\n",)),
    at_mount("RETR: -ERR", on("RETR", say(b"-ERR \x1b[31mBroken.\r\n"), "2"), mounts("refuses 1 of 3 messages.*Broken"), missing=1),
    at_mount("RETR: bare LF and a dot", wired(b"Subject: x\n\nbody\n.\nmore\r\n.\r\n"),
             exits(OTHER, "(more than was asked for|neither .OK nor -ERR); [12] of 3 messages were stored"), long=True),
    at_mount("RETR: nothing", wired(b".\r\n"), mounts("refuses 1 of 3 messages.*comes without a byte"), missing=1),
    at_mount("DELE: refused", on("DELE", say(b"-ERR No.\r\n")), mounts("not all that was downloaded could be deleted.*No"), options=("after=delete",)),
    at_mount("QUIT: -ERR", on("QUIT", say(b"-ERR Some were not removed.\r\n", end=True)), mounts("not all that was downloaded could be deleted.*Some were not"),
             options=("after=delete",)),
    at_mount("QUIT: the end", on("QUIT", say(b"", end=True)), RIGHT),
    at_mount("QUIT: silence", on("QUIT", say(b"")), RIGHT),
    at_mount("lists: nothing of 3", listed(), UNLISTED),
    at_mount("lists: junk of 3", both(changed("LIST", JUNK), changed("UIDL", JUNK)), UNLISTED),
    at_mount("lists: junk, STAT too", both(changed("STAT", b"+OK three\r\n"), changed("LIST", JUNK), changed("UIDL", JUNK)),
             exits(OTHER, "answers to STAT and LIST can not be understood")),
    at_mount("lists: 2 of 3", listed(1, 3), mounts("it says that it has 3 messages, and lists 2; what it does not list can not be downloaded"), missing=1),
    at_mount("RETR: -ERR to all", on("RETR", say(b"-ERR \x1b[31mBroken.\r\n")), exits(OTHER, "refuses all 3 messages: .*Broken")),
    again("the greeting is -ERR", greeting(say(b"-ERR [IN-USE] \x1b[31mBusy.\r\n", end=True))),
    again("the login is refused with escapes", on("AUTH", say(b"-ERR [SYS/TEMP] \x1b[31mLater.\r\n"))),
    again("silence", greeting(lambda session: session.read_line())),
    again("an empty mailbox", both(changed("STAT", b"+OK 0 0\r\n"), changed("LIST", rows()), changed("UIDL", rows()))),
    again("a message is missing", both(changed("STAT", b"+OK 2 100\r\n"), changed("LIST", rows(b"1 100", b"2 100")),
                                       changed("UIDL", lambda data: b"".join(data.splitlines(keepends=True)[:3]) + b".\r\n"))),
    again("nothing of 3", listed()),
    again("numbers that are none", changed("UIDL", rows(b"0 a", b"-1 b", b"4294967297 c"))),
    again("a line without end", on("UIDL", flood(b"+OK\r\n", b"x" * (1 << 20)))),
]
suite = hostile.suite(Pop3Trial, CASES)


@pytest.mark.parametrize("name", hostile.names(CASES))
def test_case(suite, name):
    suite(name)
