#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Each option stands in --help, in the man page and in the table, and nowhere does one stand that is not there."""
import pathlib
import re
import subprocess
import sys


def table_options(source):
    """Names of the rows of options.c that have a help text."""
    rows = source.split("static const struct row rows[] = {", 1)[1].split("\n};", 1)[0]
    return set(re.findall(r'^\t(?:FLAG|TEXT|PATH|NUMBER|CHOICE|OTHER)\("(\w+)", ', rows, re.M))


def help_options(text):
    return set(re.findall(r"^  (\w+)(?:=\S+)? ", text.split("\noptions:\n", 1)[1], re.M))


def man_options(page):
    """Items of the list in the section OPTIONS: .It Cm name or .It Cm name Ns = Ns Ar VALUE."""
    section = page.split("\n.Sh OPTIONS\n", 1)[1].split("\n.Sh ", 1)[0]
    return set(re.findall(r"^\.It Cm (\w+)", section, re.M))


def exit_codes(header):
    return set(re.findall(r"EXIT_CODE_\w+ = (\d+)", header))


def man_exit_codes(page):
    section = page.split("\n.Sh EXIT STATUS\n", 1)[1].split("\n.Sh ", 1)[0]
    return set(re.findall(r"^\.It (\d+)", section, re.M))


def ctl_faults(program, root):
    """mailfsctl: its commands, options and exit codes stand in --help and in the man page."""
    page = (root / "src/cli/mailfsctl.1").read_text()
    help_text = subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout
    words = set(re.findall(r"^  (\w[\w ]*?)  ", help_text, re.M)) | set(re.findall(r"(--[\w-]+)", help_text))
    if len(words) < 8:
        yield f"mailfsctl --help: only {sorted(words)} found: has its form changed?"
    for word in sorted(words):
        if not re.search(r"^\.It (Cm %s|.*Fl \\-%s)$" % (re.escape(word), re.escape(word[2:])), page, re.M):
            yield f"{word}: in mailfsctl --help, not in mailfsctl.1"
    codes = set(re.findall(r"CTL_EXIT_\w+ = (\d+)", (root / "src/cli/ctl.h").read_text()))
    if codes != man_exit_codes(page):
        yield f"exit codes: {sorted(codes)} in ctl.h, {sorted(man_exit_codes(page))} in mailfsctl.1"


def main():
    program, root = sys.argv[1], pathlib.Path(sys.argv[3])
    page = (root / "src/cli/mailfs.1").read_text()
    help_text = subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout
    table = table_options((root / "src/cli/options.c").read_text())
    faults = []
    if len(table) < 10:
        faults.append(f"only {len(table)} options found in the table: has its form changed?")
    for where, names in ("--help", help_options(help_text)), ("mailfs.1", man_options(page)):
        faults += [f"{name}: in the table, not in {where}" for name in sorted(table - names)]
        faults += [f"{name}: in {where}, not in the table" for name in sorted(names - table)]
    codes = exit_codes((root / "src/cli/exit.h").read_text())
    if codes != man_exit_codes(page):
        faults.append(f"exit codes: {sorted(codes)} in exit.h, {sorted(man_exit_codes(page))} in mailfs.1")
    faults += ctl_faults(sys.argv[2], root)
    for line in help_text.splitlines():
        if len(line) > 100:
            faults.append(f"--help: line of {len(line)} characters: {line}")
    print("\n".join(faults) or f"{len(table)} options, {len(codes)} exit codes")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
