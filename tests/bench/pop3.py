#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
Measures the POP3 download against a raw client and against mpop, through a proxy that adds a round-trip time, over TLS, from a
private Dovecot. By hand:

    MAILFS=build/src/cli/mailfs PROXY=build/tests/bench/proxy tests/bench/pop3.py [ROUNDS]

What is compared is measured in turn, in one run; the median of the rounds counts.
"""

import base64
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
sys.path[:0] = [os.path.join(TESTS, "mount"), TESTS, os.path.join(TESTS, "bench")]

os.environ.setdefault("TMPDIR", "/var/tmp")  # ext4 makes files slowly for minutes where tests have removed many, as in /tmp

import mails  # noqa: E402
from bench import show  # noqa: E402
from dovecot import HOST, PASSWORD, Dovecot, Settings  # noqa: E402
from harness import Home, Mount, escape  # noqa: E402
from limits import Line  # noqa: E402
from maildir import Mail  # noqa: E402

MESSAGES = 2000
RTT_MS = 50
MANY, LARGE = "many", "large"


class Bench:
    """proxy: a Line before the server's port of POP3."""

    def __init__(self, server, home, proxy, user=MANY, count=MESSAGES):
        self.server, self.home, self.proxy, self.user, self.count = server, home, proxy, user, count

    def mount(self, user, *options, port=None):
        url = "pop3s://%s@%s:%d" % (user, HOST, port or self.proxy.port)
        return Mount(self.home, url, ["password_file=" + self.home.password_file, "tls_ca=" + escape(self.server.ca), *options])

    def raw(self):
        """Seconds of a client that asks for everything at once and keeps nothing."""
        begin = time.perf_counter()
        context = ssl.create_default_context(cafile=self.server.ca)
        with context.wrap_socket(socket.create_connection((HOST, self.proxy.port)), server_hostname=HOST) as sock:
            sock.recv(4096)
            login = base64.b64encode(("\0%s\0%s" % (self.user, PASSWORD)).encode()).decode()
            ask(sock, "AUTH PLAIN " + login)
            count = int(ask(sock, "STAT").split()[1])
            assert count == self.count
            sock.sendall(b"".join(b"RETR %d\r\n" % n for n in range(1, count + 1)))
            drain(sock, count)
            ask(sock, "QUIT")
        self.proxy.round_trips()
        return time.perf_counter() - begin

    def mpop(self):
        """Seconds of mpop into a Maildir."""
        work = os.path.join(self.home.path, "mpop")
        shutil.rmtree(work, ignore_errors=True)
        for name in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(work, "Maildir", name))
        config = os.path.join(work, "config")
        with open(config, "w", encoding="ascii") as file:
            file.write("account a\nhost %s\nport %d\nuser %s\npasswordeval cat %s\ntls on\ntls_starttls off\ntls_trust_file %s\n"
                       "auth plain\nkeep on\nuidls_file %s/uidls\ndelivery maildir %s/Maildir\n" % (
                           HOST, self.proxy.port, self.user, self.home.password_file, self.server.ca, work, work))
        os.chmod(config, 0o600)
        begin = time.perf_counter()
        subprocess.run(["mpop", "-q", "-C", config, "a"], check=True, timeout=900)
        elapsed = time.perf_counter() - begin
        assert len(os.listdir(os.path.join(work, "Maildir", "new"))) == self.count
        self.proxy.round_trips()
        return elapsed

    def download(self):
        """Seconds until mailfs has returned from a first mount; then the round trips of a second one, and its seconds."""
        self.home.wipe_state()
        begin = time.perf_counter()
        with self.mount(MANY) as mount:
            elapsed = time.perf_counter() - begin
            assert len([name for name in os.listdir(mount.path) if name.endswith(".eml")]) == MESSAGES
        self.proxy.round_trips()
        begin = time.perf_counter()
        with self.mount(MANY):
            again = time.perf_counter() - begin
        return elapsed, self.proxy.round_trips(), again

    def compare(self, rounds):
        raws, mpops, ours, trips, agains = [], [], [], [], []
        self.raw()  # the server's caches are warm
        for _ in range(rounds):
            raws.append(self.raw())
            elapsed, made, again = self.download()
            ours.append(elapsed)
            trips.append(made)
            agains.append(again)
            mpops.append(self.mpop())
        raw, mpop, own = map(statistics.median, (raws, mpops, ours))
        show("first mount, %d messages (%.0f ms), by a raw client (%.0f ms)" % (MESSAGES, own * 1000, raw * 1000), own / raw, 1.5, "×")
        show("first mount (%.0f ms), by mpop into a Maildir (%.0f ms)" % (own * 1000, mpop * 1000), own / mpop, 0.6, "×")
        # The TCP connection itself is one more.
        show("second mount, nothing new (%.0f ms): round trips" % (statistics.median(agains) * 1000), max(trips) + 1, 8, "")

    def peak_rss(self, rounds):
        peaks = []
        for _ in range(rounds):
            self.home.wipe_state()
            with self.mount(LARGE, port=self.server.port_pop3_tls) as mount:
                (name,) = [name for name in os.listdir(mount.path) if name.endswith(".eml")]
                with open(os.path.join(mount.path, name), "rb") as file:
                    while file.read(1 << 20):
                        pass
                peaks.append(mount.peak_rss_kib())
        show("peak RSS, a 60 MB message downloaded and read", statistics.median(peaks), 32 * 1024, "KiB")


def ask(sock, command):
    sock.sendall(command.encode() + b"\r\n")
    line = sock.recv(4096)
    assert line.startswith(b"+OK"), line
    return line


def drain(sock, count):
    """Reads until so many answers have ended."""
    end, tail = b"\r\n.\r\n", b""
    while count > 0:
        data = sock.recv(1 << 18)
        assert data, "the server hung up"
        data = tail + data
        count -= data.count(end)
        # What has been counted must not be counted again.
        last = data.rfind(end)
        tail = data[max(last + 1, len(data) - 4):] if last >= 0 else data[-4:]


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    home = Home()
    with Dovecot(Settings(rawlog=False)) as server:
        server.add_user(MANY)
        server.add_user(LARGE)
        server.deliver(MANY, "INBOX", [
            Mail(mails.to_bytes(mails.message("Sender %d <s%d@example.org>" % (n % 97, n % 97), "Message number %d" % n,
                                              "%07d text\r\n" % n * 260)), 1600000000 + n * 60)
            for n in range(MESSAGES)])
        server.deliver(LARGE, "INBOX", [Mail(mails.to_bytes(mails.large(60)))])
        with Line(os.environ["PROXY"], server.port_pop3_tls, RTT_MS) as proxy:
            bench = Bench(server, home, proxy)
            try:
                bench.compare(rounds)
                bench.peak_rss(rounds)
            finally:
                home.remove()


if __name__ == "__main__":
    main()
