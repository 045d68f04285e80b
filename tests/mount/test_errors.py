# SPDX-License-Identifier: MIT
"""What can not be mounted: each reason gives its exit code and one clear line, and leaves nothing behind."""

import os
import shutil
import subprocess

import pytest

import harness
from dovecot import HOST, free_port
from fake.imap import Box, Server
from harness import EXE, escape, is_mounted
from pki import Authority
from proxy import Proxy

USAGE, MOUNT, NETWORK, TLS, LOGIN, FOLDER = 1, 2, 3, 4, 5, 6


def one_line(result, code, *words):
    """The command failed with that code, and said all the words in its only line."""
    got, text = result
    assert got == code, text
    lines = text.splitlines()
    assert len(lines) == 1 and lines[0].startswith("mailfs: "), text
    for word in words:
        assert word in text, text
    return text


@pytest.fixture
def fails(account, home):
    """Runs the command with the account's options and expects it to fail."""

    def check(code, *words, url=None, options=None, mountpoint=None, args=()):
        path = mountpoint or home.mountpoint()
        before = is_mounted(path)
        line = one_line(home.run(url or account.url(), path, account.options() if options is None else options, args), code, *words)
        assert is_mounted(path) == before
        return line

    return check


def test_host_unknown(fails):
    fails(NETWORK, "no-such-host.invalid", url="imaps://me@no-such-host.invalid/")


def test_connection_refused(fails, account):
    port = free_port()
    fails(NETWORK, HOST, str(port), "refused", url=account.url(port=port))


def test_chain_not_trusted(fails, account):
    fails(TLS, HOST, "tls_ca=", options=["password_file=" + account.home.password_file])


def test_other_authority(fails, account, home):
    other = Authority(os.path.join(home.path, "other-pki"))
    fails(TLS, HOST, "tls_ca=", options=["password_file=" + home.password_file, "tls_ca=" + other.ca])


def test_address_not_in_certificate(fails, account):
    with Proxy(account.server.port_tls, listen="127.0.0.2") as proxy:
        fails(TLS, "127.0.0.2", url=account.url(host="127.0.0.2", port=proxy.port))


def test_name_not_in_certificate(fails, account):
    pair = account.server.authority.issue("elsewhere", names=["DNS:mail.example.org"])
    with Server({"INBOX": Box([])}, tls=pair, implicit=True) as fake:
        fails(TLS, HOST, url=account.url(port=fake.port))
        assert fake.logins == []


def test_tls_ca_missing(fails, account, home):
    code, text = home.run(account.url(), home.mountpoint(), ["password_file=" + home.password_file, "tls_ca=/nonexistent.pem"])
    assert code in (USAGE, TLS) and "/nonexistent.pem" in text and len(text.splitlines()) == 1


def test_fingerprint_wrong(fails, account):
    fails(TLS, "fingerprint", options=account.options("tls_fingerprint=sha256:" + "00" * 32))


def test_fingerprint_malformed(fails, account):
    fails(USAGE, "tls_fingerprint", options=account.options("tls_fingerprint=sha256:abc"))


def test_login_refused(fails, account, home):
    wrong = home.write("wrong", "not the password\n")
    fails(LOGIN, "Authentication failed", options=["password_file=" + wrong, "tls_ca=" + escape(account.server.ca)])


def test_login_refused_with_the_servers_words(home):
    with Server({"INBOX": Box([])}) as fake:
        fake.refuse_login = "[UNAVAILABLE] The mail store moves house until noon."
        one_line(home.run("imap://me@127.0.0.1:%d/" % fake.port, home.mountpoint(),
                          ["tls=none", "password_file=" + home.password_file]), LOGIN, "moves house until noon")


def test_no_such_folder(fails, account):
    fails(FOLDER, "Nowhere/At all", url=account.url("Nowhere/At%20all"))


def test_mount_point_missing(fails, home):
    path = os.path.join(home.path, "not-there")
    fails(MOUNT, path, mountpoint=path)


def test_mount_point_is_a_file(fails, home):
    path = home.write("file", "")
    fails(MOUNT, path, mountpoint=path)


def test_mount_point_not_empty(fails, home):
    path = home.mountpoint("full")
    home.write("full/something", "")
    fails(MOUNT, path, "empty", mountpoint=path)


def test_mount_point_busy(fails, account, home):
    with account.mount() as mount:
        fails(MOUNT, mount.path, mountpoint=mount.path)
        assert os.listdir(mount.path)


def test_store_in_use(fails, account, home):
    with account.mount() as mount:
        fails(7, str(mount.pid), mountpoint=home.mountpoint("second"))


@pytest.mark.parametrize("option", ["no_such_option", "refresh=soon", "timeout=0", "connections=1000", "tls=maybe",
                                    "names=%f", "password=secret"])
def test_option_refused(fails, account, option):
    line = fails(USAGE, option.partition("=")[0], options=account.options(option))
    assert "secret" not in line


def test_option_unknown_to_the_command(home):
    code, text = home.run("imaps://localhost/", home.mountpoint(), args=["--no-such-option"])
    assert code == USAGE and "--no-such-option" in text


@pytest.mark.parametrize("source", ["ftp://localhost/", "imaps://", "imaps://host:99999/", "imaps://host:x/", "no-such-account"])
def test_source_refused(fails, source):
    fails(USAGE, url=source)


def test_arguments_missing(home):
    for args in ([], ["imaps://localhost/"]):
        done = subprocess.run([EXE, *args], capture_output=True, text=True, env=home.env(), check=False)
        assert done.returncode == USAGE and done.stderr


def test_password_file_readable_by_others(fails, account, home):
    for mode in (0o640, 0o604):
        loose = home.write("loose", "secret\n", mode)
        line = fails(LOGIN, loose, "chmod", options=["password_file=" + loose, "tls_ca=" + escape(account.server.ca)])
        assert "secret" not in line


def test_password_command_fails(fails, account):
    fails(LOGIN, "password_command", options=["password_command=exit 3", "tls_ca=" + escape(account.server.ca)])


def test_no_password_to_be_had(fails, account):
    fails(LOGIN, "password", options=["tls_ca=" + escape(account.server.ca)])


# A new namespace has copies of all mounts, and a copy keeps the mount of a test that runs beside this one from ending.
DROP_COPIES = "grep ' fuse.mailfs ' /proc/self/mounts | cut -d' ' -f2 | xargs -r -n 1 umount -l || true\n"


def in_namespace(script):
    """A command line that runs mailfs after a script has changed the mounts of a namespace of its own."""
    return ["unshare", "-m" if os.getuid() == 0 else "-rm", "sh", "-ec", DROP_COPIES + script + '\nexec "$@"', "sh"]


def run_wrapped(wrapper, account, home):
    with open(os.path.join(home.path, "err"), "w+", encoding="utf-8") as err:
        done = subprocess.run(wrapper + home.command(account.url(), home.mountpoint(), account.options()), env=home.env(),
                              stdin=subprocess.DEVNULL, stderr=err, timeout=30, check=False)
        err.seek(0)
        return done.returncode, err.read()


def test_dev_fuse_missing(account, home):
    empty_dev = """
        mkdir "$HOME/dev"; mount -t tmpfs none "$HOME/dev"
        touch "$HOME/dev/null"; mount --bind /dev/null "$HOME/dev/null"
        mkdir "$HOME/dev/shm"; mount --bind /dev/shm "$HOME/dev/shm" # we may be there
        mount --move "$HOME/dev" /dev"""
    wrapper = in_namespace(empty_dev)
    if subprocess.run(wrapper + ["true"], env=home.env(), stderr=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("no mount namespaces here")
    shutil.rmtree(os.path.join(home.path, "dev"))
    one_line(run_wrapped(wrapper, account, home), MOUNT, "/dev/fuse")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can hide fusermount3 from another user")
def test_fusermount_missing(account, home):
    program = shutil.which("fusermount3")
    hide = """
        mount --bind /dev/null %s
        mknod "$HOME/fuse" c 10 229; mount --bind "$HOME/fuse" /dev/fuse
        chmod 666 "$HOME/fuse"; chown -R nobody "$HOME"
        """ % os.path.realpath(program)
    wrapper = in_namespace(hide) + ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
    if subprocess.run(wrapper + [EXE, "--version"], env=home.env(), stdout=subprocess.DEVNULL, check=False).returncode != 0:
        pytest.skip("user nobody can not run " + EXE)
    os.unlink(os.path.join(home.path, "fuse"))
    one_line(run_wrapped(wrapper, account, home), MOUNT, "fusermount3")


def test_help_and_version(home):
    for arg, words in (("--help", ["SOURCE", "tls_ca", "password_command"]), ("--version", ["mailfs", "FUSE"]), ("-h", ["SOURCE"])):
        done = subprocess.run([EXE, arg], capture_output=True, text=True, env=home.env(), check=False)
        assert done.returncode == 0 and done.stderr == ""
        for word in words:
            assert word in done.stdout


def test_nothing_is_left_behind(account, home):
    """After a failure: no process, and no mount."""
    home.run(account.url("Nowhere"), home.mountpoint(), account.options())
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as line:
                assert home.path.encode() not in line.read()
        except OSError:
            pass
    assert harness.running == set()
