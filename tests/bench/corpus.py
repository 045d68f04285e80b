# SPDX-License-Identifier: MIT
"""
The mail that the benchmark reads, the same bytes on each machine: `small`, many short messages, and `real`, fewer with attachments whose
sizes follow a power law up to 30 MB. They are written straight into Maildirs, each the home of a user of the private Dovecot, and stay
there with the server's own indexes from run to run.

Nothing but getrandbits() and randbytes() of a seeded generator decides, whose output Python promises to keep; what the standard library
might format differently one day (quoted-printable, dates) is written here. Every FIND_EVERY-th message ends with the word NEEDLE, so that
a search shows by its count that it has read all to the end.
"""

import base64
import hashlib
import os
import random
import time
from dataclasses import dataclass

VERSION = 1  # of the bytes; another one, and a corpus on disk is written anew
NEEDLE = "quinquereme"
FIND_EVERY = 50
# SHA-256 of all messages, their dates and flags. Another one means that this Python makes other mail.
KNOWN = {
    ("real", 500): "ca200df09def82d224bc68bbc9d59cd00db4e606cccfe6100bf3974097f6cc65",
    ("real", 5000): "e56fa14279b085388650599575e9944fb6d5a6aa793a3692252444c83e2234d9",
    ("small", 10000): "f534b7c52e1f501ba4c9e6c7a7a1004ad89f875f6af3cf156404324dce32b2eb",
    ("small", 100000): "beb61224c26de7ec6e42df23676d3a9785536d22cc61dd5238e7e2092ee19df2",
}
LARGEST = 30_000_000
FOLDER = "Mail"
UIDVALIDITY = 1600000000
DAYS, MONTHS = "Mon Tue Wed Thu Fri Sat Sun".split(), "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()

WORDS = {
    "en": "the report figures meeting until Monday please find attached about project next week customer price order would could server "
          "because answer question invoice draft without contract regards department release review agenda after before again thanks".split(),
    "de": "der Bericht Zahlen Besprechung bis Montag bitte anbei über Projekt nächste Woche Kunde Preis Auftrag würde könnte Rechner weil "
          "Antwort Frage Rechnung Entwurf ohne Vertrag Grüße Abteilung Änderung prüfen größer danach vorher wieder müssen".split(),
    "fr": "le rapport chiffres réunion jusqu'à lundi veuillez trouver ci-joint au sujet projet semaine prochaine client prix commande "
          "serveur parce réponse question facture ébauche sans contrat équipe délai après déjà être très où".split(),
    "es": "el informe cifras reunión hasta lunes por favor adjunto sobre proyecto próxima semana cliente precio pedido sería podría "
          "servidor porque respuesta pregunta factura borrador sin contrato saludos mañana después también está año".split(),
    "ru": "отчёт цифры встреча до понедельника пожалуйста во вложении проект на следующей неделе клиент цена заказ сервер потому ответ "
          "вопрос счёт черновик без договора отдел срок после раньше снова спасибо можно будет".split(),
    "ja": "報告書 数字 会議 月曜日 までに 添付 ください 計画 来週 顧客 価格 注文 サーバー 回答 質問 請求書 下書き 契約 部署 期限 後で "
          "以前 再び ありがとう よろしく お願いします".split(),
}
LANGUAGES = ["en"] * 6 + ["de", "de", "fr", "es", "ru", "ja"]
NAMES = {"en": "Alice Smith", "de": "Jörg Müller", "fr": "Hélène Lefèvre", "es": "José Núñez", "ru": "Иван Петров", "ja": "佐藤 花子"}
KINDS = [("application", "pdf"), ("image", "jpeg"), ("application", "zip"), ("application", "vnd.ms-excel"), ("video", "mp4")]


class Dice:
    """Seeded; the same on each machine."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def below(self, limit):
        return self.random.getrandbits(32) * limit >> 32

    def between(self, low, high):
        return low + self.below(high - low + 1)

    def pick(self, choices):
        return choices[self.below(len(choices))]

    def hex(self, count):
        return "%0*x" % (count, self.random.getrandbits(4 * count))

    def base64(self, count):
        return base64.b64encode(self.random.randbytes(count)).decode()

    def shuffle(self, values):
        for i in range(len(values) - 1, 0, -1):
            j = self.below(i + 1)
            values[i], values[j] = values[j], values[i]


def date_text(seconds):
    t = time.gmtime(seconds)
    return "%s, %02d %s %d %02d:%02d:%02d +0000" % (DAYS[t.tm_wday], t.tm_mday, MONTHS[t.tm_mon - 1], t.tm_year, t.tm_hour, t.tm_min, t.tm_sec)


def encoded(text):
    """A header's text (RFC 2047), in words short enough."""
    if text.isascii():
        return text
    words, piece = [], ""
    for char in text:
        if len((piece + char).encode()) > 45:
            words.append(piece)
            piece = ""
        piece += char
    return "\n ".join("=?utf-8?B?%s?=" % base64.b64encode(word.encode()).decode() for word in words + [piece])


def quoted_printable(text):
    """The lines of the text, of at most 76 characters."""
    lines = []
    for line in text.split("\n"):
        out = ""
        for byte in line.encode():
            piece = chr(byte) if 32 <= byte < 127 and byte != 61 else "=%02X" % byte
            if len(out) + len(piece) > 75:
                lines.append(out + "=")
                out = ""
            out += piece
        lines.append(out[:-1] + "=20" if out.endswith(" ") else out)
    return "\n".join(lines)


def base64_lines(data):
    return base64.encodebytes(data).decode()


class Writer:
    """Makes messages; texts are put together from sentences that were made, and encoded, once."""

    def __init__(self, seed):
        self.dice = Dice(seed)
        self.plain = {language: [self._sentence(words) for _ in range(1200)] for language, words in WORDS.items()}
        self.printable = {language: [quoted_printable(text) for text in texts] for language, texts in self.plain.items()}

    def _sentence(self, words):
        text = " ".join(self.dice.pick(words) for _ in range(self.dice.between(5, 14)))
        return text[0].upper() + text[1:] + self.dice.pick([".", ".", ".", "?", ", %d." % self.dice.between(1, 9999)])

    def lines(self, pool, size, form="%s\n"):
        """About so many bytes of it."""
        out, length = [], 0
        while length < size:
            line = form % self.dice.pick(pool)
            out.append(line)
            length += len(line)
        return "".join(out)

    def header(self, number, date, language, fields):
        dice = self.dice
        author = dice.below(400)
        host = "mx%d.example.%s" % (author % 7, dice.pick(["org", "com", "net"]))
        subject = " ".join(self.dice.pick(WORDS[language]) for _ in range(dice.between(2, 7)))
        received = "".join(
            "Received: from %s (%s [192.0.2.%d])\n\tby relay%d.example.net (Postfix) with ESMTPS id %s\n\tfor <me@example.org>; %s\n" % (
                host, host, dice.below(255), hop, dice.hex(10).upper(), date_text(date - hop)) for hop in range(dice.between(1, 3)))
        reply = dice.below(3) == 0
        return ("Return-Path: <person%d@%s>\n%sDKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=k1;\n"
                "\th=from:to:subject:date:message-id; bh=%s;\n\tb=%s\nFrom: %s <person%d@%s>\nTo: Me <me@example.org>\nSubject: %s%s\nDate: %s\n"
                "Message-ID: <%s.%d@%s>\n%sMIME-Version: 1.0\n%s\n\n" % (
                    author, host, received, dice.base64(32), dice.base64(129), encoded(NAMES[language]), author, host,
                    "Re: " if reply else "", encoded(subject), date_text(date - 7), dice.hex(16), number, host,
                    "In-Reply-To: <%s@%s>\nReferences: <%s@%s>\n" % (dice.hex(16), host, dice.hex(16), host) if reply else "", fields))

    def text(self, language, size):
        """A text part: its header fields, its body."""
        kind = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "
        if language == "en":
            return kind + "7bit", self.lines(self.plain["en"], size)
        if language == "ja":
            return kind + "base64", base64_lines(self.lines(self.plain["ja"], size // 4).encode())
        return kind + "quoted-printable", self.lines(self.printable[language], size)

    def html(self, language, size):
        """A newsletter's way of writing HTML: much mark-up, and addresses that nothing compresses."""
        out = ["<html><head><meta charset=3D\"utf-8\"></head><body><table width=3D\"600\">\n"]
        length = 0
        while length < size:
            out.append("<tr><td style=3D\"padding:0 0 12px;font-family:Arial,sans-serif;font-size:14px\"=\n>%s\n"
                       "<a href=3D\"https://click.example.com/r/%s=\n%s\">%s</a></td></tr>\n" % (
                           self.lines(self.printable[language], 120), self.dice.hex(40), self.dice.hex(60), self.dice.pick(self.printable[language])))
            length += len(out[-1])
        return ("Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable",
                "".join(out) + "</table></body></html>\n")

    def attachment(self, size):
        """Of `size` bytes as base64: mostly what does not compress, with the tables and blanks that real formats have between."""
        media = self.dice.pick(KINDS)
        raw, left = [b"%%%s-1.4\n" % media[1].encode()], size * 57 // 78
        while left > 0:
            raw.append(self.dice.random.randbytes(min(left, self.dice.between(20_000, 60_000))))
            raw.append(bytes(range(64)) * self.dice.between(5, 40))
            left -= len(raw[-1]) + len(raw[-2])
        name = "file-%s.%s" % (self.dice.hex(6), media[1][-4:])
        return ("Content-Type: %s/%s; name=\"%s\"\nContent-Disposition: attachment; filename=\"%s\"\n"
                "Content-Transfer-Encoding: base64" % (*media, name, name), base64_lines(b"".join(raw)))

    def multipart(self, kind, parts):
        mark = "=_part_%s" % self.dice.hex(12)
        body = "".join("--%s\n%s\n\n%s\n" % (mark, fields, content) for fields, content in parts)
        return "Content-Type: multipart/%s; boundary=\"%s\"" % (kind, mark), body + "--%s--\n" % mark

    def message(self, number, date, kind):
        """kind: "plain", "html", or the size of an attachment."""
        language = self.dice.pick(LANGUAGES)
        if kind == "small":
            fields, body = self.text(language, self.dice.between(700, 1500))
        elif kind == "plain":
            fields, body = self.text(language, self.dice.between(500, 2500) * self.dice.pick([1, 1, 1, 2, 4]))
        elif kind == "html":
            size = self.dice.between(9_000, 40_000)
            fields, body = self.multipart("alternative", [self.text(language, size // 6), self.html(language, size)])
        else:
            fields, body = self.multipart("mixed", [self.text(language, self.dice.between(300, 2000)), self.attachment(kind)])
        end = NEEDLE + "\n" if number % FIND_EVERY == 0 else ""
        return (self.header(number, date, language, fields) + body + end).encode()


@dataclass
class Corpus:
    """One folder of a user's mail on disk; bytes: as the server sends them, with CRLF."""
    name: str
    home: str
    count: int
    bytes: int
    sha256: str

    @property
    def is_known(self):
        return self.sha256 == KNOWN.get((self.name, self.count), self.sha256)

    @property
    def path(self):
        return os.path.join(self.home, "mail", FOLDER)

    @property
    def files(self):
        return os.path.join(self.path, "cur")

    @property
    def found(self):
        """In how many files the needle is."""
        return self.count // FIND_EVERY


def kinds(name, count, dice):
    """What kind each message is. A quarter of the real ones have an attachment: the n-th largest is an n-th of the largest."""
    if name == "small":
        return ["small"] * count
    attached = count // 4
    largest = LARGEST * count // 5000
    found = [largest // n for n in range(1, attached + 1)] + ["html"] * (count * 7 // 20)
    found += ["plain"] * (count - len(found))
    dice.shuffle(found)
    return found


def generate(name, count):
    """(date, seen, bytes with LF) of each message."""
    writer = Writer("mailfs %s %d" % (name, VERSION))
    date = 1_500_000_000
    for number, kind in enumerate(kinds(name, count, writer.dice), 1):
        date += writer.dice.between(60, 6000)
        yield date, writer.dice.below(10) > 0, writer.message(number, date, kind)


def write(folder, name, count):
    """Fills the Maildir: (bytes with CRLF, SHA-256 of all)."""
    for sub in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(folder, sub))
    digest, total, uids = hashlib.sha256(), 0, []
    for uid, (date, seen, data) in enumerate(generate(name, count), 1):
        size = len(data) + data.count(b"\n")
        stem = "%d.M%dP1.localhost,S=%d,W=%d" % (date, uid, len(data), size)
        path = os.path.join(folder, "cur", stem + (":2,S" if seen else ":2,"))
        with open(path, "wb", buffering=0) as out:
            out.write(data)
        os.utime(path, (date, date))
        digest.update(b"%d %d %d\n" % (date, seen, len(data)))
        digest.update(data)
        uids.append("%d :%s\n" % (uid, stem))
        total += size
    with open(os.path.join(folder, "dovecot-uidlist"), "w", encoding="ascii") as out:
        out.write("3 V%d N%d G%s\n" % (UIDVALIDITY, count + 1, digest.hexdigest()[:32]))
        out.writelines(uids)
    return total, digest.hexdigest()


def main():
    """corpus.py small|real COUNT: prints the size and the checksum, and what deflate makes of it; writes nothing."""
    import sys  # pylint: disable=import-outside-toplevel
    import zlib  # pylint: disable=import-outside-toplevel
    digest, total, packed, largest = hashlib.sha256(), 0, 0, 0
    squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
    for date, seen, data in generate(sys.argv[1], int(sys.argv[2])):
        digest.update(b"%d %d %d\n" % (date, seen, len(data)))
        digest.update(data)
        wire = data.replace(b"\n", b"\r\n")
        total, largest = total + len(wire), max(largest, len(wire))
        packed += len(squeeze.compress(wire))
    print("%d bytes, deflated %.3f, largest %d, sha256 %s" % (total, packed / total, largest, digest.hexdigest()))


if __name__ == "__main__":
    main()
