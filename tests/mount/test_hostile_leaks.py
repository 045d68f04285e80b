# SPDX-License-Identifier: MIT
"""The tests' own eyes: that a password that was sent is found, and a login is not taken for one; that memory and time of what ends by itself are seen."""

import base64
import errno
import os
import socket
import ssl
import sys
import types

import pytest

import hostile
from fake.imap import Server
from hostile import NETWORK, RIGHT, SECRET, exits
from launcher import Launcher
from leaks import holds_secret, outside_a_login
from pki import Authority

S = SECRET.encode()


def b64(data):
    return base64.b64encode(data)


LOGINS = {
    "nothing": b"",
    "LOGIN": b"C1 LOGIN me \"%s\"\r\nC2 LOGOUT\r\n" % S,
    "a literal": b"C1 LOGIN me {%d}\r\n%s\r\nC2 NOOP\r\n" % (len(S), S),
    "both as literals": b"C1 LOGIN {2+}\r\nme {%d+}\r\n%s\r\nC2 NOOP\r\n" % (len(S), S),
    "PLAIN": b"C1 AUTHENTICATE PLAIN\r\n%s\r\nC2 NOOP\r\n" % b64(b"\0me\0" + S),
    "PLAIN at once": b"C1 AUTHENTICATE PLAIN %s\r\nC2 NOOP\r\n" % b64(b"\0me\0" + S),
    "AUTH=LOGIN": b"C1 AUTHENTICATE LOGIN\r\n%s\r\n%s\r\nC2 NOOP\r\n" % (b64(b"me"), b64(S)),
    "PASS": b"CAPA\r\nUSER me\r\nPASS %s\r\nSTAT\r\n" % S,
    "AUTH PLAIN": b"CAPA\r\nAUTH PLAIN %s\r\nSTAT\r\nRETR 1\r\n" % b64(b"\0me\0" + S),
    "AUTH PLAIN, asked": b"CAPA\r\nAUTH PLAIN\r\n%s\r\nSTAT\r\n" % b64(b"\0me\0" + S),
    "cancelled": b"C1 AUTHENTICATE PLAIN\r\n*\r\nC2 NOOP\r\n",
}
LEAKS = {
    "behind a login": LOGINS["LOGIN"] + b"C3 SELECT %s\r\n" % S,
    "behind a challenge's answer": LOGINS["PLAIN"] + b"C3 ID (\"x\" \"%s\")\r\n" % S,
    "in a user's name": b"USER %s\r\n" % S,
    "alone on a line": b"CAPA\r\n%s\r\n" % S,
    "over two lines": b"C1 NOOP\r\n%s\r\n%s\r\n" % (S[:11], S[11:]),
    "a part of it": b"C1 SELECT x%sx\r\n" % S[9:18],
    "with backslashes": b"C1 SELECT \"%s\"\r\n" % b"\\".join(S[n:n + 1] for n in range(len(S))),
    "in base64": b"C1 X %s\r\n" % b64(S),
    "in PLAIN's base64": b"C1 X %s\r\n" % b64(b"\0me\0" + S),
    "in base64 that begins elsewhere": b"C1 X QQ%s\r\n" % b64(S),
    "in base64 over lines": b"STAT\r\nX %s\r\n%s\r\n" % (b64(S)[:7], b64(S)[7:]),
    "in another command's literal": b"C1 SELECT {%d}\r\n%s\r\n" % (len(S), S),
    "in a literal that looks like a login": b"C1 SELECT {%d+}\r\nC2 LOGIN me %s\r\n" % (len(S) + 12, S),
    "not ended": b"C1 NOOP\r\nC2 SELECT " + S,
    "behind a mechanism that is none": b"C1 AUTHENTICATE (%s)\r\n" % S,
}


@pytest.mark.parametrize("name", LOGINS)
def test_logins_are_none(name):
    assert outside_a_login(LOGINS[name], S) is None
    assert holds_secret(LOGINS[name], S) == (name not in ("nothing", "cancelled"))


@pytest.mark.parametrize("name", LEAKS)
def test_leaks_are_found(name):
    assert outside_a_login(LEAKS[name], S) is not None


def test_a_password_that_must_be_quoted():
    secret, quoted = b'pass"word\\1', b'"pass\\"word\\\\1"'
    assert outside_a_login(b"C1 LOGIN me %s\r\nC2 NOOP\r\n" % quoted, secret) is None
    assert outside_a_login(b"C1 SELECT %s\r\nC2 NOOP\r\n" % quoted, secret) is not None


def test_what_ends_by_itself_is_measured():
    """Also what its child took."""
    alone = "bytearray(90 << 20)"
    child = "import os; pid = os.fork(); pid or bytearray(90 << 20); pid and os.wait()"
    with Launcher() as launcher:
        for script in (alone, child):
            process = launcher.start([sys.executable, "-c", script], dict(os.environ), os.devnull)
            assert process.wait(20) == 0 and process.peak_kib >= 90 << 10
        small = launcher.start(["/bin/true"], {}, os.devnull)
        assert small.wait(20) == 0 and small.peak_kib < 32 << 10
        killed = launcher.start(["/bin/sleep", "60"], {}, os.devnull)
        killed.kill()
        assert killed.wait(20) == -9
        with pytest.raises(OSError):
            launcher.start(["/nowhere"], {}, os.devnull)


def test_servers_hear_all(tmp_path):
    """In clear and within TLS, also what no script has read."""
    pair = Authority(str(tmp_path)).issue("server")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with Server({}, tls=pair) as server, socket.create_connection(("127.0.0.1", server.port)) as sock:
        server.on["NOOP"] = lambda session, _tag, _args: session.cut() or True
        file = sock.makefile("rb")
        file.readline()
        sock.sendall(b"a " + S + b"\r\nb STARTTLS\r\n")
        assert file.readline().startswith(b"a BAD") and file.readline().startswith(b"b OK")
        with context.wrap_socket(sock, server_hostname="localhost") as tls:
            tls.sendall(b"c NOOP\r\nd " + S + b"\r\n")
            tls.recv(100)
        assert [outside_a_login(data, S) is not None for data in (server.heard[0], server.inside[0])] == [True, True]


class Stub(hostile.Trial):
    """Goes wrong in one way, always."""
    runs, error = 0, None

    def start(self):
        return Server({})

    def run(self):
        type(self).runs += 1
        raise self.error


@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("error, again", [(hostile.Late("late"), True), (OSError(errno.ETIMEDOUT, "late"), True), (OSError(errno.EIO, "wrong"), False),
                                          (AssertionError("wrong"), False), (KeyError("broken"), False)])
def test_only_what_is_late_is_tried_again(monkeypatch, error, again, busy):
    monkeypatch.setattr(hostile, "is_busy", lambda since: busy)
    monkeypatch.setattr(Stub, "error", error)
    monkeypatch.setattr(Stub, "runs", 0)
    case = hostile.Case("one", "mount", lambda server: None, RIGHT)
    assert hostile.play(Stub, case, hostile.Figures(None))
    assert Stub.runs == (3 if again and busy else 1)


@pytest.mark.parametrize("code, text, words, late", [(3, "mailfs: x: connection timed out\n", ("closed",), True), (3, "mailfs: x: broken\n", ("closed",), False),
                                                     (8, "mailfs: x: broken\n", (), False)])
def test_another_line_is_wrong(code, text, words, late):
    """But where it says that time was over."""
    trial = Stub(hostile.Case("one", "mount", lambda server: None, exits(NETWORK, *words)), hostile.Figures(None))
    trial.mount = types.SimpleNamespace(code=code, text=text)
    with pytest.raises(AssertionError) as raised:
        trial.refused(trial.case.seen)
    assert isinstance(raised.value, hostile.Late) == late
    trial.home.remove()
