# SPDX-License-Identifier: MIT
"""
What the benchmark measures against and through: the private Dovecot with the corpora, the lines (the C proxy: a round-trip time, a
bandwidth) and the raw limit (the C program that only drains a socket).
"""

import fcntl
import os
import socket
import subprocess
import threading
import time
from dataclasses import dataclass

import corpus
from dovecot import PASSWORD, Dovecot, Settings, die_with_parent, free_port


@dataclass
class Count:
    """What went over a line; a difference of two is what went between."""
    received: int = 0
    sent: int = 0
    round_trips: int = 0
    connections: int = 0

    def __sub__(self, before):
        return Count(*(getattr(self, name) - getattr(before, name) for name in vars(self)))


class Line:
    """The C proxy before a port."""

    def __init__(self, program, target, rtt_ms, mbit=None):
        self.rtt_ms, self.mbit = rtt_ms, mbit
        command = [program, str(target), str(rtt_ms)] + ([str(mbit)] if mbit else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        self.port = int(self.process.stdout.readline())
        self.seen = Count()

    def total(self):
        """Of all connections since the start, those that are open included."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        while True:
            words = self.process.stdout.readline().split()
            if words[0] == "total":
                return Count(**{name: int(value) for name, value in (word.split("=") for word in words[1:])})

    def round_trips(self):
        """Since the last time it was asked."""
        total = self.total()
        made, self.seen = total - self.seen, total
        return made.round_trips

    def cpu_s(self):
        return cpu_s(self.process.pid)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def cpu_s(pid):
    """User and system time of a process so far."""
    with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class MailServer(Dovecot):
    """Its users' homes are kept from run to run, with the indexes that Dovecot made; it offers COMPRESS."""

    def __init__(self):
        super().__init__(Settings(rawlog=False, compress=True))

    def add_home(self, user, home):
        os.symlink(home, os.path.join(self.root, "home", user))

    def own(self, path):
        """Makes a tree the server's."""
        self._give(path)


def _write_corpus(server, home, name, count, mark):
    subprocess.run(["rm", "-rf", home], check=True)
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(home, "mail", "INBOX", sub))
    size, digest = corpus.write(os.path.join(home, "mail", corpus.FOLDER), name, count)
    server.own(home)
    with open(mark, "w", encoding="ascii") as out:
        out.write("%d %s\n" % (size, digest))


def make_corpus(server, work, name, count, say):
    """The corpus as the home of a user of that name; writes it if it is not there."""
    home = os.path.join(work, "corpus-%s-%d-v%d" % (name, count, corpus.VERSION))
    mark = os.path.join(home, "complete")
    with open(os.path.join(work, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # somebody else may be writing it
        if not os.path.exists(mark):
            say("writing the corpus %s, %d messages" % (name, count))
            _write_corpus(server, home, name, count, mark)
    with open(mark, encoding="ascii") as text:
        size, digest = text.read().split()
    server.add_home(name, home)
    return corpus.Corpus(name, home, count, int(size), digest)


def pop3_home(server, work, mail):
    """Another user, whose INBOX, which POP3 serves, is that corpus."""
    home = os.path.join(work, "corpus-pop3-%d" % mail.count)
    os.makedirs(os.path.join(home, "mail"), exist_ok=True)
    inbox = os.path.join(home, "mail", "INBOX")
    if not os.path.lexists(inbox):
        os.symlink(mail.path, inbox)
    server.own(home)
    server.add_home("pop3", home)


def drain(program, server, line, user, items, connections=1, timeout=900):
    """Seconds and bytes of that FETCH of the whole folder."""
    done = subprocess.run([program, str(line.port), server.ca, user, PASSWORD, corpus.FOLDER, items, str(connections)],
                          capture_output=True, text=True, check=False, timeout=timeout)
    if done.returncode:
        raise RuntimeError("drain: " + done.stderr.strip())
    seconds, size = done.stdout.split()
    return float(seconds), int(size)


# --- what the lines really are ---

def _echo(listener, reply):
    """Serves one connection: a byte for a byte, or, where reply is a size, that many bytes for the first one."""
    sock, _ = listener.accept()
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while sock.recv(1):
            sock.sendall(bytes(reply or 1))


def _connected(program, rtt_ms, mbit, reply, work):
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        server = threading.Thread(target=_echo, args=(listener, reply), daemon=True)
        server.start()
        with Line(program, listener.getsockname()[1], rtt_ms, mbit) as line:
            with socket.create_connection(("127.0.0.1", line.port)) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                value = work(sock, line)
            server.join(5)
            return value


def measured_rtt_ms(program, rtt_ms):
    """The median of some round trips of one byte."""
    def work(sock, _line):
        taken = []
        for _ in range(21):
            begin = time.perf_counter()
            sock.sendall(b"x")
            sock.recv(1)
            taken.append((time.perf_counter() - begin) * 1000)
        return sorted(taken)[10]
    return _connected(program, rtt_ms, None, 0, work)


def measured_mbit(program, rtt_ms, mbit, size):
    """Mbit/s of so many bytes, the round trip not counted, and the proxy's own seconds of CPU."""
    def work(sock, line):
        buffer, left = bytearray(1 << 18), size
        sock.sendall(b"x")
        begin = None
        while left > 0:
            got = sock.recv_into(buffer)
            begin = begin or (time.perf_counter(), got)
            left -= got
        return (size - begin[1]) * 8 / 1e6 / (time.perf_counter() - begin[0]), line.cpu_s()
    return _connected(program, rtt_ms, mbit, size, work)
