# SPDX-License-Identifier: MIT
"""A socket that keeps all that it was sent, also what nobody has read: to show that something was never said to a server."""

import socket
import ssl


def drain(sock):
    """What has come and was not read, through the socket's own recv()."""
    try:
        sock.setblocking(False)
        while sock.recv(1 << 16):
            pass
    except (OSError, ValueError):
        pass  # nothing more, or the other side is gone


class Ear(socket.socket):
    """Takes a connection over; what comes goes to heard too, in clear only: TLS reads past it."""

    def __init__(self, sock, heard):
        super().__init__(fileno=sock.detach())
        self._heard = bytearray()
        heard.append(self._heard)

    def recv(self, size, flags=0):
        data = super().recv(size, flags)
        self._heard += data
        return data

    def recv_into(self, buffer, nbytes=0, flags=0):
        count = super().recv_into(buffer, nbytes, flags)
        self._heard += memoryview(buffer)[:count]
        return count

    def _real_close(self, *args):
        drain(self)
        super()._real_close(*args)


class TlsEar(ssl.SSLSocket):
    """Keeps what comes within TLS."""
    inside = None

    def recv(self, buflen=1024, flags=0):
        data = super().recv(buflen, flags)
        self._keep(data)
        return data

    def recv_into(self, buffer, nbytes=None, flags=0):
        count = super().recv_into(buffer, nbytes, flags)
        self._keep(memoryview(buffer)[:count])
        return count

    def _keep(self, data):
        if self.inside is not None:
            self.inside += data

    def _real_close(self, *args):
        drain(self)
        super()._real_close(*args)


def secure(context, sock, inside):
    """TLS on a connection, the server's side; what comes in it goes to inside."""
    context.sslsocket_class = TlsEar
    tls = context.wrap_socket(sock, server_side=True)
    tls.inside = bytearray()
    inside.append(tls.inside)
    return tls
