# SPDX-License-Identifier: MIT
"""The read suite against every POP3 server that Debian has. (Dovecot's and Mailutils' own peculiarities: test_pop3_servers.py.)"""

import contextlib
import imaplib
import itertools
import os
import subprocess

import pytest

import courier
import cyrus
import dovecot
import mails
import mailutils
import pop3_client
import sites
import spools
from drops import by_uidl
from harness import Mount, escape, eventually
from jail import why_not
from leaves import compare, of_message
from maildir import Mail

KINDS = ("dovecot", "cyrus", "courier", "mailutils", "popa3d", "solid")
_users = itertools.count(1)


class Box:
    """A server with POP3. make(user, datas): an account with this mail, the name to log in with. add(user, data): one more message."""

    def __init__(self, kind, server, password, make, add, version, login_delay_s=0):
        self.kind, self.server, self.password, self.make, self.add, self.version = kind, server, password, make, add, version
        self.port, self.secured = getattr(server, "port_pop3_tls", None) or server.port_pop3, hasattr(server, "port_pop3_tls")
        self.login_delay_s = login_delay_s

    def mount(self, home, user, *options):
        home.write("password", self.password + "\n")
        trust = "tls_ca=" + escape(self.server.ca) if self.secured else "tls=none"
        url = "%s://%s@%s:%d" % ("pop3s" if self.secured else "pop3", user, dovecot.HOST, self.port)
        self.wait_idle()
        return Mount(home, url, ["password_file=" + escape(home.password_file), trust, *options])

    def wait_idle(self):
        """Where there is one session at a time, and the last one may be about to end."""
        if hasattr(self.server, "wait_idle"):
            self.server.wait_idle()

    def served(self, user):
        """What another client gets: {unique-id: bytes}, or {number: bytes} where unique-ids stand twice."""
        self.wait_idle()
        with pop3_client.Client(self.port, pop3_client.trusting(self.server.ca) if self.secured else None) as client:
            client.login(user, self.password)
            found = {number: client.retr(number) for number in client.sizes()}
            client.one("QUIT")
        return sorted(found.values())


def imap_add(port, ca, password):
    """Mail gets there over the server's IMAP."""
    def add(user, data):
        site = sites.Site("", None, "", port, password, None, ".", "INBOX.")
        site.server = type("Trust", (), {"ca": ca})
        client = site.login(user)
        assert client.append("INBOX", None, imaplib.Time2Internaldate(mails.START), data)[0] == "OK"
        client.logout()
    return add


def boxes(stack):
    enter = stack.enter_context
    server = enter(dovecot.Dovecot())

    def make_dovecot(user, datas):
        server.add_user(user)
        server.deliver(user, "INBOX", [Mail(data) for data in datas])
        return user
    yield Box("dovecot", server, dovecot.PASSWORD, make_dovecot, lambda user, data: server.add(user, [Mail(data)]), "%d.%d" % dovecot.version())
    if not cyrus.why_not():
        house = enter(cyrus.Cyrus())
        add = imap_add(house.port_tls, house.ca, cyrus.PASSWORD)

        def make_cyrus(user, datas):
            for data in datas:
                add(user, data)
            return user
        yield Box("cyrus", house, cyrus.PASSWORD, make_cyrus, add, house.version())
    if not courier.why_not():
        post = enter(courier.Courier())

        def make_courier(user, datas):
            post.add_user(user)
            for data in datas:
                post.deliver(user, data)
            return user
        yield Box("courier", post, courier.PASSWORD, make_courier, post.deliver, post.version())
    if not mailutils.why_not():
        gnu = enter(mailutils.Mailutils())
        yield Box("mailutils", gnu, mailutils.PASSWORD, gnu.add_user, lambda user, data: gnu.add(user.partition("@")[0], data), gnu.version())
    for packages in ("popa3d", "solid"):
        if not why_not(packages):
            spool = enter(spools.Spool(packages))
            yield Box(packages, spool, spools.PASSWORD, lambda _, datas, spool=spool: spool.add_user(datas), spool.deliver, spool.version())


@pytest.fixture(scope="module")
def servers():
    with contextlib.ExitStack() as stack:
        yield {box.kind: box for box in boxes(stack)}


@pytest.fixture(params=KINDS)
def box(request, servers):
    if request.param not in servers:
        pytest.skip(mailutils.why_not() if request.param == "mailutils" else why_not(request.param))
    return servers[request.param]


DATAS = [sites.number_of(("INBOX",), number).data for number in range(1, 31)] + [mail.data for mail in mails.sample_inbox()]


@pytest.fixture
def user(box):
    return box.make("user%d" % next(_users), DATAS)


def contents(mount):
    return sorted(mount.read(name) for name in mount.names())


def test_download(box, user, home):
    """The server's bytes, exact sizes, the parts that Python finds; then the next mount, with what is there, the same inodes and names, and the server as it was."""
    with box.mount(home, user) as mount:
        names, first = mount.names(), contents(mount)
        assert all(os.stat(mount.sub(name)).st_size == len(mount.read(name)) for name in names)
        inodes = {name: os.stat(mount.sub(name)).st_ino for name in names}
        base = mount.sub(".parts")
        wrong = {name: why for name in names if (why := compare(os.path.join(base, name[:-4]), of_message(mount.read(name))))}
        assert wrong == {}
        assert subprocess.run(["grep", "-rl", "Line 3 of it", mount.path], check=True, capture_output=True).stdout.count(b"\n") == 30
        assert len(by_uidl(mount)) <= len(names)
    assert len(first) == len(DATAS) and first == box.served(user)
    with box.mount(home, user) as mount:
        assert mount.names() == names and contents(mount) == first
        assert {name: os.stat(mount.sub(name)).st_ino for name in names} == inodes


def test_delete(box, user, home):
    with box.mount(home, user, "after=delete") as mount:
        first = contents(mount)
    assert len(first) == len(DATAS) and box.served(user) == []
    with box.mount(home, user) as mount:
        assert contents(mount) == first


def test_new_mail(box, user, home):
    """With poll=1, or as soon as the server lets one log in again."""
    data = sites.number_of(("INBOX",), 99).data
    with box.mount(home, user, "poll=1") as mount:
        assert len(mount.names()) == len(DATAS)
        box.add(user, data)
        eventually(lambda: len(mount.names()) == len(DATAS) + 1, 25)
    assert sites.Site("", None, "", 0, "", None, "", books=True).plain(data)[:100] in b"".join(box.served(user))
