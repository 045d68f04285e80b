# SPDX-License-Identifier: MIT
"""The programs that people use, on a mount: nothing missing, nothing twice, exit code 0."""

import filecmp
import os
import subprocess
import tarfile

import pytest

import mails
from harness import EXE


@pytest.fixture
def mailbox(account):
    """The sample mail, without its largest message; each folder's bytes by UID."""
    content = {folder: [mail for mail in content if len(mail.data) < 1_000_000] for folder, content in mails.sample().items()}
    for folder, content_of in content.items():
        account.deliver(folder, content_of)
    account.content = {folder: dict(enumerate((mail.data for mail in content_of), 1)) for folder, content_of in content.items()}
    return account


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


def same(mount, copy, folders):
    for folder in folders:
        got = os.listdir(os.path.join(copy, folder))
        assert sorted(got) == mount.names(folder)
        files = [name for name in got if name.endswith(".eml")]
        assert filecmp.cmpfiles(mount.sub(folder), os.path.join(copy, folder), files, shallow=False) == (files, [], [])


def test_cp(mailbox, home):
    copy = os.path.join(home.path, "copy")
    with mailbox.mount() as mount:
        run("cp", "-a", mount.path, copy)
        same(mount, copy, mailbox.content)
        for path in mount.by_uid("INBOX").values():
            assert os.stat(path).st_mtime == os.stat(os.path.join(copy, "INBOX", os.path.basename(path))).st_mtime


def test_tar(mailbox, home):
    archive = os.path.join(home.path, "mail.tar")
    with mailbox.mount() as mount:
        run("tar", "-cf", archive, "-C", mount.path, ".")
        with tarfile.open(archive) as tar:
            for folder, content in mailbox.content.items():
                for uid, path in mount.by_uid(folder).items():
                    assert tar.extractfile("./" + os.path.relpath(path, mount.path)).read() == content[uid]


def test_rsync_copies_once(mailbox, home):
    """The second run finds nothing to do, on a new mount and without the store too."""
    copy = os.path.join(home.path, "copy")
    with mailbox.mount() as mount:
        assert run("rsync", "-ai", mount.path + "/", copy)
        same(mount, copy, mailbox.content)
        assert run("rsync", "-ai", mount.path + "/", copy) == ""
    home.wipe_cache()
    mailbox.server.forget_commands(mailbox.name)
    with mailbox.mount() as mount:
        assert [line for line in run("rsync", "-ai", mount.path + "/", copy).splitlines() if line.startswith(">f")] == []
    assert [c for c in mailbox.commands("BODY") if "HEADER.FIELDS" not in c] == []


def test_grep(mailbox):
    with mailbox.mount() as mount:
        found = run("grep", "-rl", "needle", mount.path).splitlines()
        # The two that say so in plain words, and the one that has it in an attached message.
        assert sorted(int(path.split(".")[-2]) for path in found if "/INBOX/" in path) == [1, 3, 5]


def test_find_and_ls(mailbox):
    with mailbox.mount() as mount:
        files = run("find", mount.path, "-name", "*.eml", "-type", "f").splitlines()
        assert len(files) == sum(map(len, mailbox.content.values()))
        assert len(run("ls", "-lR", mount.path).splitlines()) > len(files)
        assert run("sh", "-c", 'for f in INBOX/*.eml; do wc -c <"$f"; done', cwd=mount.path).split() == [
            str(len(mailbox.content["INBOX"][uid])) for uid in sorted_by_name(mount)]


def sorted_by_name(mount):
    return [int(name.split(".")[-2]) for name in mount.names("INBOX") if name.endswith(".eml")]


def test_checksum_of_an_attachment(mailbox, home):
    with mailbox.mount() as mount:
        (name,) = [n for n in mount.names("INBOX", ".parts") if n.endswith(".3")]
        copy = os.path.join(home.path, "report.pdf")
        run("cp", mount.sub("INBOX", ".parts", name, "2-report.pdf"), copy)
        assert run("sha256sum", copy).split()[0] == mails.REPORT_SHA256


@pytest.mark.parametrize("prefix, kind", [("", ["-t", "fuse.mailfs"]), ("mailfs#", [])])
def test_mount_as_in_fstab(mailbox, home, prefix, kind):
    """fuse.mailfs SOURCE, and the older mailfs#SOURCE: what mount(8) runs for a line of fstab, with its options."""
    path = home.mountpoint()
    os.mkdir(os.path.join(home.path, "bin"))
    os.symlink(os.path.abspath(EXE), os.path.join(home.path, "bin", "mailfs"))
    env = home.env(PATH=os.path.join(home.path, "bin") + ":/usr/sbin:/usr/bin:/sbin:/bin")
    options = ",".join(["ro", "noauto", "_netdev", "x-systemd.automount", *mailbox.options()])
    run("mount.fuse3", prefix + mailbox.url(), path, *kind, "-o", options, env=env)
    assert "INBOX" in os.listdir(path)
    assert run("findmnt", "-n", "-o", "OPTIONS", path).startswith("ro,")
    run("fusermount3", "-u", path)


def test_df_and_mount_table(mailbox):
    with mailbox.mount() as mount:
        line = run("findmnt", "-n", "-o", "FSTYPE,SOURCE", mount.path)
        assert "fuse.mailfs" in line and "pass" not in line
        assert run("df", "--output=size", mount.path).splitlines()[1].strip() == str(1000 * 1024)
