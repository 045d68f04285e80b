# SPDX-License-Identifier: MIT
"""The hidden .parts view: held against Python's email package for every message that we have."""

import os
import subprocess

import pytest

import mails
from leaves import compare, of_message, of_server
from maildir import Mail
from proxy import Proxy


@pytest.fixture(scope="module")
def boxed(server):
    """An account with the sample mail, and one mailbox with the corpora: (user, sample's bytes, corpora's bytes)."""
    server.add_user("parts")
    sample = [mail.data for mail in mails.sample()["INBOX"]]
    server.deliver("parts", "INBOX", [Mail(data) for data in sample])
    server.deliver("parts", "Corpora", [Mail(data) for _, data in mails.corpora()])
    server.deliver("parts", "Large", [Mail(mails.to_bytes(mails.large(text="word " * 2047 + "\r\n")))])
    return server.bodies("parts"), server.bodies("parts", "Corpora")


@pytest.fixture
def account(boxed, account):
    account.name = "parts"
    return account


def directories(mount, *folder):
    """{uid: path} of the messages' directories in a folder's view."""
    base = mount.sub(*folder, ".parts")
    return {int(name.rsplit(".", 1)[1]): os.path.join(base, name) for name in os.listdir(base)}


def names(path):
    return sorted(os.listdir(path))


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


def test_names_of_the_sample(account):
    with account.mount() as mount:
        found = {uid: names(path) for uid, path in directories(mount, "INBOX").items()}
        assert found == {
            1: ["1-text.txt", "headers.txt"],
            2: ["1-text.txt", "2-text.html", "headers.txt"],
            3: ["1-text.txt", "2-report.pdf", "3-Übersicht-2025.csv", "4-写真.png", "headers.txt"],
            4: ["1-text.txt", "headers.txt"],
            5: ["1-text.txt", found[5][1], "headers.txt"],
            6: ["1.1-text.txt", "1.2.1-text.html", found[6][2], "2-notes.txt", "headers.txt"],
            7: ["1-text.txt", "2-Größe.bin", "3-отчёт.doc", found[7][3], "headers.txt"],
        }
        assert found[5][1].startswith("2") and found[6][2].startswith("1.2.2") and found[6][2].endswith(".gif")
        assert found[7][3].startswith("4-") and "/" not in found[7][3]
        inner = os.path.join(directories(mount, "INBOX")[5], found[5][1])
        assert os.path.isdir(inner) and names(inner) == found[3]


def test_contents_of_the_sample(account, boxed):
    with account.mount() as mount:
        paths = directories(mount, "INBOX")
        assert read(paths[3], "2-report.pdf") == mails.report_pdf()
        assert read(paths[4], "1-text.txt").decode() == "議事録を送ります。\r\n"
        assert read(paths[7], "1-text.txt").decode() == "Привет, мир!"  # koi8-r on the server
        assert read(paths[1], "headers.txt") == boxed[0][1].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        (inner,) = [name for name in names(paths[5]) if os.path.isdir(os.path.join(paths[5], name))]
        assert read(paths[5], inner, "2-report.pdf") == mails.report_pdf()


@pytest.mark.parametrize("mailbox", ["INBOX", "Corpora"])
def test_against_the_email_package(account, boxed, mailbox):
    bodies = boxed[0 if mailbox == "INBOX" else 1]
    if not bodies:
        pytest.skip("no corpora beside this checkout")
    with account.mount() as mount:
        paths = directories(mount, mailbox)
        assert sorted(paths) == sorted(bodies)
        wrong = {uid: why for uid in bodies if (why := compare(paths[uid], of_message(bodies[uid])))}
        # Where a message is broken, the server's idea of its structure (which we show) may not be Python's.
        assert len(wrong) <= len(bodies) // 5, wrong
        client = account.login()
        client.select(mailbox, readonly=True)
        assert {uid: why for uid in wrong if (why := compare(paths[uid], of_server(client, uid)))} == {}
        client.logout()


def test_sizes_once_read(account):
    """The size is what was read; before that no reader is given less."""
    with account.mount() as mount:
        for path in directories(mount, "INBOX").values():
            for folder, _, files in os.walk(path):
                for name in files:
                    file = os.path.join(folder, name)
                    data = subprocess.run(["cat", file], check=True, capture_output=True).stdout
                    assert os.stat(file).st_size == len(data) == len(read(file)), file


def test_unlisted(account):
    with account.mount() as mount:
        for folder in ("", "INBOX"):
            assert ".parts" not in mount.names(folder)
            assert ".parts" not in subprocess.run(["ls", "-a", mount.sub(folder)], capture_output=True, text=True, check=True).stdout
            assert os.path.isdir(mount.sub(folder, ".parts"))
        assert "INBOX" in mount.names(".parts")
        assert mount.names(".parts", "INBOX") == mount.names("INBOX", ".parts")
        assert "/.parts" not in subprocess.run(["find", mount.path], capture_output=True, text=True, check=True).stdout


def test_views_listed(account):
    with account.mount("views=listed") as mount:
        assert ".parts" in mount.names() and ".parts" in mount.names("INBOX")
        assert ".parts" not in mount.names("INBOX", ".parts")


def test_listing_costs_one_structure_for_all(account):
    with account.mount() as mount:
        account.server.forget_commands(account.name)
        for path in directories(mount, "INBOX").values():
            names(path)
        fetches = account.commands("BODYSTRUCTURE")
        assert 1 <= len(fetches) <= 2, fetches
        assert [c for c in account.commands("BODY") if "BODYSTRUCTURE" not in c and "HEADER.FIELDS" not in c] == []


def test_one_part_is_fetched_alone(account):
    """A 10 KiB text part of a message of 30 MB costs no more than the part and 32 KiB."""
    with Proxy(account.server.port_tls) as proxy:
        with account.mount(port=proxy.port) as mount:
            (path,) = directories(mount, "Large").values()
            assert "1-text.txt" in names(path)
            proxy.reset_counts()
            part = read(path, "1-text.txt")
            assert part == b"word " * 2047 + b"\r\n"
            assert proxy.total <= len(part) + 32 * 1024


def test_parts_come_from_the_store_next_time(account):
    with account.mount() as mount:
        first = {uid: read(path, "1-text.txt") for uid, path in directories(mount, "INBOX").items() if uid != 6}
    account.server.forget_commands(account.name)
    with account.mount() as mount:
        assert {uid: read(path, "1-text.txt") for uid, path in directories(mount, "INBOX").items() if uid != 6} == first
    assert account.commands("BODY") == []
