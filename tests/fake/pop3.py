# SPDX-License-Identifier: MIT
"""
A scripted POP3 server (RFC 1939, 2449, 2595, 5034), for what real servers do not do. By itself it behaves: it serves the
messages that it is given, byte for byte, and deletes at QUIT. A test bends it at one place:

    server.on["RETR"] = lambda session, args: ...              a truthy answer: the command is done with
    server.change["LIST"] = lambda session, args, data: ...    the whole answer on its way out, as other bytes
    server.cut("RETR", answer=3, lines=5)                      the third RETR's answer ends after its fifth line, and so does
                                                               the connection

Each session is a thread; what it was sent is kept in server.commands, as "number of the session, command".
"""

import base64
import collections
import hashlib
import socket
import ssl
import threading
import time
from dataclasses import dataclass

from fake.ear import Ear, secure

CAPABILITY = ("TOP", "UIDL", "USER", "SASL PLAIN", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER")
GREETING = b"+OK Ready.\r\n"
# QUIT: what is said, and whether what was marked is deleted.
QUITS = {"ok": (b"+OK See you.\r\n", True), "refused": (b"-ERR Some messages were not removed.\r\n", False),
         "refused but done": (b"-ERR Disk trouble.\r\n", True), "silent": (b"", False), "silent but done": (b"", True)}


@dataclass(eq=False)
class Message:
    """
    uidl: None: a hash of the data; b"": UIDL does not name it. size: what LIST says, when it lies. refuse: the words with which RETR
    is refused. wire: what follows RETR's +OK line instead of the data, dot-stuffed, with the final dot.
    """
    data: bytes
    uidl: bytes = None
    size: int = None
    refuse: str = ""
    wire: bytes = None

    def __post_init__(self):
        if self.uidl is None:
            self.uidl = hashlib.md5(self.data).hexdigest().encode()

    @property
    def served(self):
        """The message as a client gets it: its last line has an end."""
        return self.data if self.data.endswith(b"\r\n") or not self.data else self.data + b"\r\n"

    @property
    def listed(self):
        return len(self.served) if self.size is None else self.size

    @property
    def lines(self):
        """What follows the +OK line of RETR."""
        return stuffed(self.served) + b".\r\n" if self.wire is None else self.wire

    def top(self, count):
        head, blank, body = self.served.partition(b"\r\n\r\n")
        kept = b"".join(body.splitlines(keepends=True)[:count]) if count else b""
        return stuffed(head + blank + kept if blank else self.served) + b".\r\n"


def stuffed(data):
    """A dot more before each line that begins with one (RFC 1939 section 3)."""
    if data.startswith(b"."):
        data = b"." + data
    return data.replace(b"\r\n.", b"\r\n..")


@dataclass
class Cut:
    verb: str
    answer: int
    lines: int
    more_bytes: int


class Ended(Exception):
    """The session is over."""


class Session:
    """One connection."""

    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.user, self.logged_in = "", False
        self.messages, self.marked = [], set()
        self.secured = server.implicit
        self._lines, self._rest, self._out = collections.deque(), b"", []
        self._out_bytes = 0

    # --- the wire ---

    def send(self, data):
        """With what is waiting before it."""
        self._out.append(data)
        self._out_bytes += len(data)
        if not self._lines or self._out_bytes > 1 << 18:
            self.flush()

    def flush(self):
        data, self._out, self._out_bytes = b"".join(self._out), [], 0
        if data:
            self.sock.sendall(data)

    def trickle(self, data, seconds=1.0):
        """One byte at a time."""
        self.flush()
        for byte in data:
            self.sock.sendall(bytes([byte]))
            time.sleep(seconds)

    def end(self):
        """Ends the connection without a word."""
        self.flush()
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        raise Ended

    def read_line(self):
        while not self._lines:
            self.flush()
            data = self.sock.recv(1 << 16)
            if not data:
                raise Ended
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._lines.extend(lines)
        return self._lines.popleft().rstrip(b"\r").decode("latin-1")

    def answer(self, verb, data):
        """One whole answer, cut where the test says so."""
        self.server.answered[verb] += 1
        for cut in self.server.cuts:
            if (cut.verb, cut.answer) == (verb, self.server.answered[verb]):
                kept = b"".join(data.splitlines(keepends=True)[:cut.lines])
                self.send(data[:len(kept) + cut.more_bytes])
                self.server.cuts_done += 1
                self.end()
        self.send(data)

    def ahead(self):
        """Whether more was sent before this command could be answered."""
        if self._lines or self._rest:
            return True
        self.flush()
        self.sock.settimeout(self.server.patience_s)
        try:
            data = self.sock.recv(1 << 16)
        except (TimeoutError, ssl.SSLWantReadError, BlockingIOError):
            return False
        finally:
            self.sock.settimeout(None)
        *lines, self._rest = data.split(b"\n")
        self._lines.extend(lines)
        return bool(data)

    def run(self):
        if callable(self.server.greeting):
            self.server.greeting(self)
        elif self.server.greeting:
            self.answer("greeting", self.server.greeting)
        while True:
            line = self.read_line()
            verb, _, args = line.partition(" ")
            verb = verb.upper()
            self.server.note(self, line, verb)
            if self.server.watch_pipelining and self.ahead():
                self.server.pipelined.append(line)
            script = self.server.on.get(verb)
            if script and script(self, args):
                continue
            handler = getattr(self, "do_" + verb.lower(), None)
            data = handler(args) if handler else b"-ERR Unknown command.\r\n"
            if data is None:
                continue
            change = self.server.change.get(verb)
            self.answer(verb, change(self, args, data) if change else data)
            if verb == "QUIT":
                self.end()

    # --- before login ---

    def do_capa(self, _args):
        lines = self.server.capability
        if lines is None:
            return b"-ERR Unknown command.\r\n"
        if not self.secured and self.server.tls:
            lines = (*lines, "STLS")
        return multi(line.encode() for line in lines)

    def do_stls(self, _args):
        if self.secured or not self.server.tls:
            return b"-ERR No TLS here.\r\n"
        self.answer("STLS", b"+OK Begin TLS.\r\n")
        self.start_tls()
        return None

    def start_tls(self):
        self.flush()
        self.sock = secure(self.server.tls, self.sock, self.server.inside)
        self.secured = True
        self._rest = b""
        self._lines.clear()

    def login(self, kind, user, secret):
        self.server.logins.append((kind, user, secret))
        if self.server.refuse_login:
            return b"-ERR %s\r\n" % self.server.refuse_login.encode()
        self.logged_in = True
        self.messages = list(self.server.messages)
        return b"+OK Logged in.\r\n"

    def do_user(self, args):
        self.user = args
        return b"+OK Go on.\r\n"

    def do_pass(self, args):
        return self.login("USER", self.user, args)

    def do_apop(self, args):
        user, _, digest = args.rpartition(" ")
        return self.login("APOP", user, digest)

    def do_auth(self, args):
        kind, _, initial = args.partition(" ")
        kind = kind.upper()
        if kind not in next((line.split()[1:] for line in self.server.capability or () if line.startswith("SASL")), ()):
            return b"-ERR No such mechanism.\r\n"
        if not initial:
            self.send(b"+ \r\n")
            initial = self.read_line()
        if initial == "*":
            return b"-ERR Cancelled.\r\n"
        response = base64.b64decode(initial).decode()
        if kind == "PLAIN":
            _, user, secret = response.split("\0")
            return self.login(kind, user, secret)
        return self.do_token(kind, response)

    def do_token(self, kind, response):
        """XOAUTH2, OAUTHBEARER (RFC 7628): a refusal is a challenge first, that the client answers."""
        words = response.replace("\1", ",").split(",")
        token = next(word.partition("Bearer ")[2] for word in words if "Bearer " in word)
        user = next(word.partition("=")[2] for word in words if word.startswith(("user=", "a=")))
        if self.server.token is not None and token != self.server.token:
            self.server.logins.append((kind, user, token))
            self.send(b"+ %s\r\n" % base64.b64encode(b'{"status":"invalid_token"}'))
            self.read_line()
            return b"-ERR [AUTH] The token is not valid.\r\n"
        return self.login(kind, user, token)

    # --- after login ---

    def one(self, args):
        """The message that a command names; None: no such, or not logged in."""
        number = args.split(" ")[0]
        if not self.logged_in or not number.isdigit() or not 1 <= int(number) <= len(self.messages) or int(number) in self.marked:
            return None
        return self.messages[int(number) - 1]

    def left(self):
        return [(number, message) for number, message in enumerate(self.messages, 1) if number not in self.marked]

    def do_stat(self, _args):
        rows = self.left()
        return b"+OK %d %d\r\n" % (len(rows), sum(message.listed for _, message in rows))

    def do_list(self, args):
        message = self.one(args)
        if args:
            return b"+OK %d %d\r\n" % (int(args), message.listed) if message else b"-ERR No such message.\r\n"
        return multi(b"%d %d" % (number, message.listed) for number, message in self.left())

    def do_uidl(self, _args):
        return multi(b"%d %s" % (number, message.uidl) for number, message in self.left() if message.uidl)

    def do_retr(self, args):
        message = self.one(args)
        if message is None:
            return b"-ERR No such message.\r\n"
        if message.refuse:
            return b"-ERR %s\r\n" % message.refuse.encode()
        if self.server.delay_s:
            self.flush()
            time.sleep(self.server.delay_s)
        return b"+OK Here it is.\r\n" + message.lines

    def do_top(self, args):
        message = self.one(args)
        if message is None or message.refuse:
            return b"-ERR No such message.\r\n"
        return b"+OK The top.\r\n" + message.top(int(args.split(" ")[1]))

    def do_dele(self, args):
        message = self.one(args)
        if message is None:
            return b"-ERR No such message.\r\n"
        self.marked.add(int(args))
        self.server.marked.append(message)
        return b"+OK Marked.\r\n"

    def do_noop(self, _args):
        return b"+OK\r\n"

    def do_rset(self, _args):
        self.marked.clear()
        return b"+OK\r\n"

    def do_quit(self, _args):
        words, done = QUITS[self.server.quit]
        if done and self.logged_in:
            self.server.delete([self.messages[number - 1] for number in sorted(self.marked)])
        return words


def multi(lines):
    return b"+OK\r\n" + b"".join(bytes(line) + b"\r\n" for line in lines) + b".\r\n"


class Server:
    """Listens on a port of its own on loopback; a context manager."""

    def __init__(self, messages, capability=CAPABILITY, tls=None, implicit=False, port=0):
        """capability: lines of CAPA; None: it knows no CAPA. tls: (certificate, key) to offer; implicit: from the first byte on."""
        self.messages, self.capability = list(messages), capability
        self.greeting = GREETING    # or what sends it
        self.refuse_login, self.token = "", None
        self.quit = "ok"
        self.on, self.change, self.cuts = {}, {}, []
        self.cuts_done = 0
        self.delay_s = 0            # before each answer to RETR
        self.watch_pipelining = False
        self.patience_s = 0.02      # so long for a command that comes too early
        self.commands, self.logins, self.sessions = [], [], []
        self.heard = []             # of each connection: all that came in clear
        self.inside = []            # and within TLS
        self.pipelined = []         # commands behind which more was sent than there was an answer for
        self.marked, self.deleted = [], []  # messages: DELE was answered +OK; gone
        self.answered, self.verbs = collections.Counter(), collections.Counter()
        self.implicit, self.tls = implicit, None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, verb, answer=1, lines=0, more_bytes=0):
        """From the answers that come from now on."""
        self.cuts.append(Cut(verb, self.answered[verb] + answer, lines, more_bytes))

    def note(self, session, line, verb):
        with self._lock:
            self.commands.append((session.number, line))
            self.verbs[verb] += 1

    def delete(self, messages):
        with self._lock:
            gone = set(map(id, messages))
            self.deleted += [message for message in self.messages if id(message) in gone]
            self.messages = [message for message in self.messages if id(message) not in gone]

    def forget(self):
        """Counts from here."""
        with self._lock:
            self.commands.clear()
            self.verbs.clear()
            self.logins.clear()
            self.sessions.clear()

    def of(self, verb):
        """The arguments of the commands with this verb, in their order."""
        with self._lock:
            return [line.partition(" ")[2] for _, line in self.commands if line.partition(" ")[0].upper() == verb]

    @property
    def connections(self):
        return len(self.sessions)

    def _accept(self):
        number = 0
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock, number):
        sock = Ear(sock, self.heard)
        session = Session(self, sock, number)
        self.sessions.append(session)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.implicit:
                session.sock = secure(self.tls, sock, self.inside)
            session.run()
        except (OSError, ValueError, Ended, StopIteration):
            pass  # the other side went away, or a test cut the connection
        finally:
            session.sock.close()

    def wait_for(self, verb, count=1, seconds=10):
        """Waits until a command has come so often."""
        end = time.monotonic() + seconds
        while self.verbs[verb] < count:
            assert time.monotonic() < end, "no %d %s: %r" % (count, verb, self.commands[-20:])
            time.sleep(0.01)

    def close(self):
        """Goes away, with all connections."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        for session in list(self.sessions):
            try:
                session.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
