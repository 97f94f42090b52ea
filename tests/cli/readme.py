#!/usr/bin/env python3
"""README's table of families is what the program itself says; its commands,
keys and defaults exist. `readme.py --update` writes the table."""
import json
import os
import re
import subprocess
import sys

SRC = os.environ["SRCDIR"]
README = os.path.join(SRC, "README.md")
BEGIN = "<!-- families:"
END = "<!-- end of families -->"
SHOWN = 8       # names of one family; the program shows all


def table():
    said = json.loads(subprocess.run(
        ["omnihub", "families", "--json"], check=True,
        stdout=subprocess.PIPE).stdout)
    rows = ["| family | library | `model_type` or builder | heads |",
            "|---|---|---|---|"]
    for f in said:
        types = ", ".join(f"`{t}`" for t in f["model_types"][:SHOWN])
        if len(f["model_types"]) > SHOWN:
            types += f", … ({len(f['model_types'])} of them)"
        rows.append(f"| {f['family']} | {f['library']} | {types} | "
                    f"{', '.join(f['tasks'])} |")
    if len(rows) == 2:
        sys.exit("omnihub families: none")
    return "\n".join(rows) + "\n"


def main():
    with open(README, encoding="utf-8") as f:
        text = f.read()
    start = text.index("\n", text.index(BEGIN)) + 1
    end = text.index(END)
    want = table()
    if sys.argv[1:] == ["--update"]:
        with open(README, "w", encoding="utf-8") as f:
            f.write(text[:start] + want + text[end:])
        return
    bad = []
    if text[start:end] != want:
        bad.append("README.md: families are\n" + want)
    with open(os.path.join(SRC, "base", "conf-table.c")) as f:
        keys = dict(re.findall(r'KEY\("([a-z.]+)", [A-Z]+, ([^)]*)\)',
                               f.read()))
    for key, default in re.findall(r"^\| `([a-z.]+)` \| ([^|]*) \|", text,
                                   re.M):
        if key not in keys:
            bad.append(f"README.md: no key {key}")
        preset = keys.get(key, "").strip('"')
        if preset[:1].isdigit() and preset != "0" and preset not in default:
            bad.append(f"README.md: {key} is {preset} by default")
    for name in re.findall(r"\]\(([A-Za-z.]+)\)", text):
        if not os.path.exists(os.path.join(SRC, name)):
            bad.append(f"README.md: no file {name}")
    sys.exit("\n".join(bad) or 0)


main()
