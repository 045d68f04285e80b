#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
Measures what the project promises, against a private Dovecot over TLS on loopback, and prints it. By hand:

    MAILFS=build/src/cli/mailfs tests/bench/bench.py [ROUNDS]

What is compared is measured in turn, in one run, with the server's caches equally warm; the median of the rounds counts.
"""

import os
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, "mount"), TESTS]

import mails  # noqa: E402
from dovecot import HOST, PASSWORD, Dovecot, Settings  # noqa: E402
from fake.imap import Box, Message, Server  # noqa: E402
from harness import Home, Mount, escape  # noqa: E402
from maildir import Mail  # noqa: E402
from proxy import Proxy  # noqa: E402

KIB = 1024
LISTING = 10_000
USER = "bench"


class Bench:
    """One Dovecot with all the mail; each figure is a method that prints a line."""

    def __init__(self, server, home, rounds):
        self.server, self.home, self.rounds = server, home, rounds

    def mount(self, port=None, *options, fresh=True):
        if fresh:
            self.home.wipe_cache()
        url = "imaps://%s@%s:%d" % (USER, HOST, port or self.server.port_tls)
        return Mount(self.home, url, ["password_file=" + self.home.password_file, "tls_ca=" + escape(self.server.ca), *options])

    def wire(self, work, prepare=lambda mount: mount.by_uid("Large")):
        """The bytes on the wire of work(mount, prepared), the median of the rounds."""
        counts = []
        for _ in range(self.rounds):
            with Proxy(self.server.port_tls) as proxy, self.mount(proxy.port) as mount:
                prepared = prepare(mount)
                proxy.reset_counts()
                work(mount, prepared)
                time.sleep(0.5)  # what is still read ahead counts too
                counts.append(proxy.total)
        return statistics.median(counts)

    def first_4_kib(self):
        def work(_mount, paths):
            fd = os.open(paths[1], os.O_RDONLY)
            assert len(os.pread(fd, 4096, 0)) == 4096
            os.close(fd)

        show("wire bytes, first 4 KiB of a 30 MB message", self.wire(work), 300 * KIB, "bytes")

    def text_part(self):
        def prepare(mount):
            base = mount.sub("Large", ".parts")
            path = os.path.join(base, next(name for name in os.listdir(base) if name.endswith(".1")))
            assert "1-text.txt" in os.listdir(path)
            return os.path.join(path, "1-text.txt")

        def work(_mount, path):
            with open(path, "rb") as part:
                assert len(part.read()) == 10 * KIB

        show("wire bytes, 10 KiB text part of a 30 MB message", self.wire(work, prepare), (10 + 32) * KIB, "bytes")

    def peak_rss(self):
        peaks = []
        copy = os.path.join(self.home.path, "copy")
        for _ in range(self.rounds):
            with self.mount() as mount:
                shutil.copyfile(mount.by_uid("Large")[2], copy)
                peaks.append(mount.peak_rss_kib())
        os.unlink(copy)
        show("peak RSS, a 60 MB message copied out", statistics.median(peaks), 64 * KIB, "KiB")

    def listing(self):
        """The first ls of a folder of 10,000, against reading the very same FETCH from a socket and dropping it."""
        command = self.listing_command()
        self.drain(command)
        drained, listed = [], []
        for _ in range(self.rounds):
            drained.append(self.drain(command))
            with self.mount() as mount:
                begin = time.perf_counter()
                out = subprocess.run(["ls", mount.sub("Many")], check=True, capture_output=True).stdout
                listed.append(time.perf_counter() - begin)
                assert out.count(b"\n") == LISTING
        ratio = statistics.median(listed) / statistics.median(drained)
        show("first ls of %d messages (%.0f ms), by draining (%.0f ms)" % (
            LISTING, statistics.median(listed) * 1000, statistics.median(drained) * 1000), ratio, 2.5, "×")

    def listing_command(self):
        """The columns that mailfs asks for, taken from what it said to a scripted server."""
        with Server({"INBOX": Box([Message(1, b"Subject: x\r\n\r\n")])}) as fake:
            self.home.wipe_cache()
            with Mount(self.home, "imap://me@127.0.0.1:%d" % fake.port,
                       ["tls=none", "password_file=" + self.home.password_file]) as mount:
                mount.names("INBOX")
            command = next(c for c in fake.commands if "HEADER.FIELDS" in c)
        return "UID FETCH 1:* " + command.split(" ", 3)[3]

    def drain(self, command):
        """Seconds from sending the command to the end of its answer."""
        context = ssl.create_default_context(cafile=self.server.ca)
        raw = socket.create_connection((HOST, self.server.port_tls))
        with context.wrap_socket(raw, server_hostname=HOST) as sock:
            quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
            sock.recv(4096)
            exchange(sock, 'a LOGIN %s "%s"' % (USER, quoted))
            exchange(sock, "b EXAMINE Many")
            begin = time.perf_counter()
            exchange(sock, "c " + command)
            return time.perf_counter() - begin

    def second_listing(self):
        """What ls -lR costs when it is repeated, within refresh= and after it."""
        def ls(mount, _prepared=None):
            subprocess.run(["ls", "-lR", mount.path], check=True, stdout=subprocess.DEVNULL)

        within = self.wire(ls, prepare=ls)
        show("wire bytes, second ls -lR within refresh=", within, 0, "bytes")
        counts = []
        for _ in range(self.rounds):
            with Proxy(self.server.port_tls) as proxy, self.mount(proxy.port, "refresh=1") as mount:
                ls(mount)
                time.sleep(1.1)
                proxy.reset_counts()
                ls(mount)
                counts.append(proxy.total)
                folders = sum(len(names) for _, names, _ in os.walk(mount.path))
        show("wire bytes, second ls -lR after refresh=: %d folders looked at" % folders, statistics.median(counts), None, "bytes")


def exchange(sock, command):
    """Sends a command and drops its answer, up to the line that ends it."""
    sock.sendall(command.encode() + b"\r\n")
    end = command[:2].encode() + b"OK "
    tail = b""
    buffer = bytearray(1 << 17)
    while True:
        count = sock.recv_into(buffer)
        assert count, "the server hung up"
        tail = (tail + bytes(buffer[max(0, count - 2048):count]))[-2048:]
        if tail.endswith(b"\r\n") and tail[:-2].rpartition(b"\r\n")[2].startswith(end):
            return


def show(what, value, limit, unit):
    verdict = "" if limit is None else "  (must: ≤ %g) %s" % (limit, "ok" if value <= limit else "MISSED")
    print("%-75s %10.6g %s%s" % (what, value, unit, verdict), flush=True)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    home = Home()
    with Dovecot(Settings(rawlog=False)) as server:
        server.add_user(USER)
        server.deliver(USER, "Large", [Mail(mails.to_bytes(mails.large(30, "word " * 2047 + "wor\r\n"))),
                                       Mail(mails.to_bytes(mails.large(60)))])
        server.deliver(USER, "Many", [
            Mail(mails.to_bytes(mails.message("Sender %d <s%d@example.org>" % (n % 97, n % 97), "Message number %d" % n, "x\r\n")), 1600000000 + n * 60)
            for n in range(LISTING)])
        bench = Bench(server, home, rounds)
        try:
            for figure in (bench.first_4_kib, bench.text_part, bench.peak_rss, bench.listing, bench.second_listing):
                figure()
        finally:
            home.remove()


if __name__ == "__main__":
    main()
