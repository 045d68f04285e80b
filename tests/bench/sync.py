#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
Measures how current a mount is and what that costs, against a private Dovecot over TLS, and prints it. By hand, as root (it puts itself
into a network namespace of its own, to take an interface down and up):

    MAILFS=build/src/cli/mailfs tests/bench/sync.py [ROUNDS] [FIGURE...]

FIGURE: remount, wire, push, network, silence (6 minutes), memory, million; without any, all but silence. What is compared is measured in
turn, in one run; the median of the rounds counts.
"""

import ctypes
import os
import queue
import re
import select
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, "mount"), TESTS, os.path.join(TESTS, "bench")]

os.environ.setdefault("TMPDIR", "/var/tmp")  # ext4 makes files slowly for minutes where tests have removed many, as in /tmp

import mails  # noqa: E402
from bench import show  # noqa: E402
from dovecot import HOST, PASSWORD, Dovecot, Settings  # noqa: E402
from fake.imap import Box, Message, Server  # noqa: E402
from harness import Home, Mount, escape, is_mounted, unmount  # noqa: E402
from maildir import Mail  # noqa: E402
from proxy import Proxy  # noqa: E402

KIB = 1024
MANY, MILLION = 100_000, 1_000_000
PUSHED = 100
USER = "bench"
IN_CREATE = 0x100
libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """Who waits for new names in one directory."""

    def __init__(self, path):
        self.fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(self.fd, os.fsencode(path), IN_CREATE) >= 0

    def wait(self, seconds):
        """The time of the next event; None: there was none."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return None
        now = time.perf_counter()
        data = os.read(self.fd, 1 << 16)
        assert struct.unpack("iIII", data[:16])[1] & IN_CREATE
        return now


class Bench:
    def __init__(self, server, home, proxy, rounds):
        self.server, self.home, self.proxy, self.rounds = server, home, proxy, rounds
        self.next = 0

    def client(self):
        client = self.server.login(USER)
        client.select("Many")
        return client

    def options(self):
        return ["password_file=" + self.home.password_file, "tls_ca=" + escape(self.server.ca)]

    def mount(self, port=None, *options):
        url = "imaps://%s@%s:%d" % (USER, HOST, port or self.server.port_tls)
        return Mount(self.home, url, self.options() + list(options))

    def append(self, client, count, folder="Many"):
        for _ in range(count):
            self.next += 1
            data = mails.to_bytes(mails.message("Late <l@example.org>", "late %d" % self.next, "x\r\n"))
            assert client.append('"%s"' % folder, None, None, data)[0] == "OK"

    def background(self, port):
        """Mounts as a user does; returns when the command has returned."""
        path = self.home.mountpoint("mail")
        code, said = self.home.run("imaps://%s@%s:%d" % (USER, HOST, port), path, self.options(), timeout=300)
        assert code == 0 and not said, said
        return path

    def end(self, path):
        pids = [pid for pid in filter(str.isdigit, os.listdir("/proc")) if path in command_line(pid)]
        unmount(path)
        while is_mounted(path) or any(os.path.exists("/proc/" + pid) for pid in pids):
            time.sleep(0.02)

    # --- remount and first ls -l ---

    def remount(self):
        maildir = os.path.join(self.server.folder_path(USER, "Many"), "cur")
        local, mounted = [], []
        self.end(self.listed(self.server.port_tls)[0])
        for _ in range(self.rounds):
            begin = time.perf_counter()
            ls(maildir)
            local.append(time.perf_counter() - begin)
            path, seconds = self.listed(self.server.port_tls)
            mounted.append(seconds)
            self.end(path)
        ratio = statistics.median(mounted) / statistics.median(local)
        show("remount and first ls -l of %d (%.0f ms), by ls -l of the Maildir (%.0f ms)" % (
            MANY, statistics.median(mounted) * 1000, statistics.median(local) * 1000), ratio, 3, "×")

    def listed(self, port):
        """Mounts and lists: where, and the seconds of both."""
        begin = time.perf_counter()
        path = self.background(port)
        out = ls(os.path.join(path, "Many"))
        seconds = time.perf_counter() - begin
        assert abs(out.count(b"\n") - MANY) < 1000, out[:200]
        return path, seconds

    # --- wire bytes: through one proxy, because the account is known by host and port ---

    def wire(self):
        self.end(self.listed(self.proxy.port)[0])
        nothing, few, many = (statistics.median([self.bytes_after(count) for _ in range(self.rounds)]) for count in (0, 10, 100))
        show("wire bytes of it when nothing changed, logins and TLS included", nothing, 8 * KIB, "bytes")
        show("… after 10 new, 10 flagged, 10 expunged: beyond those", few - nothing, None, "bytes")
        show("… after 100 new, 100 flagged, 100 expunged: beyond those", many - nothing, None, "bytes")
        show("… for each of the 300, against each of the 30", (many - nothing) / 10 / (few - nothing), None, "×")

    def bytes_after(self, count):
        if count:
            client = self.client()
            self.change(client, count)
            client.logout()
        self.proxy.reset_counts()
        path, _ = self.listed(self.proxy.port)
        total = self.proxy.total
        self.end(path)
        return total

    def change(self, client, count):
        """So many new, flagged, expunged."""
        self.append(client, count)
        client.select("Many")
        uids = client.uid("SEARCH", None, "ALL")[1][0].split()
        step = len(uids) // (2 * count)
        flagged, gone = uids[::step][:count], uids[step // 2::step][:count]
        client.uid("STORE", b",".join(flagged).decode(), "FLAGS", "(\\Flagged f%d)" % self.next)
        client.uid("STORE", b",".join(gone).decode(), "+FLAGS.SILENT", "(\\Deleted)")
        client.expunge()


    # --- push ---

    def push(self):
        """New mail, until a program that waits with inotify has its name; against a client that idles, in the same run."""
        writer, behind = self.server.login(USER), []
        with self.mount(None, "refresh=86400") as mount:
            mount.names("INBOX")
            watch, idler = Inotify(mount.sub("INBOX")), Idler(self.server)
            time.sleep(2)
            for _ in range(PUSHED):
                self.append(writer, 1, "INBOX")
                seen, told = watch.wait(30), idler.times.get(30)
                assert seen, "no event\n" + mount.log()
                behind.append((seen - told) * 1000)
                time.sleep(0.05)
            assert len(mount.names("INBOX")) == PUSHED
            status = subprocess.run([CTL, "status", mount.path], capture_output=True, text=True, check=False, env=self.home.env()).stdout
        behind.sort()
        show("new mail to inotify event, behind an idling client: median of %d" % PUSHED, statistics.median(behind), None, "ms")
        show("… p99 (%s)" % (re.search("push +(.*?):", status) or ["", "?"])[1], behind[int(0.99 * PUSHED) - 1], 50, "ms")

    # --- a network that is gone without a word ---

    def network(self):
        """The kernel reports the return: an interface comes up."""
        down, up = (["ip", "link", "set", "one", state] for state in ("down", "up"))
        subprocess.run(["ip", "link", "add", "one", "type", "veth", "peer", "name", "two"], check=True)
        subprocess.run(["ip", "addr", "add", "10.99.0.1/24", "dev", "one"], check=True)
        subprocess.run(["ip", "link", "set", "two", "up"], check=True)
        subprocess.run(up, check=True)
        taken = []
        for _ in range(self.rounds):
            taken.append(self.recover(lambda: subprocess.run(down, check=True), lambda: subprocess.run(up, check=True), 15))
        show("after a blackhole, from the kernel's report to the new mail's name", max(taken), 10, "s")

    def silence(self):
        """Nothing reports it: the watchdog's own time."""
        show("after a silent blackhole, from its end to the new mail's name", self.recover(lambda: None, lambda: None, 30), 360, "s")

    def recover(self, gone, back, seconds):
        writer = self.server.login(USER)
        with Proxy(self.server.port_tls) as proxy, self.mount(proxy.port, "refresh=86400") as mount:
            before = len(mount.names("INBOX"))
            time.sleep(2)
            proxy.blackhole()
            gone()
            time.sleep(seconds)
            self.append(writer, 1, "INBOX")
            proxy.recover(silent=True)  # what was lost stays lost, without a sign
            begin = time.perf_counter()
            back()
            while len(os.listdir(mount.sub("INBOX"))) == before:
                assert time.perf_counter() - begin < 400, mount.log()
                time.sleep(0.05)
            return time.perf_counter() - begin

    # --- memory ---

    def memory(self):
        self.end(self.listed(self.server.port_tls)[0])
        with self.mount() as mount:
            ls(mount.sub("Many"))
            rss, peak = mount.rss_kib(), mount.peak_rss_kib()
        show("RSS with %d listed messages, remounted (peak %d KiB)" % (MANY, peak), rss, 48 * KIB, "KiB")

    def million(self):
        """A scripted server lists so many; then a remount."""
        rows = [b"* %d FETCH (UID %d FLAGS (\\Seen) INTERNALDATE \"14-Nov-2023 22:13:20 +0000\" RFC822.SIZE 4321 "
                b"BODY[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID)] {%d}\r\n%s)\r\n" % (n, n, len(head), head)
                for n in range(1, MILLION + 1) for head in [HEAD % (n % 997, n, n)]]
        with Server({"INBOX": Box([Message(1, b"Subject: x\r\n\r\n")])}) as fake:
            fake.on["EXAMINE"] = fake.on["SELECT"] = select_million
            fake.on["UID FETCH"] = lambda session, tag, args: fetch_million(session, tag, args, rows)
            url, options = "imap://me@127.0.0.1:%d" % fake.port, ["tls=none", "password_file=" + self.home.password_file, "timeout=300"]
            for what in ("listed from the server", "remounted"):
                with Mount(self.home, url, options) as mount:
                    begin = time.perf_counter()
                    count = subprocess.run(["ls", "-f", mount.sub("INBOX")], check=True, capture_output=True).stdout.count(b"\n")
                    seconds = time.perf_counter() - begin
                    assert count == MILLION + 2, (count, mount.log())
                    show("RSS with %d messages %s (peak %d KiB, ls -f %.1f s)" % (
                        MILLION, what, mount.peak_rss_kib(), seconds), mount.rss_kib(), 160 * KIB, "KiB")


CTL = os.path.join(os.path.dirname(os.environ.get("MAILFS", "build/src/cli/mailfs")), "mailfsctl")
HEAD = b"From: Sender %d <s@example.org>\r\nTo: me@example.org\r\nSubject: Message number %d\r\nMessage-ID: <%d@example.org>\r\n\r\n"


def select_million(session, tag, _args):
    session.untagged("%d EXISTS" % MILLION)
    session.untagged("OK [UIDVALIDITY 7] Valid.")
    session.untagged("OK [UIDNEXT %d] Next." % (MILLION + 1))
    session.done(tag)
    return True


def fetch_million(session, tag, args, rows):
    first, _, last = args.split(" ")[0].partition(":")
    first, last = int(first), MILLION if last == "*" else min(int(last), MILLION)
    full = "HEADER" in args
    for start in range(first - 1, last, 1000):
        end = min(start + 1000, last)
        if full:
            session.send(b"".join(rows[start:end]))
        else:
            session.send(b"".join(b"* %d FETCH (UID %d FLAGS (\\Seen))\r\n" % (n, n) for n in range(start + 1, end + 1)))
    session.done(tag)
    return True


class Idler:
    """Another client, which does nothing but IDLE on INBOX; times: when it was told of a message."""

    def __init__(self, server):
        self.times = queue.Queue()
        context = ssl.create_default_context(cafile=server.ca)
        self.sock = context.wrap_socket(socket.create_connection((HOST, server.port_tls)), server_hostname=HOST)
        self.file = self.sock.makefile("rb")
        self.file.readline()
        quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        for command in ('a LOGIN %s "%s"' % (USER, quoted), "b EXAMINE INBOX", "c IDLE"):
            self.sock.sendall(command.encode() + b"\r\n")
            while not self.file.readline().startswith((command[:2].encode(), b"+ ")):
                pass
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.file:
            if line.rstrip().endswith(b"EXISTS"):
                self.times.put(time.perf_counter())


def command_line(pid):
    try:
        with open("/proc/%s/cmdline" % pid, "rb") as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def ls(path):
    return subprocess.run(["ls", "-l", path], check=True, capture_output=True).stdout


def in_namespace():
    """Starts itself again where interfaces are its own."""
    if os.environ.get("MAILFS_BENCH_NETWORK") != "own":
        os.execvpe("unshare", ["unshare", "-n", sys.executable, *sys.argv], {**os.environ, "MAILFS_BENCH_NETWORK": "own"})
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    in_namespace()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    chosen = sys.argv[2:] or ["remount", "wire", "push", "network", "memory", "million"]
    home = Home()
    with Dovecot(Settings(rawlog=False)) as server:
        server.add_user(USER)
        if {"remount", "wire", "memory"} & set(chosen):
            server.deliver(USER, "Many", [
                Mail(mails.to_bytes(mails.message("Sender %d <s%d@example.org>" % (n % 97, n % 97), "Message number %d" % n, "x\r\n")), 1600000000 + n * 60)
                for n in range(MANY)])
        with Proxy(server.port_tls) as proxy:
            bench = Bench(server, home, proxy, rounds)
            try:
                for name in chosen:
                    getattr(bench, name)()
            finally:
                home.remove()


if __name__ == "__main__":
    main()
