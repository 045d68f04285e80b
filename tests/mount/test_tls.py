# SPDX-License-Identifier: MIT
"""TLS as a mount sees it: what is trusted, what STARTTLS may not be tricked into, and resumption."""

import ssl
import threading
import warnings

import pytest

import pki
from dovecot import HOST
from fake.imap import CAPABILITY, Box, Message, Server
from harness import Mount, escape

TLS = 4


@pytest.fixture
def pair(server):
    return server.authority.issue("fake")


@pytest.fixture
def options(server, home):
    return ["password_file=" + home.password_file, "tls_ca=" + escape(server.ca)]


def imap_url(fake):
    return "imap://me@%s:%d" % (HOST, fake.port)


def test_fingerprint_alone(account, home):
    """A pinned certificate needs no authority."""
    pin = "tls_fingerprint=sha256:" + pki.fingerprint(account.server.cert)
    with Mount(home, account.url(), ["password_file=" + home.password_file, pin]) as mount:
        assert "INBOX" in mount.names()


def test_address_in_certificate(account, home):
    with Mount(home, account.url(host="127.0.0.1"), account.options()) as mount:
        assert "INBOX" in mount.names()


def test_starttls(account, home):
    with Mount(home, account.url(scheme="imap"), account.options()) as mount:
        assert "INBOX" in mount.names()
    assert "TLS" in [line for line in account.server.log().splitlines() if "user=<%s>" % account.name in line][0]


def test_starttls_is_required(home, options):
    with Server({"INBOX": Box([])}) as fake:
        code, text = home.run(imap_url(fake), home.mountpoint(), options)
        assert code == TLS and "STARTTLS" in text and len(text.splitlines()) == 1
        assert fake.logins == []


def test_starttls_with_bytes_before_the_handshake(home, options, pair):
    """What was injected before the handshake must not count as said in it (CVE-2011-0411)."""
    with Server({"INBOX": Box([])}, capability=CAPABILITY + " STARTTLS", tls=pair) as fake:

        def inject(session, tag, _args):
            session.send(b"%s OK Begin TLS.\r\n* CAPABILITY IMAP4rev1\r\n" % tag.encode())
            return True

        fake.on["STARTTLS"] = inject
        code, text = home.run(imap_url(fake), home.mountpoint(), options)
        assert code == TLS and len(text.splitlines()) == 1, text
        assert fake.logins == []


def test_preauth_before_tls(home, options, pair):
    with Server({"INBOX": Box([])}, capability=CAPABILITY + " STARTTLS", tls=pair) as fake:
        fake.greeting = "* PREAUTH Welcome."
        code, text = home.run(imap_url(fake), home.mountpoint(), options)
        assert code == TLS and len(text.splitlines()) == 1, text
        assert fake.count("LIST") == 0


def test_capabilities_before_tls_are_forgotten(home, options, pair):
    """Who is in the middle could have promised weaker ways to log in."""
    with Server({"INBOX": Box([])}, tls=pair) as fake:
        fake.greeting = "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN AUTH=CRAM-MD5] Ready."
        with Mount(home, imap_url(fake), options) as mount:
            assert mount.names() == ["INBOX"]
        assert fake.count("AUTHENTICATE") == 0 and len(fake.logins) == 1


def test_none_must_be_asked_for(home):
    with Server({"INBOX": Box([])}) as fake:
        with Mount(home, imap_url(fake), ["tls=none", "password_file=" + home.password_file]) as mount:
            assert mount.names() == ["INBOX"]


def test_server_name_is_sent(home, options, pair):
    """SNI: a host with many names needs it to show the right certificate."""
    if HOST != "localhost":
        pytest.skip("localhost can not be resolved, and an address is no server name")
    with Server({"INBOX": Box([])}, tls=pair, implicit=True) as fake:
        names = []
        fake.tls.sni_callback = lambda _socket, name, _context: names.append(name)
        Mount(home, imap_url(fake).replace("imap:", "imaps:"), options).stop()
        assert names and set(names) == {"localhost"}


def test_old_versions_are_refused(home, options, pair):
    """TLS 1.2 or later, whatever the server would like."""
    with Server({"INBOX": Box([])}, tls=pair, implicit=True) as fake:
        fake.tls.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            fake.tls.minimum_version = fake.tls.maximum_version = ssl.TLSVersion.TLSv1_1
        code, text = home.run(imap_url(fake).replace("imap:", "imaps:"), home.mountpoint(), options)
        assert code == TLS and len(text.splitlines()) == 1, text
        assert fake.logins == []


def test_sessions_are_resumed(home, options, pair):
    """The second connection of the account, made while the first is busy, saves itself the full handshake."""
    boxes = {"INBOX": Box([Message(uid, b"Subject: %d\r\n\r\nbody\r\n" % uid) for uid in (1, 2)])}
    with Server(boxes, tls=pair, implicit=True) as fake:
        second_read = threading.Event()

        def row(_session, message, data):
            if message.uid == 1 and b"BODY[]" in data:
                second_read.wait(20)
            return data

        fake.row = row
        with Mount(home, imap_url(fake).replace("imap:", "imaps:"), options) as mount:
            paths = mount.by_uid("INBOX")
            first = threading.Thread(target=mount.read, args=(paths[1],))
            first.start()
            fake.wait_for("UID FETCH 1 ")
            mount.read(paths[2])
            second_read.set()
            first.join()
            reused = [session.sock.session_reused for session in fake.sessions]
        assert reused[0] is False
        assert len(reused) >= 2 and all(reused[1:]), reused
