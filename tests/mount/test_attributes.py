# SPDX-License-Identifier: MIT
"""stat, extended attributes, statfs; and that nothing can be changed yet."""

import errno
import os
import stat
import subprocess

import pytest

from fake.imap import Box, Server
from harness import Mount
from maildir import Mail

DATE = 1763715300
MAILS = [
    Mail(b"From: Alice Smith <alice@example.org>\r\nTo: =?utf-8?Q?J=C3=B6rg?= <j@example.org>, b@example.org\r\n"
         b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.org>\r\n\r\nbody\r\n", DATE, ("\\Seen", "\\Flagged")),
    Mail(b"Subject: two\r\n\r\n" + b"x" * 5000 + b"\r\n", DATE + 61, uid=900),
    Mail(b"Subject: old\r\n\r\nold\r\n", 86400 * 365),
]


@pytest.fixture
def mailbox(account):
    account.deliver("INBOX", MAILS)
    account.deliver("Archive/2025", MAILS)
    return account


def test_stat(mailbox):
    with mailbox.mount() as mount:
        uids = (1, 900, 901)
        for uid, mail in zip(uids, MAILS):
            info = os.stat(mount.by_uid("INBOX")[uid])
            assert stat.S_ISREG(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o600
            assert info.st_size == len(mail.data)
            assert info.st_mtime == info.st_ctime == mail.date
            assert info.st_nlink == 1 and (info.st_uid, info.st_gid) == (os.getuid(), os.getgid())
            assert info.st_ino & 0xFFFFFFFF == uid and 0 < info.st_ino >> 32 < 1 << 31
        folder = os.stat(mount.sub("INBOX"))
        assert stat.S_ISDIR(folder.st_mode) and stat.S_IMODE(folder.st_mode) == 0o700


def test_read_only_mount_shows_read_only_files(mailbox):
    with mailbox.mount("ro") as mount:
        assert all(stat.S_IMODE(os.stat(path).st_mode) == 0o400 for path in mount.by_uid("INBOX").values())


def test_owner_and_umask_options(mailbox):
    with mailbox.mount("uid=1234", "gid=2345", "umask=022") as mount:
        info = os.stat(mount.by_uid("INBOX")[1])
        assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (1234, 2345, 0o644)
        assert stat.S_IMODE(os.stat(mount.sub("INBOX")).st_mode) == 0o755


def inodes(mount):
    return {os.path.relpath(path, mount.path): os.lstat(path).st_ino
            for folder, folders, files in os.walk(mount.path) for path in (os.path.join(folder, n) for n in folders + files)}


def test_inodes_are_the_same_on_every_mount(mailbox, home):
    with mailbox.mount() as mount:
        first = inodes(mount)
    with mailbox.mount() as mount:
        assert inodes(mount) == first
    home.wipe_cache()
    with mailbox.mount() as mount:
        assert inodes(mount) == first
    assert len(set(first.values())) == len(first)


def test_inode_of_a_listing_is_that_of_stat(mailbox):
    with mailbox.mount() as mount:
        with os.scandir(mount.sub("INBOX")) as entries:
            for entry in entries:
                assert entry.inode() == os.stat(entry.path).st_ino


def test_xattrs_of_a_message(mailbox):
    with mailbox.mount() as mount:
        path = mount.by_uid("INBOX")[1]
        got = {name: os.getxattr(path, name).decode() for name in os.listxattr(path)}
        flags = got.pop("user.mailfs.flags")
        assert set(flags.split()) == {"\\Seen", "\\Flagged"}
        date = got.pop("user.mailfs.date")
        assert date.startswith("2025-11-21") and "08:55" in date
        assert got == {"user.mailfs.uid": "1", "user.mailfs.from": "Alice Smith <alice@example.org>",
                       "user.mailfs.to": "Jörg <j@example.org>, b@example.org", "user.mailfs.subject": "Grüße",
                       "user.mailfs.message_id": "<1@example.org>", "user.mailfs.size": str(len(MAILS[0].data))}
        two = mount.by_uid("INBOX")[900]
        assert os.getxattr(two, "user.mailfs.flags") == b""
        with pytest.raises(OSError) as error:
            os.getxattr(two, "user.mailfs.labels")
        assert error.value.errno == errno.ENODATA
        for name in "security.selinux", "system.posix_acl_access":  # ls -l then asks no more
            with pytest.raises(OSError) as error:
                os.getxattr(two, name)
            assert error.value.errno == errno.EOPNOTSUPP


def test_xattr_too_small_a_buffer(mailbox):
    """getfattr asks for the size first; both of its calls must agree."""
    with mailbox.mount() as mount:
        out = subprocess.run(["getfattr", "-d", mount.by_uid("INBOX")[1]], capture_output=True, check=True, text=True).stdout
        assert 'user.mailfs.message_id="<1@example.org>"' in out


def test_statfs_shows_the_quota(mailbox):
    with mailbox.mount() as mount:
        info = os.statvfs(mount.path)
        assert info.f_blocks * info.f_frsize == 1000 * 1024 * 1024
        assert 0 < info.f_bavail < info.f_blocks
        assert info.f_files == 1000000


def test_statfs_without_a_quota(home):
    """Plausible figures that are not zero: many programs take zero for a full disk."""
    with Server({"INBOX": Box([])}) as fake:
        with Mount(home, "imap://me@127.0.0.1:%d" % fake.port, ["tls=none", "password_file=" + home.password_file]) as mount:
            info = os.statvfs(mount.path)
            assert info.f_blocks > 0 and info.f_bavail > 0 and info.f_files > 0 and info.f_namemax >= 255


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("allowed", [True, False])
def test_allow_other(mailbox, home, allowed):
    os.chmod(home.path, 0o755)
    with mailbox.mount(*(["allow_other", "umask=022"] if allowed else ["umask=022"])) as mount:
        path = mount.by_uid("INBOX")[1]
        done = subprocess.run(["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "cat", path],
                              capture_output=True, check=False)
        assert (done.returncode, done.stdout) == ((0, MAILS[0].data) if allowed else (1, b""))


def test_metadata_never_downloads(mailbox):
    """ls -lR, find, getfattr and df ask for header fields only, never for a body."""
    with mailbox.mount() as mount:
        subprocess.run(["ls", "-lR", mount.path], check=True, stdout=subprocess.DEVNULL)
        mailbox.server.forget_commands(mailbox.name)
        subprocess.run(["find", mount.path, "-size", "+1k", "-newermt", "2020-01-01"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["getfattr", "-Rd", mount.path], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["df", mount.path], check=True, stdout=subprocess.DEVNULL)
        assert mailbox.commands("FETCH") == []
    fetches = mailbox.commands("BODY")
    assert all("HEADER.FIELDS" in command for command in fetches), fetches


def changes(mount):
    """Every way to change something, by name."""
    path, folder = mount.by_uid("INBOX")[1], mount.sub("INBOX")
    new = mount.sub("INBOX", "new.eml")
    return {
        "write": lambda: os.open(path, os.O_WRONLY),
        "read and write": lambda: os.open(path, os.O_RDWR),
        "append": lambda: os.open(path, os.O_WRONLY | os.O_APPEND),
        "open and truncate": lambda: os.open(path, os.O_RDONLY | os.O_TRUNC),
        "create": lambda: os.open(new, os.O_CREAT | os.O_WRONLY),
        "truncate": lambda: os.truncate(path, 0),
        "unlink": lambda: os.unlink(path),
        "rename": lambda: os.rename(path, new),
        "rename folder": lambda: os.rename(folder, mount.sub("Elsewhere")),
        "link": lambda: os.link(path, new),
        "symlink": lambda: os.symlink("x", new),
        "mkdir": lambda: os.mkdir(mount.sub("New")),
        "rmdir": lambda: os.rmdir(mount.sub("Archive/2025")),
        "mknod": lambda: os.mknod(new, 0o600 | stat.S_IFIFO),
        "chmod": lambda: os.chmod(path, 0o644),
        "chown": lambda: os.chown(path, 1, 1),
        "utime": lambda: os.utime(path, (1, 1)),
        "setxattr": lambda: os.setxattr(path, "user.mailfs.flags", b"\\Seen"),
        "removexattr": lambda: os.removexattr(path, "user.mailfs.flags"),
    }


@pytest.mark.parametrize("options", [[], ["ro"]])
def test_every_change_is_refused(mailbox, options):
    with mailbox.mount(*options) as mount:
        before = inodes(mount)
        for name, change in changes(mount).items():
            with pytest.raises(OSError) as error:
                change()
            assert error.value.errno == errno.EROFS, name
        assert inodes(mount) == before


def test_ro_examines(mailbox):
    with mailbox.mount("ro") as mount:
        mount.names("INBOX")
    assert mailbox.commands("EXAMINE") and not mailbox.commands("SELECT")


def test_without_ro_selects(mailbox):
    with mailbox.mount() as mount:
        mount.names("INBOX")
    assert mailbox.commands("SELECT")


def test_no_such_file(mailbox):
    with mailbox.mount() as mount:
        for name in ("INBOX/nothing", "INBOX/nothing.eml", "Nowhere", "INBOX/2025-11-21_0855_a_b.77.eml", ".parts/Nowhere"):
            with pytest.raises(FileNotFoundError):
                os.stat(mount.sub(name))
