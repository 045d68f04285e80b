# SPDX-License-Identifier: MIT
"""The server's bytes are the file's bytes: for every message of a nasty corpus, however it is read."""

import hashlib
import os
import random
import subprocess
import sys
import threading

import pytest

import mails
from fake.imap import Box, Message, Server
from harness import Mount

CORPUS = list(mails.nasty().values())
LARGE = len(CORPUS)  # the UID of the 30 MB message


@pytest.fixture(scope="module")
def served(server):
    """An account that holds the corpora, and what an ordinary client gets from it: (user, {uid: bytes})."""
    server.add_user("corpus")
    datas = CORPUS + [data for _, data in mails.corpora()]
    server.deliver("corpus", "INBOX", [mails.Mail(data) for data in datas])
    return "corpus", server.bodies("corpus")


@pytest.fixture
def corpus(served, account):
    """That account, to be mounted by this test."""
    account.name = served[0]
    return account, served[1]


def read(path):
    with open(path, "rb") as file:
        return file.read()


@pytest.mark.limit(120)
def test_every_message(corpus):
    account, bodies = corpus
    flags = account.flags()
    with account.mount() as mount:
        paths = mount.by_uid("INBOX")
        assert sorted(paths) == sorted(bodies)
        wrong = [uid for uid, path in paths.items() if read(path) != bodies[uid]]
        assert wrong == []
        assert all(os.stat(path).st_size == len(bodies[uid]) for uid, path in paths.items())
        # From the page cache and, on another mount, from the store.
        assert [uid for uid, path in paths.items() if read(path) != bodies[uid]] == []
    with account.mount() as mount:
        assert [uid for uid, path in mount.by_uid("INBOX").items() if read(path) != bodies[uid]] == []
    assert account.flags() == flags


def test_bytes_that_no_mail_store_keeps(home):
    """From a server that does not mend what it stores: NUL, bare LF, bare CR, as a literal has them."""
    messages = [Message(uid, data) for uid, data in enumerate(CORPUS[:-1], 1)]
    with Server({"INBOX": Box(messages)}) as fake:
        with Mount(home, "imap://me@127.0.0.1:%d" % fake.port, ["tls=none", "password_file=" + home.password_file]) as mount:
            paths = mount.by_uid("INBOX")
            assert len(paths) == len(messages)
            for message in messages:
                assert read(paths[message.uid]) == message.data, message.data[:100]


def test_random_offsets(corpus):
    account, bodies = corpus
    chance = random.Random(20251121)
    with account.mount() as mount:
        paths = mount.by_uid("INBOX")
        for uid in (LARGE, LARGE - 1, 14):
            body, size = bodies[uid], len(bodies[uid])
            fd = os.open(paths[uid], os.O_RDONLY)
            spots = [(0, 1), (size - 1, 1), (size, 10), (size - 5, 100), (size + 1000, 10), (131071, 2)]
            spots += [(chance.randrange(size), chance.choice([1, 100, 4096, 70000, 400000])) for _ in range(40)]
            for offset, length in spots:
                assert os.pread(fd, length, offset) == body[offset:offset + length], (uid, offset, length)
            os.close(fd)


def test_offsets_in_a_store_with_crlf(account):
    """Some versions of Dovecot shift what they serve of a message that lies there with CRLF (seen: 2.4.1)."""
    account.deliver("INBOX", [mails.Mail(CORPUS[-2], crlf=True)])
    (body,) = account.server.bodies(account.name).values()
    with account.mount() as mount:
        (path,) = mount.by_uid("INBOX").values()
        fd = os.open(path, os.O_RDONLY)
        for offset in (1_500_000, 20_000, 300_001, 0, 1_999_000):
            assert os.pread(fd, 100_000, offset) == body[offset:offset + 100_000]
        os.close(fd)
        assert read(path) == body


MMAP = """
import hashlib, mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
    backwards = b"".join(data[at:at + 4096] for at in reversed(range(0, len(data), 4096 * 500)))
    print(hashlib.sha256(data).hexdigest(), hashlib.sha256(backwards).hexdigest())
"""


@pytest.mark.parametrize("uid", [1, LARGE - 1, LARGE])
def test_mmap(corpus, uid):
    account, bodies = corpus
    body = bodies[uid]
    backwards = b"".join(body[at:at + 4096] for at in reversed(range(0, len(body), 4096 * 500)))
    with account.mount() as mount:
        # A process of its own: a page fault that hangs would stop the whole of this one.
        out = subprocess.run([sys.executable, "-c", MMAP, mount.by_uid("INBOX")[uid]], capture_output=True, check=True, text=True)
        assert out.stdout.split() == [hashlib.sha256(body).hexdigest(), hashlib.sha256(backwards).hexdigest()]


def in_threads(count, work):
    """Runs work(number) in so many threads at once; what they returned."""
    results = [None] * count
    gate = threading.Barrier(count)

    def run(number):
        gate.wait()
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_parallel_readers(corpus):
    """Different messages, and different places of one, at the same time."""
    account, bodies = corpus
    with account.mount() as mount:
        paths = mount.by_uid("INBOX")
        uids = sorted(paths)[:16]
        assert in_threads(16, lambda n: read(paths[uids[n]])) == [bodies[uid] for uid in uids]

        def piece(number):
            with open(paths[LARGE], "rb") as file:
                file.seek(number * 3_000_000)
                return file.read(1_000_000)

        wanted = [bodies[LARGE][n * 3_000_000:n * 3_000_000 + 1_000_000] for n in range(8)]
        assert in_threads(8, piece) == wanted


def fetches_of(account, uid):
    return [c for c in account.commands("FETCH %d " % uid) + account.commands("FETCH %d:%d " % (uid, uid)) if "HEADER.FIELDS" not in c]


def test_sixty_four_readers_cause_one_fetch(account):
    data = CORPUS[0]
    account.deliver("INBOX", [data, data])
    with account.mount() as mount:
        path = mount.by_uid("INBOX")[2]
        assert in_threads(64, lambda _: read(path)) == [data] * 64
    assert len(fetches_of(account, 2)) == 1, fetches_of(account, 2)


def test_second_mount_reads_from_the_store(account):
    account.deliver("INBOX", CORPUS[:5] + [CORPUS[-2]])
    with account.mount() as mount:
        first = {uid: read(path) for uid, path in mount.by_uid("INBOX").items()}
    account.server.forget_commands(account.name)
    with account.mount() as mount:
        assert {uid: read(path) for uid, path in mount.by_uid("INBOX").items()} == first
    assert account.commands("BODY") == []


def test_reading_marks_nothing(account):
    """tar, grep, cp and the parts of everything; then every flag is what it was."""
    sample = mails.sample()
    for folder, content in sample.items():
        account.deliver(folder, [mail for mail in content if len(mail.data) < 1_000_000])
    account.deliver("Flagged", [mails.Mail(CORPUS[0], flags=("\\Flagged", "\\Answered")), mails.Mail(CORPUS[0], flags=("\\Seen",))])
    boxes = [folder for folder in ("INBOX", "Sent", "Flagged")]
    before = {box: account.flags(box) for box in boxes}
    with account.mount() as mount:
        subprocess.run(["tar", "-cf", "/dev/null", "-C", mount.path, "."], check=True)
        archive = subprocess.run("tar -cf - -C '%s' . | wc -c" % mount.path, shell=True, check=True, capture_output=True)
        assert int(archive.stdout) > 100_000
        subprocess.run(["grep", "-rc", "needle", mount.path], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["cp", "-r", mount.sub("INBOX", ".parts"), os.path.join(account.home.path, "copy")], check=True)
    assert {box: account.flags(box) for box in boxes} == before
    assert all("\\Seen" not in row for row in before["INBOX"][1:])
