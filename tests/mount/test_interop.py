# SPDX-License-Identifier: MIT
"""
The read suite against every IMAP server that Debian has: the same mail on all of them is the same tree on each mount, with each server's own bytes.
POP3: test_interop_pop3.py.
"""

import io
import itertools
import json
import os
import re
import subprocess
import tarfile

import pytest

import harness
import jail
import sites
from harness import Home, eventually
from leaves import compare, of_message, of_server
from maildir import Mail
from mails import START
from proxy import Proxy

CTL = os.path.join(os.path.dirname(harness.EXE), "mailfsctl")
_names = itertools.count(1)


@pytest.fixture(scope="module")
def servers():
    with sites.Sites() as all_of_them:
        yield all_of_them


@pytest.fixture(params=sites.KINDS)
def site(request, servers):
    if request.param not in servers.sites:
        pytest.skip(sites.why_not(request.param))
    return servers.sites[request.param]


class Reader:
    """A mount that lasts for all tests that only read."""

    def __init__(self, site):
        self.site, self.home = site, Home()
        self.flags = {folder: site.flags(site.user, folder) for folder in site.content}
        self.mount = site.mount(self.home, site.user)

    def by_uid(self, folder):
        return self.mount.by_uid(*self.site.place(folder))

    def close(self):
        self.mount.stop()
        self.home.remove()


@pytest.fixture(scope="module")
def readers():
    made = {}
    yield made
    for reader in made.values():
        reader.close()


@pytest.fixture
def reader(site, readers):
    if site.kind not in readers or readers[site.kind].mount.process.poll() is not None:
        readers[site.kind] = Reader(site)
    return readers[site.kind]


@pytest.fixture
def home():
    """Without an end to all other mounts, as the readers last."""
    place = Home()
    yield place
    place.remove()


@pytest.fixture
def user(site):
    """An account for one test, with some mail."""
    login = site.make_user("writer%d" % next(_names))
    site.fill(login, {folder: [sites.number_of(folder, number) for number in range(1, 6)] for folder in (("INBOX",), ("Sub", "Folder"))})
    return login


def read(path):
    with open(path, "rb") as file:
        return file.read()


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, **more).stdout


def test_folders(reader):
    """Those that were made and what they lie in, wherever the server has them, and no other."""
    found = {os.path.relpath(path, reader.mount.path) for path, _, _ in os.walk(reader.mount.path)} - {"."}
    places = [reader.site.place(folder) for folder in reader.site.content]
    wanted = {"/".join(place[:depth]) for place in places for depth in range(1, len(place) + 1)}
    assert found - {"Shared"} == wanted  # our Dovecot has that, too


def stems(names):
    """Without UIDs, and without the dates, which one server does not keep."""
    return sorted(name.rsplit(".", 2)[0].partition("_")[2].partition("_")[2] for name in names if name.endswith(".eml"))


def test_names(reader, readers, servers):
    """The names of files come from the messages, so they are the same everywhere but for the UIDs."""
    if "dovecot" not in readers:
        readers["dovecot"] = Reader(servers.sites["dovecot"])
    for folder in set(reader.site.content) - {("Nasty",)}:
        names, model = reader.mount.names(*reader.site.place(folder)), readers["dovecot"].mount.names(*folder)
        if reader.site.keeps_dates:
            assert [name for name in names if name.endswith(".eml")] == [name for name in model if name.endswith(".eml")]
        else:
            assert stems(names) == stems(model)


def test_bytes(reader):
    """Those that an independent client gets, and the sizes of those."""
    for folder in reader.site.content:
        bodies, paths = reader.site.bodies(reader.site.user, folder), reader.by_uid(folder)
        assert sorted(paths) == sorted(bodies)
        assert [uid for uid in bodies if read(paths[uid]) != bodies[uid]] == [], folder
        assert [uid for uid in bodies if os.stat(paths[uid]).st_size != len(bodies[uid])] == [], folder


def test_nothing_was_lost_on_the_way_in(reader):
    """What was delivered is what is served, so that equal bytes mean something."""
    for folder in (("Archive", "2024"), ("Проекты", "台北")):
        datas = [mail.data for mail in reader.site.content[folder]]
        assert sorted(reader.site.plain(read(path)) for path in reader.by_uid(folder).values()) == sorted(datas)


def test_dates(reader):
    for folder in (("INBOX",), ("Archive", "2025", "Q1")):
        dates, paths = reader.site.dates(reader.site.user, folder), reader.by_uid(folder)
        assert {uid: os.stat(path).st_mtime for uid, path in paths.items()} == dates
    if reader.site.keeps_dates:
        assert sorted(dates.values()) == sorted(mail.date for mail in reader.site.content[folder])


def test_attributes(reader):
    folder = ("Archive", "2024")
    for uid, path in reader.by_uid(folder).items():
        assert os.getxattr(path, "user.mailfs.uid") == b"%d" % uid
        assert set(os.getxattr(path, "user.mailfs.flags").split()) - {b"\\Recent"} == reader.flags[folder][uid]
    assert not reader.site.keeps_flags or {flag for flags in reader.flags[folder].values() for flag in flags} == {b"\\Seen", b"\\Flagged"}


@pytest.mark.parametrize("folder", ["INBOX", "Nasty"])
def test_parts(reader, folder):
    """What Python makes of the message; where a message is broken, what the server says of its structure."""
    bodies = reader.site.bodies(reader.site.user, (folder,))
    base = reader.mount.sub(*reader.site.place((folder,)), ".parts")
    paths = {int(name.rsplit(".", 1)[1]): os.path.join(base, name) for name in os.listdir(base) if re.search(r"\.\d+$", name)}
    assert sorted(paths) == sorted(bodies)
    wrong = {uid: why for uid in bodies if (why := compare(paths[uid], of_message(bodies[uid])))}
    assert len(wrong) <= (5 if folder == "Nasty" else 1), wrong
    with reader.site.selected(reader.site.user, (folder,)) as client:
        assert {uid: why for uid in wrong if (why := compare(paths[uid], of_server(client, uid)))} == {}


def test_tools(reader):
    """tar and grep -r see all of it."""
    total = sum(len(messages) for messages in reader.site.content.values())
    with tarfile.open(fileobj=io.BytesIO(run("tar", "-cf", "-", "-C", reader.mount.path, "."))) as tar:
        files = [member for member in tar.getmembers() if member.isfile()]
        assert len(files) == total and all(tar.extractfile(member).read() == read(reader.mount.sub(member.name)) for member in files)
    assert len(run("grep", "-rl", "Line 3 of it", reader.mount.path).splitlines()) == sum(
        b"Line 3 of it" in mail.data for messages in reader.site.content.values() for mail in messages)


def test_reading_marks_nothing(reader):
    """After all of the above."""
    assert {folder: reader.site.flags(reader.site.user, folder) for folder in reader.site.content} == reader.flags


# What each is known for, and nothing else: a server that does its work is not accused.
MAY = {"sign-of-life", "renumbered", "shared-at-root"}  # depends on time; on time; on whether it has NOTIFY
QUIRKS = {"cyrus": {"below-inbox"}, "courier": {"below-inbox", "multipart-empty"}, "mailutils": {"mechanism-without-secret", "multipart-empty"}}


def test_quirks(reader):
    """Those that were met, as mailfsctl shows them, are those of the table."""
    list(os.walk(reader.mount.sub(*reader.site.place(("Nasty",)), ".parts")))
    status = json.loads(run(CTL, "status", "--json", reader.mount.path))
    assert set(status["server"]["quirks"]) - MAY == QUIRKS.get(reader.site.kind, set())


def test_second_mount(site, home):
    """rsync twice, on two mounts with one store: the second copies nothing, and no body passes; every inode is what it was."""
    copy = os.path.join(home.path, "copy")
    with Proxy(site.port) as proxy:
        with site.mount(home, site.user, port=proxy.port) as mount:
            run("rsync", "-a", mount.path + "/", copy)
            inodes = {path: os.stat(path).st_ino for path in run("find", mount.path).decode().splitlines()}
        first = proxy.total
        proxy.wait_idle()
        proxy.reset_counts()
        with site.mount(home, site.user, port=proxy.port) as mount:
            assert [line for line in run("rsync", "-ai", mount.path + "/", copy).splitlines() if line.startswith(b">f")] == []
            assert {path: os.stat(path).st_ino for path in run("find", mount.path).decode().splitlines()} == inodes
        bodies = sum(len(mail.data) for messages in site.content.values() for mail in messages)
        print("\n%s: %d bytes, then %d" % (site.kind, first, proxy.total))
        assert first > bodies > proxy.total * 4


def refreshed(site, mount):
    """The user asks for news where the server does not tell."""
    if not site.pushes:
        run(CTL, "refresh", mount.path)


def test_news(site, user, home):
    """What another client does is seen: new mail, flags, messages that go, folders that come and go."""
    with site.mount(home, user, "refresh=1") as mount:
        def shows(uids):
            refreshed(site, mount)
            return sorted(mount.by_uid("INBOX")) == uids

        def folders():
            return os.listdir(os.path.dirname(later))
        later = mount.sub(*site.place(("Später",)))
        assert shows([1, 2, 3, 4, 5]) and sorted(mount.by_uid(*site.place(("Sub", "Folder")))) == [1, 2, 3, 4, 5]
        client = site.login(user)
        site.append(client, user, ("INBOX",), Mail(b"Subject: news\r\n\r\nnew\r\n", START))
        site.settle(client)
        eventually(lambda: shows([1, 2, 3, 4, 5, 6]), 20)
        assert site.plain(read(mount.by_uid("INBOX")[6])) == b"Subject: news\r\n\r\nnew\r\n"
        assert client.select("INBOX")[0] == "OK"
        client.uid("STORE", "2", "+FLAGS.SILENT", "(\\Flagged)")
        client.uid("STORE", "3:4", "+FLAGS.SILENT", "(\\Deleted)")
        assert client.expunge()[0] == "OK"
        eventually(lambda: shows([1, 2, 5, 6]), 20)
        eventually(lambda: b"\\Flagged" in os.getxattr(mount.by_uid("INBOX")[2], "user.mailfs.flags"), 20)
        assert client.create('"%s"' % site.name_of(("Später",)))[0] == "OK"
        site.append(client, user, ("Später",), Mail(b"Subject: later\r\n\r\nlater\r\n", START))
        eventually(lambda: "Später" in folders() and len(mount.by_uid(later)) == 1, 20)
        client.close()
        assert client.delete('"%s"' % site.name_of(("Später",)))[0] == "OK"
        eventually(lambda: "Später" not in folders(), 20)
        client.logout()


def test_another_mailbox_of_the_same_name(site, user, home):
    """Other messages under the same UIDs, in this mount and in the next. (Mailutils brings back what is deleted while another session looks at it.)"""
    folder, one = ("Sub", "Folder"), Mail(b"Subject: other\r\n\r\nother\r\n", START)

    def datas(mount):
        return [site.plain(read(path)) for path in mount.by_uid(*site.place(folder)).values()]

    def is_replaced(mount):
        """An error is right while there is none."""
        try:
            return datas(mount) == [one.data]
        except OSError:
            return False

    def replace():
        client = site.login(user)
        assert client.delete('"%s"' % site.name_of(folder))[0] == "OK"
        assert client.create('"%s"' % site.name_of(folder))[0] == "OK"
        site.append(client, user, folder, one)
        client.logout()
    with site.mount(home, user, "refresh=0") as mount:
        assert len(datas(mount)) == 5
        if not site.books:
            replace()
            eventually(lambda: is_replaced(mount), 20)
    if site.books:
        site.restart()  # no session is left that looks at it
        replace()
    with site.mount(home, user) as mount:
        assert datas(mount) == [one.data]


@pytest.mark.parametrize("kind", [kind for kind in sites.KINDS if kind not in ("dovecot", "cyrus-alt")])
def test_restart(kind, servers, home):
    """The server goes and comes back: what was read is read from the store meanwhile, and the rest afterwards."""
    if kind not in servers.sites:
        pytest.skip(sites.why_not(kind))
    site = servers.sites[kind]
    with site.mount(home, site.user, "timeout=20") as mount:
        paths = mount.by_uid("INBOX")
        bodies = {uid: read(path) for uid, path in list(paths.items())[:20]}
        site.restart()
        assert all(read(paths[uid]) == data for uid, data in bodies.items())
        served = site.bodies(site.user, ("INBOX",))

        def all_there():
            try:
                return {uid: read(path) for uid, path in paths.items()} == served
            except OSError:
                return False
        eventually(all_there, 20)


def test_a_missing_server_is_no_secret(tmp_path, monkeypatch):
    """Skipped where it can not be had, and with the reason; what should be there and is not is a failure."""
    monkeypatch.delenv("MAILFS_SERVERS", raising=False)
    monkeypatch.setattr(jail, "FETCHED", str(tmp_path / "servers"))
    assert "was not run" in jail.why_not("cyrus")
    (tmp_path / "servers" / "cyrus").mkdir(parents=True)
    with pytest.raises(AssertionError, match="neither cyrus nor a reason"):
        jail.why_not("cyrus")
    (tmp_path / "servers" / "cyrus" / "why-not").write_text("no such package\n")
    assert jail.why_not("cyrus") == "no such package"
    (tmp_path / "servers" / "cyrus" / "why-not").unlink()
    (tmp_path / "servers" / "cyrus" / "complete").touch()
    assert "contrib/servers" not in jail.why_not("cyrus")
