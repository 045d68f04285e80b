# SPDX-License-Identifier: MIT
"""
A private GNU Mailutils, pop3d as it is installed and imap4d out of a jail: on loopback, on ports of its own, in a folder of its own, with users of its own.

What is peculiar about it: it writes an X-UIDL field into each message that it lists for the first time, and LIST
does not count it; CAPA says "EXPIRENEVER"; one session at a time (-ERR [IN-USE]).
"""

import grp
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

import jail
import maildir
import pki
from dovecot import SCRATCH, children_of, die_with_parent, free_port

BINARY = shutil.which("pop3d", path="/usr/sbin:/usr/local/sbin:" + os.environ.get("PATH", ""))
DOMAIN = "example.org"
PASSWORD = "mailutils-secret"

CONFIG = """\
mode daemon;
foreground yes;
pidfile {root}/pid;
logging {{ syslog no; }};
tcp-wrappers {{ enable no; }};
mandatory-locking {{ enable yes; lock-directory {root}/locks; }};
virtdomain {{ passwd-dir {root}/passwd; }};
auth {{ authentication generic; authorization virtdomain; }};
mailbox {{ mailbox-type maildir; }};
server 127.0.0.1:{port_pop3} {{ tls-mode ondemand; tls {{ ssl-certificate-file {cert}; ssl-key-file {key}; }}; }};
server 127.0.0.1:{port_pop3_tls} {{ tls-mode connection; tls {{ ssl-certificate-file {cert}; ssl-key-file {key}; }}; }};
"""

CONFIG_IMAP = """\
mode daemon;
foreground yes;
pidfile /run/imap4d.pid;
logging {{ syslog no; }};
tcp-wrappers {{ enable no; }};
virtdomain {{ passwd-dir {root}/passwd; }};
auth {{ authentication generic; authorization virtdomain; }};
mailbox {{ mailbox-type mbox; }};
namespace personal {{ prefix "" {{ directory "$home/folders"; mailbox-type mbox; }}; }};
server 127.0.0.1:{port_plain} {{ tls-mode ondemand; tls {{ ssl-certificate-file {cert}; ssl-key-file {key}; }}; }};
server 127.0.0.1:{port_tls} {{ tls-mode connection; tls {{ ssl-certificate-file {cert}; ssl-key-file {key}; }}; }};
"""
PACKAGES = "mailutils"


def why_not_imap():
    return jail.why_not(PACKAGES)


def why_not():
    """Why it can not run here; "": it can. Like jail.why_not(): where the servers were fetched it has to be there."""
    if BINARY is None or b"Mailutils" not in subprocess.run([BINARY, "--version"], capture_output=True, check=False).stdout:
        assert jail.why_not(PACKAGES), "mailutils-pop3d is not installed, as contrib/check does it"
        return "GNU Mailutils' pop3d is not installed"
    if os.getuid() and grp.getgrnam("mail").gr_gid != os.getgid():
        return "GNU Mailutils' pop3d wants the group mail, which only root can give it"
    return ""


class Mailutils:
    """A context manager."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="mailfs-mailutils-", dir=SCRATCH)
        self.authority = pki.Authority(os.path.join(self.root, "pki"))
        self.cert, self.key = self.authority.issue("server")
        self.port_pop3, self.port_pop3_tls = free_port(), free_port()
        user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        self.uid, self.gid = user.pw_uid, grp.getgrnam("mail").gr_gid
        self._hash = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, check=True, text=True).stdout.strip()
        self._process = None
        for name in ("passwd", "spool", "locks"):
            os.mkdir(os.path.join(self.root, name))
        os.chmod(self.key, 0o600)

    @property
    def ca(self):
        return self.authority.ca

    def _give(self, path):
        if os.getuid() == 0:
            for folder, folders, files in os.walk(path):
                for name in [folder] + [os.path.join(folder, n) for n in folders + files]:
                    os.chown(name, self.uid, self.gid, follow_symlinks=False)

    @staticmethod
    def version():
        return subprocess.run([BINARY, "--version"], capture_output=True, check=True, text=True).stdout.splitlines()[0].split()[-1]

    def inbox(self, user):
        return os.path.join(self.root, "spool", user, "INBOX")

    def add_user(self, user, datas):
        """The name to log in with."""
        maildir.write_folder(self.inbox(user), [maildir.Mail(data) for data in datas])
        with open(os.path.join(self.root, "passwd", DOMAIN), "a", encoding="ascii") as out:
            home = os.path.join(self.root, "spool", user)
            out.write("%s:%s:%d:%d::%s:/bin/false:maildir://%s/\n" % (user, self._hash, self.uid, self.gid, home, home))
        self._give(os.path.join(self.root, "spool", user))
        return "%s@%s" % (user, DOMAIN)

    def add(self, user, data):
        maildir.add(self.inbox(user), maildir.Mail(data), (self.uid, self.gid))

    def log(self):
        with open(os.path.join(self.root, "log"), encoding="utf-8", errors="replace") as text:
            return text.read()

    def wait_idle(self):
        """Until no session is there: each is a process, which holds the maildrop and may write to it until its end."""
        end = time.monotonic() + 20
        while children_of(self._process.pid):
            assert time.monotonic() < end, "a session does not end: " + self.log()
            time.sleep(0.01)

    def __enter__(self):
        config = os.path.join(self.root, "conf")
        with open(config, "w", encoding="ascii") as out:
            out.write(CONFIG.format(**vars(self)))
        log = os.path.join(self.root, "log")
        self._give(self.root)
        as_user = {} if os.getuid() else {"user": self.uid, "group": self.gid, "extra_groups": []}
        with open(log, "wb") as out:
            self._process = subprocess.Popen([BINARY, "--config-file=" + config], preexec_fn=die_with_parent, stdin=subprocess.DEVNULL,
                                             stdout=out, stderr=out, **as_user)
        end = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < end, self.log()
            time.sleep(0.02)
        return self

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port_pop3), 5) as sock:
                return sock.recv(3) == b"+OK"
        except OSError:
            return False

    def __exit__(self, *exc):
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self.root, ignore_errors=True)


class Imap4d(jail.Jailed):
    """
    imap4d, in a jail, since the package excludes others. Mail lies in mbox files, as it does by default. (Of a Maildir imap4d numbers all that nobody has seen
    anew in each session that only reads, under one UIDVALIDITY; mailfs can not know better.) A context manager.
    """

    name = "GNU Mailutils"

    def __init__(self):
        self.jail = jail.Jail(PACKAGES)
        self.root = self.jail.root
        self.authority = pki.Authority(os.path.join(self.root, "pki"))
        self.cert, self.key = self.authority.issue("server")
        os.chmod(self.key, 0o600)
        self.port_plain, self.port_tls = free_port(), free_port()
        self.uid, self.gid = pwd.getpwnam("nobody").pw_uid, grp.getgrnam("mail").gr_gid
        self._hash = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, check=True, text=True).stdout.strip()
        for name in ("passwd", "spool"):
            os.mkdir(os.path.join(self.root, name))
        with open(os.path.join(self.root, "conf"), "w", encoding="ascii") as out:
            out.write(CONFIG_IMAP.format(**vars(self)))

    @property
    def ca(self):
        return self.authority.ca

    @staticmethod
    def version():
        return jail.version_of(PACKAGES, "mailutils-imap4d")

    def add_user(self, user):
        """The name to log in with."""
        home = os.path.join(self.root, "spool", user)
        os.makedirs(os.path.join(home, "folders"))
        with open(os.path.join(home, "INBOX"), "wb"):
            pass
        subprocess.run(["chown", "-R", "%d:%d" % (self.uid, self.gid), home], check=True)
        with open(os.path.join(self.root, "passwd", DOMAIN), "a", encoding="ascii") as out:
            out.write("%s:%s:%d:%d::%s:/bin/false:%s/INBOX\n" % (user, self._hash, self.uid, self.gid, home, home))
        return "%s@%s" % (user, DOMAIN)

    def deliver(self, login, data):
        path = os.path.join(self.root, "spool", login.partition("@")[0], "INBOX")
        maildir.add_to_mbox(path, data)

    def start(self):
        self.jail.start(["/usr/sbin/imap4d", "--config-file=%s/conf" % self.root], [self.port_plain])
