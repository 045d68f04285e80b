# SPDX-License-Identifier: MIT
"""Where the password comes from, and how it is shown to the server."""

import base64
import os
import pty
import select
import signal
import stat
import threading
import time

import pytest

from dovecot import HOST, PASSWORD, Dovecot, Settings
from fake.imap import CAPABILITY, Box, Message, Server
from harness import SLOW, Mount, escape, eventually, is_mounted
from proxy import Proxy


def trust(account):
    return "tls_ca=" + escape(account.server.ca)


def test_password_command(account, home):
    script = home.write("print-password", "#!/bin/sh\nprintf '%s\\n' '" + PASSWORD + "'\n", 0o700)
    with Mount(home, account.url(), ["password_command=" + script, trust(account)]) as mount:
        assert "INBOX" in mount.names()


def test_password_command_is_a_shell_line(account, home):
    command = escape("cat '%s' | head -n 1" % home.password_file)
    with Mount(home, account.url(), ["password_command=" + command, trust(account)]) as mount:
        assert "INBOX" in mount.names()


def test_netrc(server, account, home):
    (name, password), = server.settings.passwords.items()
    server.add_user(name)
    home.write(".netrc", "machine other.example.org login %s password wrong\n"
                         "machine %s login someone password wrong\n"
                         "machine %s login %s password %s\n" % (name, HOST, HOST, name, password))
    with Mount(home, account.url().replace(account.name, name), [trust(account)]) as mount:
        assert "INBOX" in mount.names()


def test_user_option(account, home):
    with Mount(home, account.url().replace(account.name + "@", ""), account.options("user=" + account.name)) as mount:
        assert "INBOX" in mount.names()


def test_account_of_the_config_file(account, home):
    home.write(".config/mailfs/config", "[work]\nsource = %s\npassword_file = %s\ntls_ca = %s\n" % (
        account.url(), home.password_file, account.server.ca))
    with Mount(home, "work") as mount:
        assert "INBOX" in mount.names()


@pytest.mark.parametrize("mechanism", ["plain", "cram-md5", "scram-sha-1", "scram-sha-256"])
def test_mechanism(new_account, mechanism):
    with Dovecot(Settings(mechanisms=(mechanism,))) as dovecot:
        account = new_account(dovecot)
        with account.mount() as mount:
            assert "INBOX" in mount.names()
        assert "method=" + mechanism.upper() in dovecot.log()


def test_best_mechanism_is_taken(account):
    account.mount().stop()
    assert "Login: user=<%s>, method=SCRAM-SHA-256" % account.name in account.server.log().replace("Logged in", "Login")


def test_login_command(home):
    """A server that offers no SASL at all gets LOGIN, with its strings quoted."""
    secret = home.write("secret", 'with "blanks" and \\\\ in it\n')
    with Server({"INBOX": Box([])}) as fake:
        with Mount(home, "imap://me@127.0.0.1:%d" % fake.port, ["tls=none", "password_file=" + secret]) as mount:
            assert mount.names() == ["INBOX"]
        user, _, password = fake.logins[0].partition(" ")
        assert user.strip('"') == "me"
        assert password == r'"with \"blanks\" and \\\\ in it"'


def test_no_way_to_log_in(home):
    with Server({"INBOX": Box([])}, capability="IMAP4rev1 LOGINDISABLED AUTH=KERBEROS_V4") as fake:
        code, text = home.run("imap://me@127.0.0.1:%d" % fake.port, home.mountpoint(),
                              ["tls=none", "password_file=" + home.password_file])
        assert code == 5 and len(text.splitlines()) == 1
        assert fake.logins == []


@pytest.mark.parametrize("sandbox", ["on", "off"])
def test_token_is_asked_for_again(home, sandbox):
    """It has expired by the time that a connection is made anew."""
    place, good, shown = home.write("token", "first"), ["first"], []
    mail = [Message(uid, b"Subject: %d\r\n\r\n" % uid + b"x\r\n" * 100) for uid in range(1, 4)]

    def log_in(session, tag, args):
        shown.append(base64.b64decode(args.split()[1]).split(b"auth=Bearer ")[1].split(b"\x01")[0].decode())
        session.send(b"%s %s\r\n" % (tag.encode(), b"OK in" if shown[-1] == good[-1] else b"NO [AUTHENTICATIONFAILED] Expired."))
        return True

    with Server({"INBOX": Box(mail)}, capability=CAPABILITY + " AUTH=XOAUTH2 SASL-IR") as fake:
        fake.on["AUTHENTICATE"] = log_in
        proxy = Proxy(fake.port)
        try:
            options = ["tls=none", "sandbox=" + sandbox, "token_command=" + escape("cat '%s'" % place)]
            with Mount(home, "imap://me@127.0.0.1:%d" % proxy.port, options) as mount:
                path, *_ = mount.by_uid("INBOX").values()
                before = len(shown)
                assert set(shown) == {"first"}
                good.append("second")
                home.write("token", "second")
                proxy.refuse()
                proxy.recover()
                eventually(lambda: reads(path), 20)
        finally:
            proxy.close()
    assert shown[before] == "first" and shown[-1] == "second"


@pytest.mark.parametrize("sandbox", ["on", "off"])
def test_end_does_not_wait_for_a_token(home, sandbox):
    place, asked, refuse = home.write("token", "first"), os.path.join(home.path, "asked"), []
    command = "[ ! -e '%s.now' ] || { touch '%s'; exec sleep 60; }; cat '%s'" % (asked, asked, place)

    def log_in(session, tag, args):
        session.send(b"%s %s\r\n" % (tag.encode(), b"NO [AUTHENTICATIONFAILED] Expired." if refuse else b"OK in"))
        return True

    with Server({"INBOX": Box([Message(1, b"Subject: x\r\n\r\nx\r\n")])}, capability=CAPABILITY + " AUTH=XOAUTH2 SASL-IR") as fake:
        fake.on["AUTHENTICATE"] = log_in
        proxy = Proxy(fake.port)
        try:
            options = ["tls=none", "timeout=60", "sandbox=" + sandbox, "token_command=" + escape(command)]
            with Mount(home, "imap://me@127.0.0.1:%d" % proxy.port, options) as mount:
                path, = mount.by_uid("INBOX").values()
                home.write("asked.now", "")
                refuse.append(True)
                proxy.refuse()
                proxy.recover()
                threading.Thread(target=reads, args=(path,), daemon=True).start()
                eventually(lambda: os.path.exists(asked), 20)
                mount.process.send_signal(signal.SIGTERM)
                mount.process.wait(timeout=5 * SLOW)
        finally:
            proxy.close()


def reads(path):
    try:
        with open(path, "rb") as file:
            return len(file.read()) > 0
    except OSError:
        return False


def read_until(fd, wanted, seconds=20):
    text = b""
    end = time.monotonic() + seconds
    while wanted not in text and time.monotonic() < end and select.select([fd], [], [], 0.1)[0] is not None:
        if select.select([fd], [], [], 0)[0]:
            try:
                text += os.read(fd, 1000)
            except OSError:  # the terminal is gone
                break
    return text


def test_prompt_without_echo(account, home):
    """On a terminal the password is asked for; what is typed does not show, and the command ends in the background."""
    path = home.mountpoint()
    command = home.command(account.url(), path, [trust(account)])
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, home.env())
    try:
        text = read_until(terminal, b"assword")
        assert b"assword" in text, text
        time.sleep(0.2)  # the prompt may be written before echo is off; real typing comes later too
        os.write(terminal, PASSWORD.encode() + b"\n")
        text += read_until(terminal, b"\0no such byte", 5)
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, text
    assert b"word" not in text.replace(b"assword", b"") and PASSWORD.encode() not in text
    assert "INBOX" in os.listdir(path)


def test_password_is_nowhere_to_be_seen(account, home):
    """Not in a command line, not in the environment, not in the log, not in the store."""
    with account.mount("debug") as mount:
        mount.names("INBOX")
        with open("/proc/%d/cmdline" % mount.pid, "rb") as file:
            assert PASSWORD.encode() not in file.read()
        try:
            with open("/proc/%d/environ" % mount.pid, "rb") as file:
                assert PASSWORD.encode() not in file.read()
        except PermissionError:
            pass  # it does not even let its own user look
    assert PASSWORD not in mount.log()
    for folder, _, files in os.walk(home.cache()):
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        for name in files:
            path = os.path.join(folder, name)
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, path
            with open(path, "rb") as file:
                assert PASSWORD.encode() not in file.read()


def test_background_only_when_listed(home):
    """The command returns when the top level is there, not before."""
    with Server({"INBOX": Box([]), "Later": Box([])}) as fake:
        path = home.mountpoint()
        slept = []

        def slow_list(session, tag, args):
            time.sleep(0 if slept else 1.5)
            slept.append(is_mounted(path))

        fake.on["LIST"] = slow_list
        before = time.monotonic()
        code, text = home.run("imap://me@127.0.0.1:%d" % fake.port, path, ["tls=none", "password_file=" + home.password_file])
        assert code == 0, text
        assert time.monotonic() - before >= 1.5 and slept[0] is False
        assert sorted(os.listdir(path)) == ["INBOX", "Later"]
