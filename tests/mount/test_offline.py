# SPDX-License-Identifier: MIT
"""Without the server: what is stored is there at full speed, what is not fails at once, and all comes back with it."""

import errno
import json
import os
import subprocess
import time

import pytest

import harness
import mails
from harness import SLOW, eventually
from leaves import compare, of_message
from maildir import Mail
from proxy import Proxy

CTL = os.path.join(os.path.dirname(harness.EXE), "mailfsctl")
AWAY = (errno.EHOSTUNREACH, errno.EIO)
SAMPLE = [mail.data for mail in mails.sample()["INBOX"]]
LARGE = mails.to_bytes(mails.large(megabytes=3))


def small(number, date=0):
    return Mail(b"From: a@example.org\r\nSubject: number %d\r\n\r\nbody %d\r\n" % (number, number), date or mails.START + number)


@pytest.fixture
def account(account):
    """Three folders, one with a large message, and a proxy before the server."""
    account.deliver("INBOX", SAMPLE)
    account.deliver("Archive", [LARGE, *(small(n) for n in range(20))])
    account.deliver("Archive/Old", [small(n) for n in range(5)])
    with Proxy(account.server.port_tls) as proxy:
        account.proxy = proxy
        yield account


def mounted(account, *options, **more):
    return account.mount(*options, port=account.proxy.port, **more)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def timed(work):
    """(how long it took, the errno it failed with or 0)."""
    before = time.monotonic()
    try:
        work()
        number = 0
    except OSError as error:
        number = error.errno
    return time.monotonic() - before, number


def fails_at_once(work, seconds=2.0):
    took, number = timed(work)
    assert number in AWAY, number
    assert took < seconds * SLOW, took


def connection(mount):
    out = subprocess.run([CTL, "status", "--json", mount.path], env=mount.home.env(), capture_output=True, check=True, timeout=20).stdout
    return json.loads(out)


def wait_offline(mount):
    eventually(lambda: connection(mount)["connection"]["state"] == "offline", 10)


def wait_pinned(mount):
    """Until all that is pinned is here."""
    eventually(lambda: connection(mount)["pinning"]["done"] and
               not any(folder["pinned_missing"] for folder in connection(mount)["folders"] if folder["folder_pinned"]), 30)


def facts(path):
    """What needs no body: attributes of the file and of the message."""
    stat = os.stat(path)
    return (stat.st_size, stat.st_mtime, stat.st_ino,
            {name: os.getxattr(path, name) for name in os.listxattr(path) if name.startswith("user.mailfs.")})


def unmounts_at_once(mount):
    before = time.monotonic()
    subprocess.run(["fusermount3", "-u", mount.path], check=True)
    assert time.monotonic() - before < 1 * SLOW
    mount.wait()


def check_stored(mount, names, known, bodies):
    """Listing, attributes and messages of INBOX as they were."""
    before = time.monotonic()
    assert mount.names("INBOX") == names
    assert time.monotonic() - before < 1 * SLOW
    paths = mount.by_uid("INBOX")
    assert {uid: facts(path) for uid, path in paths.items()} == known
    assert {uid: read(paths[uid]) for uid in bodies} == bodies


def test_mounted_without_the_server(account):
    """At start-up: the tree of folders, listings, attributes, and what was read. Nothing of it is written to: the server is where it was."""
    with mounted(account) as mount:
        names, paths = mount.names("INBOX"), mount.by_uid("INBOX")
        known = {uid: facts(path) for uid, path in paths.items()}
        bodies = {uid: read(paths[uid]) for uid in (1, 3)}  # a third one would fetch those that follow
        top = mount.names()
    account.proxy.refuse()
    before = time.monotonic()
    mount = mounted(account)
    assert time.monotonic() - before < 5 * SLOW
    assert len(mount.log().splitlines()) == 1 and "mailfs: " in mount.log(), mount.log()
    assert mount.names() == top
    check_stored(mount, names, known, bodies)
    paths = mount.by_uid("INBOX")
    for uid in (2, 4, 5):
        fails_at_once(lambda uid=uid: read(paths[uid]))
    # Never listed: no empty directory.
    fails_at_once(lambda: mount.names("Archive"))
    fails_at_once(lambda: os.listdir(mount.sub("INBOX", ".parts", os.path.basename(paths[4])[:-4])))
    assert os.statvfs(mount.path).f_blocks > 0
    account.proxy.recover()
    eventually(lambda: timed(lambda: read(paths[4]))[1] == 0, 10)
    assert len(mount.names("Archive")) == 22
    mount.stop()


def test_an_unknown_account(account):
    """Nothing is stored: there is nothing to mount."""
    account.proxy.refuse()
    code, text = account.home.run(account.url(port=account.proxy.port), account.home.mountpoint(), account.options("timeout=3"))
    assert code == 3 and text.startswith("mailfs: "), text


def test_the_server_goes_and_comes(account):
    with mounted(account, "timeout=3") as mount:
        names, paths = mount.names("INBOX"), mount.by_uid("INBOX")
        known = {uid: facts(path) for uid, path in paths.items()}
        bodies = {uid: read(paths[uid]) for uid in (1, 2)}
        large = mount.by_uid("Archive")[1]
        with open(large, "rb") as file:
            start = file.read(100_000)
        account.proxy.refuse()
        fails_at_once(lambda: read(paths[5]), 4)
        check_stored(mount, names, known, bodies)
        fails_at_once(lambda: read(paths[5]))
        fails_at_once(lambda: mount.names("Archive", "Old"))
        # A part of a message is a part, not a short file.
        with open(large, "rb") as file:
            assert file.read(100_000) == start
            file.seek(2_000_000)
            fails_at_once(lambda: file.read(1000))
        client = account.login()
        client.append("INBOX", None, None, small(77).data)
        client.logout()
        account.proxy.recover()
        eventually(lambda: timed(lambda: read(paths[5]))[1] == 0, 10)
        assert read(large) == LARGE
        eventually(lambda: len(mount.by_uid("INBOX")) == len(paths) + 1, 10)


def test_many_readers_without_the_server(account):
    """Not one time-out after the other: all that is missing fails together."""
    with mounted(account, "timeout=3") as mount:
        paths = mount.by_uid("Archive")
        account.proxy.refuse()
        wait_offline(mount)
        before = time.monotonic()
        for uid in range(2, 22):
            fails_at_once(lambda uid=uid: read(paths[uid]))
        assert time.monotonic() - before < 3 * SLOW
        unmounts_at_once(mount)


def test_everything_offline(account):
    """offline=all: every message and every part is here, in this mount and in the next; folders that were never opened, too."""
    with mounted(account, "offline=all") as mount:
        wait_pinned(mount)
        account.proxy.refuse()
        wait_offline(mount)
        check_all(mount)
    with mounted(account) as mount:
        check_all(mount)
        unmounts_at_once(mount)


def check_all(mount):
    paths = mount.by_uid("INBOX")
    assert {uid: read(path) for uid, path in paths.items()} == dict(enumerate(SAMPLE, 1))
    archive = mount.by_uid("Archive")
    assert read(archive[1]) == LARGE and len(archive) == 21
    assert {read(path) for uid, path in archive.items() if uid > 1} == {small(n).data for n in range(20)}
    assert {read(path) for path in mount.by_uid("Archive", "Old").values()} == {small(n).data for n in range(5)}
    for uid, path in paths.items():
        parts = mount.sub("INBOX", ".parts", os.path.basename(path)[:-4])
        assert compare(parts, of_message(SAMPLE[uid - 1])) == "", uid
        assert SAMPLE[uid - 1].startswith(read(os.path.join(parts, "headers.txt")))
    parts = mount.sub("Archive", ".parts", os.path.basename(archive[1])[:-4])
    assert compare(parts, of_message(LARGE)) == ""


def test_parts_of_what_was_read(account):
    """A message that was read has its parts here, though nobody has looked at them before."""
    with mounted(account) as mount:
        path = mount.by_uid("INBOX")[3]
        assert read(path) == SAMPLE[2]
        account.proxy.refuse()
        wait_offline(mount)
        parts = mount.sub("INBOX", ".parts", os.path.basename(path)[:-4])
        assert compare(parts, of_message(SAMPLE[2])) == ""


def test_what_the_option_says(account):
    """A folder with those in it, or the last days; no more than that."""
    recent = int(time.time()) - 3 * mails.DAY
    account.deliver("Mixed", [small(1, recent - 30 * mails.DAY), small(2, recent), small(3, recent)])
    with mounted(account, "offline=Archive") as mount:
        wait_pinned(mount)
        account.proxy.refuse()
        wait_offline(mount)
        assert all(read(path) for path in mount.by_uid("Archive", "Old").values())
        assert read(mount.by_uid("Archive")[1]) == LARGE
        fails_at_once(lambda: mount.names("INBOX"))
        account.proxy.recover()
    with mounted(account, "offline=10d") as mount:
        # Without anybody having opened the folder.
        eventually(lambda: any(entry["path"] == "Mixed" and entry["pinned"] == 2 and entry["pinned_missing"] == 0
                               for entry in connection(mount)["folders"]), 20)
        account.proxy.refuse()
        wait_offline(mount)
        paths = mount.by_uid("Mixed")
        assert read(paths[2]) == small(2).data and read(paths[3]) == small(3).data
        fails_at_once(lambda: read(paths[1]))


def test_pins_that_do_not_fit(account):
    """One line says what to do, and the mount goes on."""
    account.deliver("Big", [Mail(mails.to_bytes(mails.large(megabytes=1)) + b"%d\r\n" % n) for n in range(4)])
    with mounted(account, "cache_size=3M", "offline=Big") as mount:
        eventually(lambda: "unpin" in mount.log(), 20)
        time.sleep(1 * SLOW)
        assert len(mount.log().splitlines()) == 1, mount.log()
        for uid, path in mount.by_uid("INBOX").items():
            assert read(path) == SAMPLE[uid - 1]
