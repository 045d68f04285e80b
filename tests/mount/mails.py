# SPDX-License-Identifier: MIT
"""Mail written for the project, the same bytes each time: a mailbox to look at, and a corpus to break readers with."""

import base64
import glob
import hashlib
import os
import random
from email.message import EmailMessage
from email.policy import SMTP

from maildir import Mail

DAY = 86400
START = 1763715300  # 2025-11-21 08:55 UTC


def noise(length, seed=1):
    """Bytes that do not compress and are the same each time."""
    return random.Random(seed).randbytes(length)


def report_pdf():
    """The attachment that the demo copies out; not a real PDF, but its first bytes say so."""
    return b"%PDF-1.4\n" + noise(180_000, seed=7)


REPORT_SHA256 = hashlib.sha256(report_pdf()).hexdigest()


def message(sender, subject, text, **fields):
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = sender, "Me <me@example.org>", subject
    mail["Message-ID"] = "<%s@example.org>" % hashlib.sha256((sender + subject).encode()).hexdigest()[:16]
    mail["Date"] = "Fri, 21 Nov 2025 08:55:00 +0000"
    for name, value in fields.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text, cte="quoted-printable" if not text.isascii() else "7bit")
    return mail


def to_bytes(mail):
    """The message with boundaries that do not change from run to run."""
    for number, part in enumerate(mail.walk()):
        if part.is_multipart() and part.get_content_maintype() == "multipart":
            part.set_boundary("=_mailfs_%d_=" % number)
    return mail.as_bytes()


def plain():
    return message("Alice Smith <alice@example.org>", "Quarterly report",
                   "The figures are in.\r\nThe needle is in this haystack.\r\n")


def html():
    mail = message("Newsletter <news@example.com>", "Weekly news", "In plain words.\r\n")
    mail.add_alternative("<html><body><h1>News</h1><p>Im <b>Fokus</b>: Überblick</p></body></html>\r\n", subtype="html",
                         cte="quoted-printable")
    return mail


def attachments():
    mail = message("Bob <bob@example.net>", "Re: Quarterly report", "Attached, with a needle.\r\n")
    mail.add_attachment(report_pdf(), maintype="application", subtype="pdf", filename="report.pdf")
    mail.add_attachment("a;b\r\n1;2\r\n".encode(), maintype="text", subtype="csv", filename="Übersicht 2025.csv")
    mail.add_attachment(noise(5000, seed=3), maintype="image", subtype="png", filename="写真.png")
    return mail


def name_abuse():
    """File names as mail programs write them against the rules: RFC 2047 in a parameter, RFC 2231 in pieces, a path."""
    return b"\r\n".join([
        b"From: =?koi8-r?B?%s?= <ivan@example.ru>" % base64.b64encode("Иван".encode("koi8-r")),
        b"Subject: =?utf-8?B?%s?=" % base64.b64encode("Привет из Москвы".encode()),
        b"MIME-Version: 1.0", b'Content-Type: multipart/mixed; boundary="b1"', b"", b"--b1",
        b"Content-Type: text/plain; charset=koi8-r", b"Content-Transfer-Encoding: 8bit", b"",
        "Привет, мир!".encode("koi8-r"), b"--b1",
        b'Content-Type: application/octet-stream; name="=?utf-8?Q?Gr=C3=B6=C3=9Fe.bin?="',
        b"Content-Transfer-Encoding: base64", b"", base64.b64encode(noise(300, seed=4)), b"--b1",
        b"Content-Type: application/octet-stream", b"Content-Transfer-Encoding: base64",
        b"Content-Disposition: attachment; filename*0*=utf-8''%D0%BE%D1%82;", b" filename*1*=%D1%87%D1%91%D1%82;",
        b" filename*2=.doc", b"", base64.b64encode(noise(301, seed=5)), b"--b1",
        b'Content-Type: application/octet-stream; name="../../etc/passwd"', b"", b"root", b"--b1--", b""])


def japanese():
    mail = message("佐藤 <sato@example.jp>", "会議の議事録について", "議事録を送ります。\r\n")
    return mail


def forwarded():
    mail = message("Carol <carol@example.org>", "Fwd: Re: Quarterly report", "See below.\r\n")
    mail.add_attachment(attachments())
    return mail


def nested():
    mail = message("Dave <dave@example.org>", "Nested parts", "Level one.\r\n")
    mail.add_alternative("<p>Level one</p>\r\n", subtype="html")
    mail.get_payload()[1].add_related(noise(2000, seed=6), maintype="image", subtype="gif", cid="<img@example.org>")
    mail.make_mixed()
    mail.add_attachment("notes\r\n", filename="notes.txt")
    return mail


def large(megabytes=30, text="A short text before a long attachment.\r\n"):
    mail = message("Eve <eve@example.com>", "Holiday video", text)
    mail.add_attachment(noise(megabytes * 1_000_000 * 57 // 78, seed=8), maintype="video", subtype="mp4",
                        filename="holiday.mp4")
    return mail


def sample_inbox():
    inbox = [plain(), html(), attachments(), japanese(), forwarded(), nested()]
    mails = [Mail(to_bytes(mail), START + i * 3671, ("\\Seen",) if i == 0 else ()) for i, mail in enumerate(inbox)]
    return mails + [Mail(name_abuse(), START + DAY)]


def sample():
    """The mailbox of the demo: {folder: [Mail]}."""
    return {
        "INBOX": sample_inbox(),
        "Archive/2025": [Mail(to_bytes(large()), START - DAY), Mail(to_bytes(plain()), START - 2 * DAY)],
        "Archive/Проекты/台北": [Mail(to_bytes(japanese()), START - 3 * DAY)],
        "Entwürfe": [Mail(to_bytes(message("Me <me@example.org>", "Idee", "Später.\r\n")), START)],
        "Sent": [Mail(to_bytes(message("Me <me@example.org>", "Thanks", "Thank you.\r\n")), START)],
        "Trash": [],
    }


def nasty():
    """Messages that break readers, by what is wrong with them. Those that are large come last."""
    return {
        **nasty_and_small(),
        "2 MB": to_bytes(large(megabytes=2)),
        "30 MB": b"From: Mallory <mallory@example.org>\r\nSubject: 30 MB\r\n\r\n" + base64.encodebytes(noise(22_000_000, seed=9)).replace(b"\n", b"\r\n"),
    }


def nasty_and_small():
    head = b"From: Mallory <mallory@example.org>\r\nSubject: %s\r\n"
    deep = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (i, i) for i in range(50))
    return {
        "plain": to_bytes(plain()),
        "bare LF": b"From: a@example.org\nSubject: bare LF\n\none\ntwo\n",
        "mixed line ends": (head % b"mixed") + b"\r\none\ntwo\r\nthree\r\r\nfour\rfive\r\n",
        "NUL": (head % b"NUL") + b"\r\nbefore\0after\r\n\0\0\0\r\n",
        "8-bit header": "Subject: Grüße aus Köln\r\nFrom: Jörg <joerg@example.org>\r\n\r\nHallo\r\n".encode("latin-1"),
        "8-bit body": (head % b"8-bit") + b"\r\n" + bytes(range(128, 256)) * 4 + b"\r\n",
        "no header": b"\r\nonly a body\r\n",
        "no body": (head % b"no body") + b"\r\n",
        "no blank line": head % b"no blank line",
        "no last line end": (head % b"no end") + b"\r\nthe end",
        "only blank lines": b"\r\n\r\n\r\n",
        "one byte": b"x",
        "998 bytes": (head % b"998") + b"\r\n" + b"x" * 998 + b"\r\n",
        "long line": (head % b"long line") + b"\r\n" + b"y" * 300_000 + b"\r\nend\r\n",
        "long header": (head % (b"long " * 2000)) + b"X-Long: " + b"z" * 100_000 + b"\r\n\r\nbody\r\n",
        "many headers": (head % b"many") + b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(3000)) + b"\r\nbody\r\n",
        "mbox line": b"From mallory@example.org Fri Nov 21 08:55:00 2025\r\nSubject: mbox\r\n\r\nFrom here\r\n>From there\r\n",
        "dots": (head % b"dots") + b"\r\n.\r\n..\r\n.a\r\n",
        "deep": (head % b"deep") + b"MIME-Version: 1.0\r\n" + deep + b"Content-Type: text/plain\r\n\r\nbottom\r\n",
        "no boundary": (head % b"cut") + b'Content-Type: multipart/mixed; boundary="gone"\r\n\r\nno part at all\r\n',
        "broken base64": (head % b"b64") + b"Content-Transfer-Encoding: base64\r\n\r\n!!!!QUJD*REVG=\r\n=\r\nR0h\r\n",
        "128 KiB": (head % b"131072").ljust(131072 - 2, b"p") + b"\r\n",
        "128 KiB and one": (head % b"131073") + b"\r\n" + b"q" * (131073 - len(head % b"131073") - 2),
    }


def corpora():
    """Real messages kept beside the checkout, if there are any: sorted (name, bytes)."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    found = []
    for path in sorted(glob.glob(os.path.join(os.path.dirname(top), "shared", "corpora", "*", "msgs", "*.eml"))):
        with open(path, "rb") as mail:
            found.append((os.path.relpath(path, os.path.dirname(top)), mail.read()))
    return found
