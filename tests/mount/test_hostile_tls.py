# SPDX-License-Identifier: MIT
"""
Before TLS, and in its handshake, for IMAP and POP3 alike: nothing secret is said to who is not the server, and nothing that was heard before counts
after it. What must hold in each case: hostile.py. A tap between both shows what went over the wire in clear.
"""

import os
import re
import shutil
import socket
import ssl
import tempfile
import threading
import time
import warnings

import pytest

import fake.imap
import fake.pop3
import hostile
import pki
from drops import messages as drop_messages
from dovecot import HOST
from fake.ear import secure
from fake.imap import Box
from harness import escape
from hostile import LOGIN, NETWORK, OTHER, RIGHT, SECRET, TLS, Case, Trial, exits, read, sha256, unexpected
from hostile_imap import messages
from leaks import holds_secret

IMAP, POP3 = "imap", "pop3"


# --- Certificates: made once for all cases ---

def nul_name():
    """"localhost", a NUL, and more."""
    name = b"localhost\0.evil.example"
    value = bytes([0x82, len(name)]) + name
    return "DER:" + (bytes([0x30, len(value)]) + value).hex(":")


class Papers:
    """What servers show."""

    def __init__(self, folder):
        self.ours, self.theirs = pki.Authority(os.path.join(folder, "ours")), pki.Authority(os.path.join(folder, "theirs"), "mailfs test CA")
        rsa = ("rsa:1024",)
        middle = self.ours.issue("middle", common_name="middle", authority=True)
        fake_middle = self.ours.issue("fakemiddle", common_name="no authority")
        self.pairs = {
            "right": self.ours.issue("right"),
            "address": self.ours.issue("address", names=("IP:127.0.0.1",)),
            "name": self.ours.issue("name", names=("DNS:localhost",)),
            "expired": self.ours.issue("expired", start="20200101000000Z", end="20210101000000Z"),
            "of tomorrow": self.ours.issue("tomorrow", start="20450101000000Z"),
            "for another name": self.ours.issue("other", names=("DNS:mail.example.org", "IP:192.0.2.1")),
            "of an unknown authority": self.theirs.issue("unknown"),
            "star": self.ours.issue("star", names=("DNS:*", "IP:192.0.2.1")),
            "star.localhost": self.ours.issue("starhost", names=("DNS:*.localhost",)),
            "partial star": self.ours.issue("partial", names=("DNS:local*", "DNS:l*t", "DNS:*host")),
            "NUL": self.ours.issue("nul", alternative=nul_name()),
            "a suffix": self.ours.issue("suffix", names=("DNS:localhost.evil.example", "DNS:evil-localhost")),
            "another's in the common name": self.ours.issue("cnonly", names=("DNS:mail.example.org",), common_name="localhost"),
            "common name alone": self.ours.issue("cn", alternative=None, common_name="localhost"),
            "no name": self.ours.issue("noname", alternative="email:me@example.org"),
            "SHA-1": self.ours.issue("sha1", digest="sha1"),
            "1024 bits": self.ours.issue("small", key=rsa),
            "for clients": self.ours.issue("client", usage="clientAuth"),
            "without its intermediate": self.ours.issue("lonely", issuer=middle),
            "signed by no authority": self.ours.issue("usurper", issuer=fake_middle),
            "escapes": self.ours.issue("escapes", names=("DNS:evil.example",), common_name="\x1b[31mred"),
            "a name of 60 KB": self.ours.issue("long", names=tuple("DNS:%s%d.example" % ("n" * 50, n) for n in range(1000))),
        }
        self.pairs["with its intermediate"] = self._chain("chained", self.pairs["without its intermediate"], middle)
        self.pairs["signed by no authority"] = self._chain("usurped", self.pairs["signed by no authority"], fake_middle)
        self.pairs["chain of 200"] = self._chain("longchain", self.pairs["of an unknown authority"], *[middle] * 200)
        self.self_signed()

    def self_signed(self):
        alone = pki.Authority(os.path.join(self.ours.folder, "alone"), "localhost")
        self.pairs["self-signed"] = (alone.ca, os.path.join(alone.folder, "ca.key"))

    def _chain(self, stem, leaf, *others):
        path = os.path.join(self.ours.folder, stem + ".chain.pem")
        with open(path, "w", encoding="ascii") as out:
            for cert, _ in (leaf, *others):
                with open(cert, encoding="ascii") as one:
                    out.write(one.read())
        return path, leaf[1]


class Tap:
    """Between both; it keeps what the client says."""

    def __init__(self, target):
        self.target, self.heard = target, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            said = bytearray()
            self.heard.append(said)
            for one, other, keep in ((client, server, said), (server, client, None)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(one, other, keep), daemon=True).start()

    @staticmethod
    def _pump(one, other, keep):
        try:
            while True:
                data = one.recv(1 << 16)
                if not data:
                    break
                if keep is not None:
                    keep += data
                other.sendall(data)
        except OSError:
            pass
        for sock in (one, other):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


# --- Attacks: functions of the server; server.kind says which ---

def shows(paper):
    """Another certificate."""
    def arm(server):
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.tls.set_ciphers("ALL:@SECLEVEL=0")
        server.tls.load_cert_chain(*server.papers.pairs[paper])
        server.struck += 1
    return arm


def old(version):
    def arm(server):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            server.tls.set_ciphers("ALL:@SECLEVEL=0")
            server.tls.minimum_version = server.tls.maximum_version = version
        server.struck += 1
    return arm


def weak(ciphers):
    def arm(server):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            server.tls.set_ciphers(ciphers)
            server.tls.maximum_version = ssl.TLSVersion.TLSv1_2
        server.struck += 1
    return arm


def asks_for_a_certificate(mode):
    def arm(server):
        server.tls.verify_mode = mode
        server.tls.load_verify_locations(server.papers.ours.ca)
        server.struck += 1
    return arm


def greets(imap, pop3):
    def arm(server):
        data = imap if server.kind == IMAP else pop3

        def greet(session):
            server.struck += 1
            session.send(data)
        server.greeting = greet
    return arm


def stripped(server):
    """Whoever is in the middle has taken the word out."""
    server.struck += 1
    if server.kind == IMAP:
        server.capability = server.capability.replace(" STARTTLS", "")
        server.greeting = "* OK [CAPABILITY %s] Ready." % server.capability
        server.on["STARTTLS"] = lambda session, tag, _args: session.done(tag, "BAD Unknown command.") or True
    else:
        server.capability = tuple(line for line in server.capability if line != "STLS")
        server.on["STLS"] = lambda session, _args: session.send(b"-ERR Unknown command.\r\n") or True


def to_starttls(imap, pop3, then=None):
    """The answer to STARTTLS or STLS: %t is the tag. then(session): what follows."""
    def arm(server):
        def run(session, data):
            server.struck += 1
            session.send(data)
            if server.kind == POP3:
                session.flush()
            if then:
                then(session)
        server.on["STARTTLS"] = lambda session, tag, _args: run(session, imap.replace(b"%t", tag.encode())) or True
        server.on["STLS"] = lambda session, _args: run(session, pop3) or True
    return arm


YES = (b"%t OK Begin TLS.\r\n", b"+OK Begin TLS.\r\n")


def handshake(session):
    session.sock = secure(session.server.tls, session.sock, session.server.inside)
    if session.server.kind == IMAP:
        session.file = session.sock.makefile("rb")
    else:
        session.secured = True


def behind(imap, pop3, pause=False):
    """Bytes behind the OK: in the same segment, or in the next."""
    def then(session):
        if pause:
            time.sleep(0.02)
            session.send(imap if session.server.kind == IMAP else pop3)
            if session.server.kind == POP3:
                session.flush()
        handshake(session)
    if pause:
        return to_starttls(*YES, then=then)
    return to_starttls(YES[0] + imap, YES[1] + pop3, then=then)


def ends(session):
    session.sock.shutdown(socket.SHUT_RDWR)


def instead(script):
    """A handshake that is none."""
    def then(session):
        try:
            script(session.sock)
        finally:
            ends(session)
    return to_starttls(*YES, then=then)


def send(data):
    """In answer to the client's first word."""
    return lambda sock: (sock.recv(1 << 16), sock.sendall(data), sock.recv(1 << 16))


def plain(server):
    """No TLS where there should be, from the first byte on."""
    server.struck += 1
    server.implicit = False


def hold(sock):
    while sock.recv(1 << 16):
        pass


def trickle(sock):
    sock.recv(1 << 16)
    for byte in b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03":
        sock.sendall(bytes([byte]))
        time.sleep(1)


def flood(sock):
    """Records without content, as long as they are taken."""
    sock.recv(1 << 16)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        sock.sendall(b"\x16\x03\x03\x00\x00" * 10_000)


def record(kind, size, data=b""):
    return bytes([kind, 3, 3]) + size.to_bytes(2, "big") + data


def closes(sock):
    sock.recv(1 << 16)


# --- Inside TLS: it is not believed what was heard before ---

def able(before, after):
    """What it can do, as it says in clear and as it says within TLS: (IMAP's words, POP3's lines) of each. None: what it says otherwise."""
    def arm(server):
        server.struck += 1
        imap, pop3 = before
        if server.kind == IMAP:
            server.greeting = "* OK [CAPABILITY IMAP4rev1 STARTTLS %s] Ready." % imap
            server.capability = after[0] or server.capability
            server.on["AUTHENTICATE"] = takes_plain
        else:
            server.greeting = b"+OK <1.2@example.org>\r\n"
            server.capability = after[1] or server.capability
            server.change["CAPA"] = lambda session, _args, data: data if session.secured else fake.pop3.multi(pop3)
    return arm


def takes_plain(session, tag, args):
    """AUTHENTICATE, whatever it is: a login."""
    if " " not in args:
        session.send(b"+ \r\n")
        session.file.readline()
    session.server.logins.append(args)
    session.done(tag, "OK [CAPABILITY %s] Logged in." % session.server.capability)
    return True


def logs_in_by(imap, pop3):
    """Every login was of this kind, and within TLS; nothing was asked in clear but for TLS."""
    def check(trial, _mount):
        server = trial.server
        if trial.kind == IMAP:
            logins = [command.split(" ")[:imap.count(" ") + 1] for command in server.commands if command.startswith(("LOGIN", "AUTHENTICATE"))]
            assert logins and all(login == imap.split(" ") for login in logins), server.commands
        else:
            assert server.logins and all(login[0] == pop3 for login in server.logins), server.logins
        for clear in trial.tap.heard:
            asked = re.match(rb"(?:\S+ STARTTLS|STLS)\r\n(?:\x16\x03|\Z)", bytes(clear))
            assert asked or not clear, bytes(clear[:100])
    return check


def inside(imap, after):
    """In clear, before the handshake; and what it can do within TLS."""
    def arm(server):
        to_starttls(imap, YES[1], then=handshake)(server)
        server.capability = after
    return arm


class TlsTrial(Trial):
    """world: kind, papers, implicit: TLS from the first byte, host."""

    def start(self):
        world = self.case.world
        self.kind, papers = world["kind"], PAPERS[0]
        pair = papers.pairs["right"]
        implicit = world.get("implicit", False)
        if self.kind == IMAP:
            self.content = messages()
            server = fake.imap.Server({"INBOX": Box(messages())}, fake.imap.CAPABILITY + " STARTTLS", tls=pair, implicit=implicit)
        else:
            self.content = drop_messages(3)
            server = fake.pop3.Server(self.content, fake.pop3.CAPABILITY, tls=pair, implicit=implicit)
        server.kind, server.papers, server.struck, server.complaints = self.kind, papers, 0, []
        self.before = server.greeting, server.capability
        self.tap = Tap(server.port)
        server.heard = self.tap.heard
        self.papers = papers
        return server

    def url(self):
        return "%s%s://me@%s:%d" % (self.kind, "s" if self.case.world.get("implicit") else "", self.case.world.get("host", HOST), self.tap.port)

    def attempt(self, *options, patient=False):
        pin = self.case.world.get("pin")
        if self.mount and not self.case.seen.right:
            pin = None  # behaving again, it shows another certificate
        if pin:
            options += ("tls_fingerprint=sha256:" + pki.fingerprint(self.papers.pairs[pin][0]),)
        else:
            options += ("tls_ca=" + escape(self.papers.ours.ca),)
        return super().attempt(*options, patient=patient)

    def disarm(self):
        self.server.on.clear()
        if self.kind == POP3:
            self.server.change.clear()
        self.server.greeting, self.server.capability = self.before
        self.server.implicit = self.case.world.get("implicit", False)
        if not self.case.seen.right:
            self.server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.server.tls.load_cert_chain(*self.papers.pairs["right"])

    def heard(self):
        """In clear never; within TLS only to who was trusted."""
        assert not any(holds_secret(data, SECRET.encode()) for data in list(self.server.heard)), "the password was sent in clear"
        assert self.case.secret or not any(holds_secret(data, SECRET.encode()) for data in self.server.inside), "the password was sent to a stranger"
        assert self.case.secret or not self.server.logins, self.server.logins

    def right(self, mount):
        folder = [mount.path] if self.kind == POP3 else [mount.sub("INBOX")]
        names, error = self.timed(os.listdir, *folder)
        if error:
            raise unexpected(error, "listing")
        shown = []
        for name in names:
            data, error = self.timed(read, os.path.join(folder[0], name))
            if error:
                raise unexpected(error, name)
            shown.append(sha256(data))
        assert sorted(shown) == sorted(sha256(getattr(one, "served", one.data)) for one in self.content)

    def first_look(self):
        self.right(self.mount)

    def common(self):
        super().common()
        assert not any(holds_secret(data, SECRET.encode()) for data in list(self.server.heard)), "the password was sent in clear"
        self.tap.close()


def of_both(name, attack, seen, kinds=(IMAP, POP3), check=None, **world):
    """seen: of both, or of each."""
    each = seen if isinstance(seen, dict) else {kind: seen for kind in kinds}
    return [Case("%s: %s" % (kind, name), "mount", attack, each[kind], secret=each[kind].right, check=check, world={"kind": kind, **world})
            for kind in kinds]


UNTRUSTED = "certificate not trusted"
REFUSED = {
    "expired": "has expired.*renew", "of tomorrow": "not yet valid.*clock", "for another name": "it is for mail.example.org",
    "of an unknown authority": "tls_ca=FILE", "self-signed": "self.signed.*tls_ca=FILE", "star": "it is for", "partial star": "it is for",
    "star.localhost": r"it is for \*.localhost", "NUL": r"it is for localhost\?.evil.example", "a suffix": "it is for localhost.evil",
    "another's in the common name": "it is for mail.example.org", "no name": UNTRUSTED, "1024 bits": "weak|small", "for clients": "purpose",
    "without its intermediate": "issuer", "signed by no authority": UNTRUSTED, "chain of 200": UNTRUSTED + "|handshake",
    "escapes": "it is for evil.example",
    "a name of 60 KB": "it is for nnn",
}
CAPABILITIES = b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"
SHUT = "IMAP4rev1 LOGINDISABLED"
TAMPERED = "TLS handshake failed.*sent something else"
# Which of both happens depends on where a segment ends.
BEHIND = "in plain text behind|" + TAMPERED
CASES = []
for name, words in REFUSED.items():
    CASES += of_both("certificate: " + name, shows(name), exits(TLS, words))
    CASES += of_both("certificate, implicit: " + name, shows(name), exits(TLS, words), implicit=True)
CASES += [case for name in ("right", "name", "with its intermediate") for case in of_both("certificate: " + name, shows(name), RIGHT)]
CASES += of_both("certificate: of an address", shows("address"), RIGHT, host="127.0.0.1")
CASES += of_both("certificate: of a name, where the address was given", shows("name"), exits(TLS, "it is for localhost, not for 127.0.0.1"),
          host="127.0.0.1")
CASES += of_both("certificate: of an address, where the name was given", shows("address"), exits(TLS, "it is for 127.0.0.1"))
CASES += of_both("certificate: SHA-1", shows("SHA-1"), exits(TLS, UNTRUSTED + ".*too weak"))
CASES += of_both("certificate: common name alone", shows("common name alone"), RIGHT)  # OpenSSL's rule: only where there is no other
for implicit in (False, True):
    way = ", implicit: " if implicit else ": "
    CASES += of_both("pin%sof another certificate" % way, shows("right"), exits(TLS, "not the one that tls_fingerprint= names"), pin="name",
                     implicit=implicit)
    CASES += of_both("pin%sof a certificate for another name" % way, shows("for another name"), RIGHT, pin="for another name", implicit=implicit)
    CASES += of_both("pin%sof an expired certificate" % way, shows("expired"), RIGHT, pin="expired", implicit=implicit)
    CASES += of_both("pin%sof a self-signed certificate" % way, shows("self-signed"), RIGHT, pin="self-signed", implicit=implicit)
    for name, version in (("TLS 1.1", ssl.TLSVersion.TLSv1_1), ("TLS 1.0", ssl.TLSVersion.TLSv1)):
        CASES += of_both(("implicit: " if implicit else "STARTTLS: ") + name, old(version), exits(TLS, "TLS 1.2 or later is required"), implicit=implicit)
for name, attack, seen in (
        ("stripped", stripped, {IMAP: exits(TLS, "does not offer STARTTLS"), POP3: exits(TLS, "refused STLS")}),
        ("NO", to_starttls(b"%t NO Not now.\r\n", b"-ERR Not now.\r\n"), exits(TLS, "refused (STARTTLS|STLS)")),
        ("BAD", to_starttls(b"%t BAD What?\r\n", b"-ERR [SYS/PERM] What?\r\n"), exits(TLS, "refused (STARTTLS|STLS)")),
        ("BYE", to_starttls(b"* BYE Enough.\r\n", b"* BYE\r\n", then=ends), {IMAP: exits(NETWORK, "ended the connection.*Enough"),
            POP3: exits(OTHER, r"neither \+OK nor -ERR")}),
        ("BYE as the greeting", greets(b"* BYE Too many.\r\n", b"-ERR Too many.\r\n"), exits(NETWORK, "(ended|refuses) the connection.*Too many")),
        ("silence", to_starttls(b"", b""), exits(NETWORK, "timed out")),
        ("a byte a second", to_starttls(b"", b"", then=lambda session: [session.send(b"*") or time.sleep(1) for _ in range(5)]), exits(NETWORK,
            "timed out")),
        ("the end", to_starttls(b"", b"", then=ends), exits(NETWORK, "closed by the server")),
        ("OK, then the end", instead(lambda sock: None), exits(TLS, "closed the connection during the TLS handshake")),
        ("words behind the OK", behind(CAPABILITIES, b"+OK injected\r\n"), exits(TLS, "in plain text behind")),
        ("a byte behind the OK", behind(b"x", b"x"), exits(TLS, "in plain text behind")),
        ("a record behind the OK", behind(record(22, 4, b"\0\0\0\0"), record(22, 4, b"\0\0\0\0")), exits(TLS, "in plain text behind")),
        ("words in the next segment", behind(CAPABILITIES, b"+OK injected\r\n", pause=True), exits(TLS, BEHIND)),
        ("a login in the next segment", behind(b"C2 OK Logged in.\r\n", b"+OK Logged in.\r\n", pause=True), exits(TLS, BEHIND)),
        ("ciphers without a key exchange", weak("aNULL:@SECLEVEL=0"), exits(TLS, "TLS handshake failed")),
        ("a certificate is asked for", asks_for_a_certificate(ssl.CERT_OPTIONAL), RIGHT),
        # In TLS 1.3 the client has done its part before it hears of that: the end may overtake the alert.
        ("a certificate is demanded", asks_for_a_certificate(ssl.CERT_REQUIRED), exits((TLS, NETWORK), "demands a certificate|closed by the server")),
        ("garbage", instead(send(b"\xff" * 1000)), exits(TLS, TAMPERED)),
        ("text", instead(send(b"-ERR no TLS here\r\n* BAD no TLS here\r\n")), exits(TLS, TAMPERED)),
        ("HTTP", instead(send(b"HTTP/1.1 400 Bad Request\r\n\r\n")), exits(TLS, TAMPERED)),
        ("an alert", instead(send(record(21, 2, b"\x02\x28"))), exits(TLS, "TLS handshake failed")),
        ("an alert that says goodbye", instead(send(record(21, 2, b"\x01\x00"))), exits(TLS, "closed the connection during the TLS handshake")),
        ("a record of 65535", instead(send(record(22, 65535, b"\0" * 65535))), exits(TLS, "TLS handshake failed")),
        # Whether more is waited for depends on OpenSSL's version.
        ("an empty record", instead(send(record(22, 0))), exits((TLS, NETWORK), "TLS handshake (failed|timed out)")),
        ("application data", instead(send(record(23, 100, b"x" * 100))), exits(TLS, "TLS handshake failed")),
        ("a hello that is cut", instead(send(record(22, 100, b"\x02\x00\x00\x60\x03\x03"))), exits(NETWORK, "TLS handshake timed out")),
        ("silence in the handshake", instead(hold), exits(NETWORK, "TLS handshake timed out")),
        ("a byte a second in the handshake", instead(trickle), exits(NETWORK, "TLS handshake timed out")),
        ("empty records without end", instead(flood), exits(TLS, "TLS handshake failed")),
        ("the end in the handshake", instead(closes), exits(TLS, "closed the connection during the TLS handshake")),
):
    CASES += of_both("STARTTLS: " + name, attack, seen)
CASES += of_both("STARTTLS: PREAUTH", greets(b"* PREAUTH [CAPABILITY IMAP4rev1] Welcome.\r\n", b""), exits(TLS, "PREAUTH"), kinds=(IMAP,))
# What was said in clear is forgotten: it opens no way to log in, and closes none.
CASES += of_both("injected: other ways", able(("AUTH=PLAIN AUTH=CRAM-MD5 SASL-IR", [b"STLS", b"SASL LOGIN CRAM-MD5"]), (None, None)), RIGHT,
                 check=logs_in_by("LOGIN", "PLAIN"))
CASES += of_both("injected: no login", able(("LOGINDISABLED", [b"STLS"]), (None, None)), RIGHT, check=logs_in_by("LOGIN", "PLAIN"))
CASES += of_both("injected: PLAIN is offered within alone", able(("AUTH=CRAM-MD5", [b"STLS", b"USER"]), (SHUT + " AUTH=PLAIN",
                 ("TOP", "UIDL", "SASL PLAIN"))), RIGHT, check=logs_in_by("AUTHENTICATE PLAIN", "PLAIN"))
CASES += of_both("injected: a login", able(("AUTH=PLAIN", []), (SHUT, None)), exits(LOGIN, "LOGINDISABLED"), kinds=(IMAP,))
# APOP would be better than the password, were its timestamp the server's.
CASES += of_both("injected: a timestamp", able(("", [b"STLS", b"USER"]), (None, ("TOP", "UIDL"))), RIGHT, kinds=(POP3,), check=logs_in_by("", "USER"))
for name, words in (("untagged, before the OK", CAPABILITIES + YES[0]), ("in the OK", b"%t OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Begin TLS.\r\n")):
    CASES += of_both("injected: %s" % name, inside(words, SHUT), exits(LOGIN, "LOGINDISABLED"), kinds=(IMAP,))
CASES += of_both("implicit: PREAUTH", greets(b"* PREAUTH [CAPABILITY IMAP4rev1] Welcome.\r\n", b""), RIGHT, kinds=(IMAP,), implicit=True)
CASES[-1].secret = False  # nobody asks for it
CASES += of_both("implicit: plain text", plain, exits(TLS, "no TLS on this port"), implicit=True)
PAPERS = []
run_cases = hostile.suite(TlsTrial, CASES)


@pytest.fixture(scope="module")
def papers():
    folder = tempfile.mkdtemp(prefix="mailfs-papers-")
    PAPERS.append(Papers(folder))
    yield PAPERS[0]
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def suite(papers, run_cases):  # pylint: disable=unused-argument
    return run_cases


@pytest.mark.parametrize("name", hostile.names(CASES))
def test_case(suite, name):
    suite(name)


# POP3 asks for STLS without CAPA: whether it is offered nobody knows.
DISTINCT = {kind: ["%s: %s" % (kind, name) for name in [
    *("certificate: " + one for one in ("expired", "of tomorrow", "for another name", "self-signed", "without its intermediate", "1024 bits")),
    "pin: of another certificate", "implicit: plain text",
    *("STARTTLS: " + one for one in ("stripped", "BYE", "BYE as the greeting", "the end", "words behind the OK", "TLS 1.1", "text", "silence",
                                     "silence in the handshake", "the end in the handshake") + more)]]
            for kind, more in ((IMAP, ("NO", "PREAUTH")), (POP3, ()))}


if not hostile.SHORT:  # then not all that it compares are run
    @pytest.mark.parametrize("kind", [IMAP, POP3])
    def test_each_has_a_line_of_its_own(suite, kind):
        """Who reads it knows what was wrong."""
        texts = {name: suite.texts.get(name) for name in DISTINCT[kind]}
        assert None not in texts.values(), "not all cases were run: %s" % texts
        plain_texts = {re.sub(r":\d+: |[0-9a-f]{64}|CN=[^:]*: ", "", text) for text in texts.values()}
        assert len(plain_texts) == len(texts), texts
