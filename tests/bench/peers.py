# SPDX-License-Identifier: MIT
"""What people use instead of mailfs, as they would use it, and the file systems it is held against."""

import contextlib
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import corpus
from dovecot import PASSWORD, die_with_parent
from harness import unmount, unmount_lazily
from limits import Line
from tools import PATIENCE_S, Failed, Taken, run, through, wait_mounted

SFTP_SERVERS = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"]


def need(name):
    path = shutil.which(name)
    if path is None:
        raise Failed("%s is not installed" % name)
    return path


# --- mutt ---

MUTT = """\
set imap_user="{user}"
set imap_pass="{password}"
set folder="imaps://{host}:{port}/"
set certificate_file="{ca}"
set ssl_ca_certificates_file="{ca}"
set ssl_starttls=no
set imap_check_subscribed=no
set record=""
set postponed=""
set move=no
set quit=yes
set sleep_time=0
set header_cache="{cache}"
"""


def mutt(suite, line, mail, cache):
    """The time from its start to the end of a session that opens the folder and leaves it. cache: of headers, a file or ""."""
    need("mutt")
    config = os.path.join(suite.fresh("mutt"), "muttrc")
    password = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    with open(config, "w", encoding="ascii") as out:
        out.write(MUTT.format(user=mail.name, password=password, host=suite.host, port=line.port, ca=suite.server.ca, cache=cache))
    url = "imaps://%s@%s:%d/%s" % (mail.name, suite.host, line.port, corpus.FOLDER)
    return through(line, lambda: on_terminal(["mutt", "-n", "-F", config, "-R", "-f", url, "-e", "push q"]))


def on_terminal(command, timeout=PATIENCE_S):
    """Runs what wants a terminal and ends by itself; seconds."""
    begin = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", HOME=tempfile.gettempdir(), LC_ALL="C.UTF-8")
        die_with_parent()
        os.execvp(command[0], command)
    said = b""
    try:
        while True:
            if not select.select([terminal], [], [], max(0, begin + timeout - time.perf_counter()))[0]:
                raise Failed("%s: not done after %d s: %s" % (command[0], timeout, said[-200:]))
            try:
                data = os.read(terminal, 65536)
            except OSError:  # so a terminal says that its last user is gone
                break
            if not data:
                break
            said = (said + data)[-1000:]
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(terminal)
        status = os.waitpid(pid, 0)[1]
    if status:
        raise Failed("%s: status %d: %s" % (command[0], status, said[-200:]))
    return time.perf_counter() - begin


# --- mbsync ---

MBSYNC = """\
IMAPAccount far
Host {host}
Port {port}
User {user}
PassCmd "cat {password_file}"
SSLType IMAPS
CertificateFile {ca}
{extra}

IMAPStore far
Account far

MaildirStore near
Path {work}/
Inbox {work}/INBOX
SubFolders Verbatim

Channel mail
Far :far:{folder}
Near :near:{folder}
Create Near
Sync Pull
SyncState *
"""


def mbsync(suite, line, mail, deflate=True):
    """Its first pull into a Maildir; it deflates wherever the server can, unless it is told not to."""
    need("mbsync")
    work = suite.fresh("mbsync")
    config = os.path.join(work, "mbsyncrc")
    with open(config, "w", encoding="ascii") as out:
        out.write(MBSYNC.format(host=suite.host, port=line.port, user=mail.name, password_file=suite.password_file, ca=suite.server.ca,
                                work=work, folder=corpus.FOLDER, extra="" if deflate else "DisableExtension COMPRESS=DEFLATE"))
    taken = through(line, lambda: run(["mbsync", "-q", "-c", config, "mail"])[0])
    got = sum(len(os.listdir(os.path.join(work, corpus.FOLDER, sub))) for sub in ("cur", "new"))
    if got != mail.count:
        raise Failed("mbsync: %d of %d messages" % (got, mail.count))
    return taken


# --- file systems ---

@contextlib.contextmanager
def mounted(suite, name, command):
    """A file system that runs in the foreground until it is unmounted; command(mountpoint)."""
    path = suite.fresh(name)
    # A session of its own, as mailfs has in the background: the kernel's scheduler makes a difference (sched_autogroup).
    process = subprocess.Popen(command(path), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                               preexec_fn=die_with_parent)
    try:
        wait_mounted(path, process)
        yield path
        unmount(path)
        process.wait(30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        unmount_lazily(path)


def memfs(suite, mail, *options):
    return mounted(suite, "memfs", lambda path: [suite.program("memfs"), mail.files, path, *options])


class SftpServer:
    """OpenSSH's, without ssh about it: each connection to the port gets one."""

    def __init__(self):
        self.program = next((path for path in SFTP_SERVERS if os.path.exists(path)), None)
        if self.program is None:
            raise Failed("sftp-server is not installed")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                subprocess.Popen([self.program], stdin=sock, stdout=sock, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.listener.close()


@contextlib.contextmanager
def sshfs(suite, rtt_ms, folder):
    """
    The folder through sshfs over a line: (path, line). There is no encryption, which flatters it, and its cache holds more than the 10,000
    names of its default, without which each of 100,000 files costs a round trip.
    """
    need("sshfs")
    with SftpServer() as server, Line(suite.program("proxy"), server.port, rtt_ms) as line:
        def command(path):
            return ["sshfs", "-f", "-o", "directport=%d,ro,dcache_max_size=1000000,dcache_timeout=600" % line.port, "127.0.0.1:" + folder, path]
        with mounted(suite, "sshfs", command) as path:
            yield path, line


def sshfs_taken(suite, rtt_ms, folder, work, times=1, note=""):
    """work(path) returns seconds; `times` more for what was left out."""
    with sshfs(suite, rtt_ms, folder) as (path, line):
        taken = through(line, lambda: work(path), alone=False)
    return Taken(taken.value * times, received=taken.received * times, sent=taken.sent * times,
                 round_trips=taken.round_trips * times, note=note)


# --- mpop ---

def mpop(suite, line, mail):
    """Its first download into a Maildir."""
    need("mpop")
    import pop3  # pylint: disable=import-outside-toplevel
    return through(line, pop3.Bench(suite.server, suite.home("mpop"), line, "pop3", mail.count).mpop)


def pop3_raw(suite, line, mail):
    """A client that asks for everything at once and keeps nothing."""
    import pop3  # pylint: disable=import-outside-toplevel
    return through(line, pop3.Bench(suite.server, suite.home("raw"), line, "pop3", mail.count).raw, alone=False)
