# SPDX-License-Identifier: MIT
"""
The leaves of a message by Python's email package, and how a directory of .parts compares. of_message() takes structure and
bytes from the package; of_server() takes the structure from the server, for messages so broken that the two
disagree about it, and has the package decode each part.
"""

import base64
import email
import email.errors
import email.policy
import itertools
import os
import re
from dataclasses import dataclass


@dataclass
class Leaf:
    section: str        # relative to its message
    type: str
    data: bytes         # decoded
    charset: str
    children: list      # of an attached message: its leaves; else None


def of_message(data):
    return _of_root(email.message_from_bytes(data, policy=email.policy.compat32))


def _of_root(message):
    if message.get_content_maintype() == "multipart" and message.is_multipart():
        return _of_parts(message, "")
    return [_leaf(message, "1")]


def _of_parts(multipart, prefix):
    found = []
    for number, part in enumerate(multipart.get_payload(), 1):
        section = "%s%d" % (prefix, number)
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            found += _of_parts(part, section + ".")
        else:
            found.append(_leaf(part, section))
    return found


def _leaf(part, section):
    kind = part.get_content_type()
    if kind == "message/rfc822" and part.is_multipart():
        return Leaf(section, kind, b"", None, _of_root(part.get_payload(0)))
    return Leaf(section, kind, _decoded(part), part.get_content_charset(), None)


def _decoded(part):
    if part.is_multipart():
        return b""
    data = part.get_payload(decode=True)
    if any(isinstance(defect, email.errors.InvalidBase64LengthDefect) for defect in part.defects):
        # Python gives the text back; mail programs, and mailfs, decode all of it but the character that is too many.
        letters = re.sub(rb"[^A-Za-z0-9+/]", b"", data)
        data = base64.b64decode(letters[:len(letters) // 4 * 4])
    return data


# --- by the server's structure ---

def of_server(client, uid):
    """client: an imaplib connection with the mailbox selected."""
    rows = client.uid("FETCH", str(uid), "(BODYSTRUCTURE)")[1]
    text = b"".join(row if isinstance(row, bytes) else re.sub(rb"\{\d+\}$", b"", row[0]) + _quoted(row[1]) for row in rows)
    tree = _expression(text[text.index(b"BODYSTRUCTURE") + 13:].decode("latin-1"))

    def body(section):
        for row in client.uid("FETCH", str(uid), "(BODY.PEEK[%s])" % section)[1]:
            if isinstance(row, tuple):
                return row[1]
        return b""

    return _of_structure(tree, "", "", body)


def _quoted(data):
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _expression(text):
    """The first s-expression in a text, as nested lists of strings (NIL: None)."""
    stack = [[]]
    for opening, closing, quoted, atom in re.findall(r'(\()|(\))|"((?:[^"\\]|\\.)*)"|([^\s()"]+)', text):
        if opening:
            stack.append([])
        elif closing:
            done = stack.pop()
            stack[-1].append(done)
            if len(stack) == 1:
                break
        else:
            stack[-1].append(None if atom == "NIL" else atom or re.sub(r"\\(.)", r"\1", quoted))
    return stack[0][0]


def _is_empty_multipart(node):
    """("MIXED" ("BOUNDARY" ...)), or as Courier writes it, a single part of this type."""
    return isinstance(node[0], str) and (len(node) < 2 or isinstance(node[1], list) or node[0].lower() == "multipart")


def _of_structure(node, prefix, base, body):
    """base: the section of the attached message that prefix is relative to, with a dot, or ""."""
    if _is_empty_multipart(node):
        return []
    if not isinstance(node[0], list):
        return [_served(node, prefix.rstrip(".") or "1", base, body)]
    found = []
    children = itertools.takewhile(lambda child: isinstance(child, list), node)  # then the subtype
    for number, child in enumerate(children, 1):
        section = "%s%d" % (prefix, number)
        if isinstance(child[0], list) or _is_empty_multipart(child):
            found += _of_structure(child, section + ".", base, body)
        else:
            found.append(_served(child, section, base, body))
    return found


def _served(node, section, base, body):
    kind = "%s/%s" % (node[0].lower(), node[1].lower())
    if kind == "message/rfc822" and len(node) > 8 and isinstance(node[8], list) and (node[5] or "").lower() in ("7bit", "8bit", "binary"):
        return Leaf(section, kind, b"", None, _of_structure(node[8], "", base + section + ".", body))
    params = dict(zip([name.lower() for name in (node[2] or [])[::2]], (node[2] or [])[1::2]))
    head = b"Content-Transfer-Encoding: %s\r\n\r\n" % (node[5] or "7bit").encode()
    part = email.message_from_bytes(head + body(base + section), policy=email.policy.compat32)
    return Leaf(section, kind, _decoded(part), params.get("charset"), None)


# --- what is shown ---

def compare(path, wanted):
    """"" when the directory shows those leaves, else what is wrong with it."""
    try:
        return _compare(path, wanted)
    except OSError as error:
        return str(error)


def _compare(path, wanted):
    shown = {}
    for name in os.listdir(path):
        if name != "headers.txt":
            shown[re.match(r"[\d.]*\d", name).group()] = os.path.join(path, name)
    if sorted(shown) != sorted(leaf.section for leaf in wanted):
        return "other structure: %s, not %s" % (sorted(shown), [leaf.section for leaf in wanted])
    for leaf in wanted:
        why = _compare_leaf(shown[leaf.section], leaf)
        if why:
            return why
    return ""


def _compare_leaf(path, leaf):
    if leaf.children is not None:
        return _compare(path, leaf.children) if os.path.isdir(path) else "no directory: " + path
    with open(path, "rb") as file:
        data = file.read()
    return "" if _plain(data) in map(_plain, _wanted(path, leaf)) else "differs: " + path


def _plain(data):
    """Without blanks before line ends: quoted-printable drops them (RFC 2045 section 6.7, rule 3), Python does not."""
    return re.sub(rb"[ \t]+(?=\r?\n|\Z)", b"", data)


def _wanted(path, leaf):
    """What the file may hold: text in UTF-8, if it says what it is; everything else, and what is lying about itself, as it is."""
    charset = (leaf.charset or "us-ascii").lower()
    if leaf.type != "text/plain" or not path.endswith(".txt") or charset in ("us-ascii", "utf-8"):
        return [leaf.data]
    # As in every browser and mail program: who says Latin-1 means windows-1252.
    charset = {"iso-8859-1": "windows-1252"}.get(charset, charset)
    try:
        return [leaf.data.decode(charset).encode()]
    except LookupError:
        return [leaf.data]
    except UnicodeDecodeError:
        return [leaf.data, leaf.data.decode(charset, "replace").encode()]
