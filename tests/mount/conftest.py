# SPDX-License-Identifier: MIT
"""What the tests on a real mount share: one Dovecot for each file, one account and one home directory for each test."""

import itertools
import os
import signal
import sys
import threading

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness  # noqa: E402
from dovecot import HOST, Dovecot  # noqa: E402
from drops import Drop  # noqa: E402
from fake.pop3 import Server  # noqa: E402
from harness import Home, Mount, escape  # noqa: E402
from maildir import Mail  # noqa: E402

TIME_LIMIT = 60
SKIPPED = 77  # for meson
_users = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "limit(seconds): how long the test may take instead of %d s" % TIME_LIMIT)


def pytest_sessionstart(session):
    if not os.path.exists("/dev/fuse"):
        print("SKIP: /dev/fuse is missing")
        pytest.exit("/dev/fuse is missing", SKIPPED)
    if not os.access(harness.EXE, os.X_OK):
        pytest.exit("no executable: " + harness.EXE, 2)


@pytest.fixture(autouse=True)
def time_limit(request):
    """Ends a test whose time is over. A system call on a hung mount returns only when its mailfs is dead, so that goes first."""
    marker = request.node.get_closest_marker("limit")
    seconds = (marker.args[0] if marker else TIME_LIMIT) * harness.SLOW

    def expired(_signal, _frame):
        raise TimeoutError("the test took more than %d s" % seconds)

    watchdog = threading.Timer(seconds, harness.kill_running)
    watchdog.daemon = True
    watchdog.start()
    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds + 0.5)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    watchdog.cancel()


@pytest.fixture(scope="module")
def server():
    with Dovecot() as dovecot:
        yield dovecot


@pytest.fixture
def home():
    """A home directory, removed afterwards with all mounts in it."""
    place = Home()
    yield place
    for process in list(harness.running):
        process.kill()
        process.wait()
        harness.running.discard(process)
    place.remove()


class Account:
    """An account of a Dovecot, and the ways to mount it."""

    def __init__(self, server, home, name):
        self.server, self.home, self.name = server, home, name
        server.add_user(name)

    def url(self, folder="", port=None, host=HOST, scheme="imaps"):
        default = self.server.port_tls if scheme == "imaps" else self.server.port_plain
        return "%s://%s@%s:%d%s" % (scheme, self.name, host, port or default, "/" + folder if folder else "")

    def options(self, *more):
        return ["password_file=" + escape(self.home.password_file), "tls_ca=" + escape(self.server.ca), *more]

    def deliver(self, folder, datas):
        """Fills a folder with messages, given as bytes or Mail."""
        self.server.deliver(self.name, folder, [data if isinstance(data, Mail) else Mail(data) for data in datas])

    def mount(self, *options, folder="", port=None, **more):
        return Mount(self.home, self.url(folder, port), self.options(*options), **more)

    def login(self):
        return self.server.login(self.name)

    def commands(self, contains=""):
        return self.server.commands(self.name, contains)

    def flags(self, mailbox="INBOX"):
        """What the server has as flags: {uid: text}."""
        client = self.login()
        client.select('"%s"' % mailbox, readonly=True)
        rows = client.uid("FETCH", "1:*", "(FLAGS)")[1]
        client.logout()
        return [row.decode() for row in rows if row]


@pytest.fixture
def new_account(home):
    """Makes accounts on any Dovecot."""
    return lambda dovecot: Account(dovecot, home, "user%d" % next(_users))


@pytest.fixture
def account(server, new_account):
    return new_account(server)


@pytest.fixture
def drop(account):
    """The same account, as a maildrop."""
    made = Drop(account.home, account.server, account.name, fake=False, host=HOST)
    made.account = account
    return made


@pytest.fixture
def serve(home):
    """Starts scripted POP3 servers with these messages: Drop."""
    started = []

    def start(content, **more):
        fake = Server(content, **more)
        started.append(fake)
        return Drop(home, fake)

    yield start
    for fake in started:
        fake.close()
