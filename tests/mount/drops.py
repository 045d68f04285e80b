# SPDX-License-Identifier: MIT
"""Mounts of a POP3 account, on whatever server, and what they show."""

import collections
import concurrent.futures
import contextlib
import hashlib
import os
import signal
import subprocess
import traceback

from fake.pop3 import CAPABILITY, Message, Server
from harness import SANITIZED, Home, Mount, escape, running, unmount, unmount_lazily

RECEIVED = "Received: from a.example.org by b.example.org; Fri, 21 Nov 2025 08:%02d:%02d +0000\r\n"
MEMORY_KIB = 128 * 1024
SMALL = "From: Alice Smith <alice@example.org>\r\nSubject: number %d\r\n\r\nbody %d\r\n"


def message(number, filling=0, **more):
    """A message that no other number has, with so many bytes more."""
    text = RECEIVED % (number // 60 % 60, number % 60) + SMALL % (number, number)
    lines = ("%08d" % number * 9 + "\r\n") * (filling // 74)
    return Message((text + lines).encode(), **more)


def messages(count, filling=0):
    return [message(number, filling) for number in range(1, count + 1)]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def shown(mount):
    """What the mount holds: how often which content is there."""
    return collections.Counter(sha256(mount.read(name)) for name in mount.names())


def held(content):
    """What it should hold: the same of messages."""
    return collections.Counter(sha256(one.served) for one in content)


def check(mount, content):
    """Each message once, with the server's bytes, and sizes that are exact."""
    assert all(name.endswith(".eml") for name in mount.names()), mount.names()
    assert shown(mount) == held(content)
    assert all(os.stat(mount.sub(name)).st_size == len(mount.read(name)) for name in mount.names())


def by_uidl(mount):
    """{unique-id: path}"""
    return {os.getxattr(mount.sub(name), "user.mailfs.uidl").decode("latin-1"): mount.sub(name) for name in mount.names()}


def without(*words):
    """What a server can do, but for this."""
    return [line for line in CAPABILITY if line not in words]


def frugal(mount, limit_kib=MEMORY_KIB):
    """A sanitizer needs memory of its own."""
    if not SANITIZED:
        assert mount.peak_rss_kib() <= limit_kib


def descendants(pid):
    found = []
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task), encoding="ascii") as children:
                for child in map(int, children.read().split()):
                    found += [child, *descendants(child)]
    except OSError:
        pass
    return found


def kill_all(process, path):
    """kill -9 of mailfs and of what it has started, as the power that goes takes them."""
    for pid in [process.pid, *descendants(process.pid)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()
    running.discard(process)
    unmount_lazily(path)


class Drop:
    """
    An account: on a fake server (server: it, without TLS), or on a Dovecot or Mailutils (server: it, user: who).
    """

    def __init__(self, home, server, user="me", fake=True, host="127.0.0.1"):
        self.home, self.server, self.user, self.fake, self.host = home, server, user, fake, host

    def url(self, port=None, scheme=None):
        if self.fake:
            return "%s://%s@%s:%d" % (scheme or "pop3", self.user, self.host, port or self.server.port)
        scheme = scheme or "pop3s"
        default = self.server.port_pop3_tls if scheme == "pop3s" else self.server.port_pop3
        return "%s://%s@%s:%d" % (scheme, self.user, self.host, port or default)

    def options(self, *more, home=None):
        trust = "tls=none" if self.fake else "tls_ca=" + escape(self.server.ca)
        return ["password_file=" + escape((home or self.home).password_file), trust, *more]

    def mount(self, *options, port=None, scheme=None, home=None, **more):
        home = home or self.home
        return Mount(home, self.url(port, scheme), self.options(*options, home=home), **more)

    def run(self, *options, port=None, scheme=None, name="mail", timeout=60):
        """The command until it returns: (exit code, standard error), and a mount in the background if that is 0."""
        path = self.home.mountpoint(name)
        return self.home.run(self.url(port, scheme), path, self.options(*options), timeout=timeout)

    def start(self, *options, port=None, name="mail"):
        """The command in the foreground, not waited for: (process, mount point)."""
        path = self.home.mountpoint(name)
        process = subprocess.Popen(self.home.command(self.url(port), path, self.options(*options), ["-f"]), env=self.home.env(),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        running.add(process)
        return process, path

    def background(self, name="mail"):
        """Ends a mount that run() has left."""
        unmount(os.path.join(self.home.path, name))


@contextlib.contextmanager
def alone(content, **more):
    """An account on a scripted server and in a home directory that nobody else has."""
    home = Home()
    try:
        with Server(content, **more) as server:
            yield Drop(home, server)
    finally:
        home.remove()


def side_by_side(cases, work, at_once=10):
    """
    Runs work(case) for each, some at the same time, as most of it is waiting for time-outs and for the disk; then fails with all that
    went wrong.
    """
    wrong = []

    def run(case):
        try:
            work(case)
        except BaseException:  # pylint: disable=broad-except
            wrong.append("%s: %s" % (case, traceback.format_exc(limit=-2).strip()))

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        list(pool.map(run, cases))
    assert not wrong, "%d of %d:\n%s" % (len(wrong), len(cases), "\n".join(sorted(wrong)))


def failed(result, code, *words):
    """The command failed with that code, and said all the words in its only line."""
    got, text = result
    assert got == code, (got, text)
    lines = text.splitlines()
    assert len(lines) == 1 and lines[0].startswith("mailfs: "), text
    for word in words:
        assert word in text, text
    return text


