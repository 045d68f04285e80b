# SPDX-License-Identifier: MIT
"""Writes mail straight into a Maildir as Dovecot lays it out, with the UIDs and dates that are asked for; and into an mbox."""

import os
import time
import uuid
from dataclasses import dataclass

UIDVALIDITY = 1600000000
LETTERS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}


@dataclass
class Mail:
    """
    One message: its bytes, INTERNALDATE, flags, UID (0: the next). It is stored with LF, as Dovecot itself does it, and
    served with CRLF; crlf: stored with the line ends that it has.
    """
    data: bytes
    date: int = 1700000000
    flags: tuple = ()
    uid: int = 0
    crlf: bool = False


def mutf7(name):
    """Modified UTF-7 (RFC 3501 section 5.1.3) of a mailbox name."""
    out, run = [], ""
    for char in name + "\0":
        if run and 0x20 <= ord(char) <= 0x7E or char == "\0":
            if run:
                out.append("&" + run.encode("utf-7").decode("ascii")[1:].rstrip("-").replace("/", ",") + "-")
                run = ""
            if char == "\0":
                break
        if 0x20 <= ord(char) <= 0x7E:
            out.append("&-" if char == "&" else char)
        else:
            run += char
    return "".join(out)


def write_folder(path, mails, uidvalidity=UIDVALIDITY):
    """Makes the Maildir at path with these mails, numbered in their order."""
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(path, sub), exist_ok=True)
    uid, lines = 0, []
    for mail in mails:
        uid = mail.uid or uid + 1
        stem = "%d.M%dP1.localhost" % (mail.date, uid)
        letters = "".join(sorted(LETTERS[flag] for flag in mail.flags))
        name = os.path.join(path, "cur", "%s:2,%s" % (stem, letters))
        with open(name, "wb") as out:
            out.write(mail.data if mail.crlf else mail.data.replace(b"\r\n", b"\n"))
        os.utime(name, (mail.date, mail.date))
        lines.append("%d :%s\n" % (uid, stem))
    with open(os.path.join(path, "dovecot-uidlist"), "w", encoding="ascii") as out:
        out.write("3 V%d N%d G%s\n" % (uidvalidity, uid + 1, uuid.uuid5(uuid.NAMESPACE_URL, path).hex))
        out.writelines(lines)


def add(path, mail, owner=None):
    """Delivers one more message, while a server may be at work there. owner: (uid, gid) of the file."""
    name = "%d.M%dP2.localhost" % (mail.date, time.monotonic_ns())
    made = os.path.join(path, "tmp", name)
    with open(made, "wb") as out:
        out.write(mail.data if mail.crlf else mail.data.replace(b"\r\n", b"\n"))
    os.utime(made, (mail.date, mail.date))
    if owner:
        os.chown(made, *owner)
    os.rename(made, os.path.join(path, "new", name))


def add_to_mbox(path, data):
    """As a mail transport does it, without a lock: "From " in a body is for the caller to avoid."""
    text = data.replace(b"\r\n", b"\n")
    with open(path, "ab") as out:
        out.write(b"From sender@example.org Fri Nov 21 08:55:00 2025\n" + text + (b"" if text.endswith(b"\n") else b"\n") + b"\n")
