# SPDX-License-Identifier: MIT
"""mailfsctl on a real mount: what it shows, hears, keeps and clears, and what it says when there is no mount or it is not its user's."""

import errno
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

import harness
from harness import SLOW, eventually, unmount
from proxy import Proxy

CTL = os.path.join(os.path.dirname(harness.EXE), "mailfsctl")
NOBODY = 65534
LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [a-z-]+( .*)?$")


def mail(subject, kilobytes=0):
    body = b"".join(b"%063d\r\n" % n for n in range(kilobytes * 16))
    return b"From: Bob <b@example.org>\r\nSubject: %s\r\nMessage-ID: <%s@example.org>\r\n\r\nbody\r\n" % (subject, subject) + body


def run(home, *args, code=0, **more):
    """Runs it to its end: (stdout, stderr), text."""
    done = subprocess.run([CTL, *args], env=home.env(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50 * SLOW,
                          check=False, **more)
    assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
    assert "\x1b" not in done.stdout + done.stderr
    return done.stdout, done.stderr


def status(mount, *where):
    return json.loads(run(mount.home, "status", "--json", mount.sub(*where))[0])


def folder(mount, path):
    return next(entry for entry in status(mount)["folders"] if entry["path"] == path)


class Watch:
    """mailfsctl watch, whose lines are collected."""

    def __init__(self, mount, *args, where=()):
        self.process = subprocess.Popen([CTL, "watch", mount.sub(*where), *args], env=mount.home.env(), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait(self):
        """Until it has ended: (exit code, what it said to stderr)."""
        code = self.process.wait(15 * SLOW)
        self.reader.join()
        with self.process.stderr as err:
            return code, err.read()

    def has(self, *parts):
        return lambda: any(all(part in line for part in parts) for line in list(self.lines))

    def __enter__(self):
        time.sleep(0.3 * SLOW)  # until it watches
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        if not self.process.stderr.closed:
            self.process.stderr.close()


@pytest.fixture
def filled(account):
    account.deliver("INBOX", [mail(b"one"), mail(b"two", 20), mail(b"three")])
    account.deliver("Archive", [mail(b"old-%d" % n, 40) for n in range(6)])
    account.deliver("Archive/2025", [mail(b"older")])
    return account


def test_status(filled):
    with filled.mount() as mount:
        before = status(mount)
        assert before["connection"]["state"] == "online" and before["connection"]["trouble"] is None
        assert before["connection"]["push"] in ("notify", "idle", "poll")
        assert before["protocol"] == "imap" and before["mountpoint"] == mount.path and before["pid"] == mount.pid
        assert "IMAP4rev1" in before["server"]["capabilities"]
        assert before["store"]["limit_bytes"] == 10 << 30 and not before["store"]["full"]
        assert before["traffic"]["bytes_in"] > 0 and before["traffic"]["bytes_out"] > 0
        assert {entry["path"] for entry in before["folders"]} >= {"INBOX", "Archive"}
        path = mount.by_uid("INBOX")[2]
        mount.read(path)
        eventually(lambda: folder(mount, "INBOX")["cached"] == 1)
        after = folder(mount, "INBOX")
        assert after["messages"] == 3 and after["unseen"] == 3 and after["known"] and after["complete"]
        assert after["cached_bytes"] >= os.stat(path).st_size
        assert after["checked"] is not None or after["watched"]
        assert after["pinned"] == 0 and not after["folder_pinned"]
        # A path limits what is shown.
        assert [entry["path"] for entry in status(mount, "INBOX")["folders"]] == ["INBOX"]
        shown = status(mount, "INBOX", os.path.basename(path))
        assert shown["message"]["uid"] == 2 and not shown["message"]["pinned"]
        assert status(mount, "INBOX", ".parts")["folders"][0]["path"] == "INBOX"
        text, err = run(mount.home, "status", mount.path)
        assert err == "" and "connection     online since " in text
        assert re.search(r"^ +3 +3 .* INBOX$", text, re.M)
        assert filled.name + "@" in text.splitlines()[0]
        assert "Archive" in run(mount.home, "status", "-v", mount.path)[0]


def test_status_offline(filled):
    with Proxy(filled.server.port_tls) as proxy, filled.mount(port=proxy.port) as mount:
        mount.names("INBOX")
        proxy.close()
        eventually(lambda: status(mount)["connection"]["state"] == "offline", 20)
        shown = status(mount)["connection"]
        assert shown["trouble"] and shown["since"]
        text = run(mount.home, "status", mount.path)[0]
        assert "offline since" in text and shown["trouble"] in text
        # Nothing of it waits for the network.
        begin = time.monotonic()
        run(mount.home, "status", mount.path)
        assert time.monotonic() - begin < 2 * SLOW


def test_watch(filled):
    """Another client's doings, as lines and as JSON; a pipe gets each at once."""
    client = filled.login()
    with filled.mount("refresh=1") as mount, Watch(mount) as text, Watch(mount, "--json") as objects:
        names = mount.names("INBOX")
        client.append("INBOX", None, None, mail(b"late"))
        eventually(text.has(" new INBOX/", "late"), 20)
        client.select("INBOX")
        client.uid("STORE", "1", "+FLAGS", "(\\Flagged)")
        eventually(text.has(" flags INBOX/" + names[0] + "\t", "\\Flagged"), 20)
        client.uid("STORE", "2", "+FLAGS", "(\\Deleted)")
        client.expunge()
        gone = next(name for name in names if name.endswith(".2.eml"))
        eventually(text.has(" gone INBOX/" + gone), 20)
        eventually(objects.has('"gone"'), 20)
        assert all(LINE.match(line) for line in text.lines), text.lines
        events = [json.loads(line) for line in objects.lines]
        new = next(event for event in events if event["event"] == "new")
        assert new["uid"] == 4 and new["folder"] == "INBOX" and os.path.exists(mount.sub(new["path"]))
        assert next(event for event in events if event["event"] == "gone")["uid"] == 2


def until_told(mount, watch, line, work, *args):
    """
    Dovecot's Maildir sometimes comes back when it is renamed or deleted while another session looks at it: then once more. And its NOTIFY
    sometimes misses it: a look at the folders does not.
    """
    def done():
        work(*args)
        time.sleep(0.5)
        mount.names()
        return watch.has(line)()

    eventually(done, 25)


def test_watch_folders(filled):
    client = filled.login()
    with filled.mount("refresh=1") as mount, Watch(mount) as watch:
        mount.names()
        client.create("Fresh")
        eventually(watch.has(" folder-new Fresh"), 20)
        client.append("Fresh", None, None, mail(b"known"))
        mount.names("Fresh")  # of a folder that nobody has looked into, nothing proves that it was renamed
        until_told(mount, watch, " folder-renamed Fresh → Stale", client.rename, "Fresh", "Stale")
        until_told(mount, watch, " folder-gone Stale", client.delete, "Stale")


def test_watch_of_a_folder(filled):
    """Only what is in it, and the connection."""
    client = filled.login()
    with filled.mount("refresh=1") as mount, Watch(mount, where=("Archive",)) as watch, Watch(mount) as all_of_it:
        mount.names("INBOX")
        mount.names("Archive")
        client.append("INBOX", None, None, mail(b"elsewhere"))
        eventually(lambda: mount.names("INBOX") and all_of_it.has("elsewhere")(), 20)
        client.append("Archive", None, None, mail(b"here"))
        eventually(lambda: mount.names("Archive") and watch.has("here")(), 20)
        assert not watch.has("elsewhere")()


def test_watch_connection(filled):
    with Proxy(filled.server.port_tls) as proxy, filled.mount(port=proxy.port) as mount, Watch(mount) as watch:
        mount.names("INBOX")
        proxy.close()
        eventually(watch.has(" offline"), 20)
        assert watch.has(" connecting")()


def test_watch_ends_with_its_reader(filled):
    """`mailfsctl watch | head -1' does not wait for the next event to see that nobody reads on."""
    with filled.mount() as mount:
        mount.names("INBOX")
        watch = subprocess.Popen([CTL, "watch", mount.path], env=mount.home.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.3 * SLOW)
        watch.stdout.close()
        assert watch.wait(5 * SLOW) == 0
        assert watch.stderr.read() == b""
        watch.stderr.close()
        with Watch(mount) as interrupted:
            interrupted.process.send_signal(signal.SIGINT)
            assert interrupted.wait() == (-signal.SIGINT, "")


def test_watch_ends_with_the_mount(filled):
    with filled.mount() as mount:
        with Watch(mount) as watch:
            unmount(mount.path)
            code, err = watch.wait()
            assert code == 0 and err == "mailfsctl: %s: the mount has ended\n" % mount.path
        mount.wait()


def test_mailfs_is_killed(filled):
    mount = filled.mount()
    with Watch(mount) as watch:
        mount.process.kill()
        code, err = watch.wait()
        assert code == 0 and "has ended" in err
    # What is left is a mount that nobody serves.
    assert "is gone; fusermount3 -u" in run(mount.home, "status", mount.path, code=3)[1]
    mount.kill()
    # What the dead one left does not disturb the next.
    with filled.mount() as mount:
        assert status(mount)["pid"] == mount.pid


def test_pin(filled):
    """A folder, a message, all of it; what is pinned outlives a clearing of the cache, and what is not does not."""
    with filled.mount() as mount:
        out, err = run(mount.home, "pin", mount.sub("Archive"))
        assert re.match(r"^7 messages are here$", out.strip()) and err == ""
        archive = folder(mount, "Archive")
        assert archive["folder_pinned"] and archive["pinned_missing"] == 0 and archive["cached"] == 6
        path = mount.by_uid("INBOX")[2]
        out, err = run(mount.home, "pin", path)
        assert out == "1 message is here\n"
        assert folder(mount, "INBOX")["pinned"] == 1 and not folder(mount, "INBOX")["folder_pinned"]
        assert status(mount, "INBOX", os.path.basename(path))["message"]["pinned"]
        mount.read(mount.by_uid("INBOX")[1])
        fetched = len(filled.commands("BODY.PEEK[]"))
        out, _ = run(mount.home, "cache", "clear", mount.path)
        assert re.match(r"^[\d.]+ (bytes|KiB|MiB) freed$", out.strip())
        for paths in mount.by_uid("Archive").values():
            mount.read(paths)
        mount.read(path)
        assert len(filled.commands("BODY.PEEK[]")) == fetched
        # Unpinned, they are cache as all else.
        run(mount.home, "unpin", mount.sub("Archive"), path)
        assert folder(mount, "INBOX")["pinned"] == 0 and not folder(mount, "Archive")["folder_pinned"]
        run(mount.home, "cache", "clear", mount.path)
        assert folder(mount, "Archive")["cached"] == 0
        # All folders, without waiting.
        begin = time.monotonic()
        assert run(mount.home, "pin", "--no-wait", mount.path) == ("", "")
        assert time.monotonic() - begin < 5 * SLOW
        eventually(lambda: all(entry["pinned_missing"] == 0 and entry["complete"] for entry in status(mount)["folders"]), 20)
        assert status(mount)["pinning"]["done"]


def test_pins_stay(filled):
    """New mail of a pinned folder comes by itself; in the next mount, without the server, it is there."""
    with Proxy(filled.server.port_tls) as proxy:
        with filled.mount("refresh=1", port=proxy.port) as mount:
            run(mount.home, "pin", mount.sub("INBOX"))
            client = filled.login()
            client.append("INBOX", None, None, mail(b"late", 10))
            eventually(lambda: len(mount.names("INBOX")) == 4, 20)
            eventually(lambda: folder(mount, "INBOX")["cached"] == 4, 20)
            bodies = {uid: mount.read(path) for uid, path in mount.by_uid("INBOX").items()}
        proxy.close()
        with filled.mount("refresh=1", port=proxy.port) as mount:
            assert status(mount)["connection"]["state"] == "offline"
            assert {uid: mount.read(path) for uid, path in mount.by_uid("INBOX").items()} == bodies
            assert folder(mount, "INBOX")["folder_pinned"]


def test_stays_pinned_with_its_folder(filled):
    with filled.mount() as mount:
        run(mount.home, "pin", mount.sub("INBOX"))
        out, err = run(mount.home, "unpin", mount.by_uid("INBOX")[1])
        assert out == "" and "stays pinned" in err


def test_pin_goes_on_after_an_interrupt(filled):
    with Proxy(filled.server.port_tls) as proxy, filled.mount(port=proxy.port) as mount:
        mount.names("Archive")
        proxy.hold()
        pin = subprocess.Popen([CTL, "pin", mount.sub("Archive")], env=mount.home.env(), stderr=subprocess.PIPE, text=True)
        eventually(lambda: folder(mount, "Archive")["folder_pinned"])
        time.sleep(0.5 * SLOW)
        pin.send_signal(signal.SIGINT)
        assert pin.wait(5 * SLOW) == -signal.SIGINT
        assert "the download goes on" in pin.stderr.read()
        pin.stderr.close()
        proxy.release()
        eventually(lambda: folder(mount, "Archive")["pinned_missing"] == 0, 30)


def test_pin_without_a_server(filled):
    with Proxy(filled.server.port_tls) as proxy, filled.mount(port=proxy.port) as mount:
        mount.names("Archive")
        proxy.close()
        eventually(lambda: status(mount)["connection"]["state"] == "offline", 20)
        out, err = run(mount.home, "pin", mount.sub("Archive"), code=1)
        assert out == "" and "without a connection nothing is downloaded" in err
        assert folder(mount, "Archive")["folder_pinned"]


def test_offline_option(filled):
    with filled.mount("offline=Archive", "offline=Nowhere") as mount:
        eventually(lambda: folder(mount, "Archive")["cached"] == 6, 20)
        assert folder(mount, "Archive")["folder_pinned"] and not folder(mount, "INBOX")["folder_pinned"]
        assert "offline=Nowhere: there is no such folder" in mount.log()
        out, err = run(mount.home, "unpin", mount.sub("Archive"))
        assert out == "" and "offline=" in err


def test_cache_size(filled):
    with filled.mount("cache_size=0") as mount:
        path = mount.by_uid("INBOX")[2]
        assert mount.read(path) == mount.read(path)
        assert folder(mount, "INBOX")["cached"] == 0
        assert status(mount)["store"]["limit_bytes"] == 0


def test_refresh(filled):
    with filled.mount("refresh=86400") as mount:
        mount.names("INBOX")
        assert run(mount.home, "refresh", mount.path) == ("", "")
        client = filled.login()
        client.append("INBOX", None, None, mail(b"late"))
        run(mount.home, "refresh", mount.sub("INBOX"))
        eventually(lambda: any("late" in name for name in mount.names("INBOX")))


def test_not_a_mount(filled):
    home = filled.home
    _, err = run(home, "status", home.path, code=3)
    assert err.count("\n") == 1 and "does not lie in a mounted mailbox" in err
    run(home, "status", "/proc/self", code=3)
    _, err = run(home, "watch", os.path.join(home.path, "nothing"), code=1)
    assert "No such file" in err
    run(home, "frobnicate", home.path, code=2)
    run(home, code=2)
    assert "usage: mailfsctl" in run(home, "--help")[0]
    assert run(home, "--version")[0].startswith("mailfsctl ")
    with filled.mount() as mount:
        _, err = run(home, "pin", mount.sub("INBOX", "nothing.eml"), mount.sub("INBOX"), code=1)
        assert "nothing.eml: No such file" in err
        # The others are done all the same.
        assert folder(mount, "INBOX")["folder_pinned"]
        assert "hidden view" in run(home, "pin", mount.sub("INBOX", ".parts"), code=1)[1]


def test_maildrop(drop):
    drop.account.deliver("INBOX", [mail(b"one")])
    with drop.mount() as mount:
        shown = status(mount)
        assert shown["protocol"] == "pop3" and [entry["path"] for entry in shown["folders"]] == [""]
        assert "downloaded for good" in run(mount.home, "pin", mount.path, code=1)[1]
        assert "no cache" in run(mount.home, "cache", "clear", mount.path, code=1)[1]


def become_nobody():
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_another_user(filled):
    """With allow_other the mount can be read by others; it is still not theirs to ask or to direct."""
    os.chmod(filled.home.path, 0o755)
    with filled.mount() as mount:
        _, err = run(mount.home, "status", mount.path, code=1, preexec_fn=become_nobody)
        assert os.strerror(errno.EACCES) in err
    with filled.mount("allow_other", "umask=022") as mount:
        for command in (["status"], ["watch"], ["pin"], ["cache", "clear"]):
            _, err = run(mount.home, *command, mount.path, code=1, preexec_fn=become_nobody)
            assert "only the user who mounted it" in err
        assert not any(entry["folder_pinned"] for entry in status(mount)["folders"])


def test_attribute_is_not_listed(filled):
    with filled.mount() as mount:
        assert os.getxattr(mount.path, "user.mailfs.control").startswith(b"/")
        assert "user.mailfs.control" not in os.listxattr(mount.path)
        with pytest.raises(OSError) as error:
            os.getxattr(mount.sub("INBOX"), "user.mailfs.control")
        assert error.value.errno == errno.ENODATA
