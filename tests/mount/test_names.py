# SPDX-License-Identifier: MIT
"""Names of messages as a mount shows them: pure functions of immutable facts, for every abuse of a header."""

import os

import pytest

from maildir import Mail

DATE = 1763715300  # 2025-11-21 08:55 UTC
STEM = "2025-11-21_0855_"
ALICE = b"Alice Smith <alice@example.org>"

# From and Subject as they stand in the message (None: no such field), and what comes of them between date and UID.
GOLDEN = [
    (ALICE, b"Quarterly report", "Alice-Smith_Quarterly-report"),
    (b"build@ci.example.org", b"nightly #812 passed", "build@ci.example.org_nightly-#812-passed"),
    (None, None, "unknown_no-subject"),
    (b"", b"", "unknown_no-subject"),
    (ALICE, b"   ", "Alice-Smith_no-subject"),
    (b"undisclosed-recipients:;", b"x", "unknown_x"),
    (b'"Smith, John (Sales)" <j@example.org>', b"Re: Fwd: you & me", "Smith,-John-Sales_Re-Fwd-you-me"),
    (b"first@example.org, second@example.org", b"two authors", "first@example.org_two-authors"),
    (b"=?utf-8?B?5L2Q6Jek?= <sato@example.jp>", b"=?iso-2022-jp?B?GyRCMnE1RBsoQg==?=", "佐藤_会議"),
    (b"=?koi8-r?B?6dfBzg==?= <ivan@example.ru>", b"=?windows-1251?Q?=CF=F0=E8=E2=E5=F2?=", "Иван_Привет"),
    (ALICE, b"=?utf-8?Q?Gr=C3?= =?utf-8?Q?=BC=C3=9Fe?=", "Alice-Smith_Grüße"),
    (ALICE, b"=?utf-8?B?R3Lvv73Dn2U=?=", "Alice-Smith_Gr-ße"),
    (ALICE, b"=?x-unknown?Q?abc=E4?=", "Alice-Smith_abcä"),
    (ALICE, "Grüße".encode(), "Alice-Smith_Grüße"),
    (ALICE, "Grüße".encode("latin-1"), "Alice-Smith_Grüße"),
    (ALICE, b"=?utf-8?Q?one?=\r\n =?utf-8?Q?_two?=", "Alice-Smith_one-two"),
    (ALICE, b"folded\r\n\tline", "Alice-Smith_folded-line"),
    (ALICE, "abc\u202etxt.exe".encode(), "Alice-Smith_abc-txt.exe"),
    (ALICE, "zero\u200bwidth\ufeff".encode(), "Alice-Smith_zero-width"),
    (ALICE, b"bell\x07and\x1b[31mred", "Alice-Smith_bell-and-31mred"),
    (ALICE, b"=?utf-8?Q?=00=0A=0Dnul?=", "Alice-Smith_nul"),
    (ALICE, b"../../etc/passwd", "Alice-Smith_..-..-etc-passwd"),
    (ALICE, b"..", "Alice-Smith_.."),
    (ALICE, b"/", "Alice-Smith_no-subject"),
    (ALICE, b"a & b | c; d > \"e\" $(f) `g` *?", "Alice-Smith_a-b-c-d-e-f-g"),
    (ALICE, b"snake_case", "Alice-Smith_snake-case"),
    (ALICE, "Party 🎉 now\u3000ja\u00a0da".encode(), "Alice-Smith_Party-🎉-now-ja-da"),
    (ALICE, b"1+1=2, a@b.c #1", "Alice-Smith_1+1=2,-a@b.c-#1"),
    (ALICE, b"twins", "Alice-Smith_twins"),
    (ALICE, b"twins", "Alice-Smith_twins"),
]


def mail(sender, subject):
    head = b""
    if sender is not None:
        head += b"From: " + sender + b"\r\n"
    if subject is not None:
        head += b"Subject: " + subject + b"\r\n"
    return Mail(head + b"\r\nbody\r\n", DATE)


@pytest.fixture
def golden(account):
    account.deliver("INBOX", [mail(sender, subject) for sender, subject, _ in GOLDEN])
    return account


def test_golden(golden):
    with golden.mount() as mount:
        found = {uid: os.path.basename(path) for uid, path in mount.by_uid("INBOX").items()}
    wanted = {uid: "%s%s.%d.eml" % (STEM, middle, uid) for uid, (_, _, middle) in enumerate(GOLDEN, 1)}
    assert found == wanted


def test_same_in_another_time_zone_and_without_store(golden, home):
    with golden.mount() as mount:
        first = mount.names("INBOX")
    home.wipe_cache()
    with golden.mount(env={"TZ": "Asia/Tokyo", "LC_ALL": "C"}) as mount:
        assert mount.names("INBOX") == first


@pytest.mark.parametrize("subject", [b"x" * 4000, "ü".encode() * 2000, "台".encode() * 1400, "🎉".encode() * 1000, b"a " * 2000])
def test_long_subject(account, subject):
    account.deliver("INBOX", [Mail(b"From: " + b"Long Name " * 30 + b"<a@example.org>\r\nSubject: " + subject + b"\r\n\r\n", DATE,
                                   uid=4294967290)])
    with account.mount() as mount:
        (name,) = mount.names("INBOX")
        assert 200 < len(name.encode()) <= 240
        assert name.startswith(STEM) and name.endswith(".4294967290.eml") and name.count("_") == 3
        name.encode().decode("utf-8", errors="strict")


def test_names_uid(account):
    account.deliver("INBOX", [mail(ALICE, b"x"), Mail(b"Subject: y\r\n\r\n", uid=4711)])
    with account.mount("names=uid") as mount:
        assert mount.names("INBOX") == ["1.eml", "4711.eml"]


def test_names_template(account):
    account.deliver("INBOX", [mail(ALICE, b"Hello there")])
    with account.mount("names=%u-%Y%m%d-%s-%f.eml") as mount:
        assert mount.names("INBOX") == ["1-20251121-Hello-there-Alice-Smith.eml"]


def test_lookup_by_name_before_any_listing(golden):
    """A path that was remembered works on a fresh mount, without ls before."""
    with golden.mount() as mount:
        path = mount.by_uid("INBOX")[1]
    with golden.mount() as mount:
        assert os.stat(path).st_size == len(mail(*GOLDEN[0][:2]).data)
        for wrong in (path.replace("Quarterly", "Yearly"), path.replace(".1.eml", ".99.eml"), path.replace(".1.eml", ".01.eml"), path + "x"):
            assert not os.path.exists(wrong)
