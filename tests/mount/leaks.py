# SPDX-License-Identifier: MIT
"""
Whether a password is among the bytes that a server was sent, in whatever dress: pieces of it are looked for, in clear, with backslashes, over
line breaks, and in base64 wherever that begins. What a login may say is taken out before, and no more than that.
"""

import base64
import re

PIECE = 6   # bytes of a password that nothing else says

_RUN = re.compile(rb"[A-Za-z0-9+/=]{%d,}" % PIECE)
_BASE64_LINE = re.compile(rb"(?:[A-Za-z0-9+/=]*|\*)\r\n")
_LITERAL = re.compile(rb"\{(\d+)\+?\}\r\n\Z")


def _pieces(secret):
    return {secret[at:at + PIECE] for at in range(len(secret) - PIECE + 1)}


def _bare(data):
    """Without what may be put in between."""
    return re.sub(rb"[\s\"\\\0]", b"", data)


def _decoded(data):
    """What base64 there may be in it says, from each of the places where a group can begin."""
    for run in _RUN.findall(data):
        letters = run.replace(b"=", b"")
        for start in range(4):
            group = letters[start:]
            yield base64.b64decode(group[:len(group) // 4 * 4])


def holds_secret(data, secret):
    """Any piece of it, as it is or in base64; also where lines, quotes and backslashes are in between."""
    data = bytes(data)
    pieces = _pieces(secret) | _pieces(_bare(secret))
    for text in (data, re.sub(rb"[\r\n]", b"", data), _bare(data)):
        if any(piece in text for piece in pieces) or any(piece in part for part in _decoded(text) for piece in pieces):
            return True
    return False


def _imap_command(data, at):
    """Where the command that begins here ends, literals and all."""
    begin = at
    while True:
        end = data.find(b"\n", at)
        if end < 0:
            return len(data)
        literal = _LITERAL.search(data, begin, end + 1)
        if not literal:
            return end + 1
        at = end + 1 + int(literal.group(1))


def _answers(data, at):
    """Where the answers to challenges that begin here end."""
    while True:
        line = _BASE64_LINE.match(data, at)
        if not line:
            return at
        at = line.end()


def without_logins(data):
    """What is left of the client's side of a session when its logins are taken out of it, IMAP's or POP3's."""
    data, at, kept = bytes(data), 0, []
    while at < len(data):
        end = _imap_command(data, at)
        command = data[at:end]
        if re.match(rb"\S+ LOGIN |PASS ", command, re.IGNORECASE):
            kept.append(b"\r\n")
        elif re.match(rb"(?:\S+ AUTHENTICATE|AUTH) [A-Z0-9-]+(?: [A-Za-z0-9+/=]+)?\r\n\Z", command, re.IGNORECASE):
            kept.append(b"\r\n")
            end = _answers(data, end)
        else:
            kept.append(command)
        at = end
    return b"".join(kept)


def outside_a_login(data, secret):
    """What was sent beside logins, if any of the password is in it."""
    rest = without_logins(data)
    return rest if holds_secret(rest, secret) else None
