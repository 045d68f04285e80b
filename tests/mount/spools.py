# SPDX-License-Identifier: MIT
"""
The two small POP3 servers that Debian has besides the large ones, popa3d and Solid POP3, each in a jail: without TLS, started for each connection by an
inetd of ours, for users of the system (that of the jail), whose mail lies in an mbox. (Solid can serve a Maildir, too, but calls each message in it damaged. It also
announces APOP to those who have no secret for that; then mailfs, which does not follow up with the password itself on a line that others may read, gets in
nowhere. So APOP is off.)
"""

import os
import socket
import subprocess

import jail
import maildir
from dovecot import free_port

PASSWORD = "spool-secret"
USERS = 40  # user0 and so on: they must be there before the server starts
FIRST_ID = 7200
INETD = r"""
import os, signal, socket, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
door = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=50)
while True:
    sock = door.accept()[0]
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (0, 1):
            os.dup2(sock.fileno(), fd)
        os.execv(sys.argv[2], sys.argv[2:])
    sock.close()
"""
SOLID = """\
<Global>
  MailDropName "{mail}/%s"
  AutoLogoutTime 60
  AllowAPOP no
</Global>
"""


class Spool(jail.Jailed):
    """A context manager. packages: "popa3d" or "solid"."""

    def __init__(self, packages):
        self.packages = packages
        self.package = {"popa3d": "popa3d", "solid": "solid-pop3d"}[packages]
        self.jail = jail.Jail(packages)
        self.root, self.port_pop3 = self.jail.root, free_port()
        self.mail = os.path.join(self.root, "mail")
        os.mkdir(self.mail)
        os.chmod(self.mail, 0o1777)
        self._free = iter(range(USERS))
        secret = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, check=True, text=True).stdout.strip()
        servers = ["%s:x:%d:65534::/var/empty:/bin/sh" % (name, FIRST_ID - 1) for name in ("popa3d", "spop3d")]
        self.jail.add_to("/etc/passwd", servers + ["user%d:x:%d:8::/nonexistent:/bin/sh" % (n, FIRST_ID + n) for n in range(USERS)])
        self.jail.add_to("/etc/shadow", ["user%d:%s:20000:0:99999:7:::" % (n, secret) for n in range(USERS)], 0o600)
        self.jail.write("/etc/spop3d.conf", SOLID.format(mail=self.mail))

    def version(self):
        return jail.version_of(self.packages, self.package)

    def add_user(self, datas):
        """The name to log in with."""
        number = next(self._free)
        user, path = "user%d" % number, os.path.join(self.mail, "user%d" % number)
        with open(path, "wb"):
            os.chown(path, FIRST_ID + number, 8)
        for data in datas:
            self.deliver(user, data)
        return user

    def deliver(self, user, data):
        maildir.add_to_mbox(os.path.join(self.mail, user), data)

    def start(self):
        script = "mkdir -p /var/empty /var/mail && rm -rf /var/mail && ln -s %s /var/mail && exec /usr/bin/python3 \"$@\"" % self.mail
        self.jail.start(["/bin/sh", "-c", script, "sh", "-c", INETD, str(self.port_pop3), "/usr/sbin/" + self.package], [self.port_pop3])
