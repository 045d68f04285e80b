# SPDX-License-Identifier: MIT
"""
A private Cyrus IMAP in a jail: IMAP twice, as it comes (everything below `INBOX.`, which is also the hierarchy's separator), and as it is set up nowadays
(folders beside the INBOX, '/'), over the same mail; and POP3. Any user logs in with PASSWORD and then has an INBOX.
"""

import os
import socket
import struct
import subprocess
import threading

import jail
import pki
from dovecot import free_port

PACKAGES = "cyrus"
PASSWORD = "cyrus-secret"
USER_ID = 7143  # of the user cyrus, who exists in the jail only

MASTER = """\
START {{
  recover cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -r -C {root}/imapd.conf"
}}
SERVICES {{
  imap cmd="imapd -C {root}/imapd.conf" listen="127.0.0.1:{port_plain}" prefork=1 proto=tcp4
  imaps cmd="imapd -s -C {root}/imapd.conf" listen="127.0.0.1:{port_tls}" prefork=1 proto=tcp4
  alt cmd="imapd -C {root}/alt.conf" listen="127.0.0.1:{port_alt_plain}" prefork=1 proto=tcp4
  alts cmd="imapd -s -C {root}/alt.conf" listen="127.0.0.1:{port_alt}" prefork=1 proto=tcp4
  pop3 cmd="pop3d -C {root}/imapd.conf" listen="127.0.0.1:{port_pop3}" prefork=1 proto=tcp4
  pop3s cmd="pop3d -s -C {root}/imapd.conf" listen="127.0.0.1:{port_pop3_tls}" prefork=1 proto=tcp4
}}
DAEMON {{
  idled cmd="idled -C {root}/imapd.conf"
}}
"""

CONFIG = """\
configdirectory: {root}/lib
proc_path: {root}/lib/proc
mboxname_lockpath: {root}/lib/lock
defaultpartition: default
partition-default: {root}/spool
servername: localhost
admins: cyrus
autocreate_quota: 0
autocreate_users: anyone
allowplaintext: yes
popminpoll: 0
poptimeout: 10
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: {root}/mux
sasl_mech_list: PLAIN LOGIN
tls_server_cert: {cert}
tls_server_key: {key}
idlesocket: {root}/lib/socket/idle
notifysocket: {root}/lib/socket/notify
lmtpsocket: {root}/lib/socket/lmtp
syslog_prefix: cyrus
skiplist_unsafe: yes
conversations: no
sieveusehomedir: no
sievedir: {root}/sieve
altnamespace: {alternative}
unixhierarchysep: {alternative}
"""

COMMAND = """\
ulimit -c 0
exec /usr/lib/cyrus/bin/master -C {root}/imapd.conf -M {root}/cyrus.conf -p {root}/master.pid
"""


def why_not():
    return jail.why_not(PACKAGES)


class Cyrus(jail.Jailed):
    """A context manager."""

    name = "Cyrus IMAP"

    def __init__(self):
        self.jail = jail.Jail(PACKAGES)
        self.root = self.jail.root
        self.authority = pki.Authority(os.path.join(self.root, "pki"))
        self.cert, self.key = self.authority.issue("server")
        (self.port_plain, self.port_tls, self.port_alt_plain, self.port_alt, self.port_pop3, self.port_pop3_tls) = (free_port() for _ in range(6))
        for folder in ("lib/proc", "lib/lock", "lib/socket", "lib/db", "lib/log", "lib/msg", "spool", "sieve"):
            os.makedirs(os.path.join(self.root, folder))
        self.jail.add_to("/etc/passwd", ["cyrus:x:%d:8:Cyrus:/var/spool/cyrus:/bin/sh" % USER_ID])
        for name, text, alternative in (("cyrus.conf", MASTER, ""), ("imapd.conf", CONFIG, "no"), ("alt.conf", CONFIG, "yes")):
            with open(os.path.join(self.root, name), "w", encoding="ascii") as out:
                out.write(text.format(alternative=alternative, **vars(self)))
        self.jail.write("/etc/imapd.conf", CONFIG.format(alternative="no", **vars(self)))
        subprocess.run(["chown", "-R", "%d:8" % USER_ID, *(os.path.join(self.root, folder) for folder in ("lib", "spool", "sieve", "pki"))], check=True)
        self._mux = socket.socket(socket.AF_UNIX)
        self._mux.bind(os.path.join(self.root, "mux"))
        os.chmod(os.path.join(self.root, "mux"), 0o666)
        self._mux.listen(50)
        threading.Thread(target=self._check_passwords, daemon=True).start()

    @property
    def ca(self):
        return self.authority.ca

    @staticmethod
    def version():
        return jail.version_of(PACKAGES, "cyrus-imapd")

    def _check_passwords(self):
        """What saslauthd does: four counted strings come, user, password, service, realm, and one goes."""
        while True:
            try:
                sock = self._mux.accept()[0]
            except OSError:
                return
            with sock, sock.makefile("rb") as file:
                words = [file.read(struct.unpack(">H", file.read(2))[0]) for _ in range(4)]
                answer = b"OK" if words[1] == PASSWORD.encode() else b"NO"
                sock.sendall(struct.pack(">H", len(answer)) + answer)

    def start(self):
        self.jail.start(["/bin/sh", "-c", COMMAND.format(**vars(self))], [self.port_plain, self.port_alt_plain, self.port_pop3])

    def close(self):
        self._mux.shutdown(socket.SHUT_RDWR)
        self._mux.close()
