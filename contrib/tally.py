#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Counts the test cases that really ran in meson build directories: those within a TAP program and a pytest file, too.

Usage: tally.py FAILED_BUILDS BUILD_DIRECTORY...
           The last line printed: N passed, N failed, N skipped. A program that ran again (meson test --logbase again1,
           again2) counts as it did in the end, and a line before names it.
       tally.py --again BUILD_DIRECTORY
           Prints the names of the programs that failed and may be run again: none if they are too many to be chance,
           and none that a sanitizer has spoken in: a data race is there, though it is seen once in ten runs only.
       tally.py --selftest
"""

import collections
import glob
import json
import os
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

TAP = re.compile(r"^\s*(not ok|ok)\b(?:.*#\s*(SKIP))?", re.MULTILINE | re.IGNORECASE)
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
MESON = {"OK": PASSED, "EXPECTEDFAIL": PASSED, "SKIP": SKIPPED}
AGAIN = "again%d"
ROUNDS = 2
AGAIN_MAX = 8
SANITIZER = re.compile(r"Sanitizer|runtime error:")


def count_junit(path, counts, label):
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            counts[FAILED] += 1
            print("failed:  %s: %s" % (label, case.get("name")))
        elif "skipped" in kinds:
            counts[SKIPPED] += 1
            print("skipped: %s: %s: %s" % (label, case.get("name"), case.find("skipped").get("message")))
        else:
            counts[PASSED] += 1


def count_tap(text, counts):
    for verdict, skip in TAP.findall(text):
        counts[SKIPPED if skip else FAILED if verdict.lower() == "not ok" else PASSED] += 1


def name_of(test):
    return test["name"].split(" / ")[-1]


def verdict_of(test):
    return MESON.get(test["result"], FAILED)


def count_test(directory, test):
    """The cases of one meson test; at least one, and at least one failed if meson says so."""
    counts = collections.Counter()
    name = name_of(test)
    label = "%s %s" % (os.path.basename(directory), name)
    verdict = verdict_of(test)
    junit = os.path.join(directory, "tests", name + ".xml")
    if verdict == SKIPPED:
        print("skipped: %s: %s" % (label, (test.get("stdout") or "no reason given").strip().splitlines()[-1]))
    elif os.path.exists(junit):
        count_junit(junit, counts, label)
    else:
        count_tap(test.get("stdout") or "", counts)
    if not counts or (verdict == FAILED and not counts[FAILED]):
        counts[verdict] += 1
    if verdict == FAILED:
        print("failed:  %s (%s)" % (label, test["result"]))
    return counts


def load(path):
    """The tests of one log of meson's: {name: test}."""
    with open(path, encoding="utf-8") as log:
        return {name_of(test): test for test in map(json.loads, log)}


def logs(directory):
    """[what ran, what of that ran once more, what of that ran yet again]"""
    rounds = [{}] + [{} for _ in range(ROUNDS)]
    numbers = {AGAIN % number + ".json": number for number in range(1, ROUNDS + 1)}
    for path in sorted(glob.glob(os.path.join(directory, "meson-logs", "*.json"))):
        rounds[numbers.get(os.path.basename(path), 0)].update(load(path))
    return rounds


def runs(directory):
    """{name: [a test for each time it ran]}"""
    found = collections.defaultdict(list)
    for ran in logs(directory):
        for name, test in ran.items():
            found[name].append(test)
    return found


def list_again(directory):
    ran = runs(directory)
    failed = [name for name, tests in ran.items() if verdict_of(tests[-1]) == FAILED]
    if len(failed) <= AGAIN_MAX:
        for name in failed:
            if not any(SANITIZER.search((test.get("stdout") or "") + (test.get("stderr") or "")) for test in ran[name]):
                print(name)


def outcome_of(tests):
    """Of one that ran more than once."""
    times = "once" if len(tests) == 2 else "twice"
    if verdict_of(tests[-1]) == FAILED:
        return "failed %d times" % len(tests)
    return "failed %s, passed when run again alone" % times


def tally(failed_builds, directories):
    total = collections.Counter({FAILED: failed_builds})
    repeated = []
    for directory in directories:
        for name, tests in runs(directory).items():
            total += count_test(directory, tests[-1])
            if len(tests) > 1:
                repeated.append("%s: %s %s" % (outcome_of(tests), os.path.basename(directory), name))
    for line in repeated:
        print(line)
    print("%d passed, %d failed, %d skipped" % (total[PASSED], total[FAILED], total[SKIPPED]))
    return 1 if total[FAILED] or not total[PASSED] else 0


class SelfTest(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.directory = os.path.join(self.place.name, "gcc")
        os.makedirs(os.path.join(self.directory, "meson-logs"))
        os.makedirs(os.path.join(self.directory, "tests", "mount"))

    def tearDown(self):
        self.place.cleanup()

    def log(self, base, *tests):
        with open(os.path.join(self.directory, "meson-logs", base + ".json"), "w", encoding="utf-8") as out:
            for name, result, stdout in tests:
                out.write(json.dumps({"name": "mailfs:x / " + name, "result": result, "stdout": stdout}) + "\n")

    def junit(self, name, passed, failed):
        with open(os.path.join(self.directory, "tests", name + ".xml"), "w", encoding="utf-8") as out:
            out.write("<s>%s%s</s>" % ('<testcase name="a"/>' * passed, '<testcase name="b"><failure/></testcase>' * failed))

    @staticmethod
    def printed(work, *args):
        """(what it returned, the lines it printed)"""
        with tempfile.TemporaryFile("w+") as out:
            sys.stdout, before = out, sys.stdout
            try:
                result = work(*args)
            finally:
                sys.stdout = before
            out.seek(0)
            return result, out.read().splitlines()

    def last(self, count, failed_builds=0):
        result, lines = self.printed(tally, failed_builds, [self.directory])
        return result, lines[-count:]

    def again(self):
        return self.printed(list_again, self.directory)[1]

    def test_cases_are_counted(self):
        self.log("quick", ("unit/a", "OK", "1..3\nok 1 - a\nok 2 - b # SKIP no\nok 3 - c\n"), ("lint/b", "OK", ""), ("lint/c", "SKIP", "no program"))
        self.log("mount", ("mount/d", "OK", ""))
        self.junit("mount/d", 5, 0)
        self.assertEqual(self.last(1), (0, ["8 passed, 0 failed, 2 skipped"]))
        self.assertEqual(self.last(1, 1), (1, ["8 passed, 1 failed, 2 skipped"]))
        self.assertEqual(self.again(), [])

    def test_nothing_that_passed_is_no_success(self):
        self.assertEqual(self.last(1), (1, ["0 passed, 0 failed, 0 skipped"]))

    def test_a_failure_without_a_case(self):
        self.log("quick", ("unit/a", "TIMEOUT", "1..2\nok 1 - a\n"))
        self.assertEqual(self.last(1), (1, ["1 passed, 1 failed, 0 skipped"]))

    def test_passed_when_run_again(self):
        self.log("quick", ("unit/a", "OK", "ok 1 - a\n"), ("unit/b", "FAIL", "ok 1 - a\nnot ok 2 - b\n"))
        self.assertEqual(self.last(1), (1, ["2 passed, 1 failed, 0 skipped"]))
        self.assertEqual(self.again(), ["unit/b"])
        self.log(AGAIN % 1, ("unit/b", "OK", "ok 1 - a\nok 2 - b\n"))
        self.assertEqual(self.again(), [])
        self.assertEqual(self.last(2), (0, ["failed once, passed when run again alone: gcc unit/b", "3 passed, 0 failed, 0 skipped"]))

    def test_failed_again(self):
        self.log("mount", ("mount/a", "FAIL", ""), ("mount/b", "FAIL", ""))
        self.log(AGAIN % 1, ("mount/a", "FAIL", ""), ("mount/b", "FAIL", ""))
        self.junit("mount/a", 2, 1)
        self.assertEqual(self.again(), ["mount/a", "mount/b"])
        self.log(AGAIN % 2, ("mount/a", "FAIL", ""), ("mount/b", "OK", ""))
        self.assertEqual(self.last(3), (1, ["failed 3 times: gcc mount/a", "failed twice, passed when run again alone: gcc mount/b",
                                            "3 passed, 1 failed, 0 skipped"]))

    def test_too_many(self):
        self.log("quick", *(("unit/%d" % n, "FAIL", "") for n in range(AGAIN_MAX + 1)))
        self.assertEqual(self.again(), [])

    def test_a_sanitizer_speaks_the_second_time(self):
        self.log("quick", ("unit/a", "FAIL", ""))
        self.log(AGAIN % 1, ("unit/a", "FAIL", "WARNING: ThreadSanitizer: data race"))
        self.assertEqual(self.again(), [])

    def test_a_sanitizer_is_not_asked_twice(self):
        self.log("quick", ("unit/a", "FAIL", "WARNING: ThreadSanitizer: data race"), ("unit/b", "FAIL", "x.c:3: runtime error: overflow"), ("unit/c", "ERROR", ""))
        self.assertEqual(self.again(), ["unit/c"])


def main():
    if sys.argv[1:] == ["--selftest"]:
        return 0 if unittest.main(argv=sys.argv[:1], exit=False).result.wasSuccessful() else 1
    if sys.argv[1] == "--again":
        return list_again(sys.argv[2])
    return tally(int(sys.argv[1]), sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
