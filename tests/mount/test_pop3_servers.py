# SPDX-License-Identifier: MIT
"""POP3: real servers, with what is peculiar about each, and how often they are asked."""

import itertools

import pytest

import mails
import mailutils
import pop3_client
from dovecot import HOST, Dovecot, Settings
from drops import Drop, by_uidl, check, held, message, messages, shown, side_by_side
from harness import eventually
from maildir import Mail
from proxy import Proxy

ROUND_TRIPS = 8
_users = itertools.count(1)


@pytest.fixture(scope="module")
def gnu():
    if mailutils.why_not():
        pytest.skip(mailutils.why_not())
    with mailutils.Mailutils() as server:
        yield server


class GnuDrop(Drop):
    """One session at a time, and mailfs does not wait for the answer to its QUIT: who comes next waits until the last one has ended."""

    def mount(self, *options, **more):
        self.server.wait_idle()
        return super().mount(*options, **more)


@pytest.fixture
def gnu_drop(gnu, home):
    """An account there with the sample mail, and those bytes as that server serves them: with an X-UIDL field."""
    home.write("password", mailutils.PASSWORD + "\n")
    user = gnu.add_user("user%d" % next(_users), [mails.to_bytes(make()) for make in (
        mails.plain, mails.html, mails.attachments, mails.japanese, mails.nested)] + [one.data for one in messages(10, filling=3000)])
    return GnuDrop(home, gnu, user, fake=False, host=HOST)


def served(drop):
    """What an ordinary client gets: {unique-id: bytes}."""
    drop.server.wait_idle()
    with pop3_client.Client(drop.server.port_pop3_tls, pop3_client.trusting(drop.server.ca)) as client:
        client.login(drop.user, mailutils.PASSWORD)
        found = {uidl: client.retr(number) for uidl, number in client.uidls().items()}
        client.one("QUIT")
    return found


def bytes_by_uidl(mount):
    return {uidl: mount.read(path) for uidl, path in by_uidl(mount).items()}


@pytest.mark.parametrize("scheme", ["pop3s", "pop3"])
def test_gnu_bytes(gnu_drop, scheme):
    """The first session changes what the server lists of each message; nothing is lost or there twice by that."""
    with gnu_drop.mount(scheme=scheme) as mount:
        names, first = mount.names(), bytes_by_uidl(mount)
    assert len(names) == 15 and first == served(gnu_drop)
    for _ in range(2):
        with gnu_drop.mount(scheme=scheme) as mount:
            assert mount.names() == names and bytes_by_uidl(mount) == first


def test_gnu_delete(gnu_drop):
    with gnu_drop.mount("after=delete") as mount:
        first = shown(mount)
        assert len(mount.names()) == 15
    assert served(gnu_drop) == {}
    with gnu_drop.mount() as mount:
        assert shown(mount) == first


def test_gnu_poll(gnu, gnu_drop):
    with gnu_drop.mount("poll=1") as mount:
        assert len(mount.names()) == 15
        gnu.add(gnu_drop.user.partition("@")[0], message(77).data)
        eventually(lambda: len(mount.names()) == 16)


def test_gnu_in_use(gnu, gnu_drop):
    """One session at a time; who comes second is told so."""
    with pop3_client.Client(gnu.port_pop3_tls, pop3_client.trusting(gnu.ca)) as client:
        client.login(gnu_drop.user, mailutils.PASSWORD)
        code, text = gnu_drop.run("timeout=20")
        assert code in (5, 6) and len(text.splitlines()) == 1, (code, text)
        client.one("QUIT")
    with gnu_drop.mount() as mount:
        assert len(mount.names()) == 15


SETTINGS = {"no flag updates": Settings(pop3=("pop3_no_flag_updates = yes",)), "file names as unique-ids": Settings(uidl="file"),
            "session lock": Settings(pop3=("pop3_lock_session = yes",)), "sdbox": Settings(storage="index")}


def test_dovecot(new_account, home):
    def try_it(kind):
        with Dovecot(SETTINGS[kind]) as dovecot:
            account = new_account(dovecot)
            content = messages(20, filling=1000)
            if kind == "sdbox":
                client = account.login()
                for one in content:
                    client.append("INBOX", None, None, one.data)
                client.logout()
            else:
                account.deliver("INBOX", [one.data for one in content])
            drop = Drop(home, dovecot, account.name, fake=False, host=HOST)
            for options in ([], [], ["after=delete"]):
                with drop.mount(*options, name=account.name) as mount:
                    check(mount, content)
            assert len(dovecot.commands_pop3(account.name, "RETR")) == len(dovecot.commands_pop3(account.name, "DELE")) == 20

    side_by_side(SETTINGS, try_it)


def test_dovecot_at_the_same_time_as_imap(drop):
    """Expunged over IMAP in the middle: what was listed and is gone is a message that can not be had, no more."""
    content = messages(30, filling=2000)
    drop.account.deliver("INBOX", [one.data for one in content])
    with drop.mount("poll=1") as mount:
        client = drop.account.login()
        client.select("INBOX")
        client.uid("STORE", "1:10", "+FLAGS", "(\\Deleted)")
        client.expunge()
        client.logout()
        drop.server.add(drop.user, [Mail(message(50).data)])
        eventually(lambda: len(mount.names()) == 31)
        check(mount, content + [message(50)])


@pytest.mark.parametrize("scheme, most", [("pop3s", ROUND_TRIPS), ("pop3", ROUND_TRIPS + 1)])
@pytest.mark.parametrize("mechanism", ["plain", "scram-sha-256"])
def test_round_trips_of_a_mount_with_nothing_new(new_account, home, scheme, most, mechanism):
    """With those of TCP and of TLS; pop3:// needs one more, for STLS, and SCRAM two more than a password."""
    content = messages(50)
    with Dovecot(Settings(mechanisms=(mechanism,))) as dovecot:
        account = new_account(dovecot)
        account.deliver("INBOX", [one.data for one in content])
        drop = Drop(home, dovecot, account.name, fake=False, host=HOST)
        with Proxy(dovecot.port_pop3_tls if scheme == "pop3s" else dovecot.port_pop3) as proxy:
            proxy.delay_s = 0.03
            drop.mount(port=proxy.port, scheme=scheme).stop()
            proxy.wait_idle()
            proxy.reset_counts()
            with drop.mount(port=proxy.port, scheme=scheme) as mount:
                assert len(mount.names()) == 50
            print("\n%s, %s: %d round trips" % (scheme, mechanism, proxy.round_trips))
            assert proxy.connections == 1
            assert proxy.round_trips <= most + 2 * (mechanism != "plain"), proxy.round_trips
        assert len(dovecot.commands_pop3(account.name, "RETR")) == 50


def test_nothing_is_sent_between_looks(drop):
    """Without poll, the connection is closed and the server hears nothing more."""
    drop.account.deliver("INBOX", [one.data for one in messages(3)])
    with Proxy(drop.server.port_pop3_tls) as proxy:
        with drop.mount(port=proxy.port) as mount:
            proxy.wait_idle()
            proxy.reset_counts()
            for name in mount.names():
                mount.read(name)
            assert proxy.total == 0 and proxy.connections == 0
            assert shown(mount) == held(messages(3))
    assert drop.server.commands_pop3(drop.user)[-1] == "QUIT"
