#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Holds the sources against the architecture (DESIGN section 11, src/ARCHITECTURE.md).

Includes point downwards only; a library is included by its one user; each file has its licence line, each file
and function a length at which it can still be read.
"""
import pathlib
import re
import sys

FILE_LINES_MAX = 700
FUNCTION_LINES_MAX = 80

# Which modules' headers a module may include. source and maildrop are headers alone: the contracts that imap and pop3
# implement and sync uses.
ALLOWED = {
    "util": set(),
    "sandbox": {"util"},
    "mime": {"util"},
    "source": {"mime", "util"},
    "maildrop": {"source", "util"},
    "net": {"source", "util"},
    "imap": {"source", "net", "mime", "util"},
    "pop3": {"maildrop", "source", "net", "util"},
    "store": {"source", "util"},
    "sync": {"maildrop", "source", "store", "mime", "util"},
    "tree": {"sync", "store", "source", "mime", "util"},
    "fs": {"tree", "sync", "sandbox", "util"},
    "control": {"tree", "sync", "store", "source", "util"},
    "cli": {"control", "fs", "tree", "sync", "store", "imap", "pop3", "maildrop", "net", "source", "mime", "sandbox",
            "util"},
}
# Who may include a library.
LIBRARIES = {
    r"fuse": {"fs"},
    r"sqlite3": {"store"},
    r"openssl/": {"net"},
    r"libetpan/": {"imap", "net"},
    r"zlib\.h": {"net"},
    r"ini\.h": {"cli"},
    r"jansson\.h": {"control", "cli"},
    r"iconv\.h": {"mime"},
    r"(seccomp|linux/(seccomp|landlock))\.h": {"sandbox"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def include_module(path):
    """The module that a header under mailfs/ belongs to."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 else parts[1].removesuffix(".h")


def include_faults(module, text, neighbours):
    """What is wrong with the includes of a file of a module; neighbours: names of the files beside it."""
    for kind, path in INCLUDE.findall(text):
        if kind == "<":
            for library, users in LIBRARIES.items():
                if re.match(library, path) and module not in users:
                    yield f"<{path}> is for {', '.join(sorted(users))} only"
        elif path.startswith("mailfs/"):
            other = include_module(path)
            if other != module and other not in ALLOWED[module]:
                yield f'"{path}": {module} may not know {other}'
        elif path not in neighbours:
            yield f'"{path}": not a header beside this file (those of other modules begin with mailfs/)'


def function_faults(text):
    """Functions that are too long; their bodies begin and end with a brace in the first column."""
    start = None
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            if number - start - 1 > FUNCTION_LINES_MAX:
                yield f"line {start}: a function of {number - start - 1} lines (at most {FUNCTION_LINES_MAX})"
            start = None


def licence_faults(text):
    lines = text.split("\n", 2)[:2]
    first = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
    if "SPDX-License-Identifier: MIT" not in first:
        yield "no SPDX-License-Identifier: MIT in its first line"


def length_faults(text):
    if text.count("\n") > FILE_LINES_MAX:
        yield f"{text.count(chr(10))} lines (at most {FILE_LINES_MAX})"


def module_of(path):
    """The module of a source file given relative to the root; None: of none."""
    parts = path.parts
    if parts[0] == "src" and len(parts) == 3:
        return parts[1]
    if parts[:2] == ("include", "mailfs"):
        return include_module("/".join(parts[1:]))
    return None


def is_source(path):
    if path.suffix in {".c", ".h", ".py", ".sh", ".sql"} or path.name in {"meson.build", "meson.options"}:
        return True
    try:
        with path.open("rb") as file:
            return not path.suffix and file.read(2) == b"#!"
    except OSError:
        return False


def sources(root):
    yield from (root / name for name in ("meson.build", "meson.options"))
    for top in "src", "include", "tests", "contrib", ".ci":
        yield from sorted(path for path in (root / top).rglob("*") if path.is_file() and is_source(path))


def file_faults(root, path):
    relative = path.relative_to(root)
    text = path.read_text(errors="replace")
    yield from licence_faults(text)
    yield from length_faults(text)
    if path.suffix not in {".c", ".h"}:
        return
    yield from function_faults(text)
    module = module_of(relative)
    if module in ALLOWED:
        yield from include_faults(module, text, {other.name for other in path.parent.iterdir()})
    elif relative.parts[0] in {"src", "include"}:
        yield f"{module}: not a module of the architecture"


def selftest():
    """The rules can fail."""
    assert list(include_faults("mime", "#include <fuse_lowlevel.h>\n", set()))
    assert not list(include_faults("fs", "#include <fuse_lowlevel.h>\n", set()))
    assert list(include_faults("tree", '#include "mailfs/fs.h"\n', set()))
    assert list(include_faults("fs", '#include "mailfs/store.h"\n', set()))
    assert not list(include_faults("tree", '#include "mailfs/util/str.h"\n', set()))
    assert list(include_faults("util", '# include "mailfs/mime.h"\n', set()))
    assert list(include_faults("sync", '#include "../store/private.h"\n', {"private.h"}))
    assert not list(include_faults("sync", '#include "private.h"\n', {"private.h"}))
    assert list(function_faults("int f(void)\n{\n" + "\tx();\n" * 81 + "}\n"))
    assert not list(function_faults("int f(void)\n{\n" + "\tx();\n" * 80 + "}\n"))
    assert list(licence_faults("/* nothing */\n"))
    assert not list(licence_faults("#!/bin/sh\n# SPDX-License-Identifier: MIT\n"))
    assert list(length_faults("x\n" * 701))
    assert include_module("mailfs/util/str.h") == "util" and include_module("mailfs/net.h") == "net"


def main():
    if sys.argv[1] == "--selftest":
        return selftest()
    root = pathlib.Path(sys.argv[1])
    faults, count = [], 0
    for path in sources(root):
        count += 1
        faults += [f"{path.relative_to(root)}: {fault}" for fault in file_faults(root, path)]
    print("\n".join(faults) or f"{count} files")
    if count < 50:
        print(f"only {count} files found: is {root} the source root?")
        return 1
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
