# SPDX-License-Identifier: MIT
"""
What another client does shows by itself: refresh= is a day here, so that nothing but the server's own word (NOTIFY, IDLE) can bring
it, or polling where the server has neither. A real Dovecot, with capabilities masked for the lower rungs.
"""

import errno
import os
import time

import pytest

from dovecot import Dovecot, Settings
from harness import SLOW, eventually
from proxy import Proxy

FULL = ("IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT THREAD=REFERENCES MULTIAPPEND UNSELECT CHILDREN NAMESPACE UIDPLUS "
        "LIST-EXTENDED I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SPECIAL-USE "
        "QUOTA LITERAL+ NOTIFY")
A_DAY = "refresh=86400"


def without(*words):
    return " ".join(word for word in FULL.split() if word not in words)


RUNGS = {"notify": without(), "idle": without("NOTIFY"), "idle-scan": without("NOTIFY", "QRESYNC", "CONDSTORE", "ESEARCH")}


def rung(*names):
    """Runs a test on these rungs."""
    return pytest.mark.parametrize("pushing", names, indirect=True)


@pytest.fixture(scope="module")
def pushing(request):
    with Dovecot(Settings(capability=RUNGS[request.param])) as dovecot:
        yield dovecot


def mail(subject):
    return b"From: Bob <b@example.org>\r\nSubject: %s\r\nMessage-ID: <%s@example.org>\r\n\r\nbody\r\n" % (subject, subject)


def append(client, subject, folder="INBOX"):
    assert client.append('"%s"' % folder, None, None, mail(subject))[0] == "OK"


def listed(client):
    return {line.decode().rpartition('"/" ')[2].strip('"') for line in client.list()[1] if line}


def until(client, there, work, *args):
    """
    Makes, renames or deletes a folder, once more where the server has undone it: Dovecot's Maildir sometimes comes back when it is deleted while another
    session looks at it. there: what is listed then, with ! what is not.
    """
    def done():
        work(*args)
        time.sleep(0.2)
        names = listed(client)
        return all(name[1:] not in names if name[0] == "!" else name in names for name in there)

    eventually(done)


def has(mount, folder, part):
    return lambda: any(part in name for name in mount.names(folder))


@rung(*sorted(RUNGS))
def test_another_client(pushing, new_account):
    """New mail, flags, an expunge, a move: names and attributes follow, also those that the kernel keeps."""
    account = new_account(pushing)
    account.deliver("INBOX", [mail(b"one"), mail(b"two"), mail(b"three")])
    account.deliver("Other", [mail(b"other")])
    client = account.login()
    with account.mount(A_DAY) as mount:
        assert len(mount.names("INBOX")) == 3
        paths = mount.by_uid("INBOX")
        append(client, b"late")
        eventually(has(mount, "INBOX", "late"))
        client.select("INBOX")
        client.uid("STORE", "1", "+FLAGS", "(\\Flagged)")
        eventually(lambda: b"\\Flagged" in os.getxattr(paths[1], "user.mailfs.flags"))
        assert b"body" in mount.read(paths[2])
        client.uid("STORE", "2", "+FLAGS", "(\\Deleted)")
        client.expunge()
        eventually(lambda: not os.path.exists(paths[2]))
        assert sorted(mount.by_uid("INBOX")) == [1, 3, 4]
        with pytest.raises(OSError) as error:
            mount.read(paths[2])
        assert error.value.errno == errno.ENOENT
        client.uid("MOVE" if b"MOVE" in client.capability()[1][0] else "COPY", "3", '"Other"')
        mount.names("Other")  # the folder last used
        eventually(has(mount, "Other", "three"))


@rung("idle")
def test_folder_last_used(pushing, new_account):
    """Of a server that can watch one mailbox only, that is INBOX and the one that somebody looked into last."""
    account = new_account(pushing)
    for folder in "INBOX", "A", "B":
        account.deliver(folder, [mail(b"old")])
    client = account.login()
    with account.mount(A_DAY) as mount:
        for folder in "A", "B":
            mount.names(folder)
            append(client, b"first", folder)
            eventually(has(mount, folder, "first"))
            append(client, b"second", folder)
            eventually(has(mount, folder, "second"))
        append(client, b"inbox")
        mount.names("INBOX")
        eventually(has(mount, "INBOX", "inbox"))


@rung("idle", "notify")
def test_folders(pushing, new_account):
    """Made, renamed, deleted, unsubscribed elsewhere; with refresh= of a second, because IDLE does not tell of folders."""
    account = new_account(pushing)
    account.deliver("Plain", [mail(b"kept")])
    client = account.login()
    with account.mount("refresh=1") as mount:
        assert "New" not in mount.names()
        path = mount.by_uid("Plain")[1]
        body = mount.read(path)
        until(client, ["New"], client.create, "New")
        until(client, ["New/Below"], client.create, "New/Below")
        eventually(lambda: "New" in mount.names())
        eventually(lambda: "Below" in mount.names("New"))
        append(client, b"there", "New/Below")
        eventually(has(mount, "New/Below", "there"))
        until(client, ["Renamed", "!Plain"], client.rename, "Plain", "Renamed")
        eventually(lambda: "Renamed" in mount.names() and "Plain" not in mount.names())
        assert mount.read(mount.by_uid("Renamed")[1]) == body
        assert not os.path.exists(path)
        client.unsubscribe("Renamed")
        until(client, ["!New/Below"], client.delete, "New/Below")
        eventually(lambda: "Below" not in os.listdir(mount.sub("New")))
        with pytest.raises(OSError) as error:
            os.stat(mount.sub("New", "Below"))
        assert error.value.errno == errno.ENOENT
        until(client, ["!New"], client.delete, "New")
        eventually(lambda: "New" not in mount.names())
        until(client, ["New"], client.create, "New")
        eventually(lambda: "New" in mount.names())
        assert mount.names("New") == []
        assert "Renamed" in mount.names()  # subscribed or not


@rung("idle-scan")
def test_renamed_without_a_fetch(pushing, new_account):
    """The bodies of a renamed folder are kept: nothing of it is downloaded again."""
    account = new_account(pushing)
    account.deliver("Old", [mail(b"m%d" % n) for n in range(20)])
    client = account.login()
    with account.mount("refresh=1") as mount:
        bodies = {uid: mount.read(path) for uid, path in mount.by_uid("Old").items()}
        until(client, ["Moved/Here", "!Old"], client.rename, "Old", "Moved/Here")
        eventually(lambda: "Moved" in mount.names() and "Here" in mount.names("Moved"))
        before = len(account.commands("BODY.PEEK[]"))
        assert {uid: mount.read(path) for uid, path in mount.by_uid("Moved/Here").items()} == bodies
        assert len(account.commands("BODY.PEEK[]")) == before


@rung("notify")
@pytest.mark.limit(90)
def test_cut(pushing, new_account):
    """Connections that break are made again, and what came meanwhile shows."""
    account = new_account(pushing)
    account.deliver("INBOX", [mail(b"old")])
    client = account.login()
    with Proxy(pushing.port_tls) as proxy, account.mount(A_DAY, port=proxy.port) as mount:
        mount.names("INBOX")
        for number in range(3):
            append(client, b"before%d" % number)
            eventually(has(mount, "INBOX", "before%d" % number))
            proxy.cut_idle()
            append(client, b"while%d" % number)
            eventually(has(mount, "INBOX", "while%d" % number), 15)


def test_polling(new_account):
    """Neither NOTIFY nor IDLE: asked each refresh=, without anybody's ls."""
    with Dovecot(Settings(capability=without("NOTIFY", "IDLE"))) as dovecot:
        account = new_account(dovecot)
        account.deliver("INBOX", [mail(b"old")])
        client = account.login()
        with account.mount("refresh=1") as mount:
            mount.names("INBOX")
            append(client, b"late")
            time.sleep(3 * SLOW)
            asked = len(account.commands("UID FETCH"))
            assert has(mount, "INBOX", "late")()
            assert len(account.commands("UID FETCH")) - asked <= 1


@pytest.mark.limit(90)
def test_watchdog(server, new_account):
    """A connection that has died without a word is found dead, and what came meanwhile shows."""
    account = new_account(server)
    account.deliver("INBOX", [mail(b"old")])
    client = account.login()
    with Proxy(server.port_tls) as proxy, account.mount(A_DAY, "watchdog=5", "timeout=3", port=proxy.port) as mount:
        mount.names("INBOX")
        time.sleep(1 * SLOW)
        proxy.blackhole()
        append(client, b"late")
        time.sleep(6 * SLOW)
        proxy.recover()
        eventually(has(mount, "INBOX", "late"), 20)
