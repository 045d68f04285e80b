# SPDX-License-Identifier: MIT
"""How a mount ends: whoever ends it, each connection says LOGOUT and nothing stays."""

import os
import signal
import subprocess
import time

import pytest

from harness import SLOW, eventually, is_mounted


def said_logout(account):
    """Every session of the account ended with LOGOUT."""
    folder = os.path.join(account.server.root, "home", account.name, "rawlog")
    logs = [name for name in os.listdir(folder) if name.endswith(".in")]
    lasts = []
    for name in logs:
        with open(os.path.join(folder, name), "rb") as lines:
            lasts.append((lines.read().splitlines() or [b""])[-1])
    return bool(logs) and all(last.endswith(b" LOGOUT") for last in lasts)


def used(account):
    """A mount that has done something."""
    account.deliver("INBOX", [b"Subject: one\r\n\r\nbody\r\n"])
    mount = account.mount()
    for path in mount.by_uid("INBOX").values():
        mount.read(path)
    watched(account)
    return mount


def watched(account):
    """The connection that waits for news is there, and what it made others look at is done: one that is cut in the middle says nothing."""
    eventually(lambda: account.commands("NOTIFY SET"))
    time.sleep(0.5 * SLOW)


def ended(account, mount):
    mount.wait()
    assert mount.log() == ""
    eventually(lambda: said_logout(account))


def test_fusermount(account):
    mount = used(account)
    subprocess.run(["fusermount3", "-u", mount.path], check=True)
    ended(account, mount)


@pytest.mark.skipif(os.getuid() != 0, reason="umount is root's (or fstab's)")
def test_umount(account):
    mount = used(account)
    subprocess.run(["umount", mount.path], check=True)
    ended(account, mount)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal(account, number):
    mount = used(account)
    os.kill(mount.pid, number)
    ended(account, mount)


def test_background(account, home):
    """The processes in the background end with their mount."""
    path = home.mountpoint()
    code, text = home.run(account.url(), path, account.options())
    assert (code, text) == (0, "")
    assert os.listdir(path)
    eventually(lambda: len(processes(path)) == 3)  # mailfs, its herald and its helper, which may have a job just now
    pids = processes(path)
    watched(account)
    subprocess.run(["fusermount3", "-u", path], check=True)
    eventually(lambda: not processes(path))
    eventually(lambda: said_logout(account))
    assert not is_mounted(path)


def processes(word):
    """The processes that have the word in their command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as line:
                if word.encode() in line.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def test_end_while_the_server_is_silent(account, home):
    """No server can keep a mount from ending."""
    from proxy import Proxy
    with Proxy(account.server.port_tls) as proxy:
        mount = account.mount(port=proxy.port)
        proxy.hold()
        subprocess.run(["fusermount3", "-u", mount.path], check=True)
        mount.wait(10)


def test_closed_descriptors(account, home):
    """Who calls it with closed standard descriptors gets it back all the same."""
    path = home.mountpoint()
    command = [os.environ["MAILFS"], account.url(), path, "-o", ",".join(account.options())]
    subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command], env=home.env(), timeout=30, check=True)
    assert os.listdir(path)
    subprocess.run(["fusermount3", "-u", path], check=True)
