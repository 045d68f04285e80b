#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Counts the test cases that really ran in meson build directories: those within a TAP program and a pytest file, too.

Usage: tally.py FAILED_BUILDS BUILD_DIRECTORY...    The last line printed: N passed, N failed, N skipped
"""

import collections
import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

TAP = re.compile(r"^\s*(not ok|ok)\b(?:.*#\s*(SKIP))?", re.MULTILINE | re.IGNORECASE)
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
MESON = {"OK": PASSED, "EXPECTEDFAIL": PASSED, "SKIP": SKIPPED}


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


def count_test(directory, test):
    """The cases of one meson test; at least one, and at least one failed if meson says so."""
    counts = collections.Counter()
    name = test["name"].split(" / ")[-1]
    label = "%s %s" % (os.path.basename(directory), name)
    verdict = MESON.get(test["result"], FAILED)
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


def main():
    total = collections.Counter({FAILED: int(sys.argv[1])})
    for directory in sys.argv[2:]:
        with open(os.path.join(directory, "meson-logs", "testlog.json"), encoding="utf-8") as log:
            for line in log:
                total += count_test(directory, json.loads(line))
    print("%d passed, %d failed, %d skipped" % (total[PASSED], total[FAILED], total[SKIPPED]))
    return 1 if total[FAILED] or not total[PASSED] else 0


if __name__ == "__main__":
    sys.exit(main())
