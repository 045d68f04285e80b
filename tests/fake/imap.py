# SPDX-License-Identifier: MIT
"""
A scripted IMAP server, for what real servers do not do. By itself it behaves: it serves the boxes that it is given,
byte for byte. A test bends it at one place:

    server.on["UID FETCH"] = lambda session, tag, args: ...   a truthy answer: the command is done with
    server.row = lambda session, message, row: ...            changes (or, with b"", drops) a FETCH row on its way out
    server.vanished = lambda session, uids, text: ...         changes (or, with "", drops) the UIDs of a VANISHED on its way out
    server.greeting = lambda session: ...                     a line, or what sends one, or anything else

Each session is a thread; its commands are kept in server.commands.

What it announces is up to the test: with CONDSTORE, QRESYNC, ESEARCH, IDLE, NOTIFY or OBJECTID in its capabilities (see PUSH) it does
what they say. server.add(), flag(), remove(), create(), rename(), drop() are another client's doings: who has the folder open and
is in IDLE, or has said NOTIFY, hears of them; server.push() sends anything else to those.
"""

import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field

from fake.ear import Ear, secure

CAPABILITY = "IMAP4rev1 NAMESPACE UIDPLUS SPECIAL-USE ENABLE ID UNSELECT"
PUSH = CAPABILITY + " CONDSTORE QRESYNC ESEARCH IDLE NOTIFY"


@dataclass
class Message:
    """
    size: what RFC822.SIZE says, when it lies; structure: BODYSTRUCTURE, likewise; extra: further items by name; modseq: of its last change.
    """
    uid: int
    data: bytes
    flags: str = ""
    date: str = "14-Nov-2023 22:13:20 +0000"
    size: int = None
    structure: bytes = None
    extra: dict = field(default_factory=dict)
    modseq: int = 1

    @property
    def header(self):
        head, blank, _ = self.data.partition(b"\r\n\r\n")
        return head + blank

    @property
    def text(self):
        return self.data[len(self.header):]


@dataclass
class Box:
    """no_select: the words with which SELECT is refused; modseq: the highest so far; gone: (UID, modseq) of what was expunged."""
    messages: list
    flags: str = "\\HasNoChildren"
    uidvalidity: int = 1700000000
    no_select: str = ""
    delimiter: str = "/"
    modseq: int = 1
    gone: list = field(default_factory=list)
    mailbox_id: str = ""


class Session:
    """One connection."""

    def __init__(self, server, sock):
        self.server, self.sock, self.file = server, sock, sock.makefile("rb")
        self.box = None
        self.enabled = set()
        self.idling = self.notified = False
        self._lock = threading.Lock()

    def send(self, data):
        with self._lock:
            self.sock.sendall(data)

    def untagged(self, text):
        self.send(b"* " + _bytes(text) + b"\r\n")

    def done(self, tag, text="OK Done."):
        self.send(_bytes(tag) + b" " + _bytes(text) + b"\r\n")

    def cut(self):
        """Ends the connection without a word."""
        self.sock.shutdown(socket.SHUT_RDWR)

    def read_command(self):
        """One command line with its literals in place; b"" at the end."""
        command = b""
        while True:
            line = self.file.readline()
            if not line.endswith(b"\n"):
                return b""
            command += line.rstrip(b"\r\n")
            literal = re.search(rb"\{(\d+)(\+?)\}$", command)
            if not literal:
                return command
            if not literal.group(2):
                self.send(b"+ go on\r\n")
            octets = self.file.read(int(literal.group(1)))
            command = command[:literal.start()] + quoted(octets)

    def run(self):
        if callable(self.server.greeting):
            self.server.greeting(self)
        else:
            self.send(_bytes(self.server.greeting) + b"\r\n")
        while True:
            command = self.read_command()
            if not command:
                return
            tag, _, rest = command.decode("latin-1").partition(" ")
            verb, _, args = rest.partition(" ")
            if verb.upper() == "UID":
                second, _, args = args.partition(" ")
                verb += " " + second
            verb = verb.upper()
            self.server.commands.append(("%s %s" % (verb, args)).strip())
            script = self.server.on.get(verb)
            if script and script(self, tag, args):
                continue
            handler = getattr(self, "do_" + verb.lower().replace(" ", "_"), None)
            if not handler:
                self.done(tag, "BAD Unknown command.")
            elif handler(tag, args) == "end":
                return

    # --- commands ---

    def do_capability(self, tag, _args):
        self.untagged("CAPABILITY " + self.server.capability)
        self.done(tag)

    def do_noop(self, tag, _args):
        self.done(tag)

    def do_unselect(self, tag, _args):
        self.box = None
        self.done(tag)

    do_close = do_unselect

    def has(self, word):
        return word in self.server.capability.split()

    def do_id(self, tag, _args):
        self.untagged("ID NIL")
        self.done(tag)

    def do_enable(self, tag, args):
        words = [word for word in args.upper().split() if self.has(word)]
        self.enabled |= set(words)
        self.untagged(" ".join(["ENABLED"] + words))
        self.done(tag)

    def do_idle(self, tag, _args):
        if not self.has("IDLE"):
            self.done(tag, "BAD Unknown command.")
            return
        self.idling = True
        self.send(b"+ idling\r\n")
        self.file.readline()
        self.idling = False
        self.done(tag)

    def do_notify(self, tag, args):
        self.notified = self.has("NOTIFY") and args.upper().startswith("SET")
        self.done(tag, "OK Done." if self.has("NOTIFY") else "BAD Unknown command.")

    def do_login(self, tag, args):
        self.server.logins.append(args)
        if self.server.refuse_login:
            self.done(tag, "NO " + self.server.refuse_login)
        else:
            self.done(tag, "OK [CAPABILITY %s] Logged in." % self.server.capability)

    def do_starttls(self, tag, _args):
        self.done(tag, "OK Begin TLS.")
        self.sock = secure(self.server.tls, self.sock, self.server.inside)
        self.file = self.sock.makefile("rb")

    def do_logout(self, tag, _args):
        self.untagged("BYE See you.")
        self.done(tag)
        return "end"

    def do_namespace(self, tag, _args):
        self.untagged('NAMESPACE (("" "/")) NIL NIL')
        self.done(tag)

    def do_list(self, tag, _args):
        for name, box in self.server.boxes.items():
            self.untagged(b"LIST (%s) %s %s" % (_bytes(box.flags), quoted(_bytes(box.delimiter)), quoted(_bytes(name))))
        self.done(tag)

    def do_lsub(self, tag, _args):
        self.done(tag)

    def do_getquotaroot(self, tag, _args):
        self.done(tag, "NO No quota.")

    def do_status(self, tag, args):
        name, _, items = args.rpartition(" (")
        box = self.server.boxes.get(unquote(name))
        if box is None:
            self.done(tag, "NO [NONEXISTENT] No such mailbox.")
            return
        values = {"MESSAGES": len(box.messages), "UIDNEXT": _uidnext(box), "UIDVALIDITY": box.uidvalidity, "UNSEEN": 0,
                  "HIGHESTMODSEQ": box.modseq, "MAILBOXID": "(%s)" % box.mailbox_id}
        found = " ".join("%s %s" % (item, values[item]) for item in items.rstrip(")").upper().split() if item in values)
        self.untagged(b"STATUS %s (%s)" % (quoted(_bytes(unquote(name))), _bytes(found)))
        self.done(tag)

    def do_select(self, tag, args, access="READ-WRITE"):
        name = unquote(args.partition(" (")[0])
        box = self.server.boxes.get(name)
        if box is None and name.upper() == "INBOX":
            box = self.server.boxes.get("INBOX")
        if self.box is not None and self.has("CONDSTORE"):
            self.untagged("OK [CLOSED] The one before.")
        self.box = None
        if box is None or box.no_select:
            self.done(tag, "NO " + (box.no_select if box else "[NONEXISTENT] No such mailbox."))
            return
        self.box = box
        self.untagged("FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)")
        self.untagged("%d EXISTS" % len(box.messages))
        self.untagged("0 RECENT")
        self.untagged("OK [UIDVALIDITY %d] Valid." % box.uidvalidity)
        self.untagged("OK [UIDNEXT %d] Next." % _uidnext(box))
        if self.has("CONDSTORE"):
            self.untagged("OK [HIGHESTMODSEQ %d] Highest." % box.modseq)
        if box.mailbox_id:
            self.untagged("OK [MAILBOXID (%s)] Id." % box.mailbox_id)
        known = re.search(r"\(QRESYNC \((\d+) (\d+)", args, re.IGNORECASE)
        if known and "QRESYNC" in self.enabled and int(known.group(1)) == box.uidvalidity:
            self.tell_since(box, int(known.group(2)))
        self.done(tag, "OK [%s] Selected." % access)

    def tell_since(self, box, modseq):
        """What QRESYNC tells: who is gone, then who is new or changed."""
        self.tell_vanished("VANISHED (EARLIER) ", sorted(uid for uid, at in box.gone if at > modseq))
        for number, message in enumerate(list(box.messages), 1):
            if message.modseq > modseq:
                self.tell_flags(number, message)

    def tell_vanished(self, head, uids):
        text = self.server.vanished(self, uids, ",".join(map(str, uids)))
        if text:
            self.untagged(head + text)

    def tell_flags(self, number, message):
        row = b"* %d FETCH (UID %d FLAGS (%s) MODSEQ (%d))\r\n" % (
            number, message.uid, _bytes(message.flags), message.modseq)
        row = self.server.row(self, message, row)
        if row:
            self.send(row)

    def do_examine(self, tag, args):
        self.do_select(tag, args, "READ-ONLY")

    def do_uid_search(self, tag, args):
        """Knows UID SET and ALL, and RETURN (ALL)."""
        wanted = re.search(r"\bUID ([\d:*,]+)", args, re.IGNORECASE)
        uids = [str(m.uid) for m in self.box.messages
                if not wanted or in_set(m.uid, wanted.group(1), _uidnext(self.box) - 1)]
        if not args.upper().startswith("RETURN"):
            self.untagged(" ".join(["SEARCH"] + uids))
        else:
            self.untagged('ESEARCH (TAG "%s") UID%s' % (tag, " ALL " + ",".join(uids) if uids else ""))
        self.done(tag)

    def do_uid_fetch(self, tag, args):
        wanted, _, items = args.partition(" ")
        since = re.search(r" \(CHANGEDSINCE (\d+)\)$", items, re.IGNORECASE)
        if since:
            items = items[:since.start()]
        names = split_items(items) + (["MODSEQ"] if since else [])
        if "UID" not in names:
            names.insert(0, "UID")
        for number, message in enumerate(list(self.box.messages), 1):
            if since and message.modseq <= int(since.group(1)):
                continue
            if in_set(message.uid, wanted, _uidnext(self.box) - 1):
                row = b"* %d FETCH (%s)\r\n" % (number, b" ".join(fetch_item(message, name) for name in names))
                row = self.server.row(self, message, row)
                if row:
                    self.send(row)
        self.done(tag)


def fetch_item(message, item):
    """One item of a FETCH row."""
    name = item.upper()
    if name in message.extra:
        return b"%s %s" % (_bytes(name), _bytes(message.extra[name]))
    if name == "UID":
        return b"UID %d" % message.uid
    if name == "MODSEQ":
        return b"MODSEQ (%d)" % message.modseq
    if name == "FLAGS":
        return b"FLAGS (%s)" % _bytes(message.flags)
    if name == "INTERNALDATE":
        return b'INTERNALDATE "%s"' % _bytes(message.date)
    if name == "RFC822.SIZE":
        return b"RFC822.SIZE %d" % (len(message.data) if message.size is None else message.size)
    if name == "BODYSTRUCTURE":
        plain = b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" %d %d)' % (len(message.text), message.text.count(b"\n"))
        return b"BODYSTRUCTURE " + (plain if message.structure is None else message.structure)
    return fetch_body(message, item)


def fetch_body(message, item):
    found = re.fullmatch(r"BODY(?:\.PEEK)?\[(.*?)\](?:<(\d+)\.(\d+)>)?", item, re.IGNORECASE | re.DOTALL)
    if not found:
        return b"%s NIL" % _bytes(item)
    section = found.group(1)
    data = section_bytes(message, section)
    origin = b""
    if found.group(2) is not None:
        first, length = int(found.group(2)), int(found.group(3))
        data, origin = data[first:first + length], b"<%d>" % first
    return b"BODY[%s]%s {%d}\r\n%s" % (_bytes(section), origin, len(data), data)


def section_bytes(message, section):
    upper = section.upper()
    if upper == "":
        return message.data
    if upper == "HEADER":
        return message.header
    if upper in ("TEXT", "1"):
        return message.text
    if upper.startswith("HEADER.FIELDS"):
        wanted = set(upper[upper.index("(") + 1:upper.index(")")].replace('"', "").split())
        fields = re.findall(rb"[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", message.header)
        return b"".join(f for f in fields if f.partition(b":")[0].decode("latin-1").upper() in wanted) + b"\r\n"
    return b""


def split_items(items):
    """The items of "(A B[C (D E)]<0.5> F)", or of one item alone."""
    text = items[1:-1] if items.startswith("(") else items
    found, depth, start = [], 0, 0
    for at, char in enumerate(text + " "):
        depth += (char in "[(") - (char in "])")
        if char == " " and depth == 0:
            if at > start:
                found.append(text[start:at])
            start = at + 1
    return found


def in_set(uid, text, last):
    for part in text.split(","):
        low, _, high = part.partition(":")
        ends = [last if end == "*" else int(end) for end in (low, high or low)]
        if min(ends) <= uid <= max(ends):
            return True
    return False


def quoted(data):
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def unquote(text):
    if text.startswith('"'):
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def _uidnext(box):
    """What is gone counts too: no UID comes twice."""
    return max([message.uid for message in box.messages] + [uid for uid, _ in box.gone], default=0) + 1


class Server:
    """Listens on a port of its own on loopback; a context manager."""

    def __init__(self, boxes, capability=CAPABILITY, tls=None, implicit=False):
        """tls: (certificate, key) to offer; implicit: from the first byte on."""
        self.boxes, self.capability = boxes, capability
        self.greeting = "* OK [CAPABILITY %s] Ready." % capability
        self.refuse_login = ""
        self.on = {}
        self.row = lambda session, message, row: row
        self.vanished = lambda session, uids, text: text
        self.commands, self.logins, self.sessions = [], [], []
        self.heard = []     # of each connection: all that came in clear
        self.inside = []    # and within TLS
        self.implicit, self.tls = implicit, None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        session = None
        sock = Ear(sock, self.heard)
        try:
            if self.implicit:
                sock = secure(self.tls, sock, self.inside)
            session = Session(self, sock)
            self.sessions.append(session)
            session.run()
        except (OSError, ValueError):
            pass  # the other side went away, or a test cut the connection
        finally:
            if session:
                sock = session.sock
            sock.close()

    # --- another client's doings ---

    def _tell(self, name, idle):
        """idle: called for each session that is in IDLE in this folder; those with NOTIFY get a STATUS."""
        box = self.boxes[name]
        for session in list(self.sessions):
            try:
                if session.idling and session.box is box:
                    idle(session)
                elif session.notified and session.box is not box:
                    session.untagged(b"STATUS %s (MESSAGES %d UIDNEXT %d HIGHESTMODSEQ %d)" % (
                        quoted(_bytes(name)), len(box.messages), _uidnext(box), box.modseq))
            except OSError:
                pass  # it has gone

    def add(self, name, message):
        """A message arrives."""
        box = self.boxes[name]
        box.modseq += 1
        message.modseq = box.modseq
        box.messages.append(message)
        self._tell(name, lambda session: session.untagged("%d EXISTS" % len(box.messages)))

    def flag(self, name, uid, flags):
        """Flags of a message are set to these."""
        box = self.boxes[name]
        number = [message.uid for message in box.messages].index(uid)
        message = box.messages[number]
        box.modseq += 1
        message.modseq, message.flags = box.modseq, flags
        self._tell(name, lambda session: session.tell_flags(number + 1, message))

    def remove(self, name, uid):
        """A message is expunged."""
        box = self.boxes[name]
        number = [message.uid for message in box.messages].index(uid)
        box.modseq += 1
        box.gone.append((uid, box.modseq))
        del box.messages[number]

        def tell(session):
            if "QRESYNC" in session.enabled:
                session.tell_vanished("VANISHED ", [uid])
            else:
                session.untagged("%d EXPUNGE" % (number + 1))
        self._tell(name, tell)

    def create(self, name, box):
        self.boxes[name] = box
        self.push(b'LIST (%s) "/" %s' % (_bytes(box.flags), quoted(_bytes(name))), idle=False)

    def drop(self, name):
        del self.boxes[name]
        self.push(b'LIST (\\NonExistent) "/" %s' % quoted(_bytes(name)), idle=False)

    def rename(self, old, new):
        self.boxes = {new if name == old else name: box for name, box in self.boxes.items()}
        self.push(b'LIST (%s) "/" %s ("OLDNAME" (%s))' % (
            _bytes(self.boxes[new].flags), quoted(_bytes(new)), quoted(_bytes(old))), idle=False)

    def push(self, text, idle=True, notified=True):
        """An untagged response, without its star, to every session that waits in one of these ways. How many got it."""
        count = 0
        for session in list(self.sessions):
            if (idle and session.idling) or (notified and session.notified):
                try:
                    session.untagged(text)
                    count += 1
                except OSError:
                    pass  # it has gone
        return count

    def count(self, contains):
        return sum(contains in command for command in self.commands)

    def wait_for(self, contains, count=1, seconds=10):
        """Waits until a command has been sent."""
        end = time.monotonic() + seconds
        while self.count(contains) < count:
            assert time.monotonic() < end, "no %r among %r" % (contains, self.commands)
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for session in list(self.sessions):
            try:
                session.cut()
            except OSError:
                pass
