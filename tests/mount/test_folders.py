# SPDX-License-Identifier: MIT
"""Folders are directories: namespaces, delimiters, modified UTF-7, \\Noselect, names that no directory can have."""

import errno
import os
from urllib.parse import unquote_to_bytes

import pytest

from dovecot import Dovecot, Settings
from fake.imap import Box, Message, Server
from harness import Mount
from maildir import Mail, mutf7

ONE = [b"Subject: one\r\n\r\nbody\r\n"]


def tree(path):
    """All directories below path, relative."""
    return sorted(os.path.relpath(os.path.join(folder, name), path) for folder, names, _ in os.walk(path) for name in names)


def mailbox(path):
    return os.getxattr(path, "user.mailfs.mailbox")


def test_nested_and_international(account):
    for folder in ("INBOX/Sub", "Archive/2025/November", "Entwürfe", "Проекты/台北/日本語", "A&B", "with space", "Crème brûlée 🍮"):
        account.deliver(folder, ONE)
    with account.mount() as mount:
        assert [d for d in tree(mount.path) if not d.startswith("Shared")] == sorted([
            "INBOX", "INBOX/Sub", "Archive", "Archive/2025", "Archive/2025/November", "Entwürfe", "Проекты", "Проекты/台北",
            "Проекты/台北/日本語", "A&B", "with space", "Crème brûlée 🍮"])
        assert len(mount.by_uid("Проекты/台北/日本語")) == 1
        assert len(mount.by_uid("A&B")) == 1
        assert mailbox(mount.sub("Проекты/台北")) == mutf7("Проекты/台北").encode()


def test_noselect_is_a_directory_without_messages(account):
    account.deliver("Archive/2025", ONE)
    with account.mount() as mount:
        assert mount.names("Archive") == ["2025"]
        assert os.stat(mount.sub("Archive")).st_mode & 0o777 == 0o700


def test_shared_namespace(account):
    account.server.share("team/news", [Mail(ONE[0])])
    with account.mount() as mount:
        assert "Shared" in mount.names()
        assert len(mount.by_uid("Shared/team/news")) == 1


def test_folder_without_access(account):
    """It shows itself, but entering it is refused; the others are as they were."""
    account.server.share("locked", [Mail(ONE[0])], rights="l")
    account.deliver("INBOX", ONE)
    with account.mount() as mount:
        assert "locked" in mount.names("Shared")
        for _ in range(2):
            with pytest.raises(PermissionError):
                mount.names("Shared/locked")
        assert len(mount.by_uid("INBOX")) == 1


def test_special_use(account):
    for folder in ("Sent", "Trash", "Other"):
        account.deliver(folder, [])
    with account.mount() as mount:
        assert os.getxattr(mount.sub("Sent"), "user.mailfs.special_use") == b"\\Sent"
        assert os.getxattr(mount.sub("Trash"), "user.mailfs.special_use") == b"\\Trash"
        with pytest.raises(OSError) as error:
            os.getxattr(mount.sub("Other"), "user.mailfs.special_use")
        assert error.value.errno == errno.ENODATA


def test_one_folder_as_source(account):
    account.deliver("Archive/2025 Ä", ONE)
    account.deliver("Archive/2025 Ä/Sub", ONE)
    with account.mount(folder="Archive/2025%20%C3%84") as mount:
        assert len(mount.by_uid()) == 1
        assert [name for name in mount.names() if not name.endswith(".eml")] == ["Sub"]
        assert len(mount.by_uid("Sub")) == 1


@pytest.fixture(scope="module")
def dotted():
    """A server with '.' between the levels, where a name may hold '/'."""
    with Dovecot(Settings(separator=".", storage="index")) as dovecot:
        yield dovecot


def test_dot_as_delimiter(new_account, dotted):
    account = new_account(dotted)
    client = account.login()
    for name in ("a.b.c", "with/slash", "50%", "%41", "INBOX.Sub"):
        assert client.create('"%s"' % name)[0] == "OK"
    client.append('"with/slash"', None, None, ONE[0])
    client.logout()
    with account.mount() as mount:
        assert [d for d in tree(mount.path) if not d.startswith("Shared")] == sorted([
            "INBOX", "INBOX/Sub", "a", "a/b", "a/b/c", "with%2Fslash", "50%", "%2541"])
        assert len(mount.by_uid("with%2Fslash")) == 1
        assert mailbox(mount.sub("with%2Fslash")) == b"with/slash"


def folders_of(home, boxes):
    """What a mount of a scripted server with these boxes shows."""
    with Server(boxes) as fake:
        with Mount(home, "imap://me@127.0.0.1:%d" % fake.port, ["tls=none", "password_file=" + home.password_file]) as mount:
            found = tree(mount.path)
            counts = {name: len(mount.by_uid(name)) for name in found}
            boxes_seen = {name: mailbox(mount.sub(name)) for name in found if "user.mailfs.mailbox" in os.listxattr(mount.sub(name))}
    return found, counts, boxes_seen


def box(delimiter="/"):
    return Box([Message(1, ONE[0])], delimiter=delimiter)


def test_names_that_no_directory_can_have(home):
    """They are escaped, so that the name on the server can be had from the one that is shown."""
    odd = [b".", b"..", b".hidden", b"mail.eml", b"%41", b"a\x01b", b"bad\xff\xfebytes", b".eml", b"%2e"]
    found, counts, seen = folders_of(home, {"INBOX": box(), **{name.decode("latin-1"): box() for name in odd}})
    assert len(found) == len(odd) + 1
    by_mailbox = {seen[name]: name for name in found}
    for name in odd:
        shown = by_mailbox[name]
        assert unquote_to_bytes(shown) == name
        assert counts[shown] == 1
        assert not shown.startswith(".") and not shown.endswith(".eml") and shown.isprintable(), shown


def test_case_twins(home):
    """Names that differ only in case are two folders; INBOX in any case is one."""
    found, _, seen = folders_of(home, {"inbox": box(), "Work": box(), "work": box(), "WORK": box()})
    assert found == ["INBOX", "WORK", "Work", "work"]
    assert seen["INBOX"] == b"inbox"


def test_other_delimiters(home):
    found, counts, _ = folders_of(home, {"INBOX": box("\\"), "a\\b/c": box("\\"), "flat/name": box("\\")})
    assert "a/b%2Fc" in found and "flat%2Fname" in found
    assert counts["a/b%2Fc"] == 1


def test_empty_component(home):
    found, counts, seen = folders_of(home, {"INBOX": box(), "a//b": box()})
    (odd,) = [name for name in found if seen.get(name) == b"a//b"]
    assert counts[odd] == 1


def test_folder_that_can_not_be_selected(home):
    """EACCES or EIO on entering, never an empty directory; one bad folder does not spoil the mount."""
    boxes = {"INBOX": box(), "Denied": box(), "Broken": box(), "Good": box()}
    boxes["Denied"].no_select = "[NOPERM] Not yours."
    boxes["Broken"].no_select = "The index is damaged."
    with Server(boxes) as fake:
        with Mount(home, "imap://me@127.0.0.1:%d" % fake.port, ["tls=none", "password_file=" + home.password_file]) as mount:
            assert mount.names() == ["Broken", "Denied", "Good", "INBOX"]
            for name, number in (("Denied", errno.EACCES), ("Broken", errno.EIO)):
                with pytest.raises(OSError) as error:
                    mount.names(name)
                assert error.value.errno == number
            assert len(mount.by_uid("Good")) == len(mount.by_uid("INBOX")) == 1
            boxes["Broken"].no_select = ""
            assert len(mount.by_uid("Broken")) == 1


def test_folder_attributes(account):
    account.deliver("INBOX", [Mail(ONE[0], flags=("\\Seen",)), Mail(ONE[0]), Mail(ONE[0])])
    with account.mount() as mount:
        path = mount.sub("INBOX")
        assert len(mount.names("INBOX")) == 3
        assert os.getxattr(path, "user.mailfs.messages") == b"3"
        assert os.getxattr(path, "user.mailfs.unseen") == b"2"
        assert os.getxattr(path, "user.mailfs.uidvalidity") == b"1600000000"
        assert mailbox(path) == b"INBOX"
