# SPDX-License-Identifier: MIT
"""A POP3 client that keeps every byte (poplib mends line ends and limits lines): what a server really serves."""

import socket
import ssl


def trusting(ca):
    return ssl.create_default_context(cafile=ca)


class Refused(Exception):
    """-ERR, with the server's words."""


class Client:
    """tls: an SSL context, for TLS from the first byte on."""

    def __init__(self, port, tls=None, host="127.0.0.1"):
        self.sock = socket.create_connection((host, port), 20)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=host)
        self._file = self.sock.makefile("rb")
        self.greeting = self._line()

    def start_tls(self, tls, host="127.0.0.1"):
        self.one("STLS")
        self.sock = tls.wrap_socket(self.sock, server_hostname=host)
        self._file = self.sock.makefile("rb")

    def _line(self):
        line = self._file.readline()
        if line.startswith(b"-"):
            raise Refused(line.decode("latin-1").strip())
        if not line.startswith(b"+") or not line.endswith(b"\n"):
            raise ConnectionError("not an answer: %r" % line)
        return line.rstrip(b"\r\n")

    def one(self, command):
        self.sock.sendall(command.encode() + b"\r\n")
        return self._line()

    def many(self, command):
        """The lines of an answer as they are, without dot-stuffing."""
        self.one(command)
        lines = []
        while (line := self._file.readline()) != b".\r\n":
            if not line.endswith(b"\n"):
                raise ConnectionError("cut off in " + command)
            # A dot counts at the beginning of a line, and CRLF ends a line (RFC 1939 section 3).
            at_start = not lines or lines[-1].endswith(b"\r\n")
            lines.append(line[1:] if at_start and line.startswith(b".") else line)
        return lines

    def login(self, user, password):
        self.one("USER " + user)
        self.one("PASS " + password)

    def sizes(self):
        return {int(line.split()[0]): int(line.split()[1]) for line in self.many("LIST")}

    def uidls(self):
        """{unique-id: number}"""
        return {line.rstrip(b"\r\n").partition(b" ")[2].decode("latin-1"): int(line.split()[0]) for line in self.many("UIDL")}

    def retr(self, number):
        return b"".join(self.many("RETR %d" % number))

    def quit(self):
        self.one("QUIT")
        self.close()

    def close(self):
        self._file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
