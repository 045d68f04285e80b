# SPDX-License-Identifier: MIT
"""Looks for something in the memory of a process (as root, or as who may trace it)."""

import re

MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)$")


def mappings(pid):
    """All of /proc/PID/smaps: (begin, end, permissions, name, {field: text})."""
    found = []
    with open("/proc/%d/smaps" % pid, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            match = MAPPING.match(line.rstrip("\n"))
            if match:
                found.append((int(match[1], 16), int(match[2], 16), match[3], match[4], {}))
            else:
                name, _, value = line.partition(":")
                found[-1][4][name] = value.strip()
    return found


def find(pid, needles):
    """Where any of the needles stands in memory that the process can write: (needle, name of the mapping, whether it is locked)."""
    found = []
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
        for begin, end, permissions, name, fields in mappings(pid):
            if "w" not in permissions or fields.get("Rss") == "0 kB":
                continue
            memory.seek(begin)
            try:
                data = memory.read(end - begin)
            except OSError:
                continue
            for needle in needles:
                at = data.find(needle)
                while at >= 0:
                    found.append((needle, name or "anonymous", "lo" in fields["VmFlags"].split()))
                    at = data.find(needle, at + 1)
    return found
