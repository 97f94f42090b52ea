#!/usr/bin/env python3
"""Caps on what a reader has to hold in mind at once.

Fails on functions over 100 lines, C files over 900, headers over 300 and
lines over 84 columns (a tab is 8). These are the hard stops: write functions
of up to 60 lines, files of up to 600 and lines of up to 80 columns. Exceptions
stand below, by name.
"""
import os
import re
import sys

FUNCTION_MAX = 100
FILE_MAX = 900
HEADER_MAX = 300
COLUMNS_MAX = 84
ROOMS = ("base", "cache", "fetch", "stage", "fs", "cli", "tests")

# A comment that divides a file is for the eye alone.
RULER = re.compile(r"/\* -+ .* -+ \*/$")

# "path" or "path:function": why it may be longer.
EXCEPTIONS = {}


def sources(top):
    for room in ROOMS:
        for at, _, names in sorted(os.walk(os.path.join(top, room))):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.join(at, name)


def functions(lines):
    """(name, first line, length): house style puts a function's braces, and
    nobody else's, alone in column 0."""
    head = begin = None
    for number, line in enumerate(lines, 1):
        if line[:1].isalpha() or line[:1] == "_":
            if not line.startswith(("struct ", "enum ", "union ")) or \
                    "(" in line:
                head = line
        if line == "{":
            begin = number
        elif line == "}" and begin and head:
            name = head.split("(")[0].split()[-1].lstrip("*")
            yield name, begin, number - begin + 1
            begin = None


def check(top, path):
    rel = os.path.relpath(path, top)
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")[:-1]
    limit = HEADER_MAX if rel.endswith(".h") else FILE_MAX
    found = 0
    if len(lines) > limit and rel not in EXCEPTIONS:
        print(f"{rel}: {len(lines)} lines, the limit is {limit}")
        found += 1
    for name, begin, length in functions(lines):
        if length > FUNCTION_MAX and f"{rel}:{name}" not in EXCEPTIONS:
            print(f"{rel}:{begin}: {name}() has {length} lines, "
                  f"the limit is {FUNCTION_MAX}")
            found += 1
    for number, line in enumerate(lines, 1):
        columns = 0 if RULER.match(line) else len(line.expandtabs(8))
        if columns > COLUMNS_MAX and rel not in EXCEPTIONS:
            print(f"{rel}:{number}: {columns} columns")
            found += 1
    return found


def main():
    top = os.environ.get("SRCDIR", ".")
    files = list(sources(top))
    if not files:
        print("no sources found")
        return 99
    return 1 if sum(check(top, path) for path in files) else 0


if __name__ == "__main__":
    sys.exit(main())
