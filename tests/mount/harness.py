# SPDX-License-Identifier: MIT
"""Runs mailfs: as a command that is expected to fail, or as a mount that is looked into and ended."""

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from dovecot import PASSWORD, SCRATCH, die_with_parent

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXE = os.environ.get("MAILFS", os.path.join(TOP, "build", "src", "cli", "mailfs"))
# A sanitizer makes everything slower; tests/mount/meson.build says by how much.
SLOW = float(os.environ.get("MAILFS_TEST_SLOW", "1"))
# It takes memory of its own. (What runs again is given more time, too, and leaves nothing out for that.)
SANITIZED = "MAILFS_TEST_SANITIZED" in os.environ

# Processes that are running now. The watchdog of a test kills them when its time is over: that ends every system call on their mounts.
running = set()


def is_mounted(path):
    """Without touching the mount, which may hang."""
    wanted = path.replace("\\", "\\134").replace(" ", "\\040")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        return any(line.split(" ")[4] == wanted for line in mounts)


def unmount(path):
    """
    As a user does it. For a moment it may be busy: while mailfs makes a new name known through the mount, and while another thread of the
    tests is between fork and exec.
    """
    for _ in range(40):
        if subprocess.run(["fusermount3", "-u", path], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return
        time.sleep(0.05 * SLOW)
    subprocess.run(["fusermount3", "-u", path], check=True)


def unmount_lazily(path):
    command = ["umount", "-l", path] if os.getuid() == 0 else ["fusermount3", "-uz", path]
    while is_mounted(path) and subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0:
        pass


def escape(value):
    """A value of -o: libfuse's rule for commas."""
    return str(value).replace("\\", "\\\\").replace(",", "\\,")


class Home:
    """A home directory of one's own, with mount points and a password file in it."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="mailfs-home-", dir=os.environ.get("TMPDIR", SCRATCH))
        self.password_file = self.write("password", PASSWORD + "\n", 0o600)
        self.mountpoints = []

    def write(self, name, text, mode=0o600):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, mode)
        return path

    def mountpoint(self, name="mail"):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        self.mountpoints.append(path)
        return path

    def cache(self):
        return os.path.join(self.path, ".cache", "mailfs")

    def wipe_cache(self):
        shutil.rmtree(self.cache(), ignore_errors=True)

    def state(self):
        """Where what was downloaded for good lies."""
        return os.path.join(self.path, ".local", "state", "mailfs")

    def wipe_state(self):
        shutil.rmtree(self.state(), ignore_errors=True)

    def env(self, **more):
        env = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        return {**env, "HOME": self.path, "LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": path, **more}

    def command(self, source, mountpoint, options=(), args=()):
        line = [EXE, source, mountpoint, *args]
        for option in options:
            line += ["-o", option]
        return line

    def run(self, source, mountpoint, options=(), args=(), timeout=60, **more):
        """Runs the command until it returns: with an error, or when the mount is in the background."""
        with tempfile.TemporaryFile("w+") as err:  # not a pipe: a process in the background would keep it open
            done = subprocess.run(self.command(source, mountpoint, options, args), env=self.env(**more), stdout=subprocess.DEVNULL,
                                  stdin=subprocess.DEVNULL, stderr=err, timeout=timeout * SLOW, check=False, start_new_session=True)
            err.seek(0)
            return done.returncode, err.read()

    def remove(self):
        for path in self.mountpoints:
            unmount_lazily(path)
        shutil.rmtree(self.path, ignore_errors=True)


class NoMount(RuntimeError):
    """mailfs has ended instead. code: its exit code, or less than 0: a signal, also where it took too long."""

    def __init__(self, code, log):
        super().__init__("no mount: " + log)
        self.code = code


class Mount:
    """mailfs in the foreground (-f) on a mount point; path is where it is."""

    def __init__(self, home, source, options=(), name="mail", env=None, wrapper=(), patience_s=30):
        self.home, self.path, self.patience_s = home, home.mountpoint(name), patience_s
        self.log_path = os.path.join(home.path, "%s-%d.log" % (name, len(os.listdir(home.path))))
        command = list(wrapper) + home.command(source, self.path, options, ["-f"])
        self.process = self._start(command, home.env(**(env or {})))
        running.add(self.process)
        self._wait_mounted()

    def _start(self, command, env):
        with open(self.log_path, "wb") as log:
            return subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as text:
            return text.read()

    def _wait_mounted(self):
        end = time.monotonic() + self.patience_s * SLOW
        while not is_mounted(self.path):
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise NoMount(self.process.returncode, self.log())
            time.sleep(0.01)

    def sub(self, *names):
        return os.path.join(self.path, *names)

    def names(self, *folder):
        return sorted(os.listdir(self.sub(*folder)))

    def by_uid(self, *folder):
        """{uid: path} of the messages of a folder."""
        return {int(name.split(".")[-2]): self.sub(*folder, name) for name in self.names(*folder) if name.endswith(".eml")}

    def read(self, *names):
        with open(self.sub(*names), "rb") as file:
            return file.read()

    def stop(self):
        """Unmounts as a user does; mailfs must end by itself, without complaint."""
        if self.process.poll() is None:
            unmount(self.path)
        self.wait()

    def wait(self, seconds=15):
        try:
            code = self.process.wait(seconds * SLOW)
        finally:
            running.discard(self.process)
        assert code == 0, "exit code %s: %s" % (code, self.log())
        assert not is_mounted(self.path)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        running.discard(self.process)
        unmount_lazily(self.path)

    def peak_rss_kib(self):
        return self._status("VmHWM")

    def rss_kib(self):
        return self._status("VmRSS")

    def _status(self, name):
        with open("/proc/%d/status" % self.pid, encoding="ascii") as status:
            return int(next(line for line in status if line.startswith(name)).split()[1])

    def __enter__(self):
        return self

    def __exit__(self, kind, *exc):
        if kind:
            self.kill()
        else:
            self.stop()


def kill_running():
    for process in list(running):
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def some(cases, every):
    """One in so many, other ones each day; all with MAILFS_TEST_CUTS=all. For cases that take more time than a run of all tests has."""
    if os.environ.get("MAILFS_TEST_CUTS"):
        return cases
    return cases[int(time.time()) // 86400 % every::every]


class Lag:
    """How much later than they should things happen on this machine, because it is busy: a deadline is no sooner."""

    def __init__(self):
        self.total, self.ended = 0.0, False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while not self.ended:
            before = time.monotonic()
            time.sleep(0.01)
            self.total += max(0.0, time.monotonic() - before - 0.015)


def kept_waiting(pid):
    """How long the process's thread that waited longest was ready to run, and had no processor: seconds; 0: it has ended."""
    longest = 0
    for path in glob.glob("/proc/%d/task/*/schedstat" % pid):
        try:
            with open(path, encoding="ascii") as line:
                longest = max(longest, int(line.read().split()[1]))
        except (OSError, IndexError):
            pass  # it has ended
    return longest / 1e9


def eventually(check, seconds=10):
    """Repeats check() until it is true; for what has no event to wait for."""
    end = time.monotonic() + seconds * SLOW
    while not check():
        assert time.monotonic() < end, "still not so after %s s" % (seconds * SLOW)
        time.sleep(0.05)
