# SPDX-License-Identifier: MIT
"""
The sandbox of a running mount: all of its threads are in it, what must be done outside is still done, and the password stands in one place.
What the rules are, tests/unit/sandbox tries; that mail can be read, every other test here does, for the sandbox is always on.
"""

import base64
import contextlib
import ctypes
import json
import os
import platform
import re
import shutil
import signal
import struct
import subprocess

import pytest

import drops
import harness
import inject
import memory
from dovecot import HOST
from fake.imap import CAPABILITY, Box, Message, Server
from harness import SANITIZED, SLOW, Mount, escape, eventually, is_mounted, unmount
from inotify import comm, processes
from mails import Mail
from proxy import Proxy

CTL = os.path.join(os.path.dirname(harness.EXE), "mailfsctl")
MARK = "Quax-4711-zebra-Marker"
FILTERED = "2"
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 2, 4
# The thread sanitizer has a thread from the beginning, which no call of ours can take into Landlock.
OWN_THREADS = 1 if SANITIZED else 0


def status(path):
    with open(path, encoding="ascii", errors="replace") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def descriptors(pid):
    """What a process has open."""
    found, fds = [], "/proc/%d/fd" % pid
    for fd in os.listdir(fds):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(os.path.join(fds, fd)))
    return found


def by_name(mount):
    """The processes of a mount that stay, once all of them have their names: {name: pid}."""
    found = {}

    def all_named():
        found.clear()
        pids = processes(mount.path)
        for pid in pids:
            try:
                found[comm(pid)] = pid
            except OSError:  # a job of the helper's, which has ended
                pids.remove(pid)
        return len(found) == len(pids) and "mailfs-job" not in found
    eventually(all_named)
    return found


def fake_mail(count=3):
    return [Message(uid, b"From: a@b.example\r\nSubject: number %d\r\n\r\n" % uid + b"text %d\r\n" % uid * 1000) for uid in range(1, count + 1)]


def fake_url(fake, host="127.0.0.1", port=None):
    return "imap://me@%s:%d" % (host, port or fake.port)


# --- Who is in it ---

def test_every_thread(account):
    account.deliver("INBOX", [b"Subject: x\r\n\r\ny\r\n"])
    with account.mount() as mount:
        for path in mount.by_uid("INBOX").values():
            mount.read(path)
        tasks = "/proc/%d/task" % mount.pid
        privileged = 0
        for task in os.listdir(tasks):
            facts = status(os.path.join(tasks, task, "status"))
            assert (facts["Seccomp"], facts["NoNewPrivs"]) == (FILTERED, "1"), facts["Name"]
            # To read and to pass what is others': Landlock says which files.
            privileged += int(facts["CapEff"], 16) | int(facts["CapPrm"], 16) | CAP_DAC_READ_SEARCH != CAP_DAC_READ_SEARCH
        assert privileged <= OWN_THREADS
        assert len(os.listdir(tasks)) > 5
        others = by_name(mount)
        assert set(others) == {"mailfs", "mailfs-herald", "mailfs-helper"}
        facts = status("/proc/%d/status" % others["mailfs-herald"])
        assert (facts["Seccomp"], facts["NoNewPrivs"]) == (FILTERED, "1")
        assert int(facts["CapPrm"], 16) | CAP_DAC_OVERRIDE == CAP_DAC_OVERRIDE or SANITIZED
        # It starts programs, some of which are root's; it never hears of a server.
        facts = status("/proc/%d/status" % others["mailfs-helper"])
        assert (facts["Seccomp"], facts["NoNewPrivs"]) == ("0", "0") and int(facts["Threads"]) <= 1 + OWN_THREADS
        store = os.path.realpath(mount.home.cache())
        held = {name: {what for what in ("/dev/fuse", store) if any(fd.startswith(what) for fd in descriptors(others[name]))}
                for name in ("mailfs", "mailfs-helper")}
        assert held == {"mailfs": {"/dev/fuse", store}, "mailfs-helper": set()}, held


def test_network_is_watched(account):
    """The socket on which the kernel tells of changes is made by a thread in the sandbox."""
    with account.mount() as mount:
        def watched():
            sockets = set(descriptors(mount.pid))
            with open("/proc/%d/net/netlink" % mount.pid, encoding="ascii") as lines:
                return any("socket:[%s]" % line.split()[-1] in sockets and line.split()[1] == "0" for line in lines.readlines()[1:])
        eventually(watched)


def test_what_a_caller_left_open(account):
    """Is closed: what is open already, no sandbox keeps from being read. Not before the password was read from one of them."""
    words = 'exec "$@" 7</etc/hostname 8>>"$HOME/left" 9<"$HOME/password"'
    with account.mount("password_file=/dev/fd/9", wrapper=("sh", "-c", words, "sh")) as mount:
        found = descriptors(mount.pid)
        assert not [path for path in found if path.endswith(("/etc/hostname", "/left", "/password"))], found
        assert "INBOX" in os.listdir(mount.path)


def test_off(account):
    with account.mount("sandbox=off") as mount:
        assert set(by_name(mount)) == {"mailfs", "mailfs-herald"}
        facts = status("/proc/%d/status" % mount.pid)
        assert (facts["Seccomp"], facts["NoNewPrivs"]) == ("0", "0")
        assert mount.names() and mount.log() == ""


# --- What a conquered thread can do ---

OPENAT, SOCKET, EXECVE, KILL, MOUNT, CLONE = 257, 41, 59, 62, 165, 56
AT_FDCWD = -100


def attempts(mount, bystander):
    """System calls that no mount makes: {what: (number, arguments, bytes)}."""
    home = mount.home.path.encode()
    return {
        "read the user's files": (OPENAT, [AT_FDCWD, inject.PLACE, os.O_RDONLY], home + b"/.netrc\0"),
        "read the password file again": (OPENAT, [AT_FDCWD, inject.PLACE, os.O_RDONLY], home + b"/password\0"),
        "write the user's files": (OPENAT, [AT_FDCWD, inject.PLACE, os.O_WRONLY | os.O_CREAT, 0o600], home + b"/.profile\0"),
        "read the system's files": (OPENAT, [AT_FDCWD, inject.PLACE, os.O_RDONLY], b"/etc/passwd\0"),
        "list a directory": (OPENAT, [AT_FDCWD, inject.PLACE, os.O_RDONLY | os.O_DIRECTORY], home + b"\0"),
        "speak to the user's other programs": (SOCKET, [1, 1, 0], b""),
        "speak UDP": (SOCKET, [2, 2, 0], b""),
        "start a program": (EXECVE, [inject.PLACE, 0, 0], b"/bin/true\0"),
        "start a process": (CLONE, [17, 0, 0, 0, 0], b""),
        "end a process": (KILL, [bystander, signal.SIGCONT], b""),
        "mount": (MOUNT, [inject.PLACE, inject.PLACE, inject.PLACE, 0, 0], b"tmpfs\0"),
    }


def conquer(mount, calls):
    """Has every thread make all calls: {thread's name: {what: [results]}}. Those that are not to be had when asked are left out."""
    results = {}
    for task in map(int, os.listdir("/proc/%d/task" % mount.pid)):
        try:
            with open("/proc/%d/task/%d/comm" % (mount.pid, task), encoding="ascii") as name:
                comm_of = name.read().strip()
            answers = inject.system_calls(mount.pid, task, calls.values())
        except OSError:  # it has ended meanwhile
            continue
        if None not in answers:
            results[comm_of, task] = dict(zip(calls, answers))
    return results


@pytest.mark.skipif(not inject.POSSIBLE, reason="needs root on x86-64")
def test_conquered(account):
    """Every thread, whoever has started it, whatever it does; and reading goes on afterwards."""
    account.home.write(".netrc", "machine x login y password z\n")
    account.deliver("INBOX", [b"Subject: x\r\n\r\ny\r\n"] * 3)
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        try:
            with account.mount() as mount:
                first, *others = mount.by_uid("INBOX").values()
                mount.read(first)
                calls = attempts(mount, bystander.pid)
                for what in [what for what in calls if SANITIZED and what.startswith(("read", "list", "start a process"))]:
                    del calls[what]  # for reports, which name functions and lines, and for the search for leaks
                results = conquer(mount, calls)
                assert len(results) > 5
                free = {thread: answers for thread, answers in results.items() if max(answers.values()) >= 0}
                assert len(free) <= OWN_THREADS, free
                assert all(len(mount.read(path)) > 0 for path in others)
        finally:
            bystander.kill()


@pytest.mark.skipif(not inject.POSSIBLE, reason="needs root on x86-64")
def test_conquered_without_sandbox(account):
    """What is refused in it is possible outside: the test above can fail."""
    account.home.write(".netrc", "machine x login y password z\n")
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        try:
            with account.mount("sandbox=off") as mount:
                calls = attempts(mount, bystander.pid)
                for what in "start a program", "start a process", "mount":  # it would not survive
                    del calls[what]
                results = conquer(mount, calls)
                assert results and all(answer >= 0 for answers in results.values() for answer in answers.values()), results
        finally:
            bystander.kill()


# --- The password ---

def plain(session, tag, args):
    """AUTHENTICATE PLAIN, with or without an initial response."""
    if len(args.split()) < 2:
        session.send(b"+ \r\n")
        session.file.readline()
    session.send(b"%s OK in\r\n" % tag.encode())
    return True


def only_in_secret(mount, *needles):
    """MARK stands once, in locked memory; all else nowhere."""
    for name, pid in by_name(mount).items():
        found = memory.find(pid, [MARK.encode(), *needles])
        if name == "mailfs":
            assert [(needle, locked) for needle, _, locked in found] == [(MARK.encode(), True)]
        else:
            assert found == [], name


def imap_secret(home, capability, options, tls=None):
    initial = base64.b64encode(b"\0me\0" + MARK.encode())
    with Server({"INBOX": Box(fake_mail())}, capability=capability, tls=tls, implicit=bool(tls)) as fake:
        fake.on["AUTHENTICATE"] = plain
        url = fake_url(fake).replace("imap", "imaps" if tls else "imap").replace("127.0.0.1", HOST if tls else "127.0.0.1")
        with Mount(home, url, options) as mount:
            assert mount.names("INBOX")
            only_in_secret(mount, initial)
        assert fake.logins or [line for line in fake.commands if "AUTHENTICATE" in str(line)]


@pytest.mark.skipif(os.getuid() != 0 or SANITIZED, reason="looks into another process's memory, of which a sanitizer's has terabytes")
def test_password_is_in_one_place(server, new_account):
    """However it was told, and however it was sent."""
    pair = server.authority.issue("fake")
    trust = "tls_ca=" + escape(server.ca)
    home = new_account(server).home
    secret = home.write("secret", MARK + "\n")
    file = "password_file=" + escape(secret)
    imap_secret(home, CAPABILITY, ["tls=none", file])
    imap_secret(home, CAPABILITY + " AUTH=PLAIN", ["tls=none", file])
    imap_secret(home, CAPABILITY + " AUTH=PLAIN SASL-IR", ["tls=none", "password_command=cat " + escape(secret)])
    imap_secret(home, CAPABILITY, [trust, file], tls=pair)
    imap_secret(home, CAPABILITY + " AUTH=PLAIN SASL-IR", [trust, file], tls=pair)
    imap_secret(home, CAPABILITY + " AUTH=XOAUTH2 SASL-IR", ["tls=none", "token_command=cat " + escape(secret)])
    home.write(".netrc", "machine 127.0.0.1\nlogin me\npassword %s\n" % MARK)
    imap_secret(home, CAPABILITY, ["tls=none"])


@pytest.mark.skipif(os.getuid() != 0 or SANITIZED, reason="looks into another process's memory, of which a sanitizer's has terabytes")
def test_pop3_password_is_in_one_place(serve, home):
    secret = home.write("secret", MARK + "\n")
    for capability in (["USER"], ["USER", "PIPELINING"], ["SASL PLAIN"], None):
        drop = serve(drops.messages(3), capability=capability)
        with Mount(home, drop.url(), ["tls=none", "password_file=" + escape(secret)]) as mount:
            assert len(mount.names()) == 3
            only_in_secret(mount, base64.b64encode(b"\0me\0" + MARK.encode()))
        home.wipe_state()
    drop.server.token = MARK
    drop.server.capability = ["SASL XOAUTH2"]
    with Mount(home, drop.url(), ["tls=none", "token_command=cat " + escape(secret)]) as mount:
        assert len(mount.names()) == 3
        only_in_secret(mount)


# --- What others do for it ---

@pytest.mark.skipif(HOST != "localhost", reason="localhost can not be resolved")
def test_name_is_resolved_again(home):
    """The server went away and comes back; and no thread can read /etc/hosts."""
    with Server({"INBOX": Box(fake_mail())}) as fake:
        proxy = Proxy(fake.port)
        try:
            with Mount(home, fake_url(fake, "localhost", proxy.port), ["tls=none", "password_file=" + home.password_file]) as mount:
                first, *_, last = mount.by_uid("INBOX").values()
                mount.read(first)
                for _ in range(3):
                    proxy.refuse()
                    with pytest.raises(OSError):
                        mount.read(last)
                    before = proxy.connections
                    proxy.recover()
                    eventually(lambda count=before: proxy.connections > count, 30)
                eventually(lambda: reads(last), 30)
        finally:
            proxy.close()


def reads(path):
    try:
        with open(path, "rb") as file:
            return len(file.read()) > 0
    except OSError:
        return False


@pytest.mark.skipif(HOST != "localhost", reason="localhost can not be resolved")
def test_offline_without_its_helper(home):
    """Who asks why is told what has ended: it is not the server."""
    with Server({"INBOX": Box(fake_mail())}) as fake:
        proxy = Proxy(fake.port)
        try:
            with Mount(home, fake_url(fake, "localhost", proxy.port), ["tls=none", "password_file=" + home.password_file]) as mount:
                path, *_ = mount.by_uid("INBOX").values()
                os.kill(by_name(mount)["mailfs-helper"], signal.SIGKILL)
                proxy.refuse()
                proxy.recover()
                with pytest.raises(OSError):
                    mount.read(path)
                eventually(lambda: "the helper, which looks up host names, has ended" in (trouble(mount) or ""), 30)
                unmount(mount.path)
                mount.wait()
        finally:
            proxy.close()


def trouble(mount):
    out = subprocess.run([CTL, "status", "--json", mount.path], env=mount.home.env(), stdout=subprocess.PIPE, check=True, timeout=60 * SLOW).stdout
    return json.loads(out)["connection"]["trouble"]


def test_without_its_helper(home):
    """Whoever kills it loses new connections, and nothing else: names are not looked up any more, and others unmount."""
    with Server({"INBOX": Box(fake_mail())}) as fake:
        with Mount(home, fake_url(fake), ["tls=none", "password_file=" + home.password_file]) as mount:
            pid = by_name(mount)["mailfs-helper"]
            os.kill(pid, signal.SIGKILL)
            assert all(reads(path) for path in mount.by_uid("INBOX").values())
            unmount(mount.path)
            mount.wait()


def test_interrupted_at_the_terminal(account):
    """Ctrl-C reaches every process of the terminal's; who unmounts must be the last."""
    mount = account.mount()
    pids = by_name(mount)
    assert mount.names()
    os.kill(pids["mailfs-helper"], signal.SIGINT)
    os.kill(pids["mailfs"], signal.SIGINT)
    mount.wait()
    assert mount.log() == "" and not is_mounted(mount.path)
    eventually(lambda: not any(os.path.exists("/proc/%d" % pid) for pid in pids.values()))


def test_killed(account):
    """Nothing of it stays behind but the mount, which is dead and which fusermount3 takes away."""
    mount = account.mount()
    pids = by_name(mount)
    os.kill(pids["mailfs"], signal.SIGKILL)
    mount.process.wait()
    eventually(lambda: not any(os.path.exists("/proc/%d" % pid) for pid in pids.values()))
    mount.kill()


def test_failed_login_leaves_nothing(home):
    """Neither a process nor a socket."""
    with Server({"INBOX": Box([])}) as fake:
        fake.refuse_login = "NO no"
        path = home.mountpoint()
        runtime = home.path + "/run"
        os.mkdir(runtime, 0o700)
        code, _ = home.run(fake_url(fake), path, ["tls=none", "password_file=" + home.password_file], XDG_RUNTIME_DIR=runtime)
        assert code == 5
        eventually(lambda: not processes(path))
        assert os.listdir(os.path.join(runtime, "mailfs")) == []


# --- What is loaded late ---

def test_charsets(account):
    """Converters of the C library are files, which are out of reach by then."""
    subjects = {
        "=?koi8-r?B?8NLJ18XU?=": "Привет",
        "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=": "日本",
        "=?big5?B?pKSk5Q==?=": "中文",
        "=?gb18030?B?1tDOxA==?=": "中文",
        "=?euc-kr?B?x9Gx28==?=": None,
        "=?windows-1251?B?z/Do4uXy?=": "Привет",
        "=?iso-8859-15?Q?=A4uro?=": "uro",
    }
    account.deliver("INBOX", [Mail(b"From: a@b.example\r\nSubject: %s\r\n\r\nx\r\n" % subject.encode()) for subject in subjects])
    with account.mount() as mount:
        names = mount.names("INBOX")
        for wanted in filter(None, subjects.values()):
            assert any(wanted in name for name in names), (wanted, names)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the directory")
def test_authorities_in_a_directory(account):
    """They are read when a certificate is verified: long after the beginning, through links to elsewhere, and after they were replaced."""
    home = account.home
    place, kept = os.path.join(home.path, "authorities"), os.path.join(home.path, "elsewhere")
    os.mkdir(place)
    os.mkdir(kept)
    shutil.copy(account.server.ca, os.path.join(kept, "ours.pem"))
    os.symlink(os.path.join(kept, "ours.pem"), os.path.join(place, "ours.pem"))
    subprocess.run(["openssl", "rehash", place], check=True)
    proxy = Proxy(account.server.port_tls)
    account.deliver("INBOX", [b"Subject: x\r\n\r\ny\r\n"])
    try:
        options = ["password_file=" + escape(home.password_file), "tls_ca=" + escape(place)]
        with Mount(home, account.url(port=proxy.port), options) as mount:
            (path,) = mount.by_uid("INBOX").values()
            proxy.refuse()
            proxy.recover()
            eventually(lambda: reads(path), 30)
    finally:
        proxy.close()


def test_too_many_authorities(account):
    """Those that are left out are not left out in silence."""
    place, kept = os.path.join(account.home.path, "many"), os.path.join(account.home.path, "files")
    os.mkdir(place)
    os.mkdir(kept)
    for i in range(300):
        with open(os.path.join(kept, str(i)), "wb"):
            os.symlink(os.path.join(kept, str(i)), os.path.join(place, "%08x.0" % i))
    code, said = account.home.run(account.url(), account.home.mountpoint(), ["password_file=" + escape(account.home.password_file), "tls_ca=" + escape(place)])
    assert code == 4 and re.search(r"the sandbox: [4-6]\d certificates of authorities", said), said


# --- Kernels that lack a part ---

def without(calls):
    """For preexec_fn: these system calls do not exist; prctl(PR_SET_SECCOMP) neither, if seccomp does not."""
    numbers = {"x86_64": {"seccomp": 317, "prctl": 157}, "aarch64": {"seccomp": 277, "prctl": 167}}[platform.machine()]
    numbers["landlock"] = 444
    code = [(0x20, 0, 0, 0)]  # the number of the call
    for call in calls:
        code += [(0x15, 0, 1, numbers[call]), (0x06, 0, 0, 0x00050000 | 38)]
    if "seccomp" in calls:
        code += [(0x15, 0, 3, numbers["prctl"]), (0x20, 0, 0, 16), (0x15, 0, 1, 22), (0x06, 0, 0, 0x00050000 | 22)]
    code += [(0x06, 0, 0, 0x7fff0000)]
    program = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(program)
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, header, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


@pytest.mark.skipif(os.getuid() != 0, reason="fusermount3 could not become root")
@pytest.mark.parametrize("calls, words", [(["landlock"], "Landlock (files)"), (["seccomp"], "seccomp (system calls)")])
def test_kernel_that_lacks_a_part(account, calls, words, monkeypatch):
    before = harness.die_with_parent

    def begin():
        before()
        without(calls)
    monkeypatch.setattr(harness, "die_with_parent", begin)
    with account.mount() as mount:
        assert mount.names()
        (line,) = mount.log().splitlines()
        assert words in line and "lacks" in line
