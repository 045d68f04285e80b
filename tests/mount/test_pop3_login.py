# SPDX-License-Identifier: MIT
"""POP3: how a mount logs in, and what it is not tricked into."""

import base64
import hashlib
import os

import pytest

from dovecot import HOST, PASSWORD, Dovecot, Settings
from drops import Drop, check, failed, messages, side_by_side
from fake.pop3 import multi
from harness import Home, Mount, escape, eventually

NETWORK, TLS, LOGIN, OTHER = 3, 4, 5, 8
PEOPLE = ("plain", "apop", "scram-sha-1", "scram-sha-256", "oauthbearer", "xoauth2")


@pytest.fixture(scope="module")
def server():
    with Dovecot(Settings(mechanisms=PEOPLE)) as dovecot:
        yield dovecot


def test_mechanism(new_account, home):
    def try_it(mechanism):
        with Dovecot(Settings(mechanisms=(mechanism,))) as dovecot:
            account = new_account(dovecot)
            account.deliver("INBOX", [one.data for one in messages(2)])
            drop = Drop(home, dovecot, account.name, fake=False, host=HOST)
            for scheme in ("pop3s", "pop3"):
                with drop.mount(scheme=scheme, name=mechanism) as mount:
                    check(mount, messages(2))
            assert dovecot.log().count("method=" + mechanism.upper()) == 2

    side_by_side(["plain", "scram-sha-1", "scram-sha-256"], try_it)


def test_apop_of_a_real_server(new_account, home):
    """Where anybody may listen; through TLS a password does as well."""
    with Dovecot(Settings(mechanisms=("apop",))) as dovecot:
        account = new_account(dovecot)
        account.deliver("INBOX", [one.data for one in messages(2)])
        drop = Drop(home, dovecot, account.name, fake=False)
        with Mount(home, drop.url(scheme="pop3"), ["tls=none", "password_file=" + home.password_file]) as mount:
            check(mount, messages(2))
        assert dovecot.log().count("method=APOP") == 1


def test_best_mechanism_is_taken(drop):
    drop.mount().stop()
    assert "user=<%s>, method=SCRAM-SHA-256" % drop.user in drop.server.log()


def test_token(new_account):
    """token_command= prints an access token, which the server checks by itself."""
    def try_it(mechanism):
        home = Home()
        try:
            token(new_account, home, mechanism)
        finally:
            home.remove()

    side_by_side(["oauthbearer", "xoauth2"], try_it)


def token(new_account, home, mechanism):
    with Dovecot(Settings(mechanisms=("plain", mechanism))) as dovecot:
        account = new_account(dovecot)
        account.deliver("INBOX", [one.data for one in messages(2)])
        drop = Drop(home, dovecot, account.name, fake=False, host=HOST)
        place = home.write("token", dovecot.token(account.name) + "\n")
        options = ["token_command=" + escape("cat '%s'" % place), "tls_ca=" + escape(dovecot.ca)]
        with Mount(home, drop.url(), options) as mount:
            check(mount, messages(2))
        assert "method=" + mechanism.upper() in dovecot.log() and "method=PLAIN" not in dovecot.log()
        home.wipe_state()
        home.write("token", dovecot.token(account.name, seconds=-5) + "\n")
        failed(home.run(drop.url(), drop.home.mountpoint("other"), options), LOGIN)


def test_token_is_asked_for_again(serve, home):
    """It may have expired between two looks."""
    drop = serve(messages(2), capability=("UIDL", "TOP", "SASL OAUTHBEARER XOAUTH2", "PIPELINING"))
    place = home.write("token", "first")
    drop.server.token = "first"
    with Mount(home, drop.url(), ["tls=none", "poll=1", "token_command=" + escape("cat '%s'" % place)]) as mount:
        check(mount, messages(2))
        drop.server.messages = messages(3)
        drop.server.token = "second"
        home.write("token", "second")
        eventually(lambda: len(mount.names()) == 3, 10)
    assert {secret for _, _, secret in drop.server.logins} == {"first", "second"}


def test_token_where_none_is_taken(serve, home):
    drop = serve(messages(2))
    failed(home.run(drop.url(), home.mountpoint(), ["tls=none", "token_command=echo abc"]), LOGIN)
    assert drop.server.logins == [] and drop.server.of("PASS") == []


@pytest.mark.parametrize("password", [PASSWORD, "with  two blanks ", "ümläut", "'; quotes \" and \\"])
def test_user_and_pass(serve, home, password):
    """A server without SASL; the password goes as it is, blanks and all."""
    drop = serve(messages(1), capability=["UIDL", "USER"])
    home.write("password", password + "\n")
    drop.mount().stop()
    assert drop.server.logins == [("USER", "me", password.encode().decode("latin-1"))]


def test_user_and_pass_without_capa(serve):
    drop = serve(messages(1), capability=None)
    drop.mount().stop()
    assert drop.server.logins == [("USER", "me", PASSWORD)]


def test_apop(serve):
    """The digest of RFC 1939 section 7."""
    drop = serve(messages(1), capability=["UIDL"])
    drop.server.greeting = b"+OK Ready <1896.697170952@example.org>\r\n"
    drop.mount().stop()
    digest = hashlib.md5(b"<1896.697170952@example.org>" + PASSWORD.encode()).hexdigest()
    assert drop.server.logins == [("APOP", "me", digest)]


def test_sasl_plain(serve):
    drop = serve(messages(1), capability=["UIDL", "SASL PLAIN"])
    drop.mount().stop()
    assert drop.server.logins == [("PLAIN", "me", PASSWORD)]


def test_a_user_name_with_an_at_sign(serve):
    drop = serve(messages(1))
    drop.user = "me@example.org"
    drop.mount().stop()
    assert drop.server.logins[0][1] == "me@example.org"


@pytest.mark.parametrize("user", ["me%0D%0ADELE%201", "me%0AQUIT", "me%00"])
def test_a_user_name_can_not_hold_a_command(serve, user):
    drop = serve(messages(1))
    drop.user = user
    code, text = drop.run()
    assert code != 0 and len(text.splitlines()) == 1, text
    assert drop.server.of("DELE") == [] and drop.server.of("QUIT") in ([], [""])


def test_no_way_to_log_in(serve):
    drop = serve(messages(1), capability=["UIDL", "SASL KERBEROS_V4 GSSAPI"])
    drop.server.on["USER"] = lambda session, _: session.send(b"-ERR Not that way.\r\n") or True
    failed(drop.run(), LOGIN)
    assert drop.server.of("PASS") == []


def test_refused_with_the_servers_words(serve):
    drop = serve(messages(1))
    drop.server.refuse_login = "[SYS/TEMP] The mail store moves house until noon."
    code, text = drop.run()
    assert code in (NETWORK, LOGIN) and "moves house until noon" in text and len(text.splitlines()) == 1
    assert len(drop.server.logins) == 1


def test_wrong_password(drop, home):
    home.write("password", "not the password\n")
    failed(drop.run(), LOGIN)


def test_folder_in_the_address(serve):
    """There is one folder only."""
    drop = serve(messages(1))
    code, text = drop.home.run(drop.url() + "/Archive", drop.home.mountpoint(), drop.options())
    assert code in (1, 6) and len(text.splitlines()) == 1, (code, text)


def test_account_of_the_config_file(drop, home):
    drop.account.deliver("INBOX", [one.data for one in messages(2)])
    home.write(".config/mailfs/config", "[work]\nsource = %s\npassword_file = %s\ntls_ca = %s\nafter = delete:30\n" % (
        drop.url(), home.password_file, drop.server.ca))
    with Mount(home, "work") as mount:
        check(mount, messages(2))


def test_password_is_nowhere_to_be_seen(drop, home):
    drop.account.deliver("INBOX", [one.data for one in messages(2)])
    with drop.mount("debug") as mount:
        mount.names()
    assert PASSWORD not in mount.log()
    for folder, _, files in os.walk(home.state()):
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                assert PASSWORD.encode() not in file.read()


# --- TLS ---

@pytest.fixture
def pair(server):
    return server.authority.issue("fake")


@pytest.fixture
def tls(serve, home, server, pair):
    """A scripted server that offers STLS: (server, run)."""
    drop = serve(messages(2), tls=pair)
    options = ["password_file=" + home.password_file, "tls_ca=" + escape(server.ca), "timeout=1"]
    url = drop.url().replace("127.0.0.1", HOST)
    return drop.server, lambda *more: home.run(url, home.mountpoint(), [*options, *more]), drop


def test_stls(tls):
    fake, run, drop = tls
    assert run() == (0, "")
    drop.background()
    verbs = [line.split(" ")[0] for _, line in fake.commands]
    assert verbs.index("STLS") < verbs.index("CAPA", verbs.index("STLS")) < verbs.index("AUTH") and len(fake.logins) == 1


def test_stls_is_required(serve, home, server):
    """Not offered: refused, before anything secret is sent."""
    drop = serve(messages(2))
    code, text = home.run(drop.url().replace("127.0.0.1", HOST), home.mountpoint(), drop.options()[:1] + ["tls_ca=" + escape(server.ca)])
    assert code == TLS and "STLS" in text and len(text.splitlines()) == 1, text
    assert drop.server.logins == [] and drop.server.of("USER") == []


@pytest.mark.parametrize("answer", [b"-ERR Not now.\r\n", b"-ERR\r\n", b"+\r\n", b""])
def test_stls_refused(tls, answer):
    fake, run, _ = tls
    fake.on["STLS"] = lambda session, _: session.send(answer) or True
    code, text = run()
    assert code in (TLS, NETWORK, OTHER) and len(text.splitlines()) == 1, (code, text)
    assert fake.logins == [] and fake.of("USER") == []


def test_stls_without_capa(tls):
    """A server that knows no CAPA may know STLS all the same; either way nothing secret goes in clear."""
    fake, run, drop = tls
    fake.capability = None
    code, text = run()
    if code == 0:
        drop.background()
        assert fake.of("STLS") == [""]
    else:
        assert code == TLS and len(text.splitlines()) == 1 and fake.logins == []


@pytest.mark.parametrize("injected", [b"+OK injected\r\n", b"+OK\r\nUIDL\r\n.\r\n", b"x"])
def test_bytes_behind_the_answer_to_stls(tls, injected):
    """What was said before the handshake must not count as said in it (CVE-2011-0411)."""
    fake, run, _ = tls

    def inject(session, _args):
        session.send(b"+OK Begin TLS.\r\n" + injected)
        session.flush()
        try:
            session.start_tls()
        except OSError:
            session.end()
        return True

    fake.on["STLS"] = inject
    code, text = run()
    assert code == TLS and len(text.splitlines()) == 1, (code, text)
    assert fake.logins == []


def test_abilities_before_tls_are_forgotten(tls):
    """Who is in the middle could have promised weaker ways to log in."""
    fake, run, drop = tls
    fake.greeting = b"+OK <1.2@example.org>\r\n"
    fake.change["CAPA"] = lambda session, _, data: data if session.secured else multi([b"STLS", b"SASL LOGIN"])
    assert run() == (0, "")
    drop.background()
    assert [kind for kind, _, _ in fake.logins] == ["PLAIN"]


def test_tls_from_the_first_byte(serve, home, server, pair):
    drop = serve(messages(2), tls=pair, implicit=True)
    url = drop.url(scheme="pop3s").replace("127.0.0.1", HOST)
    options = ["password_file=" + home.password_file, "tls_ca=" + escape(server.ca)]
    with Mount(home, url, options) as mount:
        check(mount, messages(2))
    assert drop.server.of("STLS") == []
    home.wipe_state()
    failed(home.run(url, home.mountpoint(), options[:1]), TLS)


def test_scram_whose_server_does_not_know_the_password(serve):
    """Its signature is checked: who can not give it is not the server."""
    drop = serve(messages(2), capability=["UIDL", "SASL SCRAM-SHA-256"])

    def scram(session, args):
        first = base64.b64decode(args.split(" ")[1]).decode() if " " in args else ""
        if not first:
            session.send(b"+ \r\n")
            first = base64.b64decode(session.read_line()).decode()
        nonce = first.split("r=")[1] + "more"
        session.send(b"+ " + base64.b64encode(b"r=%s,s=%s,i=4096" % (nonce.encode(), base64.b64encode(b"salt"))) + b"\r\n")
        session.read_line()
        session.send(b"+ " + base64.b64encode(b"v=" + base64.b64encode(b"x" * 32)) + b"\r\n")
        session.read_line()
        session.logged_in = True
        session.messages = list(drop.server.messages)
        session.send(b"+OK Logged in.\r\n")
        return True

    drop.server.on["AUTH"] = scram
    failed(drop.run("timeout=3"), LOGIN)
    assert drop.server.of("UIDL") == []
