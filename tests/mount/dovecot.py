#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
A private Dovecot, for the tests, the benchmark and the demo alike: on loopback, on ports of its own, in a folder
of its own, as an ordinary user (started by root, it becomes nobody). Dovecot 2.3 and 2.4, whose settings differ.

Any user logs in with PASSWORD (but see Settings.passwords) once add_user() has made the account. Its mail lies in a Maildir tree
(layout FS) that deliver() writes directly, or, with storage="index", in sdbox folders that any name fits, filled over IMAP. The
INBOX is served over POP3 too.
"""

import base64
import ctypes
import glob
import hashlib
import hmac
import imaplib
import itertools
import json
import os
import pwd
import random
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

import maildir
import pki
import pop3_client

# Where tests write. contrib/check lets it be in memory: what is written durably takes a second on a disk that is busy. Socket paths are limited to 107
# bytes, so TMPDIR is not asked.
SCRATCH = os.environ.get("MAILFS_TEST_DIR", "/tmp")

PASSWORD = 'pass"word\\1'  # what must be quoted, everywhere; a blank has no place in Dovecot 2.3's settings
BINARY = shutil.which("dovecot", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
PR_SET_PDEATHSIG = 1
FIRST_PORT, PORTS = 20000, 12000
_ports = itertools.count(random.SystemRandom().randrange(PORTS))
_libc = ctypes.CDLL(None)


def _host():
    try:
        return "localhost" if socket.gethostbyname("localhost") == "127.0.0.1" else "127.0.0.1"
    except OSError:
        return "127.0.0.1"


HOST = _host()  # a bare container may have no /etc/hosts


def die_with_parent():
    """For preexec_fn: no test run, however it ends, leaves the program behind, nor what it ignores (nohup; a job in the background) to the program."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def free_port():
    """
    Not one of those that the kernel gives to connections (ip_local_port_range): such a connection may take it before its server does. Test runs side by side
    begin at different ones.
    """
    for _ in range(PORTS):
        port = FIRST_PORT + next(_ports) % PORTS
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise RuntimeError("no port is free")


def children_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as pids:
        return [int(pid) for pid in pids.read().split()]


def version():
    out = subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(n) for n in re.match(r"(\d+)\.(\d+)", out).groups())


@dataclass
class Settings:
    """What the tests vary."""
    separator: str = "/"
    storage: str = "maildir"          # or "index"
    mechanisms: tuple = ("plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256")  # with oauthbearer, xoauth2: see token()
    pop3: tuple = ()                  # lines of the section of POP3
    uidl: str = "uid"                 # what a message's unique-id is made from: "uid" or "file"
    capability: str = ""              # replaces what the server would announce after login; "": its own
    compress: bool = False            # COMPRESS=DEFLATE; Dovecot 2.4 has it always
    quota_mb: int = 1000
    quota_messages: int = 1000000
    rawlog: bool = True
    passwords: dict = field(default_factory=lambda: {"simple": "simple-secret"})  # of users that have one of their own
    special_use: dict = field(default_factory=lambda: {"Sent": "\\Sent", "Trash": "\\Trash", "Drafts": "\\Drafts"})


COMMON = """\
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/log
protocols = imap pop3
listen = 127.0.0.1
ssl = yes
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
first_valid_gid = 1
auth_failure_delay = 0
auth_mechanisms = {mechanisms}
mail_max_userip_connections = 0
{capability}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  {reuse_login}
  inet_listener imap {{
    port = {port_plain}
  }}
  inet_listener imaps {{
    port = {port_tls}
    ssl = yes
  }}
}}
service stats {{
  chroot =
}}
service imap {{
  process_limit = 200
}}
service pop3-login {{
  chroot =
  {reuse_login}
  inet_listener pop3 {{
    port = {port_pop3}
  }}
  inet_listener pop3s {{
    port = {port_pop3_tls}
    ssl = yes
  }}
}}
service pop3 {{
  process_limit = 200
}}
protocol pop3 {{
  pop3_uidl_format = {uidl_format}
  {rawlog_pop3}
  {pop3_lines}
}}
"""

# What the two generations say differently. The uid of a mail process is Dovecot's own: it has no other to change to.
OLD = """\
disable_plaintext_auth = no
ssl_cert = <{cert}
ssl_key = <{key}
mail_location = {location_old}
mail_plugins = quota acl{zlib}
maildir_very_dirty_syncs = no
protocol imap {{
  mail_plugins = quota acl imap_quota{imap_zlib}
  {rawlog}
}}
plugin {{
  quota = count:User quota
  quota_rule = *:storage={quota_mb}M:messages={quota_messages}
  quota_vsizes = yes
  acl = vfile
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {root}/passwd
}}
{tokens_old}passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={root}/home/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
{special_use}}}
namespace shared {{
  type = public
  separator = {separator}
  prefix = Shared{separator}
  location = maildir:{root}/shared:LAYOUT=fs:CONTROL={root}/home/%u/shared-control:INDEX={root}/home/%u/shared-index
  subscriptions = no
}}
"""

NEW = """\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
auth_allow_cleartext = yes
ssl_server_cert_file = {cert}
ssl_server_key_file = {key}
{location_new}
mail_plugins {{
  quota = yes
  acl = yes
}}
protocol imap {{
  mail_plugins {{
    imap_quota = yes
  }}
  {rawlog}
}}
acl_driver = vfile
quota "User quota" {{
  storage_size = {quota_mb}M
  quota_message_count = {quota_messages}
}}
passdb passwd-file {{
  default_password_scheme = PLAIN
  passwd_file_path = {root}/passwd
}}
{tokens_new}passdb static {{
  password = {password_quoted}
}}
userdb static {{
  static_allow_all_users = yes
  fields {{
    uid = {uid}
    gid = {gid}
    home = {root}/home/%{{user}}
  }}
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
{special_use}}}
namespace shared {{
  type = public
  separator = {separator}
  prefix = Shared{separator}
  mail_driver = maildir
  mailbox_list_layout = fs
  mail_path = {root}/shared
  mail_inbox_path =
  mail_control_path = {root}/home/%{{user}}/shared-control
  mail_index_path = {root}/home/%{{user}}/shared-index
  subscriptions = no
}}
"""

# Access tokens (RFC 7628) that the server checks by itself: JSON Web Tokens signed with a key that lies in a file.
TOKENS_OLD = """\
passdb {{
  driver = oauth2
  mechanisms = oauthbearer xoauth2
  args = {root}/oauth2.conf
}}
"""
TOKENS_OLD_FILE = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={root}/keys/
username_attribute = sub
"""
TOKENS_NEW = """\
oauth2 {{
  introspection_mode = local
  username_attribute = sub
  oauth2_local_validation {{
    dict fs {{
      fs posix {{
        prefix = {root}/keys/
      }}
    }}
  }}
}}
"""
TOKEN_KEY = b"a key for the tests and nothing else"
# How the two generations write the same unique-ids.
UIDL_FORMATS = {"uid": ("%08Xu%08Xv", "%{uid | hex(8)}%{uidvalidity | hex(8)}"), "file": ("%f", "%{filename}")}

LOCATIONS = {
    "maildir": ("maildir:~/mail:LAYOUT=fs:INBOX=~/mail/INBOX",
                "mail_driver = maildir\nmailbox_list_layout = fs\nmail_path = ~/mail\nmail_inbox_path = ~/mail/INBOX"),
    "index": ("sdbox:~/mail:LAYOUT=index", "mail_driver = sdbox\nmailbox_list_layout = index\nmail_path = ~/mail"),
}


def _account():
    """Whose Dovecot it is: (uid, gid, user, group) of the caller, or nobody's when that is root."""
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
    return user.pw_uid, user.pw_gid, user.pw_name, subprocess.run(
        ["id", "-gn", user.pw_name], capture_output=True, text=True, check=True).stdout.strip()


class Dovecot:
    """start() and stop() it, or use it as a context manager. Everything lies below `root`, which stop() removes."""

    def __init__(self, settings=None, authority=None):
        if BINARY is None:
            raise RuntimeError("dovecot is not installed")
        self.settings = settings or Settings()
        self.root = tempfile.mkdtemp(prefix="mailfs-dovecot-", dir=SCRATCH)
        self.uid, self.gid, self.user, self.group = _account()
        self.authority = authority or pki.Authority(os.path.join(self.root, "pki"))
        self.cert, self.key = self.authority.issue("server-" + os.path.basename(self.root))
        self.port_tls, self.port_plain, self.port_pop3_tls, self.port_pop3 = (free_port() for _ in range(4))
        self._process = None
        for name in ("run", "state", "home", "shared", "keys"):
            os.mkdir(os.path.join(self.root, name))

    @property
    def ca(self):
        return self.authority.ca

    def _config(self):
        old, new = LOCATIONS[self.settings.storage]
        recent = version() >= (2, 4)
        special = "".join("  mailbox %s {\n    special_use = %s\n  }\n" % pair for pair in self.settings.special_use.items())
        rawlog = "rawlog_dir = %s/home/%s/rawlog" % (self.root, "%{user}" if recent else "%u")
        tokens = {"oauthbearer", "xoauth2"} & set(self.settings.mechanisms)
        values = {**vars(self.settings), **vars(self), "location_old": old, "location_new": new, "special_use": special,
                  "password": PASSWORD, "password_quoted": '"%s"' % PASSWORD.replace("\\", "\\\\").replace('"', '\\"'),
                  "mechanisms": " ".join(self.settings.mechanisms), "rawlog": rawlog if self.settings.rawlog else "",
                  "rawlog_pop3": rawlog + "-pop3" if self.settings.rawlog else "", "pop3_lines": "\n  ".join(self.settings.pop3),
                  "uidl_format": UIDL_FORMATS[self.settings.uidl][recent],
                  "tokens_old": TOKENS_OLD.format(root=self.root) if tokens else "",
                  "tokens_new": TOKENS_NEW.format(root=self.root) if tokens else "",
                  "zlib": " zlib" if self.settings.compress else "",
                  "imap_zlib": " zlib imap_zlib" if self.settings.compress else "",
                  "capability": "imap_capability = " + self.settings.capability if self.settings.capability else "",
                  "reuse_login": "restart_request_count = unlimited" if recent else "service_count = 0"}
        first, rest = (NEW.split("\n", 2)[:2], NEW.split("\n", 2)[2]) if recent else ([], OLD)
        return ("\n".join(first) + "\n" + COMMON + rest).format(**values)

    def start(self):
        path = os.path.join(self.root, "dovecot.conf")
        with open(path, "w", encoding="utf-8") as out:
            out.write(self._config())
        with open(os.path.join(self.root, "passwd"), "w", encoding="ascii") as out:
            out.writelines("%s:{PLAIN}%s\n" % pair for pair in self.settings.passwords.items())
        self._write_keys()
        self._give(self.root)
        as_user = {} if os.getuid() else {"user": self.uid, "group": self.gid, "extra_groups": []}
        self._process = subprocess.Popen([BINARY, "-F", "-c", path], preexec_fn=die_with_parent, stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **as_user)
        self._wait_ready()
        return self

    def _write_keys(self):
        folder = os.path.join(self.root, "keys", "default", "HS256")
        os.makedirs(folder)
        with open(os.path.join(folder, "default"), "wb") as out:
            out.write(base64.b64encode(TOKEN_KEY))
        with open(os.path.join(self.root, "oauth2.conf"), "w", encoding="ascii") as out:
            out.write(TOKENS_OLD_FILE.format(root=self.root))

    def _wait_ready(self):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError("dovecot: %s%s" % (self._process.stderr.read().decode(), self.log()))
            try:
                with socket.create_connection(("127.0.0.1", self.port_plain), 5) as sock:
                    if sock.recv(4) == b"* OK":
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError("dovecot does not answer: " + self.log())

    def stop(self):
        """
        Ends the server with all its children, at once, and removes its folder. An orderly end takes a second, and longer while a client is
        there; nothing of it would be kept.
        """
        if self._process:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGSTOP)  # it has no more children than those
                for pid in [*children_of(self._process.pid), self._process.pid]:
                    _end(pid)
            self._process.wait()
            self._process.stderr.close()
            self._process = None
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *exc):
        self.stop()

    def log(self):
        try:
            with open(os.path.join(self.root, "log"), encoding="utf-8", errors="replace") as text:
                return text.read()
        except FileNotFoundError:
            return ""

    def _give(self, path):
        """Makes a tree the server's own."""
        if os.getuid():
            return
        for folder, folders, files in os.walk(path):
            for name in [folder] + [os.path.join(folder, n) for n in folders + files]:
                os.chown(name, self.uid, self.gid, follow_symlinks=False)

    # --- mail ---

    def add_user(self, name):
        """Makes an account with an empty INBOX."""
        for folder in ("rawlog", "rawlog-pop3"):
            os.makedirs(os.path.join(self.root, "home", name, folder))
        if self.settings.storage == "maildir":
            maildir.write_folder(os.path.join(self.root, "home", name, "mail", "INBOX"), [])
        self._give(os.path.join(self.root, "home", name))

    def deliver(self, user, folder, mails, uidvalidity=maildir.UIDVALIDITY):
        """Makes a folder (UTF-8 path with '/') with these mails. Before the server has looked at it."""
        path = os.path.join(self.root, "home", user, "mail", *map(maildir.mutf7, folder.split("/")))
        maildir.write_folder(path, mails, uidvalidity)
        self._give(os.path.join(self.root, "home", user, "mail"))

    def add(self, user, mails):
        """Puts more mail into an INBOX that the server may have looked at already, as a delivery does it."""
        path = os.path.join(self.root, "home", user, "mail", "INBOX")
        for mail in mails:
            maildir.add(path, mail, (self.uid, self.gid))

    def share(self, folder, mails, rights="lrwstipek"):
        """Makes a folder below Shared; rights: what everybody may do there, as in an ACL (RFC 4314)."""
        path = os.path.join(self.root, "shared", *map(maildir.mutf7, folder.split("/")))
        maildir.write_folder(path, mails)
        with open(os.path.join(path, "dovecot-acl"), "w", encoding="ascii") as out:
            out.write("anyone %s\n" % rights)
        self._give(os.path.join(self.root, "shared"))

    def folder_path(self, user, folder):
        return os.path.join(self.root, "home", user, "mail", *map(maildir.mutf7, folder.split("/")))

    def login(self, user):
        """Another client of the account: an imaplib connection."""
        client = imaplib.IMAP4_SSL("127.0.0.1", self.port_tls, ssl_context=ssl.create_default_context(cafile=self.ca))
        client.login(user, PASSWORD)
        return client

    def login_pop3(self, user):
        client = pop3_client.Client(self.port_pop3_tls, pop3_client.trusting(self.ca))
        client.login(user, PASSWORD)
        return client

    @staticmethod
    def token(user, seconds=3600):
        """An access token for the user: a JSON Web Token (RFC 7519)."""
        def part(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=")
        now = int(time.time())
        claims = {"sub": user, "iat": now - 10, "nbf": now - 10, "exp": now + seconds, "scope": "mail"}
        text = part(json.dumps({"typ": "JWT", "alg": "HS256"}).encode()) + b"." + part(json.dumps(claims).encode())
        return (text + b"." + part(hmac.new(TOKEN_KEY, text, hashlib.sha256).digest())).decode()

    def bodies(self, user, mailbox="INBOX"):
        """What the server serves: {uid: bytes of BODY.PEEK[]}. The mailbox name is the wire's."""
        client = self.login(user)
        try:
            client.select('"%s"' % mailbox, readonly=True)
            kind, rows = client.uid("FETCH", "1:*", "(UID BODY.PEEK[])")
            assert kind == "OK"
            return {int(re.search(rb"UID (\d+)", row[0]).group(1)): row[1] for row in rows if isinstance(row, tuple)}
        finally:
            client.logout()

    # --- what clients said ---

    def commands_pop3(self, user, contains=""):
        """The command lines of all POP3 sessions of a user after login, without time stamps."""
        found = []
        for path in sorted(glob.glob(os.path.join(self.root, "home", user, "rawlog-pop3", "*.in"))):
            with open(path, "rb") as lines:
                found += [line.partition(" ")[2] for line in lines.read().decode("latin-1").splitlines()]
        return [command for command in found if contains in command]

    def commands(self, user, contains=""):
        """The command lines of all sessions of a user that said LOGIN or the like, without time stamps and tags."""
        found = []
        for path in sorted(glob.glob(os.path.join(self.root, "home", user, "rawlog", "*.in"))):
            with open(path, "rb") as lines:
                for line in lines.read().decode("latin-1").splitlines():
                    words = line.split(" ", 2)  # time stamp, tag, command
                    if len(words) == 3 and contains in words[2]:
                        found.append(words[2])
        return found

    def forget_commands(self, user):
        """Counts from here: empties the logs of running sessions, which are appended to."""
        for path in glob.glob(os.path.join(self.root, "home", user, "rawlog*", "*")):
            os.truncate(path, 0)


def _is_there(pid):
    """One that only waits for its parent to take note of its end is not."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _end(pid):
    """Kills it, and waits until it writes no more."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    for _ in range(200):
        if not _is_there(pid):
            return
        time.sleep(0.01)


def _end_once(*_):
    """A second signal must not interrupt the cleaning up that the first one began."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def serve():
    """For shell scripts: starts a server with the sample mail, prints what a client needs, ends with its standard input."""
    import mails  # pylint: disable=import-outside-toplevel
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_once)
    with Dovecot(Settings(rawlog=False)) as server:
        server.add_user("demo")
        for folder, content in mails.sample().items():
            server.deliver("demo", folder, content)
        server.share("announcements", [maildir.Mail(mails.to_bytes(mails.plain()), mails.START)])
        password_file = os.path.join(server.root, "password")
        with open(os.open(password_file, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as out:
            out.write(PASSWORD + "\n")
        values = {"host": HOST, "port": server.port_tls, "pop3_port": server.port_pop3_tls, "ca": server.ca, "password_file": password_file, "version": "%d.%d" % version(),
                  "report_sha256": mails.REPORT_SHA256,
                  "large_sha256": hashlib.sha256(mails.sample()["Archive/2025"][0].data).hexdigest()}
        for name, value in values.items():
            print("%s=%s" % (name, shlex.quote(str(value))))
        print("ready=yes", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve()
