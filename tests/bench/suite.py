#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
The benchmark suite; contrib/bench builds what it needs and runs it. Makes the mail (corpus.py), starts a private Dovecot with lines
before it (limits.py), has all contestants of all cases work in turn, round by round (cases.py), and writes what came out (report.py).

A contestant that is missing or fails is a line in the report. Exit code 0 unless the suite itself could not run.
"""

import argparse
import contextlib
import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, "mount"), TESTS, os.path.join(TESTS, "bench")]

QUICK = {"small": 10_000, "real": 500}
FULL = {"small": 100_000, "real": 5_000}
LINES = {"50": (50, None), "0": (0, None), "50M": (50, 50)}
POP3_LINES = {"pop3": 50, "pop3-0": 0}
LISTING = "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID)])"


def arguments():
    parser = argparse.ArgumentParser(prog="contrib/bench", description="Measures mailfs against the wire, the kernel, and what people use instead.")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--quick", action="store_true", help="10,000 and 500 messages instead of 100,000 and 5,000")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these cases, or CASE:CONTESTANT; '--only ?' says which there are")
    parser.add_argument("--out", default="bench-results", metavar="DIR", help="where the results go; default: bench-results")
    parser.add_argument("--readme", action="store_true", help="put the table and the chart into the README, too")
    parser.add_argument("--work", default="/var/tmp/mailfs-bench-%d" % os.getuid(), metavar="DIR",
                        help="where the mail lies, from run to run; 3 GB, and 10 GB more while it runs; default: /var/tmp/mailfs-bench-UID")
    parser.add_argument("--binary", metavar="PATH", help="another mailfs than the one that was built")
    parser.add_argument("--programs", default=os.environ.get("BENCH_PROGRAMS"), metavar="DIR", help="where proxy, drain and memfs are")
    return parser.parse_args()


OPTIONS = arguments()
os.makedirs(OPTIONS.work, exist_ok=True)
if os.stat(OPTIONS.work).st_uid != os.getuid():
    sys.exit("%s belongs to somebody else" % OPTIONS.work)
RUN = tempfile.mkdtemp(prefix="run-", dir=OPTIONS.work)
os.environ["TMPDIR"] = tempfile.tempdir = RUN
if OPTIONS.binary:
    os.environ["MAILFS"] = os.path.abspath(OPTIONS.binary)

import bench  # noqa: E402
import dovecot  # noqa: E402
import limits  # noqa: E402
import report  # noqa: E402
from cases import BODIES, CASES  # noqa: E402
from harness import EXE, Home  # noqa: E402


def say(text):
    print("%s  %s" % (time.strftime("%H:%M:%S"), text), flush=True)


class Suite:
    """What the contestants use."""

    def __init__(self, server, stack):
        self.server, self.host = server, dovecot.HOST
        self.homes, self.keep, self.numbers = [], {}, itertools.count()
        self.password_file = self.home("suite").password_file
        counts = QUICK if OPTIONS.quick else FULL
        self.corpora = {name: limits.make_corpus(server, OPTIONS.work, name, count, say) for name, count in counts.items()}
        for mail in self.corpora.values():
            say("corpus %s: %d messages, %d bytes, SHA-256 %s%s" % (
                mail.name, mail.count, mail.bytes, mail.sha256, "" if mail.is_known else ": NOT that of other machines"))
        limits.pop3_home(server, OPTIONS.work, self.corpora["real"])
        server.start()
        self.lines = {name: stack.enter_context(limits.Line(self.program("proxy"), server.port_tls, *how)) for name, how in LINES.items()}
        for name, rtt_ms in POP3_LINES.items():
            self.lines[name] = stack.enter_context(limits.Line(self.program("proxy"), server.port_pop3_tls, rtt_ms))
        self.listing = self.listing_items()

    @staticmethod
    def program(name):
        return os.path.join(OPTIONS.programs, name)

    def home(self, _purpose):
        """A new one. What was written is removed at the end only: ext4 makes files slowly for minutes where many were removed."""
        self.homes.append(Home())
        return self.homes[-1]

    def fresh(self, name):
        path = os.path.join(RUN, "%s-%d" % (name, next(self.numbers)))
        os.makedirs(path)
        return path

    def shelve(self, home):
        """Takes its cache away."""
        os.rename(home.cache(), os.path.join(RUN, "shelved-%d" % next(self.numbers)))

    def kept(self, name, fill):
        """A home that is filled once; where that failed, it has failed for good."""
        return self._once(name, self.home, fill)

    def kept_path(self, name, fill):
        return self._once(name, lambda name: os.path.join(RUN, name), fill)

    def _once(self, name, make, fill):
        if name not in self.keep:
            made = make(name)
            try:
                say("  filling %s" % name)
                fill(made)
                self.keep[name] = made
            except Exception as error:  # pylint: disable=broad-except
                self.keep[name] = error
        if isinstance(self.keep[name], Exception):
            raise self.keep[name]
        return self.keep[name]

    def listing_items(self):
        """The columns that this mailfs asks for."""
        try:
            return bench.Bench(None, self.home("listing"), 1).listing_command().split(" ", 3)[3]
        except Exception as error:  # pylint: disable=broad-except
            say("what mailfs lists is not known (%s), taken: %s" % (error, LISTING))
            return LISTING

    def warm(self):
        """The server has read everything once, and keeps what it wants to keep."""
        for name in self.corpora:
            for items in (self.listing, self.listing, BODIES):
                say("warming the server: %s %s" % (name, items))
                seconds, size = limits.drain(self.program("drain"), self.server, self.lines["0"], name, items)
                say("  %.2f s, %d bytes" % (seconds, size))

    def remove(self):
        for home in self.homes:
            home.remove()


def measure(suite, results, case, name, number):
    """One contestant's work, once; its failure is a result too."""
    subprocess.run(["sync", "-f", RUN], check=False)
    try:
        taken = case.contestants[name](suite)
    except Exception as error:  # pylint: disable=broad-except
        say("  %s: not measured: %s: %s" % (name, type(error).__name__, error))
        results.add(case.name, name, number, error="%s: %s" % (type(error).__name__, error))
        return
    for title, one in (taken if isinstance(taken, dict) else {name: taken}).items():
        results.add(case.name, title, number, one)
        say("  %s: %s%s" % (title, report.number(one.value, case.unit), "" if one.mount_s is None else
                            " (mounting %.3f s, CPU %.2f s, RSS %.1f MiB)" % (one.mount_s, one.cpu_s, one.rss_kib / 1024)))


def chosen(case, name):
    return not OPTIONS.only or case.name in OPTIONS.only or "%s:%s" % (case.name, name) in OPTIONS.only


def write_json(results, meta):
    """After each case: what was measured is not lost with a run that was ended."""
    os.makedirs(OPTIONS.out, exist_ok=True)
    with open(os.path.join(OPTIONS.out, "results.json"), "w", encoding="utf-8") as out:
        json.dump({"meta": meta, "measurements": results.rows, "figures": list(report.compared(results))}, out, indent=1, ensure_ascii=False)


def run_rounds(suite, results, meta):
    """The order of the contestants alternates, so that none always comes after the same."""
    for number in range(1, OPTIONS.rounds + 1):
        for case in CASES:
            names = [name for name in case.contestants if chosen(case, name) and number <= case.rounds.get(name, OPTIONS.rounds)]
            if names:
                say("round %d of %d, %s: %s" % (number, OPTIONS.rounds, case.name, case.title))
            for name in names if number % 2 else reversed(names):
                measure(suite, results, case, name, number)
            if names:
                write_json(results, meta)


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as info:
        return next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())


def commit():
    done = subprocess.run(["git", "-C", TESTS, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def meta_of(suite):
    program = suite.program("proxy")
    line = {"rtt_50_ms": limits.measured_rtt_ms(program, 50), "rtt_0_ms": limits.measured_rtt_ms(program, 0)}
    line["mbit_of_50"], _ = limits.measured_mbit(program, 50, 50, 30_000_000)
    line["mbit_free"], line["proxy_cpu_s_per_300_mb"] = limits.measured_mbit(program, 0, None, 300_000_000)
    mail = {name: "{:,} messages, {:.0f} MB".format(mail.count, mail.bytes / 1e6) for name, mail in suite.corpora.items()}
    lines = "RTT %.1f ms for 50, %.2f ms for 0; %.1f Mbit/s for 50, %.0f without a limit (%.2f s of the proxy's CPU for 300 MB)" % tuple(line.values())
    return {"date": time.strftime("%Y-%m-%d %H:%M"), "kernel": platform.release(), "cpus": os.cpu_count(), "cpu": cpu_name(),
            "dovecot": "%d.%d" % dovecot.version(), "rounds": OPTIONS.rounds, "binary": EXE, "commit": commit(), "listing": suite.listing, "lines": lines, "line": line, "mail": mail,
            "load": os.getloadavg(), "corpora": {name: vars(mail) for name, mail in suite.corpora.items()}}


def write(results, meta):
    write_json(results, meta)
    text = report.markdown(results, meta)
    with open(os.path.join(OPTIONS.out, "results.md"), "w", encoding="utf-8") as out:
        out.write(text)
    picture = report.chart(results, meta)
    if picture:
        with open(os.path.join(OPTIONS.out, "chart.svg"), "w", encoding="utf-8") as out:
            out.write(picture)
    if OPTIONS.readme and picture:
        write_readme(report.figures_markdown(results, meta) + folded(report.details_markdown(results)), picture)
    print("\n" + text + "\nWritten to %s: results.md, results.json, chart.svg" % OPTIONS.out)


def folded(details):
    return "\n<details><summary>CPU time, peak RSS, bytes on the wire, of each</summary>\n\n%s\n</details>\n" % details


def write_readme(table, picture):
    """Between the marks; the chart lies beside the suite."""
    with open(os.path.join(TESTS, "bench", "chart.svg"), "w", encoding="utf-8") as out:
        out.write(picture)
    path = os.path.join(os.path.dirname(TESTS), "README.md")
    with open(path, encoding="utf-8") as text:
        head, begin, rest = text.read().partition("<!-- bench -->\n")
    _, end, tail = rest.partition("<!-- /bench -->")
    if not end:
        say("the README has no marks for the table")
        return
    with open(path, "w", encoding="utf-8") as out:
        out.write(head + begin + "![Seconds of mailfs, of the limits and of its peers](tests/bench/chart.svg)\n\n" + table + end + tail)


def main():
    if OPTIONS.only == ["?"]:
        print("\n".join("%s: %s" % (case.name, ", ".join(case.contestants)) for case in CASES))
        return
    begin, results = time.monotonic(), report.Results()
    with contextlib.ExitStack() as stack:
        server = limits.MailServer()
        stack.callback(server.stop)
        suite = Suite(server, stack)
        stack.callback(suite.remove)
        meta = meta_of(suite)
        say("the lines: " + meta["lines"])
        suite.warm()
        try:
            run_rounds(suite, results, meta)
        except KeyboardInterrupt:
            say("interrupted; what there is:")
        meta["seconds"] = round(time.monotonic() - begin)
        write(results, meta)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        main()
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", RUN], check=False)  # whatever may still be mounted there stays
