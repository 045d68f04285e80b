# SPDX-License-Identifier: MIT
"""
A proxy for many short sessions: each line is a port before a server, on which so many bytes pass, exactly, and then the connection is ended; or
on which something else happens when a certain command comes by. One thread for all lines, so that a cut costs next to nothing. (proxy.py
does what concerns all connections at once.)
"""

import selectors
import socket
import threading
import time

from proxy import _abort

TO_CLIENT, TO_SERVER = 0, 1
ENDINGS = ("fin", "rst")
HEAD = 4096     # bytes of each direction that are kept
RATE = 40       # bytes a second of a line that trickles
DELAY_S = 0.3   # of one that delays
# What may happen to a connection when a command comes by.
FAULTS = {
    "rst": "both sides see a reset, the server has not seen the command",
    "fin": "both sides see an orderly end",
    "silence": "nothing passes any more",
    "no answer": "the server gets the command, and its answer does not come",
    "half-close": "the client sees an end, and what it sends is taken and lost",
    "half-close to the server": "the server sees an end, and what it sends still passes",
    "trickle": "a few bytes a second pass to the client",
    "delay": "each piece comes later",
}


class Line:
    """
    port: where it listens. passed: bytes in each direction (TO_CLIENT, TO_SERVER) since arm(), heads: the first of them. cuts: how often it was cut
    since then.
    """

    def __init__(self, cutter, target):
        self.cutter, self.target = cutter, target
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.links = set()
        self.arm()

    def arm(self, way=TO_CLIENT, after=None, ending="fin", times=1):
        """
        From now on the connection that has passed `after` bytes in one direction is ended, `times` times, counted anew each time over all
        connections. None: never. Connections that are there are ended.
        """
        with self.cutter.lock:
            for link in list(self.links):
                link.end()
            self.passed, self.heads, self.cuts = [0, 0], [b"", b""], 0
            self.way, self.after, self.left, self.ending, self.times = way, after, after, ending, times
            self.word, self.fault, self.again, self.faults = None, None, False, 0

    def expect(self, word, fault, again=False):
        """
        When the client sends this word, the fault happens to its connection (again: to each on which it is sent, and there is only silence on new
        ones after that). arm() ends it.
        """
        self.arm()
        with self.cutter.lock:
            self.word, self.fault, self.again = word, fault, again

    def meets(self, link, data):
        """Whether the fault happens now."""
        if self.word is None or self.word not in data or (self.faults and not self.again):
            return False
        self.faults += 1
        link.fault = self.fault
        return True

    def allowed(self, way, length):
        """How many of so many bytes may pass."""
        if self.left is None or way != self.way:
            return length
        return min(length, self.left)

    def note(self, way, data):
        """These have passed. True: now it is cut."""
        length = len(data)
        self.passed[way] += length
        if len(self.heads[way]) < HEAD:
            self.heads[way] += data
        if self.left is None or way != self.way:
            return False
        self.left -= length
        return self.left == 0

    def cut(self, link):
        self.cuts += 1
        self.times -= 1
        self.left = self.after if self.times > 0 else None
        link.end(self.ending)


class Link:
    """A connection: its two sockets, and for each direction what was taken and could not be passed on yet."""

    def __init__(self, line, client, server):
        self.line, self.socks = line, (client, server)  # socks[way] is who receives
        self.waiting, self.over = [b"", b""], [False, False]
        for sock in self.socks:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.links.add(self)
        self.ended, self.fault, self.due = False, None, 0.0

    def end(self, ending="fin"):
        self.ended = True
        self.line.links.discard(self)
        for sock in self.socks:
            self.line.cutter.forget(sock)
            if ending == "rst":
                _abort(sock)
            sock.close()

    def ready(self, sock, events):
        if events & selectors.EVENT_READ:
            self.take(1 - self.socks.index(sock))
        for way in (TO_CLIENT, TO_SERVER):
            if not self.ended:
                self.give(way)

    def take(self, way):
        """From who sends in that direction."""
        if self.waiting[way] or self.over[way]:
            return
        try:
            data = self.socks[1 - way].recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.waiting[way], self.over[way] = data, not data
        if way == TO_SERVER and data and self.line.meets(self, data):
            self.suffer()
        elif data and self.fault == "delay":
            self.due = time.monotonic() + DELAY_S

    def suffer(self):
        """What happens at once."""
        if self.fault in ENDINGS:
            self.end(self.fault)
        elif self.fault == "half-close":
            self.socks[TO_CLIENT].shutdown(socket.SHUT_WR)
        elif self.fault == "half-close to the server":
            self.waiting[TO_SERVER] = b""
            self.socks[TO_SERVER].shutdown(socket.SHUT_WR)

    def passes(self, way):
        """How many bytes may pass now, whatever they are."""
        now = time.monotonic()
        if self.fault == "silence" or (self.fault in ("no answer", "half-close") and way == TO_CLIENT):
            return 0
        if self.fault and self.fault.startswith("half-close") and way == TO_SERVER:
            self.waiting[way] = b""
        if self.fault == "delay":
            return 0 if now < self.due else 65536
        if self.fault != "trickle" or way == TO_SERVER:
            return 65536
        count = int((now - self.due) * RATE) if self.due else 1
        if count:
            self.due = now
        return count

    def give(self, way):
        data = self.waiting[way][:self.line.allowed(way, len(self.waiting[way]))]
        data = data[:self.passes(way)]
        try:
            count = self.socks[way].send(data) if data else 0
        except BlockingIOError:
            count = 0
        except OSError:
            self.end()
            return
        self.waiting[way] = self.waiting[way][count:]
        if self.line.note(way, data[:count]):
            self.line.cut(self)
        elif self.over[way] and not self.waiting[way] and not (self.fault and self.fault.startswith("half-close")):
            self.end()
        else:
            self.line.cutter.watch(self)


class Cutter:
    """A context manager; line(port of a server) makes a line."""

    def __init__(self):
        self.lock = threading.RLock()
        self.selector = selectors.DefaultSelector()
        self.lines, self.closed = [], False
        threading.Thread(target=self._run, daemon=True).start()

    def line(self, target):
        with self.lock:
            line = Line(self, target)
            self.lines.append(line)
            self.selector.register(line.listener, selectors.EVENT_READ, line)
            return line

    def watch(self, link):
        for way, sock in enumerate(link.socks):
            # Who receives in one direction sends in the other.
            events = selectors.EVENT_WRITE if link.waiting[way] and not link.fault else 0
            if not link.waiting[1 - way] and not link.over[1 - way]:
                events |= selectors.EVENT_READ
            known = self.selector.get_map().get(sock.fileno())
            if known and known.events != events:
                self.forget(sock)
                known = None
            if not known and events:
                self.selector.register(sock, events, link)

    def forget(self, sock):
        try:
            self.selector.unregister(sock)
        except (KeyError, ValueError):
            pass

    def _accept(self, line):
        try:
            client, _ = line.listener.accept()
        except OSError:
            return
        try:
            server = socket.create_connection(("127.0.0.1", line.target), 20)
        except OSError:
            client.close()
            return
        link = Link(line, client, server)
        if line.again and line.faults and line.fault in ("silence", "no answer"):
            link.fault = "silence"
        if line.left == 0:
            line.cut(link)
        else:
            self.watch(link)

    def _run(self):
        while not self.closed:
            for key, events in self.selector.select(0.05):
                with self.lock:
                    self._handle(key, events)
            with self.lock:
                for link in [link for line in self.lines for link in line.links if link.fault]:
                    link.ready(None, 0)

    def _handle(self, key, events):
        if isinstance(key.data, Line):
            self._accept(key.data)
        elif not key.data.ended:
            key.data.ready(key.fileobj, events)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.closed = True
        with self.lock:
            for line in self.lines:
                line.arm()
                self.forget(line.listener)
                line.listener.close()
