# SPDX-License-Identifier: MIT
"""
Messages that a stranger could send, to whoever shows them as files: by name, with what truncated.txt is to say of each ("" for
none), and what else is known of its directory.
"""

import base64
import functools
from dataclasses import dataclass

# Words of truncated.txt.
DEEP, MANY, FIELDS, BOUNDARY, UNKNOWN, LONG = "levels deep", "10000 parts or more", "fields that describe", "250 bytes", "can not be understood", "longer than 4 MiB"

RLO = b"\xe2\x80\xae"
BAD_NAME = b"\xe2\x80\xae../../\x01\x07\xc0\xae\xc0\xae\xc0\xaf\xe2\x80\x8b\xff/etc/\\..\\"
WORST_NAME = (BAD_NAME * 200)[:4096]


@dataclass
class Hostile:
    """
    cut: the words that truncated.txt has (none: there is no such file), as far as Dovecot tells what was cut; pop3: what our own walker
    says, where Dovecot says something else. parts: how many there are beside headers.txt and truncated.txt; None: not looked at.
    """
    data: bytes
    cut: tuple = ()
    parts: int = None
    pop3: tuple = None


def head(subject, more=b""):
    return b"From: Mallory <mallory@example.org>\r\nTo: me@example.org\r\nSubject: " + subject + b"\r\n" + more


def mixed(subject, parts, boundary=b"b", more=b""):
    kind = b"MIME-Version: 1.0\r\n" + more + b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\n\r\n"
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return head(subject, kind) + body + b"--" + boundary + b"--\r\n"


def text(more=b"", body=b"x"):
    return more + b"\r\n" + body


def nested(levels):
    return b"".join(b"Content-Type: multipart/mixed; boundary=b%06d\r\n\r\n--b%06d\r\n" % (n, n) for n in range(levels))


def field(name, value):
    return name + b": " + value + b"\r\n"


@functools.lru_cache(maxsize=None)
def hostile(scale=1):
    """scale: so many times less than what people fear, for tests that are about something else."""
    many, words = 100_000 // scale, b" ".join(b"=?utf-8?q?=C3=A4%d?=" % n for n in range(100_000 // scale))
    pieces = [b"; filename*%d=%d" % (n, n % 10) for n in range(10_000 // scale)]
    return {
        "nested multiparts": Hostile(head(b"nest", b"MIME-Version: 1.0\r\n" + nested(many)), (DEEP,)),
        "nested messages": Hostile(head(b"matryoshka", b"MIME-Version: 1.0\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * many),
                                   (DEEP,), 1),
        "a deep part and another": Hostile(mixed(b"both", [nested(200), text(body=b"after")]), (DEEP,)),
        "parts": Hostile(mixed(b"wide", [text()] * (10 * many)), (MANY,)),
        "as many parts as may be": Hostile(mixed(b"enough", [text()] * 9000), (), 9000),
        "parts with long names": Hostile(mixed(b"names", [text(b"Content-Disposition: attachment; filename=" + b"n" * 1000 + b"\r\n")] * 2000),
                                         (), 2000),
        "a long header": Hostile(head(b"long header", b"X-Long: " + b"z" * (100 * many) + b"\r\n"
                                      b"Content-Type: text/html\r\n") + b"\r\nbody\r\n", (), 1),
        "a long subject": Hostile(head(b"s" * (10 * many)) + b"\r\nbody\r\n", (), 1),
        "recipients": Hostile(head(b"to all", field(b"Cc", b"c@example.org")).replace(
            b"To: me@example.org", b"To: " + b",\r\n ".join(b'"R %d" <r%d@example.org>' % (n, n) for n in range(many // 10))) + b"\r\nbody\r\n", (), 1),
        "fields": Hostile(head(b"fields", b"".join(b"X-%d: v\r\n" % n for n in range(many))) + b"\r\nbody\r\n", (), 1),
        "base64 of nothing": Hostile(mixed(b"nothing", [text(b"Content-Transfer-Encoding: base64\r\n", body) for body in
                                                        (b"", b"=", b"====", b"!!!!", b"A", b"\r\n" * 1000)]), (), 6),
        "a bad name": Hostile(mixed(b"name", [text(b'Content-Disposition: attachment; filename="' + WORST_NAME.replace(b"\\", b"\\\\") + b'"\r\n'),
                                              text(b"Content-Type: text/plain; name*=utf-8''" + b"%E2%80%AE%2E%2E%2F%00%0A" * 170 + b"\r\n"),
                                              text(b'Content-Type: image/png; name="=?utf-8?b?'
                                                   + base64.b64encode(b"\xe2\x80\xae../\n\0-") + b'?="\r\n'),
                                              text(b'Content-Type: image/png; name="-rf"\r\n'), text(b'Content-Type: image/png; name=".."\r\n'),
                                              text(b"Content-Type: image/png; name=truncated.txt\r\n"),
                                              text(b"Content-Type: image/png; name=headers.txt\r\n")]), (), 7),
        "a subject from right to left": Hostile(head((RLO + b"gpj.../../\x1b[31m\xe2\x80\x8b\xe2\x81\xa6/-") * 300) + b"\r\nbody\r\n", (), 1),
        "a subject in disguise": Hostile(head(b"=?utf-8?q?=E2=80=AE=2E=2E=2F=00=0A=1B=5B2J?= =?utf-8?b?Li4vLi4v?=") + b"\r\nbody\r\n", (), 1),
        "a bad subject and author": Hostile(b"From: \"" + BAD_NAME.replace(b"\\", b"") + b"\" <" + BAD_NAME + b">\r\nSubject: " + WORST_NAME
                                            + b"\r\n\r\nbody\r\n", (), 1),
        "the same name": Hostile(mixed(b"twins", [text(b"Content-Type: image/png; name=same.png\r\n")] * 3000), (), 3000),
        "a long boundary": Hostile(mixed(b"boundary", [text()] * 3, boundary=b"B" * 10_000), (), None, (BOUNDARY,)),
        "parameters": Hostile(head(b"parameters", b"MIME-Version: 1.0\r\nContent-Type: text/plain"
                                   + b"".join(b";\r\n p%d=v" % n for n in range(many))) + b"\r\n\r\nbody\r\n", (), 1, (FIELDS,)),
        "continuations": Hostile(mixed(b"pieces", [
            text(b"Content-Disposition: attachment" + b"".join(pieces[:900]) + b"\r\n"),
            text(b"Content-Disposition: attachment" + b"".join(reversed(pieces[:20])) + b"\r\n"),
            text(b"Content-Disposition: attachment" + b"".join(pieces[:9] + pieces[11:15]) + b"\r\n")]), (), 3),
        "more continuations": Hostile(mixed(b"many pieces", [text(b"Content-Disposition: attachment" + b"".join(pieces) + b"\r\n")]),
                                      (), 1, (FIELDS,)),
        "encoded words": Hostile(head(words) + b"\r\nbody\r\n", (), 1),
        "a long charset": Hostile(head(b"charset", b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=" + b"u" * (10 * many) + b"\r\n")
                                  + b"\r\nbody\r\n", (), 1, (FIELDS,)),
        "one quoted line": Hostile(head(b"quoted", b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=koi8-r\r\n"
                                        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n") + b"=C1" * (33 * many) + b"\r\n", (), 1),
        "bare bytes": Hostile(head(b"a\rb\0c", b"X: \0\r\r\n") + b"\r\n\0\r\r\r\n\n\r" + bytes(range(256)) + b"\r\n", (), 1),
        "the year 99999": Hostile(head(b"future", b"Date: Fri, 31 Dec 99999 23:59:60 +9999\r\n") + b"\r\nbody\r\n", (), 1),
        "the year 0": Hostile(head(b"past", b"Date: Mon, 0 Jan 0000 00:00:00 -0000\r\n") + b"\r\nbody\r\n", (), 1),
        "headers alone": Hostile(head(b"alone"), (), None),
        "a blank line": Hostile(b"\r\n", (), None),
        "an ordinary one": Hostile(mixed(b"ordinary", [text(body=b"hello"), text(b"Content-Type: image/png; name=a.png\r\n")]), (), 2),
    }
