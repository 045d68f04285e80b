# SPDX-License-Identifier: MIT
"""A TCP proxy on loopback that counts, slows down, holds and cuts what passes."""

import socket
import struct
import threading
import time


class Proxy:
    """
    received, sent: bytes that the client got and sent. flights: how often the server spoke after the client did; with a
    delay_s that is longer than an answer takes, those are round trips.
    delay_s: before each piece to the client is passed on.
    cut_after(n): the connection on which the n-th further byte to the client would pass is reset, `times` times.
    hold(): nothing passes to the client until release().
    """

    def __init__(self, target, listen="127.0.0.1", port=0):
        self._target = ("127.0.0.1", target)
        self._listener = socket.create_server((listen, port))
        self.port = self._listener.getsockname()[1]
        self.received = self.sent = self.connections = self.cuts = self.flights = 0
        self.delay_s = 0
        self.bytes_per_s = 0
        self._budget, self._every, self._times = None, 0, 0
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._socks = []
        threading.Thread(target=self._accept, daemon=True).start()

    def reset_counts(self):
        with self._lock:
            self.received = self.sent = self.connections = self.flights = 0

    @property
    def round_trips(self):
        """With those that set the connections up."""
        return self.connections + self.flights

    @property
    def total(self):
        return self.received + self.sent

    def cut_after(self, count, times=1):
        with self._lock:
            self._budget, self._times, self._every = count, times, count

    def cut_idle(self):
        """Resets every connection that is there now."""
        with self._lock:
            socks, self._socks = self._socks, []
        for sock in socks:
            _reset(sock)

    def hold(self):
        self._open.clear()

    def release(self):
        self._open.set()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                self._socks += [client, server]
            asked = threading.Event()  # the client has spoken since the server did
            threading.Thread(target=self._pass, args=(client, server, False, asked), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True, asked), daemon=True).start()

    def _take_turn(self, to_client, asked):
        with self._lock:
            if not to_client:
                asked.set()
            elif asked.is_set():
                asked.clear()
                self.flights += 1

    def _pass(self, source, sink, to_client, asked):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                if to_client:
                    self._slow(len(data))
                if not self._count(len(data), to_client):
                    _reset(sink)
                    source.close()
                    return
                self._take_turn(to_client, asked)
                sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _slow(self, length):
        self._open.wait()
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.bytes_per_s:
            time.sleep(length / self.bytes_per_s)

    def _count(self, length, to_client):
        """Counts; False when the connection is to be cut here."""
        with self._lock:
            if not to_client:
                self.sent += length
                return True
            if self._budget is not None:
                self._budget -= length
                if self._budget < 0:
                    self.cuts += 1
                    self._times -= 1
                    self._budget = self._every if self._times > 0 else None
                    return False
            self.received += length
            return True

    def close(self):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self._open.set()
        for sock in self._socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def _reset(sock):
    """Ends a connection with RST, as a cut line looks to a program."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()
