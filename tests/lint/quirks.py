#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
The table of quirks (src/util/quirk.c), the code and the tests agree: each has a whole row, the file that it names is the one that sees it, and a test shows
what is done about it. That test counts it (quirk_count(QUIRK_X)), or finds it by its name ("x") in what a mount says; what can not be seen but is heeded is
named in a comment (QUIRK_X).
"""
import pathlib
import re
import sys

HEEDED = re.compile(r"\bquirk_heeded\((QUIRK_\w+)\)")
USE = re.compile(r"\bquirk_(?:seen|heeded)\((QUIRK_\w+)\)")
FIELD = r'((?:"(?:[^"\\]|\\.)*"\s*)+)'
ROW = re.compile(r"\[(QUIRK_\w+)\] = \{\s*" + r",\s*".join([FIELD] * 5) + r"\}")


def text_of(field):
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', field))


def faults(header, table, sources):
    """header, table: their text; sources: {path below src: text}."""
    known = [name for name in re.findall(r"^\t(QUIRK_\w+),$", header, re.M) if name != "QUIRK_COUNT"]
    rows = {row[0]: [text_of(field) for field in row[1:]] for row in ROW.findall(table)}
    uses = {path: set(USE.findall(text)) for path, text in sources.items()}
    if len(known) < 10:
        yield f"only {len(known)} quirks found: has the enum's form changed?"
    for name in sorted(set(known) ^ set(rows)):
        yield f"{name}: in the enum or in the table, not in both"
    for name, (label, _, _, _, file) in rows.items():
        if label != name[len("QUIRK_"):].lower().replace("_", "-"):
            yield f"{name}: is called {label}"
        if not all(rows[name]):
            yield f"{name}: a field of its row is empty"
        if name not in uses.get(file, ()):
            yield f"{name}: {file} does not see it"
        for other in sorted(path for path in uses if name in uses[path] and path != file):
            yield f"{name}: {other} sees it, too; the table names {file}"
    for path in sorted(uses):
        for name in sorted(uses[path] - set(rows)):
            yield f"{path}: {name} is not in the table"


def untested(table, sources, tests):
    """tests: {path below tests: text}, without those of the table itself."""
    heeded = {name for text in sources.values() for name in HEEDED.findall(text)}
    texts = [text for path, text in tests.items() if path not in ("unit/util/test_quirk.c", "lint/quirks.py")]
    for name, label, *_ in ROW.findall(table):
        shown = name if name in heeded else r"quirk_count\(" + name
        if not any(re.search(r"\b%s\b|%s" % (shown, re.escape(label.strip())), text) for text in texts):
            yield f"{name}: no test names it"


def selftest():
    header = "".join(f"\tQUIRK_{letter},\n" for letter in "ABCDEFGHIJ") + "\tQUIRK_COUNT\n"
    table = "".join('[QUIRK_%s] = {"%s", "x", "y" "z", "d", "f.c"},\n' % (letter, letter.lower()) for letter in "ABCDEFGHIJ")
    uses = "".join(f"quirk_seen(QUIRK_{letter});\n" for letter in "ABCDEFGHIJ")
    assert list(faults(header, table, {"f.c": uses})) == []
    for broken in ((header.replace("\tQUIRK_B,\n", ""), table, {"f.c": uses}), (header, table.replace('"b"', '"q"'), {"f.c": uses}),
                   (header, table, {"f.c": uses.replace("QUIRK_C", "QUIRK_D")}), (header, table, {"f.c": uses, "g.c": "quirk_seen(QUIRK_A)"}),
                   (header, table, {"f.c": uses, "g.c": "quirk_heeded(QUIRK_Z)"}), (header, table.replace('"x"', '""'), {"f.c": uses})):
        assert list(faults(*broken)), broken
    sources = {"f.c": uses.replace("quirk_seen(QUIRK_B)", "quirk_heeded(QUIRK_B)")}
    tests = {"a.c": "".join(f"quirk_count(QUIRK_{letter})" for letter in "ACDEFGHI") + "/* QUIRK_B: so */", "b.py": 'in {"j"}'}
    assert list(untested(table, sources, tests)) == []
    for broken in ({**tests, "b.py": "in {j}"}, {**tests, "a.c": tests["a.c"].replace("QUIRK_B:", "QUIRK_BB:")},
                   {**tests, "a.c": tests["a.c"].replace("quirk_count(QUIRK_C)", "QUIRK_C")}, {"unit/util/test_quirk.c": tests["a.c"], "b.py": tests["b.py"]}):
        assert list(untested(table, sources, broken)), broken


def main():
    if sys.argv[1] == "--selftest":
        return selftest()
    src = pathlib.Path(sys.argv[1]) / "src"
    header = (src.parent / "include/mailfs/util/quirk.h").read_text()
    sources = {str(path.relative_to(src)): path.read_text() for path in src.rglob("*.c")}
    table = sources.pop("util/quirk.c")
    folder = src.parent / "tests"
    tests = {str(path.relative_to(folder)): path.read_text() for pattern in ("*.c", "*.py") for path in folder.rglob(pattern)}
    found = [*faults(header, table, sources), *untested(table, sources, tests)]
    print("\n".join(found) or "%d files" % len(sources))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
