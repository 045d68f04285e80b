# SPDX-License-Identifier: MIT
"""
What the machine refuses: file descriptors, memory, threads; and a clock that jumps. An error, never a hang or a crash, and all is well once there is
enough again.
"""

import contextlib
import errno
import os
import random
import resource
import signal
import struct
import subprocess
import threading
import time

import pytest

import mails
from harness import SANITIZED, SLOW, Mount, NoMount, eventually, is_mounted
from proxy import Proxy

TIMEOUT = 5
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT)  # libfuse could not go on: the mount has ended
FAILS = (errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENOBUFS)
CODES = (2, 3, 4, 5, 7, 8)  # of src/cli/exit.h: what memory and descriptors are for; nothing is wrong with the command or the account
# A crash with the line of a sanitizer, or without any.
UNSANITIZED = pytest.mark.skipif(SANITIZED, reason="a sanitizer takes more memory than the limit is about")


def small(number):
    return b"From: a@example.org\r\nSubject: number %d\r\n\r\n" % number + b"body %d\r\n" % number * 200


LARGE = mails.to_bytes(mails.large(megabytes=3))


def expected(uid):
    return LARGE if uid == 1 else small(uid)


@pytest.fixture
def account(account):
    account.deliver("INBOX", [LARGE, *(small(n) for n in range(2, 80))])
    account.deliver("Other", [small(n) for n in range(1, 10)])
    return account


def read(path):
    with open(path, "rb") as file:
        return file.read()


def is_right(paths, uid):
    """False: an error that says that there is not enough, in time. Another one is raised."""
    before = time.monotonic()
    try:
        assert read(paths[uid]) == expected(uid), uid
        return True
    except OSError as error:
        if error.errno not in FAILS:
            raise
        return False
    finally:
        assert time.monotonic() - before < 2 * (TIMEOUT + 1) * SLOW, uid


def all_right(mount, paths):
    return len(mount.names("Other")) == 9 and all(is_right(paths, uid) for uid in paths)


def read_side_by_side(paths, count=8, may_end=None):
    """Each message once, by so many threads; how many were right. may_end: a mount that may be at its end."""
    todo, right, wrong = list(paths), [], []

    def work():
        while todo:
            try:
                right.append(is_right(paths, todo.pop()))
            except IndexError:
                pass
            except AssertionError as error:
                wrong.append(error)
            except OSError as error:
                if not (may_end and error.errno in GONE and ends(may_end)):
                    wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    return sum(right)


def ends(mount):
    """By itself, within a moment: a request that can not be answered comes first, then the process ends, and the mount goes."""
    until = time.monotonic() + 10 * SLOW
    while mount.process.poll() is None or is_mounted(mount.path):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def limited(number, value):
    """A command that runs another one with less of something."""
    names = {resource.RLIMIT_NOFILE: "--nofile", resource.RLIMIT_AS: "--as"}
    return ["prlimit", "%s=%d" % (names[number], value), "--"]


# --- File descriptors ---

@pytest.mark.parametrize("count", [16, 32, 48])
def test_few_descriptors(account, count):
    """From the start: it says so and ends, or it mounts, and what it can not do is an error."""
    try:
        mount = account.mount("timeout=%d" % TIMEOUT, wrapper=limited(resource.RLIMIT_NOFILE, count))
    except NoMount as error:
        assert count <= 32 and error.code in CODES and str(error).splitlines()[-1].split("no mount: ")[-1].startswith("mailfs: "), error
        return
    with mount:
        try:
            paths = mount.by_uid("INBOX")
        except OSError as error:
            assert error.errno in FAILS
            return
        read_side_by_side(paths)


def test_descriptors_run_out(account):
    """While it runs; and it recovers by itself when there are some again."""
    with account.mount("timeout=%d" % TIMEOUT, "refresh=0") as mount:
        paths = mount.by_uid("INBOX")
        assert is_right(paths, 2)
        try:
            used = len(os.listdir("/proc/%d/fd" % mount.pid))
        except PermissionError:
            used = 24  # nobody but root may look into it
        soft, hard = resource.prlimit(mount.pid, resource.RLIMIT_NOFILE)
        for spare in (0, 1, 3):
            resource.prlimit(mount.pid, resource.RLIMIT_NOFILE, (used + spare, hard))
            read_side_by_side({uid: path for uid, path in paths.items() if uid % 3 == spare % 3})
            try:
                assert len(mount.names("Other")) == 9
            except OSError as error:
                assert error.errno in FAILS
            assert is_right(paths, 2)  # what is here needs none more than a few
            resource.prlimit(mount.pid, resource.RLIMIT_NOFILE, (soft, hard))
            eventually(lambda: all_right(mount, paths), 20)
        assert mount.process.poll() is None


def test_few_descriptors_for_pop3(drop, account):
    """What is read without being opened holds no more than there are."""
    with drop.mount("timeout=%d" % TIMEOUT, wrapper=limited(resource.RLIMIT_NOFILE, 64)) as mount:
        names = mount.names()
        assert sorted(map(mount.read, names)) == sorted(expected(uid) for uid in range(1, 80))


# --- Memory ---

@UNSANITIZED
@pytest.mark.limit(120)
def test_little_memory(account):
    """
    From less than it needs up to enough, in steps: it works or gives errors, or ends with a line; and never by a signal, never with a wrong
    byte.
    """
    ended = worked = 0
    for megabytes in [*range(40, 400, 60), 800, 1600]:
        try:
            mount = account.mount("timeout=%d" % TIMEOUT, wrapper=limited(resource.RLIMIT_AS, megabytes << 20))
        except NoMount as error:
            ended += 1
            # Before main() it is the loader that says so, in a line and a code of its own.
            assert error.code in CODES and "mailfs: " in str(error) or error.code == 127 and "error while loading" in str(error), (error.code, error)
            assert str(error).strip().endswith(tuple("abcdefghijklmnopqrstuvwxyz.)0123456789")), error
            continue
        try:
            worked += read_side_by_side(mount.by_uid("INBOX"), may_end=mount) == 79
        except OSError as error:
            assert error.errno in FAILS or error.errno in GONE and ends(mount), error
        if mount.process.poll() is None and is_mounted(mount.path):
            mount.stop()
        else:
            ended += 1
            assert ends(mount)
            assert mount.process.returncode == 2 and "mailfs: " in mount.log(), (mount.process.returncode, mount.log())
        mount.kill()
        account.home.wipe_cache()
    assert worked >= 2


def starve(mount, spare):
    """For as long as each message is read once."""
    with open("/proc/%d/statm" % mount.pid, encoding="ascii") as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    paths = mount.by_uid("INBOX")
    old = resource.prlimit(mount.pid, resource.RLIMIT_AS)
    resource.prlimit(mount.pid, resource.RLIMIT_AS, (size + spare, old[1]))
    read_side_by_side(paths, may_end=mount)
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(mount.pid, resource.RLIMIT_AS, old)
    return paths


@UNSANITIZED
@pytest.mark.limit(120)
def test_memory_runs_out(account):
    """While it runs: it recovers; or it ends with a line, where libfuse has no memory for the next request, which ends its loop."""
    recovered = 0
    for spare in (0, 64 << 10, 1 << 20, 4 << 20, 16 << 20):
        mount = account.mount("timeout=%d" % TIMEOUT, "refresh=0")
        paths = starve(mount, spare)
        if mount.process.poll() is None and is_mounted(mount.path):
            eventually(lambda at=mount, of=paths: all_right(at, of), 20)
            recovered += 1
            mount.stop()
        else:
            assert ends(mount)
            assert mount.process.returncode == 2 and "mailfs: " in mount.log(), (mount.process.returncode, mount.log())
        mount.kill()
    assert recovered > 0


# --- The clock ---

# What it is shifted by, and how often it was asked, lie in memory that is shared: mailfs opens nothing any more when it is mounted.
CLOCK = """\
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *shared;

__attribute__((constructor)) static void begin(void)
{
    int fd = open(getenv("CLOCK_SHIFT"), O_RDWR | O_CLOEXEC);
    void *page = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    shared = page == MAP_FAILED ? NULL : page;
    close(fd);
}

static time_t shift(void)
{
    if (!shared)
        return 0;
    shared[1]++;
    return shared[0];
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int r = syscall(SYS_clock_gettime, id, ts);
    if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        ts->tv_sec += shift();
    return r;
}

time_t time(time_t *ret)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (ret)
        *ret = ts.tv_sec;
    return ts.tv_sec;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}
"""
YEAR = 365 * 86400


@pytest.fixture
def clock(home):
    """Sets the clock of what is run with its environment: clock(seconds from now)."""
    source, library, shift = (os.path.join(home.path, name) for name in ("clock.c", "clock.so", "shift"))
    with open(source, "w", encoding="ascii") as out:
        out.write(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)

    with open(shift, "wb") as out:
        out.write(bytes(16))

    def set_clock(seconds):
        """How often it was asked since the last time."""
        with open(shift, "r+b") as file:
            asked = struct.unpack("=qq", file.read(16))[1]
            file.seek(0)
            file.write(struct.pack("=qq", seconds, 0))
        return asked

    set_clock(0)
    set_clock.env = {"LD_PRELOAD": library, "CLOCK_SHIFT": shift}
    return set_clock


@UNSANITIZED
@pytest.mark.parametrize("jump", [YEAR, -YEAR])
def test_the_clock_jumps(account, clock, jump):
    """No deadline, no age of a listing, no pause between attempts depends on it. (Without TLS: certificates do.)"""
    with Proxy(account.server.port_plain) as proxy:
        url = account.url(port=proxy.port, scheme="imap")
        options = ["password_file=" + account.home.password_file, "tls=none", "timeout=2", "refresh=1"]
        with Mount(account.home, url, options, env=clock.env) as mount:
            paths = mount.by_uid("INBOX")
            results = []
            proxy.stall()
            before = time.monotonic()
            reader = threading.Thread(target=lambda: results.append(outcome(paths[1])))
            reader.start()
            time.sleep(0.3)
            clock(jump)
            reader.join()
            took = time.monotonic() - before
            # Neither at once nor for a year.
            assert results[0] in FAILS and 1.5 < took < 4 * SLOW, (results, took)
            proxy.recover()
            eventually(lambda: outcome(paths[1]) == 0, 10)
            assert read(paths[1]) == LARGE
            client = account.login()
            client.append("INBOX", None, None, small(1000))
            client.logout()
            eventually(lambda: len(mount.by_uid("INBOX")) == 80, 10)
            assert clock(0) > 0
            proxy.refuse()
            eventually(lambda: outcome(paths[60]) == errno.EHOSTUNREACH, 10)
            clock(-jump)
            proxy.recover()
            eventually(lambda: outcome(paths[60]) == 0, 10)
            assert read(paths[60]) == small(60)


def outcome(path):
    try:
        read(path)
        return 0
    except OSError as error:
        return error.errno


# --- A crowd ---



@pytest.mark.limit(120)
def test_500_readers(server, new_account):
    """Processes and threads, of one message and of 500; half of the processes are interrupted or killed at random moments."""
    account = new_account(server)
    account.deliver("INBOX", [LARGE, *(small(n) for n in range(2, 501))])
    chance = random.Random(500)
    with account.mount("timeout=30") as mount:
        paths = mount.by_uid("INBOX")
        assert len(paths) == 500
        # 100 processes of the large one, which costs time; every other one dies.
        readers = [subprocess.Popen(["cat", paths[1]], stdout=subprocess.PIPE) for _ in range(100)]
        got, wrong = [None] * len(readers), []

        def collect(index):
            got[index] = readers[index].stdout.read()

        collectors = [threading.Thread(target=collect, args=(index,)) for index in range(len(readers))]
        # 400 threads of all of them.
        todo = list(paths)
        chance.shuffle(todo)

        def work():
            while True:
                try:
                    uid = todo.pop()
                except IndexError:
                    return
                if read(paths[uid]) != expected(uid):
                    wrong.append(uid)

        threads = [threading.Thread(target=work) for _ in range(400)]
        for thread in collectors + threads:
            thread.start()
        for index in range(0, len(readers), 2):
            time.sleep(chance.uniform(0, 0.01))
            readers[index].send_signal(chance.choice((signal.SIGINT, signal.SIGKILL)))
        for thread in collectors + threads:
            thread.join()
        codes = [reader.wait() for reader in readers]
        for reader in readers:
            reader.stdout.close()
        assert not wrong
        for index, code in enumerate(codes):
            if index % 2 == 0 and code < 0:
                assert LARGE.startswith(got[index])
            else:
                assert code == 0 and got[index] == LARGE, index
        assert {uid: read(path) for uid, path in paths.items()} == {uid: expected(uid) for uid in paths}
        print("\n500 readers: peak RSS %.1f MiB" % (mount.peak_rss_kib() / 1024))
        if not SANITIZED:
            assert mount.peak_rss_kib() <= 128 * 1024
