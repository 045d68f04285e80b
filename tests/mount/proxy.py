# SPDX-License-Identifier: MIT
"""A TCP proxy on loopback that counts, slows down, holds, loses and cuts what passes; all of it may change while it runs."""

import collections
import ctypes
import socket
import struct
import threading
import time

BUFFER = 64 << 20  # of a connection, in one direction
PIECE_S = 0.02     # of a direction whose rate is limited
_libc = ctypes.CDLL(None)


class Way:
    """
    One direction, of all connections; what a test sets, and what has passed.
    bytes: that were passed on.
    delay_s: how much later each byte arrives; as much arrives in a second as without it.
    bytes_per_s: no more than that for each connection; 0: no limit.
    stalled: what comes is taken and kept, and passed on later, in order.
    """

    def __init__(self):
        self.bytes = 0
        self.delay_s = 0.0
        self.bytes_per_s = 0
        self.stalled = False
        self.budget = None    # bytes until the connection is ended
        self.ending = "rst"
        self.every, self.times = 0, 0


class Proxy:
    """
    to_client, to_server: the two directions. received, sent: bytes that the client got and sent. connections, refused: that were made, and that
    were not taken. flights: how often the server spoke after the client did; with a delay_s that is longer than an answer takes, those are
    round trips.
    delay_s: before each piece to the client is passed on (which is slower than latency(): nothing else passes meanwhile).
    latency(s): the round trip takes so much longer, and the throughput stays.
    limit(n): bytes a second, in each direction of each connection; 0: no limit.
    cut_after(n): the connection on which the n-th further byte to the client would pass is ended, `times` times. ending: "rst", a cut line;
    "fin", both sides see an orderly end; "truncate": what lies before the n-th byte still passes, the receiver sees an end, the sender sees none.
    hold(): nothing passes to the client, and nothing is taken from the server, until release().
    stall(): bytes are taken on both sides, and passed on after recover().
    blackhole(): every connection that is there is dead, without a sign, for ever: what it sends is taken and lost. New ones: "answer": are made and
    then dead, too; "silent": there is no answer to them, as if the host was gone.
    refuse(): the server is away: nobody listens, and what is there is reset.
    recover(): all is well from now on. A connection that was lost in a black hole is reset when its client sends something, unless silent.
    """

    def __init__(self, target, listen="127.0.0.1", port=0):
        self._target = ("127.0.0.1", target)
        self._address = (listen, port)
        self.to_client, self.to_server = Way(), Way()
        self.connections = self.refused = self.cuts = self.flights = 0
        self.delay_s = 0
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Condition(threading.RLock())
        self._accepting = threading.Lock()
        self._links = set()
        self._fillers = []
        self._closed = False
        self._new = "pass"  # what becomes of new connections: pass, answer, silent, refuse
        self._silent = False
        self._listener = None
        self._listen()
        threading.Thread(target=self._accept, daemon=True).start()

    # --- Counters ---

    @property
    def received(self):
        return self.to_client.bytes

    @property
    def sent(self):
        return self.to_server.bytes

    @property
    def bytes_per_s(self):
        return self.to_client.bytes_per_s

    @bytes_per_s.setter
    def bytes_per_s(self, rate):
        self.to_client.bytes_per_s = rate

    def reset_counts(self):
        with self._lock:
            self.to_client.bytes = self.to_server.bytes = self.connections = self.refused = self.flights = 0

    def wait_idle(self):
        """
        Until no connection is there. POP3's QUIT is not waited for: its answer may pass when a mount has long been there, and is not to count
        for what comes after.
        """
        end = time.monotonic() + 20
        while self.alive:
            assert time.monotonic() < end, "a connection does not end"
            time.sleep(0.01)

    @property
    def round_trips(self):
        """With those that set the connections up."""
        return self.connections + self.flights

    @property
    def total(self):
        return self.received + self.sent

    @property
    def alive(self):
        """Connections that are there now and not lost in a black hole."""
        with self._lock:
            return sum(not link.dead for link in self._links)

    # --- Faults ---

    def latency(self, round_trip_s):
        self.to_client.delay_s = self.to_server.delay_s = round_trip_s / 2

    def limit(self, bytes_per_s):
        self.to_client.bytes_per_s = self.to_server.bytes_per_s = bytes_per_s

    def cut_after(self, count, times=1, ending="rst", way=None):
        """way: self.to_client (as without it) or self.to_server."""
        way = way or self.to_client
        with self._lock:
            way.budget, way.times, way.every, way.ending = count, times, count, ending

    def cut_idle(self):
        """Resets every connection that is there now."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.reset()

    def hold(self):
        self._open.clear()

    def release(self):
        self._open.set()

    def stall(self, ways=None):
        with self._lock:
            for way in ways or (self.to_client, self.to_server):
                way.stalled = True

    def blackhole(self, new="answer"):
        with self._lock:
            for link in self._links:
                link.dead = True
            self._new = new
            self._lock.notify_all()
        if new == "silent":
            self._fill()

    def refuse(self):
        with self._lock:
            self._new = "refuse"
            listener, self._listener = self._listener, None
        if listener:
            _stop_listening(listener)
        self.cut_idle()

    def recover(self, silent=False):
        with self._lock:
            self._silent = silent
            for way in (self.to_client, self.to_server):
                way.stalled, way.budget = False, None
            if self._listener is None:
                self._listen()
            self._drain()
            self._listener.listen(128)
            self._new = "pass"
            self._lock.notify_all()
        self._open.set()

    # --- New connections ---

    @property
    def port(self):
        return self._address[1]

    def _listen(self):
        listener = socket.create_server(self._address)
        listener.settimeout(0.02)
        self._address = listener.getsockname()
        self._listener = listener

    def _fill(self):
        """Fills the queue of those who wait to be accepted: the kernel answers nobody who comes then."""
        with self._accepting:
            self._listener.listen(0)
        for _ in range(8):
            sock = socket.socket()
            sock.settimeout(0.1)
            self._fillers.append(sock)
            try:
                sock.connect(self._address)
            except OSError:
                return

    def _drain(self):
        """Takes the fillers out of the queue again."""
        fillers, self._fillers = self._fillers, []
        names = {sock.getsockname() for sock in fillers}
        while names:
            try:
                client, name = self._listener.accept()
            except OSError:
                break
            if name not in names:
                self._begin(client, "pass")
                break
            names.remove(name)
            client.close()
        for sock in fillers:
            sock.close()

    def _accept(self):
        while not self._closed:
            client = None
            with self._accepting:
                new, listener = self._new, self._listener
                if new in ("pass", "answer") and listener:
                    try:
                        client, _ = listener.accept()
                    except OSError:
                        pass
            if client:
                self._begin(client, self._new)
            elif new not in ("pass", "answer"):
                time.sleep(0.01)
            else:
                time.sleep(0)  # whoever waits for the lock gets it

    def _begin(self, client, new):
        server = None
        try:
            client.setblocking(True)
            if new == "refuse":
                raise ConnectionRefusedError
            if new == "pass":
                server = socket.create_connection(self._target)
        except OSError:
            self.refused += 1
            client.close()
            return
        link = Link(self, client, server)
        with self._lock:
            link.dead = new != "pass"
            self.refused += link.dead
            self.connections += not link.dead
            self._links.add(link)
        link.start()

    def forget(self, link):
        with self._lock:
            self._links.discard(link)

    # --- What passes: called by the links ---

    def slow(self, length):
        """Before a piece to the client is taken over."""
        self._open.wait()
        if self.delay_s:
            time.sleep(self.delay_s)
        return length

    def count(self, way, length):
        """Counts what is about to pass: (how much of it may, how the connection ends then or None)."""
        with self._lock:
            if way.budget is not None:
                way.budget -= length
                if way.budget < 0:
                    left = way.budget + length
                    self.cuts += 1
                    way.times -= 1
                    way.budget = way.every if way.times > 0 else None
                    return left if way.ending == "truncate" else 0, way.ending
            way.bytes += length
            return length, None

    def take_turn(self, link, way):
        with self._lock:
            if way is self.to_server:
                link.asked = True
            elif link.asked:
                link.asked = False
                self.flights += 1

    def wait_unless(self, way, link):
        """Waits while the direction is stalled; False: the link has ended."""
        with self._lock:
            while way.stalled and not link.ended:
                self._lock.wait(0.5)
            return not link.ended

    def may_reset(self):
        """Whether a dead connection hears of its end when it sends something."""
        return self._new == "pass" and not self._silent

    def wake(self):
        with self._lock:
            self._lock.notify_all()

    def close(self):
        self._closed = True
        if self._listener:
            _stop_listening(self._listener)
        self._open.set()
        for sock in self._fillers:
            sock.close()
        with self._lock:
            links = list(self._links)
            self._lock.notify_all()
        for link in links:
            link.end()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Link:
    """A connection: for each direction a thread that takes, and one that passes on."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.dead = self.ended = self.asked = False
        for sock in (client, server):
            if sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self):
        if self.server is None:
            self._thread(self._swallow)
            return
        for way, source, sink in ((self.proxy.to_server, self.client, self.server), (self.proxy.to_client, self.server, self.client)):
            queue = Queue()
            self._thread(self._take, way, source, queue)
            self._thread(self._give, way, sink, queue)

    @staticmethod
    def _thread(target, *args):
        threading.Thread(target=target, args=args, daemon=True).start()

    def _take(self, way, source, queue):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                if self.dead:
                    if way is self.proxy.to_server and self.proxy.may_reset():
                        self.reset()
                        return
                    continue
                if way is self.proxy.to_client:
                    self.proxy.slow(len(data))
                queue.put(time.monotonic() + way.delay_s, data)
        except OSError:
            pass
        queue.put(time.monotonic() + way.delay_s, None)

    def _give(self, way, sink, queue):
        try:
            while True:
                due, data = queue.get()
                time.sleep(max(0, due - time.monotonic()))
                if not self.proxy.wait_unless(way, self):
                    return
                if self.dead:
                    if data is None:
                        return
                    continue
                if data is None or not self._pass(way, sink, data):
                    break
        except OSError:
            pass
        queue.close()
        if not self.dead and not self.ended:
            self.end()

    def _pass(self, way, sink, data):
        """False: the connection is over."""
        while data:
            rate = way.bytes_per_s
            piece = data[:max(1, int(rate * PIECE_S))] if rate else data
            data = data[len(piece):]
            length, ending = self.proxy.count(way, len(piece))
            self.proxy.take_turn(self, way)
            sink.sendall(piece[:length])
            if ending == "truncate":
                sink.shutdown(socket.SHUT_WR)
                self.dead = True
                return True
            if ending:
                if ending == "rst":
                    _abort(sink)
                self.end()
                return False
            if rate:
                time.sleep(len(piece) / rate)
        return True

    def _swallow(self):
        try:
            while self.client.recv(65536):
                if self.proxy.may_reset():
                    self.reset()
                    return
        except OSError:
            pass
        self.end()

    def reset(self):
        for sock in (self.client, self.server):
            if sock:
                _abort(sock)
        self.end()

    def end(self):
        self.ended = True
        self.proxy.forget(self)
        self.proxy.wake()
        for sock in (self.client, self.server):
            if sock:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                sock.close()


class Queue:
    """What was taken and is not passed on yet; who takes waits when it is too much."""

    def __init__(self):
        self._items, self._size, self._over = collections.deque(), 0, False
        self._changed = threading.Condition()

    def put(self, due, data):
        with self._changed:
            while self._size > BUFFER and not self._over:
                self._changed.wait()
            self._items.append((due, data))
            self._size += len(data or b"")
            self._changed.notify_all()

    def get(self):
        with self._changed:
            while not self._items:
                self._changed.wait()
            due, data = self._items.popleft()
            self._size -= len(data or b"")
            self._changed.notify_all()
            return due, data

    def close(self):
        with self._changed:
            self._over = True
            self._changed.notify_all()


def _stop_listening(listener):
    """At once, though another thread waits in accept()."""
    try:
        listener.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    listener.close()


def _abort(sock):
    """Ends it with RST, as a cut line looks to a program; connect() to nowhere does that at once, whatever other threads do with it (tcp(7))."""
    try:
        _libc.connect(sock.fileno(), struct.pack("=H14x", socket.AF_UNSPEC), 16)
    except OSError:
        pass
