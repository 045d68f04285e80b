# SPDX-License-Identifier: MIT
"""What the hostile cases of IMAP are made of: one account, and the ways to bend its server at one place."""

import errno
import os
import threading
import time

from fake.imap import CAPABILITY, Box, Message, Server
from harness import SLOW
from hostile import Case, Late, Trial, read, sha256, unexpected

IO = (errno.EIO, errno.ETIMEDOUT)  # of what does not end: the limit or the deadline, whichever is met first
LOST = IO + (errno.EHOSTUNREACH,)  # the connection went, and is not back yet
FLOOD_S = 30                       # so long nobody listens to one
VICTIM = 2
SMALL = b"From: Alice Smith <alice@example.org>\r\nSubject: number %d\r\n\r\nbody %d\r\n"


def message(number, **more):
    return Message(number, SMALL % (number, number), **more)


def messages(count=3, first=1):
    return [message(number) for number in range(first, first + count)]


# --- Attacks: functions that take the server ---

def on(verb, script, of=""):
    """script(session, tag) instead of the answer to this command, where of is among its arguments; of what is in a folder: in INBOX only."""
    def arm(server):
        def run(session, tag, args):
            if of not in args or (verb.startswith("UID") and session.box is not server.boxes["INBOX"]):
                return False
            server.struck += 1
            return script(session, tag) is not False
        server.on[verb] = run
    return arm


def say(data, cut=False):
    """A script: these bytes, %t being the tag, and nothing more; cut: then the connection ends."""
    def script(session, tag):
        session.send(data.replace(b"%t", tag.encode()))
        if cut:
            session.cut()
    return script


def first(data):
    """A script: these bytes, and then the right answer."""
    def script(session, tag):
        session.send(data.replace(b"%t", tag.encode()))
        return False
    return script


def once(script):
    """A script: the first time alone."""
    def run(session, tag):
        spent, session.server.spent = getattr(session.server, "spent", False), True
        return False if spent else script(session, tag)
    return run


def answer(verb, data, of="", cut=False):
    return on(verb, say(data, cut), of)


def before(verb, data, of=""):
    return on(verb, first(data), of)


def flood(start, chunk):
    """A script that does not end until the client goes, which it must."""
    def script(session, _tag):
        session.send(start)
        end = time.monotonic() + FLOOD_S * SLOW
        while time.monotonic() < end:
            session.send(chunk)
        session.server.complaints.append("a flood was not cut off")
        session.cut()
    return script


def trickle(data):
    """A script: one byte a second."""
    def script(session, tag):
        for byte in data.replace(b"%t", tag.encode()):
            session.send(bytes([byte]))
            time.sleep(1)
    return script


def flow(start, chunk):
    """A script: two kilobytes a second, which is enough for a download to go on, until the attack is over."""
    def script(session, tag):
        session.send(start)
        while session.server.on:
            session.send(chunk)
            time.sleep(len(chunk) / 2048)
        session.cut()
    return script


def both(*attacks):
    def arm(server):
        for attack in attacks:
            attack(server)
    return arm


def able(words):
    """What the server says that it can do, in its greeting and later."""
    def arm(server):
        server.capability = words
        server.greeting = "* OK [CAPABILITY %s] Ready." % words
    return arm


def greeting(script):
    def arm(server):
        def run(session):
            server.struck += 1
            script(session, "*")
        server.greeting = run
    return arm


LISTING = "RFC822.SIZE"
BODY = "BODY.PEEK[]"


def listing(script):
    """Strikes the first listing of INBOX."""
    return on("UID FETCH", script, LISTING)


def body(script):
    """Strikes the reading of the victim, however it is asked for."""
    def arm(server):
        def run(session, tag, args):
            if session.box is not server.boxes["INBOX"] or not args.startswith("%d " % VICTIM) or BODY not in args:
                return False
            server.struck += 1
            return script(session, tag) is not False
        server.on["UID FETCH"] = run
    return arm


def row(change, of=LISTING):
    """change(row) on the way out, of the victim's row in INBOX."""
    def arm(server):
        def run(session, one, data):
            if one.uid != VICTIM or session.box is not server.boxes["INBOX"] or of.encode().replace(b".PEEK", b"") not in data:
                return data
            server.struck += 1
            return change(data)
        server.row = run
    return arm


def swap(old, new, of=LISTING):
    return row(lambda data: data.replace(old, new), of)


def push(data):
    """To all who wait, as soon as somebody does."""
    def arm(server):
        server.struck += server.push(data)
    return arm


def between(script):
    """On every connection that is there and has no command running; what is not read blocks nobody but the server."""
    def arm(server):
        for session in list(server.sessions):
            server.struck += 1
            threading.Thread(target=_quietly, args=(script, session), daemon=True).start()
    return arm


def _quietly(script, session):
    try:
        script(session, "C0")
    except OSError:
        pass  # it was cut off


# --- Kinds of cases ---

def at_mount(name, attack, seen, **more):
    return Case(name, "mount", attack, seen, **more)


def at_list(name, attack, seen, **more):
    return Case(name, "list", attack, seen, **more)


def at_read(name, attack, seen, **more):
    return Case(name, "read", attack, seen, **more)


def at_walk(name, attack, seen, **more):
    return Case(name, "walk", attack, seen, **more)


class ImapTrial(Trial):
    """
    An account with INBOX (three messages) and Work (two).
    world: boxes, capability, tls, scheme: what is different about it.
    """

    def start(self):
        world = self.case.world or {}
        boxes = {"INBOX": Box(messages()), "Work": Box(messages(2, 5))}
        self.scheme = world.get("scheme", "imap")
        server = Server(world["boxes"]() if "boxes" in world else boxes, world.get("capability", CAPABILITY))
        self.greeting, self.capability = server.greeting, server.capability
        self.paths = {}
        server.complaints, server.struck = [], 0
        return server

    def url(self):
        return "%s://me@127.0.0.1:%d" % (self.scheme, self.server.port)

    def attempt(self, *options, patient=False):
        if self.case.at == "again":
            options += ("refresh=0",)
        return super().attempt("tls=none", *options, patient=patient)

    def disarm(self):
        server = self.server
        server.on.clear()
        server.row = lambda session, one, data: data
        server.vanished = lambda session, uids, text: text
        server.greeting, server.capability, server.refuse_login = self.greeting, self.capability, ""

    # --- looking ---

    def wanted(self, folder):
        return {one.uid: sha256(one.data) for one in self.server.boxes[folder].messages}

    def right_folder(self, mount, folder, errors=()):
        """All of a folder. errors: what may come of it instead. False: one of those did."""
        paths, error = self.timed(mount.by_uid, folder)
        if error:
            if error not in errors:
                raise unexpected(error, "%s: listing" % folder)
            return False
        wanted = self.wanted(folder)
        assert sorted(paths) == sorted(wanted), "%s: %r" % (folder, sorted(paths))
        for uid, path in paths.items():
            data, error = self.timed(read, path)
            if error:
                if error not in errors:
                    raise unexpected(error, "%s: %d" % (folder, uid))
                return False
            assert sha256(data) == wanted[uid], "%s: %d: %r" % (folder, uid, data[:200])
        return True

    def right(self, mount):
        for folder in ("INBOX", "Work"):
            self.right_folder(mount, folder)

    def first_look(self):
        """Mounted in spite of it: what is shown is right, or is an error."""
        if self.case.others:
            self.right_folder(self.mount, "Work")
        if self.case.inbox:
            self.right_folder(self.mount, "INBOX")

    def prepare(self):
        if self.case.at == "list":
            return
        self.paths = self.mount.by_uid("INBOX")
        assert sorted(self.paths) == sorted(self.wanted("INBOX"))
        if self.case.at == "idle":
            end = time.monotonic() + 10 * SLOW
            while not any(session.idling and session.box is self.server.boxes["INBOX"] for session in self.server.sessions):
                if time.monotonic() > end:
                    raise Late("nobody waits")
                time.sleep(0.02)

    def look(self):
        case, mount = self.case, self.mount
        if case.at == "read":
            data, error = self.timed(read, self.paths[VICTIM])
            self.seen.append("read: " + errno.errorcode.get(error, "right"))
            case.seen.check(error, "reading")
            assert error or sha256(data) == self.wanted("INBOX")[VICTIM], "other bytes: %r" % data[:300]
        elif case.at == "walk":
            self.walk()
        elif case.at == "parts":
            found, error = self.timed(os.listdir, self.parts(VICTIM))
            self.seen.append("parts: " + errno.errorcode.get(error, "right"))
            case.seen.check(error, "parts")
            assert error or "headers.txt" in found, found
            data, error = self.timed(read, self.paths[VICTIM])
            assert sha256(data) == self.wanted("INBOX")[VICTIM], error
        else:
            paths, error = self.timed(mount.by_uid, "INBOX")
            self.seen.append("list: " + errno.errorcode.get(error, "right"))
            case.seen.check(error, "listing")
            shown = sorted(set(paths or ()) - set(case.ghosts))
            assert error or shown == sorted(self.wanted("INBOX")), sorted(paths)
        if case.others:
            self.right_folder(mount, "Work", () if case.seen.right else LOST)

    def walk(self):
        """All of INBOX in its order, so that most of it comes ahead of its reader; and twice more once the server is honest: nothing wrong was kept anywhere."""
        errors = []
        for uid, wanted in sorted(self.wanted("INBOX").items()):
            data, error = self.timed(read, self.paths[uid])
            assert error in (None,) + self.case.seen.errors, "%d: %s" % (uid, errno.errorcode[error])
            assert error or sha256(data) == wanted or self.case.lied, "%d: other bytes" % uid
            errors.append(error)
        self.seen.append("walk: %d of %d failed" % (len(errors) - errors.count(None), len(errors)))
        assert self.case.seen.right or any(errors), "no error"
        self.disarm()
        for _ in range(2):
            self.right_folder(self.mount, "INBOX", IO)

    def parts(self, uid):
        return self.mount.sub("INBOX", ".parts", os.path.basename(self.paths[uid])[:-len(".eml")])
