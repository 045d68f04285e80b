# SPDX-License-Identifier: MIT
"""A mailfs that is killed at random moments of a busy mount: the next one shows what the server has, with the right bytes."""

import os
import random
import signal
import threading
import time

import pytest

import mails
from harness import eventually, is_mounted

ROUNDS = int(os.environ.get("MAILFS_TEST_KILLS", "10"))
LARGE = mails.to_bytes(mails.large(megabytes=2))


def small(number):
    return b"From: a@example.org\r\nSubject: number %d\r\n\r\n" % number + b"body %d\r\n" % number * 200


@pytest.fixture
def account(account):
    account.deliver("INBOX", [LARGE, *(small(n) for n in range(2, 60))])
    account.deliver("Other", [small(n) for n in range(1, 10)])
    return account


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Load:
    """Programs that list and read, until the mount is gone."""

    def __init__(self, mount, wanted):
        self.mount, self.wanted, self.wrong = mount, wanted, []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(seed,)) for seed in range(4)]
        for thread in self.threads:
            thread.start()

    def _work(self, seed):
        chance = random.Random(seed)
        while not self.ended.is_set():
            try:
                paths = self.mount.by_uid("INBOX")
                for uid in chance.sample(sorted(paths), min(15, len(paths))):
                    # A message that has gone meanwhile is not there; what is there is right.
                    if uid in self.wanted and read(paths[uid]) != self.wanted[uid]:
                        self.wrong.append(uid)
                if seed == 0:
                    parts = self.mount.sub("INBOX", ".parts")
                    for name in os.listdir(parts)[:3]:
                        read(os.path.join(parts, name, "headers.txt"))
            except OSError:
                if not is_mounted(self.mount.path) or self.mount.process.poll() is not None:
                    return

    def end(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        assert not self.wrong


def change(account, wanted, number):
    """Another client's work in between: one message less, one more."""
    client = account.login()
    client.select("INBOX")
    gone, newest = sorted(wanted)[1 + number % 5], max(wanted)
    client.uid("STORE", str(gone), "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.append("INBOX", None, None, small(1000 + number))
    client.logout()
    del wanted[gone]
    wanted[newest + 1] = small(1000 + number)


@pytest.mark.limit(60 + 3 * ROUNDS)
def test_kills(account):
    """Also while another client changes the folder. What the killed one has stored is used by the next, and now and then begun anew."""
    chance = random.Random(os.environ.get("MAILFS_TEST_SEED", "kills"))
    wanted = {1: LARGE, **{uid: small(uid) for uid in range(2, 60)}}
    for number in range(ROUNDS):
        options = chance.choice(([], ["offline=all"], ["cache_size=1M"], ["offline=INBOX", "connections=1"]))
        mount = account.mount("refresh=0", *options)
        load = Load(mount, dict(wanted))
        time.sleep(chance.uniform(0, 0.5))
        if number % 3 == 0:
            change(account, wanted, number)
            time.sleep(chance.uniform(0, 0.1))
        os.kill(mount.pid, signal.SIGKILL)
        mount.kill()
        load.end()
        with account.mount() as after:
            eventually(lambda: set(after.by_uid("INBOX")) == set(wanted), 10)
            assert {uid: read(path) for uid, path in after.by_uid("INBOX").items()} == wanted, number
            assert "damaged" not in after.log(), after.log()
        if number % 4 == 3:
            account.home.wipe_cache()
