# SPDX-License-Identifier: MIT
"""
Runs a server that is not installed: its packages, which contrib/servers has unpacked, lie over the system in a mount namespace of their own, with users,
configuration, /run and /tmp that nobody else sees. Its processes have a PID namespace of their own, and so end together.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from dovecot import SCRATCH, die_with_parent

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FETCHED = os.environ.get("MAILFS_SERVERS", os.path.join(TOP, "build-check", "servers"))

# $1: where the packages are ("": nothing but the system), $2: the folder of the server, which is the same inside; then what is to run inside. The packages
# are copied, because an overlay takes no lower layer that lies in another one. /dev is made anew. All other mounts
# are left behind: a mount of mailfs that stayed here would not end when it is unmounted outside; until then that unmount gets here, too (slave).
ENTER = r"""
set -e
packages=$1 root=$2
shift 2
mount -t tmpfs -o mode=755 tmpfs "$root/jail"
cd "$root/jail"
mkdir upper work top
[ -z "$packages" ] || cp -a "$packages/." upper/
cp -a "$root/files/." upper/
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work overlay top
mount -t proc proc top/proc
mount -t tmpfs -o mode=755 tmpfs top/run
mount -t tmpfs -o mode=1777 tmpfs top/tmp
mount -t tmpfs -o mode=755 tmpfs top/dev
mknod -m 666 top/dev/null c 1 3
mknod -m 666 top/dev/zero c 1 5
mknod -m 666 top/dev/random c 1 8
mknod -m 666 top/dev/urandom c 1 9
ln -s "$root/syslog" top/dev/log
mkdir -p "top$root"
mount --bind "$root" "top$root"
mkdir -p top/old
cd top
pivot_root . old
cd /
umount -l /old
exec "$@"
"""
COMMAND = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "slave", "/bin/sh", "-c", ENTER, "jail"]
_refusal = None


def _probe():
    """Whether this system lets us do it: "", or what it says."""
    if os.getuid():
        return "a server that is not installed needs root"
    root = tempfile.mkdtemp(prefix="mailfs-jail-", dir=SCRATCH)
    try:
        for name in ("jail", "files"):
            os.mkdir(os.path.join(root, name))
        done = subprocess.run([*COMMAND, "", root, "/bin/true"], capture_output=True, text=True, timeout=30, check=False)
        return "" if done.returncode == 0 else "no overlay in a namespace of its own: " + (done.stderr.strip().splitlines() or ["?"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def why_not(packages):
    """
    Why that server can not run here, for a test that is skipped: contrib/servers was never run, or says why it can not be had, or this system does. "":
    it can. Where contrib/servers has run, and has left neither it nor a reason, the test fails.
    """
    global _refusal  # pylint: disable=global-statement
    folder = os.path.join(FETCHED, packages)
    if os.path.exists(os.path.join(folder, "why-not")):
        with open(os.path.join(folder, "why-not"), encoding="utf-8") as text:
            return text.read().strip()
    if not os.path.isdir(FETCHED) and "MAILFS_SERVERS" not in os.environ:
        return "contrib/servers was not run"
    assert os.path.exists(os.path.join(folder, "complete")), "contrib/servers has left neither %s nor a reason in %s" % (packages, FETCHED)
    if _refusal is None:
        _refusal = _probe()
    return _refusal


def version_of(packages, package):
    with open(os.path.join(FETCHED, packages, "complete"), encoding="ascii") as lines:
        return next((line.strip().partition("=")[2] for line in lines if line.startswith(package + "=")), "installed")


class Jail:
    """root: its folder, kept over restarts. write() files before start()."""

    def __init__(self, packages):
        self.packages = os.path.join(FETCHED, packages, "root")
        self.root = tempfile.mkdtemp(prefix="mailfs-%s-" % packages, dir=SCRATCH)
        os.chmod(self.root, 0o755)
        for name in ("jail", "files"):
            os.mkdir(os.path.join(self.root, name))
        self._process = None
        self._syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._syslog.bind(os.path.join(self.root, "syslog"))
        os.chmod(os.path.join(self.root, "syslog"), 0o666)
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self):
        with open(os.path.join(self.root, "log"), "ab", buffering=0) as out:
            while line := self._syslog.recv(65536):
                out.write(line.rstrip(b"\0\n") + b"\n")

    def log(self):
        with open(os.path.join(self.root, "log"), encoding="utf-8", errors="replace") as text:
            return text.read()

    def write(self, path, text, mode=0o644):
        """A file as the server shall see it, at an absolute path."""
        place = os.path.join(self.root, "files", path.lstrip("/"))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(place, mode)

    def add_to(self, path, lines, mode=0o644):
        """More lines in a file that the system has."""
        with open(path, encoding="utf-8") as text:
            before = text.read()
        self.write(path, before + "".join(line + "\n" for line in lines), mode)

    def start(self, command, ports):
        """Runs it until stop(), and waits until it answers at each port."""
        with open(os.path.join(self.root, "log"), "ab") as log:
            self._process = subprocess.Popen([*COMMAND, self.packages, self.root, *command], preexec_fn=die_with_parent,
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        for port in ports:
            self._wait_for(port)

    def _wait_for(self, port):
        end = time.monotonic() + 30
        while time.monotonic() < end and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", port), 20) as sock:
                    if sock.recv(3) in (b"+OK", b"* O"):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError("no answer at port %d: %s" % (port, self.log()[-2000:]))

    def pids(self):
        """Of the server's processes, as this side sees them; the first is that of the namespace."""
        found, queue = [], [self._process.pid]
        while queue:
            pid = queue.pop()
            try:
                with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as pids:
                    children = [int(child) for child in pids.read().split()]
            except OSError:
                continue
            found += children
            queue += children
        return found

    def stop(self):
        """At once, with all that it has started."""
        if self._process:
            for pid in self.pids()[:1] + [self._process.pid]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self._process.wait()
            self._process = None

    def remove(self):
        self.stop()
        self._syslog.shutdown(socket.SHUT_RDWR)
        shutil.rmtree(self.root, ignore_errors=True)


class Jailed:
    """A server in a jail of its own, self.jail, in which start() starts it."""

    def stop(self):
        self.jail.stop()

    def restart(self):
        self.stop()
        self.start()

    def close(self):
        """What it has besides."""

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        self.close()
        self.jail.remove()
