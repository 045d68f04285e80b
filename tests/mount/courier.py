# SPDX-License-Identifier: MIT
"""
A private Courier in a jail: IMAP (all folders below `INBOX.`) and POP3, each with and without TLS. Any user logs in with PASSWORD once add_user() has
made the Maildir. Who is asked whether a password is right, Courier's authdaemon, is played by a thread of ours. In IDLE it looks every second (IMAP_IDLE_TIMEOUT; as it comes,
every minute).
"""

import os
import socket
import subprocess
import threading

import jail
import maildir
import pki
from dovecot import free_port

PACKAGES = "courier"
PASSWORD = "courier-secret"
USER_ID = 65534

COMMAND = """\
mkdir -p /run/courier/authdaemon
ln -s {root}/authdaemon /run/courier/authdaemon/socket
serve() {{
	couriertcpd -address=127.0.0.1 -maxprocs=100 -maxperip=100 $TCPDOPTS "$@" &
}}
set -a
. /etc/courier/pop3d
. /etc/courier/pop3d-ssl
. /etc/courier/imapd
. /etc/courier/imapd-ssl
TLS_CERTFILE={root}/pem
TLS_CACHEFILE=
TLS_DHPARAMS=
IMAP_IDLE_TIMEOUT=1
IMAP_STARTTLS=YES
POP3_STARTTLS=YES
PATH=$PATH:/usr/sbin
servers=/usr/lib/courier/courier
serve {port_plain} $servers/imaplogin /usr/bin/imapd Maildir
serve {port_pop3} $servers/courierpop3login $servers/courierpop3d Maildir
IMAP_TLS=1
POP3_TLS=1
serve {port_tls} $COURIERTLS -server -tcpd -user=courier $servers/imaplogin /usr/bin/imapd Maildir
serve {port_pop3_tls} $COURIERTLS -server -tcpd -user=courier $servers/courierpop3login $servers/courierpop3d Maildir
wait
"""


def why_not():
    return jail.why_not(PACKAGES)


class Courier(jail.Jailed):
    """A context manager."""

    name = "Courier"

    def __init__(self):
        self.jail = jail.Jail(PACKAGES)
        self.root = self.jail.root
        self.authority = pki.Authority(os.path.join(self.root, "pki"))
        self._pem(*self.authority.issue("server"))
        self.port_plain, self.port_tls, self.port_pop3, self.port_pop3_tls = (free_port() for _ in range(4))
        self.jail.add_to("/etc/passwd", ["courier:x:7144:65534:Courier:/var/lib/courier:/bin/sh"])
        os.makedirs(os.path.join(self.root, "home"))
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(os.path.join(self.root, "authdaemon"))
        os.chmod(os.path.join(self.root, "authdaemon"), 0o666)
        self._door.listen(50)
        threading.Thread(target=self._check_passwords, daemon=True).start()

    def _pem(self, cert, key):
        with open(os.path.join(self.root, "pem"), "w", encoding="ascii") as out:
            for path in (key, cert):
                with open(path, encoding="ascii") as part:
                    out.write(part.read())
        os.chown(os.path.join(self.root, "pem"), 7144, 65534)
        os.chmod(os.path.join(self.root, "pem"), 0o400)

    @property
    def ca(self):
        return self.authority.ca

    @staticmethod
    def version():
        return jail.version_of(PACKAGES, "courier-imap")

    def _check_passwords(self):
        while True:
            try:
                sock = self._door.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._check, args=(sock,), daemon=True).start()

    def _check(self, sock):
        """AUTH and a length; then in so many bytes the service, "login", user and password, each on a line."""
        with sock, sock.makefile("rb") as file:
            while (line := file.readline()).startswith(b"TCPREMOTEIP="):
                pass
            lines = file.read(int(line[5:])).decode().split("\n") if line.startswith(b"AUTH ") else []
            if len(lines) < 4 or lines[1] != "login" or lines[3] != PASSWORD:
                sock.sendall(b"FAIL\n")
                return
            sock.sendall(("UID=%d\nGID=%d\nHOME=%s\nADDRESS=%s\n.\n" % (
                USER_ID, USER_ID, os.path.join(self.root, "home", lines[2]), lines[2])).encode())

    def maildir(self, user):
        return os.path.join(self.root, "home", user, "Maildir")

    def add_user(self, user):
        for folder in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.maildir(user), folder))
        subprocess.run(["chown", "-R", "%d:%d" % (USER_ID, USER_ID), os.path.join(self.root, "home", user)], check=True)

    def deliver(self, user, data):
        """As a mail transport does it, into the INBOX."""
        maildir.add(self.maildir(user), maildir.Mail(data), (USER_ID, USER_ID))

    def start(self):
        self.jail.start(["/bin/sh", "-c", COMMAND.format(**vars(self))], [self.port_plain, self.port_pop3])

    def close(self):
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
