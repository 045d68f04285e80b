# SPDX-License-Identifier: MIT
"""
What is measured, and what it is compared with. A case has contestants, which do the same work in turn; each returns what it Taken, or
several of it by name. A figure compares two of them, by the medians of their rounds, and says what the ratio must be.
"""

import os
import random
import statistics
import subprocess
import time
from dataclasses import dataclass, field

import corpus
import peers
from dovecot import die_with_parent
from limits import drain
from tools import Failed, Mailfs, Taken, counted, grep, ls_l, rg, run, through

BODIES = "(BODY.PEEK[])"
SAMPLE_EVERY = 25        # of what is too slow to be read whole
SLOW = 2                 # rounds of what takes long
LATE_SAMPLES = 12
RSS_MAX_KIB = 96 * 1024
WATCH_BYTES = 4096       # what the connection that watches may say meanwhile, which is no mail


# --- the wire ---

def wire(line, mail, items=None, connections=1):
    """Draining the socket."""
    def work(suite):
        through_line = suite.lines[line]
        return through(through_line, lambda: drain(
            suite.program("drain"), suite.server, through_line, mail, items or suite.listing, connections)[0])
    return work


# --- mailfs, cold ---

def cold(line, mail, work, *options):
    """A first mount, and work(folder, mail) in it."""
    def contestant(suite):
        chosen = suite.corpora[mail]
        with Mailfs(suite, suite.home("cold"), suite.lines[line], chosen, *options) as mount:
            return mount.taken(work(mount.folder, chosen))
    return contestant


def first_names(suite):
    """
    Until head has its 20 names: the time in round trips. Those that the line counted meanwhile are in the note: the connection that will
    watch logs in at the same time. ls may be slower to notice that nobody listens.
    """
    with Mailfs(suite, suite.home("cold"), suite.lines["50"], suite.corpora["small"]) as mount:
        begin = time.perf_counter()
        with subprocess.Popen(["ls", "-U", mount.folder], stdout=subprocess.PIPE, preexec_fn=die_with_parent) as ls:
            head = subprocess.run(["head", "-n", "20"], stdin=ls.stdout, capture_output=True, check=True, timeout=300)
            seconds = time.perf_counter() - begin
            taken = mount.taken(0)
            ls.stdout.close()
            ls.kill()
        if head.stdout.count(b"\n") != 20:
            raise Failed("%d names" % head.stdout.count(b"\n"))
        taken.value = round(seconds / 0.050, 1)
        taken.note = "%.0f ms; %d on all connections" % (seconds * 1000, taken.round_trips)
        return taken


# --- mailfs, from its store ---

def relisted(suite):
    """Mounted again with a listing that is known: mounting and ls -l, and once more."""
    mail = suite.corpora["small"]
    home = suite.kept("listed", lambda home: fill(suite, home, "50", mail, ls_l))
    with Mailfs(suite, home, suite.lines["50"], mail) as mount:
        ls_l(mount.folder, mail)
        again = mount.taken(time.perf_counter() - mount.begin, whole=True)
        mount.mark()
        return {"mailfs": again, "mailfs, warm": mount.taken(ls_l(mount.folder, mail))}


def stored(*options):
    """Mounted again with all bodies in the store: the first pass, and once more."""
    def contestant(suite):
        mail = suite.corpora["small"]
        home = suite.kept("stored", lambda home: fill(suite, home, "0", mail, grep))
        with Mailfs(suite, home, suite.lines["0"], mail, *options) as mount:
            name = " ".join(("mailfs", *options))
            first = mount.taken(grep(mount.folder, mail))
            mount.mark()
            return {name: first, name + ", warm": mount.taken(grep(mount.folder, mail))}
    return contestant


def fill(suite, home, line, mail, work):
    """Reads everything once, so that the store has it."""
    with Mailfs(suite, home, suite.lines[line], mail) as mount:
        work(mount.folder, mail)


# --- the file systems it is held against ---

def local(mail, work):
    """The Maildir itself, in the caches of the kernel."""
    def contestant(suite):
        work(suite.corpora[mail].files, suite.corpora[mail])
        return Taken(work(suite.corpora[mail].files, suite.corpora[mail]))
    return contestant


def memory(name, *options):
    def contestant(suite):
        mail = suite.corpora["small"]
        with peers.memfs(suite, mail, *options) as path:
            return {name: Taken(grep(path, mail)), name + ", warm": Taken(grep(path, mail))}
    return contestant


def sshfs(rtt_ms, mail, work):
    return lambda suite: peers.sshfs_taken(suite, rtt_ms, suite.corpora[mail].files, lambda path: work(path, suite.corpora[mail]))


def sshfs_sample(suite):
    """One message in so many, the time multiplied: one after the other, each costs its round trips."""
    mail = suite.corpora["real"]
    some = suite.fresh("sample")
    names = sorted(os.listdir(mail.files))[::SAMPLE_EVERY]
    for name in names:
        os.link(os.path.join(mail.files, name), os.path.join(some, name))
    return peers.sshfs_taken(suite, 50, some, lambda path: counted('cat "$1"/* >/dev/null && ls "$1" | wc -l', path, len(names)),
                             SAMPLE_EVERY, "1 in %d, multiplied" % SAMPLE_EVERY)


# --- backups ---

def backup(prepare, first, again):
    """A first run, and, after the store was lost, another one, in which nothing may be read but the listing: the bytes received in it."""
    def contestant(suite):
        mail = suite.corpora["real"]
        home, target = suite.home("backup"), suite.fresh("backup")
        prepare(target)
        with Mailfs(suite, home, suite.lines["50"], mail) as mount:
            run(first(mount.folder, target))
        suite.shelve(home)
        with Mailfs(suite, home, suite.lines["50"], mail) as mount:
            ls_l(mount.folder, mail)
            mount.mark()
            seconds, _ = run(again(mount.folder, target))
            taken = mount.taken(0)
            taken.value, taken.note = taken.received, "%.1f s" % seconds
            return taken
    return contestant


def rsync(folder, target):
    return ["rsync", "-a", folder + "/", target + "/"]


def restic(folder, target):
    return ["env", "RESTIC_PASSWORD=x", "HOME=" + target, "restic", "-q", "-r", target + "/repo", "backup", folder]


def restic_init(target):
    peers.need("restic")
    run(["env", "RESTIC_PASSWORD=x", "HOME=" + target, "restic", "-q", "-r", target + "/repo", "init"])


# --- somebody reads while tar does ---

def read_one(path):
    begin = time.perf_counter()
    with open(path, "rb") as file:
        while file.read(1 << 16):
            pass
    return time.perf_counter() - begin


def small_messages(folder):
    """Paths of small ones, in no order, from the half that tar comes to last."""
    entries = sorted((entry.stat().st_ino, entry.stat().st_size, entry.path) for entry in os.scandir(folder) if entry.name.endswith(".eml"))
    found = [path for _, size, path in entries[len(entries) // 2:] if size < 8192]
    random.Random(1).shuffle(found)
    return found


def less(suite):
    """The time of reading one small message that nobody has read, without and with a tar of the folder going on."""
    with Mailfs(suite, suite.home("less"), suite.lines["50"], suite.corpora["real"]) as mount:
        paths = small_messages(mount.folder)
        idle = []
        for _ in range(LATE_SAMPLES):
            idle.append(read_one(paths.pop()))
            time.sleep(0.05)
        still = mount.taken(statistics.median(idle), "longest %.0f ms" % (max(idle) * 1000))
        mount.mark()
        busy = []
        with subprocess.Popen(["tar", "-cf", "-", "-C", mount.folder, "."], stdout=subprocess.PIPE, preexec_fn=die_with_parent) as tar, \
                subprocess.Popen(["cat"], stdin=tar.stdout, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent):
            tar.stdout.close()
            time.sleep(0.2)
            while len(busy) < LATE_SAMPLES and paths and tar.poll() is None:
                busy.append(read_one(paths.pop()))
                time.sleep(0.05)
            tar.kill()
        if not busy:
            raise Failed("tar was done before anything could be read")
        return {"mailfs, idle": still, "mailfs": mount.taken(statistics.median(busy), "longest %.0f ms of %d" % (max(busy) * 1000, len(busy)))}


# --- POP3 ---

def pop3_download(line):
    def contestant(suite):
        mail = suite.corpora["real"]
        with Mailfs(suite, suite.home("pop3"), suite.lines[line], mail, scheme="pop3s", user="pop3", patience_s=900) as mount:
            taken = mount.taken(mount.mount_s, whole=True)
            found = sum(name.endswith(".eml") for name in os.listdir(mount.path))
            if found != mail.count:
                raise Failed("%d of %d messages" % (found, mail.count))
            return taken
    return contestant


@dataclass
class Case:
    """
    rounds: the most that a contestant gets, by name; one that is not there gets all. mount_apart: mailfs's figure is without its mounting,
    which its peers have no equal of; the chart shows both.
    """
    name: str
    title: str
    unit: str
    contestants: dict
    rounds: dict = field(default_factory=dict)
    mount_apart: bool = False


@dataclass
class Figure:
    """with_mount: the subject's time of mounting is added, for a peer whose time has its login in it. limit None: told, not required."""
    case: str
    title: str
    subject: str
    reference: str = None
    limit: float = None
    with_mount: bool = False
    slack: float = 0  # what is no miss yet


def list_case(line, more):
    return {"wire": wire(line, "small"), "mailfs": cold(line, "small", ls_l), **more,
            "mutt": lambda suite: peers.mutt(suite, suite.lines[line], suite.corpora["small"], "")}


def mutt_again(suite):
    """With a header cache that an opening before has filled."""
    cache = suite.kept_path("mutt-cache", lambda path: peers.mutt(suite, suite.lines["50"], suite.corpora["small"], path))
    return peers.mutt(suite, suite.lines["50"], suite.corpora["small"], cache)


def mbsync(line, mail, deflate=True):
    return lambda suite: peers.mbsync(suite, suite.lines[line], suite.corpora[mail], deflate)


def pop3_case(line):
    return {"wire": lambda suite: peers.pop3_raw(suite, suite.lines[line], suite.corpora["real"]), "mailfs": pop3_download(line),
            "mpop": lambda suite: peers.mpop(suite, suite.lines[line], suite.corpora["real"])}


CASES = [
    Case("list", "first `ls -l` of the small messages, RTT 50 ms", "s", list_case("50", {
        "mutt, headers cached": mutt_again, "sshfs": sshfs(50, "small", ls_l), "mbsync": mbsync("50", "small")}),
         {"mbsync": 1, "sshfs": 1}, True),
    Case("list-0", "first `ls -l` of the small messages, RTT 0", "s", list_case("0", {"sshfs": sshfs(0, "small", ls_l)}), {"sshfs": 1}, True),
    Case("names", "first 20 names, RTT 50 ms", "round trips", {"mailfs": first_names}),
    Case("again", "mounted again: `ls -l` of the small messages, RTT 50 ms", "s",
         {"mailfs": relisted, "ext4": local("small", ls_l)}),
    Case("grep", "cold `grep -r` of the real messages, RTT 50 ms", "s", {
        "wire": wire("50", "real", BODIES), "wire, 4 connections": wire("50", "real", BODIES, 4), "mailfs": cold("50", "real", grep),
        "mailfs, rg -j8": cold("50", "real", rg), "mbsync": mbsync("50", "real"), "mbsync, no deflate": mbsync("50", "real", False),
        "sshfs": sshfs_sample}, {"sshfs": 1}, True),
    Case("grep-0", "cold `grep -r` of the real messages, RTT 0", "s", {
        "wire": wire("0", "real", BODIES), "mailfs": cold("0", "real", grep), "mbsync": mbsync("0", "real"),
        "sshfs": sshfs(0, "real", grep), "ext4": local("real", grep)}, {"sshfs": SLOW}, True),
    Case("grep-50M", "cold `grep -r` of the real messages, RTT 50 ms, 50 Mbit/s", "s", {
        "mailfs": cold("50M", "real", grep), "mbsync": mbsync("50M", "real"), "wire": wire("50M", "real", BODIES)},
         {"mailfs": SLOW, "mbsync": SLOW, "wire": 1}, True),
    Case("stored", "mounted again: `grep -r` of the small messages from the store", "s", {
        "mailfs": stored(), "mailfs ro": stored("ro"), "in memory": memory("in memory"),
        "in memory, no open": memory("in memory, no open", "noopen"), "ext4": local("small", grep)}),
    Case("rsync", "`rsync -a` again, nothing changed", "bytes", {"mailfs": backup(lambda target: None, rsync, rsync)}, {"mailfs": 1}),
    Case("restic", "`restic backup` again, nothing changed", "bytes", {"mailfs": backup(restic_init, restic, restic)}, {"mailfs": 1}),
    Case("less", "a small message read while tar reads the folder, RTT 50 ms", "s", {"mailfs": less}),
    Case("pop3", "POP3: first download of the real messages, RTT 50 ms", "s", pop3_case("pop3")),
    Case("pop3-0", "POP3: first download of the real messages, RTT 0", "s", pop3_case("pop3-0")),
]

FIGURES = [
    Figure("list", "first `ls -l`, RTT 50 ms", "mailfs", "wire", 1.5),
    Figure("list", "the same with mounting", "mailfs", "mutt", 0.5, True),
    Figure("list-0", "first `ls -l`, RTT 0", "mailfs", "wire", 1.5),
    Figure("list-0", "the same with mounting", "mailfs", "mutt", 0.5, True),
    Figure("names", "first 20 names", "mailfs", None, 5),
    Figure("again", "mounting again and `ls -l`", "mailfs", "ext4", 2),
    Figure("again", "`ls -l`, kernel warm", "mailfs, warm", "ext4", 1),
    Figure("grep", "cold `grep -r`, RTT 50 ms", "mailfs", "wire", 1),
    Figure("grep", "the same with mounting", "mailfs", "mbsync", 0.3, True),
    Figure("grep", "the same with mounting", "mailfs", "mbsync, no deflate", None, True),
    Figure("grep", "cold `rg -j8`", "mailfs, rg -j8", "mailfs", 1.1),
    Figure("grep-0", "cold `grep -r`, RTT 0", "mailfs", "wire", 1),
    Figure("grep-0", "the same with mounting", "mailfs", "mbsync", 0.3, True),
    Figure("grep-50M", "cold `grep -r` with mounting, 50 Mbit/s", "mailfs", "mbsync", 1, True),
    Figure("stored", "mounted again, `grep -r`", "mailfs", "in memory", 1.5),
    Figure("stored", "the same, `-o ro`", "mailfs ro", "in memory, no open", 1.5),
    Figure("stored", "`grep -r`, kernel warm", "mailfs, warm", "in memory, warm", 1.1),
    Figure("stored", "the same, `-o ro`", "mailfs ro, warm", "ext4", 1.3),
    Figure("rsync", "`rsync -a` again: bytes received", "mailfs", None, 0, slack=WATCH_BYTES),
    Figure("restic", "`restic backup` again: bytes received", "mailfs", None, 0, slack=WATCH_BYTES),
    Figure("less", "one small message while tar runs", "mailfs", "mailfs, idle", 2),
    Figure("pop3", "POP3: first download, RTT 50 ms", "mailfs", "mpop", 0.6),
    Figure("pop3", "the same", "mailfs", "wire", 1.5),
    Figure("pop3-0", "POP3: first download, RTT 0", "mailfs", "mpop"),
    Figure("pop3-0", "the same", "mailfs", "wire"),
]
