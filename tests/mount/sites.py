# SPDX-License-Identifier: MIT
"""
The servers of the read suite as one thing each: how to log in, how mail gets there, what it can not do. The same mail lies on all of them; content() says
what.
"""

import concurrent.futures
import contextlib
import functools
import imaplib
import os
import re
import socket
import ssl
import time
from dataclasses import dataclass, field

import courier
import cyrus
import dovecot
import mails
import mailutils
from harness import Mount, escape
from maildir import Mail, mutf7

imaplib._MAXLINE = 10_000_000  # pylint: disable=protected-access

FOLDERS = {
    ("INBOX",): 70, ("Archive",): 3, ("Archive", "2024"): 30, ("Archive", "2025"): 20, ("Archive", "2025", "Q1"): 10, ("Two words",): 8,
    ("Entwürfe",): 4, ("Проекты",): 2, ("Проекты", "台北"): 6, ("Ja & nein",): 3, ("Case",): 2, ("case",): 3, ("Empty",): 0,
}
WORDS = b"The figures are in, and the needle is in this haystack.\r\n"


def number_of(folder, number):
    """A message that no other folder has."""
    subject = "Nr. %d in %s" % (number, "/".join(folder))
    mail = mails.message("Alice Smith <alice@example.org>", subject, "".join("Line %d of it.\r\n" % n for n in range(number % 7 * 30 + 20)))
    if number % 5 == 0:
        mail.add_attachment(mails.noise(2000, seed=number), maintype="application", subtype="octet-stream", filename="Größe %d.bin" % number)
    return Mail(mails.to_bytes(mail), mails.START + number * 977, ("\\Seen",) if number % 3 == 0 else ("\\Flagged",) if number % 7 == 0 else ())


def nasty():
    """What a server takes: without NUL, with CRLF, not too much of it."""
    found = [re.sub(rb"\r*\n|\r", b"\r\n", data) for data in mails.nasty_and_small().values() if b"\0" not in data]
    return [Mail(data, mails.START) for data in found if not data.startswith((b"From ", b"x"))]


def _has_children(folder):
    return any(len(other) > len(folder) and other[:len(folder)] == folder for other in FOLDERS)


@functools.cache
def content():
    """{path of the folder: [Mail]}"""
    made = {folder: [number_of(folder, number) for number in range(1, count + 1)] for folder, count in FOLDERS.items()}
    made[("INBOX",)] += mails.sample_inbox()
    made[("Nasty",)] = nasty()
    return made


@dataclass
class Site:
    """A server that runs."""
    kind: str
    server: object
    version: str
    port: int
    password: str
    make_user: object                  # with a name: the name to log in with
    separator: str
    prefix: str = ""                   # of all folders but the INBOX
    into_inbox: object = None          # (login, bytes): where APPEND to the INBOX is refused
    keeps_dates: bool = True           # APPEND's date becomes INTERNALDATE
    keeps_flags: bool = True
    books: bool = False                # it writes fields of its own into messages
    pushes: bool = True                # it tells of new mail in IDLE
    nests: bool = True                 # a folder can have both messages and folders
    restart: object = None
    content: dict = field(default_factory=dict)  # of the account that all tests look at, user's
    user: str = ""
    same: bool = False                 # that account is already filled, through another face of the server

    def name_of(self, folder):
        """The mailbox as the wire has it."""
        if folder == ("INBOX",):
            return "INBOX"
        return self.prefix + self.separator.join(map(mutf7, folder))

    def place(self, folder):
        """Where it is on the mount: what a server has below the INBOX lies there."""
        return folder if folder == ("INBOX",) or not self.prefix else ("INBOX", *folder)

    def login(self, user):
        client = imaplib.IMAP4_SSL("127.0.0.1", self.port, ssl_context=ssl.create_default_context(cafile=self.server.ca), timeout=60)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # it sends a literal and what follows in two pieces
        client.login(user, self.password)
        return client

    def plain(self, data):
        """Without the fields in which a server keeps its books."""
        return re.sub(rb"^(?:X-IMAPbase|X-UID|Status): [^\r\n]*\r\n", b"", data, flags=re.M) if self.books else data

    @contextlib.contextmanager
    def selected(self, user, folder, readonly=True):
        client = self.login(user)
        kind, said = client.select('"%s"' % self.name_of(folder), readonly)
        assert kind == "OK", (self.kind, folder, said)
        yield client
        client.logout()

    def append(self, client, user, folder, mail):
        if folder == ("INBOX",) and self.into_inbox:
            self.into_inbox(user, mail.data)
            return True
        date = imaplib.Time2Internaldate(mail.date)
        kind, said = client.append('"%s"' % self.name_of(folder), "(%s)" % " ".join(mail.flags), date, mail.data)
        assert kind == "OK" or folder == ("Nasty",), (self.kind, folder, said)
        return kind == "OK"

    def fill(self, user, folders):
        """What the server would not take of what is nasty is left out."""
        client = self.login(user)
        for folder, messages in folders.items():
            if folder != ("INBOX",):
                client.create('"%s"' % self.name_of(folder))
            folders[folder] = [mail for mail in messages if self.append(client, user, folder, mail)]
        self.settle(client)
        client.logout()

    def settle(self, client):
        """The INBOX is opened for writing, as any other client does it: else it has another UIDVALIDITY in each session."""
        if self.into_inbox:
            client.select("INBOX")
            client.close()

    def rows(self, user, folder, items):
        """What another client gets: {uid: (text, literal or None)}."""
        found = {}
        with self.selected(user, folder) as client:
            kind, rows = client.uid("FETCH", "1:*", "(UID %s)" % items)
            assert kind == "OK", rows
            for row in rows:
                text, data = row if isinstance(row, tuple) else (row or b"", None)
                uid = re.search(rb"UID (\d+)", text)
                if uid:
                    found[int(uid.group(1))] = (text, data)
        return found

    def bodies(self, user, folder):
        """A message at a time, as some servers write what imaplib does not understand if there are many."""
        return {uid: data for uid, (_, data) in self.rows(user, folder, "BODY.PEEK[]").items()}

    def flags(self, user, folder):
        return {uid: set(re.search(rb"FLAGS \(([^)]*)\)", text).group(1).split()) - {b"\\Recent"}
                for uid, (text, _) in self.rows(user, folder, "FLAGS").items()}

    def dates(self, user, folder):
        return {uid: time.mktime(imaplib.Internaldate2tuple(text)) for uid, (text, _) in self.rows(user, folder, "INTERNALDATE").items()}

    def mount(self, home, user, *options, port=None, **more):
        home.write("password", self.password + "\n")
        return Mount(home, "imaps://%s@%s:%d" % (user, dovecot.HOST, port or self.port),
                     ["password_file=" + escape(home.password_file), "tls_ca=" + escape(self.server.ca), *options], **more)


KINDS = ("dovecot", "cyrus", "cyrus-alt", "courier", "mailutils")


def why_not(kind):
    return {"dovecot": lambda: "", "courier": courier.why_not, "mailutils": mailutils.why_not_imap}.get(kind, cyrus.why_not)()


class Sites:
    """All servers that this machine can start, started side by side. Cyrus is one server with two faces."""

    def __init__(self):
        self.sites = {}
        self._stack = contextlib.ExitStack()

    def _dovecot(self):
        server = self._stack.enter_context(dovecot.Dovecot(dovecot.Settings(special_use={}, storage="index")))

        def make(user):
            server.add_user(user)
            return user
        yield Site("dovecot", server, "%d.%d" % dovecot.version(), server.port_tls, dovecot.PASSWORD, make, "/")

    def _cyrus(self):
        server = self._stack.enter_context(cyrus.Cyrus())
        yield Site("cyrus", server, server.version(), server.port_tls, cyrus.PASSWORD, str, ".", "INBOX.", restart=server.restart)
        yield Site("cyrus-alt", server, server.version(), server.port_alt, cyrus.PASSWORD, str, "/", same=True, restart=server.restart)

    def _courier(self):
        server = self._stack.enter_context(courier.Courier())

        def make(user):
            server.add_user(user)
            return user
        yield Site("courier", server, server.version(), server.port_tls, courier.PASSWORD, make, ".", "INBOX.", restart=server.restart)

    def _mailutils(self):
        server = self._stack.enter_context(mailutils.Imap4d())
        yield Site("mailutils", server, server.version(), server.port_tls, mailutils.PASSWORD, server.add_user, "/", restart=server.restart,
                   into_inbox=server.deliver, keeps_dates=False, keeps_flags=False, nests=False, books=True, pushes=False)

    @staticmethod
    def _fill(site):
        if site.same:
            return
        site.content.update((folder, messages) for folder, messages in content().items() if site.nests or not _has_children(folder))
        site.fill(site.user, site.content)

    def __enter__(self):
        wanted = [self._dovecot]
        for make in (self._cyrus, self._courier, self._mailutils):
            if not why_not(make.__name__[1:]):
                wanted.append(make)
        try:
            # Not in threads: a process that dies with its parent dies with the thread that has made it.
            for make in wanted:
                for site in make():
                    self.sites[site.kind] = site
                    site.user = "reader" if site.same else site.make_user("reader")
                    site.content = self.sites["cyrus"].content if site.same else {}
            with concurrent.futures.ThreadPoolExecutor(len(self.sites)) as pool:
                list(pool.map(self._fill, self.sites.values()))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc):
        self._stack.close()
