# SPDX-License-Identifier: MIT
"""POP3: -o background, and the progress line of a mount that waits."""

import os
import pty
import re
import select
import subprocess
import threading
import time

import pytest

from drops import by_uidl, check, messages, read
from harness import SLOW, Home, eventually, is_mounted


class Gate:
    """Holds the answers to RETR of some messages back, until it is opened or they are let through."""

    def __init__(self, server, numbers):
        self.numbers, self.open, self.held = set(map(str, numbers)), threading.Event(), []
        server.on["RETR"] = self.retr

    def retr(self, session, args):
        if args in self.numbers and not self.open.is_set():
            session.flush()
            self.held.append(args)
            while args in self.numbers and not self.open.wait(0.01):
                pass
        return False

    def let_through(self, number):
        self.numbers.discard(str(number))


def test_returns_before_all_is_there(serve):
    content = messages(50, filling=3000)
    drop = serve(content)
    gate = Gate(drop.server, range(30, 51))
    code, text = drop.run("background")
    assert (code, text) == (0, "")
    path = os.path.join(drop.home.path, "mail")
    try:
        eventually(lambda: len(os.listdir(path)) == 29)
        for name in os.listdir(path):
            assert read(os.path.join(path, name)) in [one.served for one in content]
        gate.open.set()
        eventually(lambda: len(os.listdir(path)) == 50)
        assert sorted(read(os.path.join(path, name)) for name in os.listdir(path)) == sorted(one.served for one in content)
        drop.server.wait_for("QUIT")
    finally:
        gate.open.set()
        drop.background()


def test_without_it_the_mount_waits(serve):
    content = messages(5)
    drop = serve(content)
    gate = Gate(drop.server, [5])
    process, path = drop.start()
    eventually(lambda: gate.held)
    time.sleep(0.3)
    assert not is_mounted(path) and process.poll() is None
    gate.open.set()
    eventually(lambda: is_mounted(path))
    assert len(os.listdir(path)) == 5
    subprocess.run(["fusermount3", "-u", path], check=True)
    assert process.wait(20) == 0


@pytest.fixture
def names(serve):
    """What another machine calls messages: (content, {uidl: name})."""
    content = messages(20)
    other = Home()
    drop = serve(content)
    drop.home = other
    try:
        with drop.mount() as mount:
            found = {uidl: os.path.basename(path) for uidl, path in by_uidl(mount).items()}
    finally:
        other.remove()
    return content, found


def test_a_name_that_is_not_there_yet(serve, names):
    """Reading it waits, and gives the right bytes."""
    content, known = names
    drop = serve(content)
    gate = Gate(drop.server, range(15, 21))
    with drop.mount("background") as mount:
        eventually(lambda: gate.held)
        wanted = content[14:]
        got = {}

        def reader(one):
            got[one.uidl] = read(mount.sub(known[one.uidl.decode()]))

        readers = [threading.Thread(target=reader, args=(one,)) for one in wanted]
        for reader in readers:
            reader.start()
        time.sleep(0.3)
        assert got == {}
        gate.open.set()
        for reader in readers:
            reader.join(20)
        assert got == {one.uidl: one.served for one in wanted}
        eventually(lambda: len(mount.names()) == 20)
        check(mount, content)


@pytest.mark.parametrize("settled", [True, False], ids=["settled", "at once"])
def test_who_waits_keeps_nobody_else(serve, names, settled):
    """While new files are made known, ls, stat of a name that will never be there, and reading what is here go on."""
    content, known = names
    drop = serve(content)
    gate = Gate(drop.server, range(15, 21))
    with drop.mount("background") as mount:
        eventually(lambda: gate.held and (not settled or len(mount.names()) == 14))
        path = mount.sub(known[content[19].uidl.decode()])
        with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as waiting:
            time.sleep(0.2)
            gate.let_through(15)
            opener = threading.Timer(5 * SLOW, gate.open.set)  # should it hang, it ends
            opener.start()
            before = time.monotonic()
            for _ in range(3):
                time.sleep(0.2)
                subprocess.run(["ls", "-l", mount.path], check=True, stdout=subprocess.DEVNULL)
                assert not os.path.exists(mount.sub("2025-11-21_0800_Nobody_x.12345.eml"))
                assert read(mount.sub(known[content[3].uidl.decode()])) == content[3].served
            took = time.monotonic() - before
            opener.cancel()
            gate.open.set()
            assert waiting.communicate()[0] == content[19].served
        assert took < 4 * SLOW, took


def test_a_message_that_will_not_come(serve, names):
    """Who waits for it is told, with an error that is not ENOENT."""
    content, known = names
    content[19].refuse = "Can not be read."
    drop = serve(content)
    gate = Gate(drop.server, [10])
    with drop.mount("background") as mount:
        eventually(lambda: gate.held)
        failure = []

        def reader():
            try:
                read(mount.sub(known[content[19].uidl.decode()]))
            except OSError as error:
                failure.append(error)

        thread = threading.Thread(target=reader)
        thread.start()
        time.sleep(0.2)
        gate.open.set()
        thread.join(20)
        assert failure and not isinstance(failure[0], FileNotFoundError), failure
        eventually(lambda: len(mount.names()) == 19)


def test_ls_shows_nothing_that_can_not_be_read(serve):
    """Through the whole of a download."""
    content = messages(400, filling=1000)
    drop = serve(content)
    drop.server.delay_s = 0.002
    wanted = {one.served for one in content}
    with drop.mount("background") as mount:
        seen, counts = set(), []
        end = time.monotonic() + 30 * SLOW
        while len(seen) < 400:
            assert time.monotonic() < end, len(seen)
            new = [name for name in mount.names() if name not in seen]
            for name in new:
                assert mount.read(name) in wanted
                assert os.stat(mount.sub(name)).st_size == len(mount.read(name))
            seen.update(new)
            counts.append(len(seen))
        assert len([count for count in counts if 0 < count < 400]) >= 2, counts
        check(mount, content)


def test_the_listing_of_a_background_mount_must_come(serve):
    """A first mount fails as without it, as long as nothing was listed."""
    drop = serve(messages(3))
    drop.server.refuse_login = "Not you."
    code, text = drop.run("background")
    assert code == 5 and "Not you." in text and not is_mounted(os.path.join(drop.home.path, "mail"))


def test_ends_while_it_downloads(serve):
    """fusermount3 -u is not kept by a server that does not answer; the next mount goes on."""
    content = messages(30)
    drop = serve(content)
    gate = Gate(drop.server, [20])
    mount = drop.mount("background")
    eventually(lambda: gate.held and len(mount.names()) == 19)
    mount.stop()
    gate.open.set()
    drop.server.on.clear()
    with drop.mount() as again:
        check(again, content)
    assert [line for number, line in drop.server.commands if number == 2 and line.startswith("RETR")] == [
        "RETR %d" % number for number in range(20, 31)]


# --- the progress line ---

def on_a_terminal(drop, *options, home=None):
    """What the command writes to a terminal until it ends: (exit code, bytes)."""
    path = drop.home.mountpoint()
    command = drop.home.command(drop.url(), path, drop.options(*options))
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, drop.home.env(TERM="xterm", COLUMNS="80"))
    text, end = b"", time.monotonic() + 40 * SLOW
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            if not data:
                break
            text += data
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), text


def test_progress_on_a_terminal(serve):
    """Messages, bytes, rate and time left, in one line that is written again and again, and then gone."""
    content = messages(60, filling=40_000)
    drop = serve(content)
    drop.server.delay_s = 0.04
    code, text = on_a_terminal(drop)
    assert code == 0, text
    drop.background()
    assert b"60" in text and text.count(b"\r") >= 5, text
    assert re.search(rb"\d+ ?(of|/) ?60", text), text
    assert re.search(rb"[kKM]i?B/s", text) and re.search(rb"\d ?s\b|left|\d:\d\d", text), text
    states = [int(count) for count in re.findall(rb"(\d+) ?(?:of|/) ?60", text)]
    assert states == sorted(states) and len(set(states)) >= 5, states
    assert max(len(line.replace(b"\x1b[K", b"")) for line in re.split(rb"[\r\n]", text)) <= 80
    # A new look with nothing new writes nothing.
    assert on_a_terminal(drop) == (0, b"")
    drop.background()


def test_no_progress_where_nobody_looks(serve):
    """In a pipe or a file, nothing; with background, nothing either."""
    drop = serve(messages(30, filling=40_000))
    drop.server.delay_s = 0.02
    assert drop.run() == (0, "")
    drop.background()
    drop.home.wipe_state()
    code, text = on_a_terminal(drop, "background")
    assert (code, text) == (0, b"")
    drop.background()


def test_the_error_is_not_in_the_progress_line(serve):
    """The line is ended or wiped before anything else is said."""
    content = messages(30, filling=40_000)
    drop = serve(content, capability=["UIDL", "USER"])
    drop.server.delay_s = 0.02
    drop.server.on["RETR"] = lambda session, args: int(args) > 25 and session.end()
    code, text = on_a_terminal(drop)
    assert code == 3 and re.search(rb"(\r|\n|\x1b\[K)mailfs: [^\r]*\r\n$", text), text
