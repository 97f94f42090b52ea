#!/usr/bin/env python3
"""Every kind of archive, good and hostile, through the reader: which members
it lists, what their bytes are, which it refuses and why."""
import os
import resource
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from archives import Tar, Zip, gz, make  # noqa: E402

PROGRAM = os.path.join(os.environ.get("BUILDDIR", "."),
                       "tests/unit/stage-archive")
failed = []


def run(top, name, data):
    path = os.path.join(top, name)
    with open(path, "wb") as f:
        f.write(data)
    p = subprocess.run([PROGRAM, path], capture_output=True, timeout=300,
                       check=False)
    os.unlink(path)
    if p.returncode not in (0, 1) or p.stderr:
        sys.stderr.write(p.stderr.decode(errors="replace"))
        failed.append(name)
        print(f"{name}: exit {p.returncode}")
    return p.returncode, p.stdout.decode().splitlines()


def same(got, want):
    return len(got) == len(want) and all(
        g.startswith(w[:-1]) if w.endswith("*") else g == w
        for g, w in zip(got, want))


def check(name, code, got, want):
    if isinstance(want, str):
        right = code == 1 and len(got) == 1 and got[0].startswith(want + " ")
    else:
        right = code == 0 and same(got, want)
    if not right:
        failed.append(name)
        print(f"{name}: exit {code}, got")
        print("    " + "\n    ".join(got[:40]))
        print("  not\n    " + ("\n    ".join(want[:40])
                               if isinstance(want, list) else want))


def crowd(n):
    z = Zip()
    for i in range(n):
        z.add(f"d{i % 97}/{i}", b"", 0)
    return z.end()


def tar_crowd(n):
    t = Tar()
    for i in range(n):
        t.add(f"m{i}", b"")
    return gz(t.end())


def main():
    with tempfile.TemporaryDirectory() as top:
        for name, (data, want) in make().items():
            check(name, *run(top, name, data), want)
        # More members than a plain zip can count: refused by the number.
        for name, data, want in (
                ("large-tar", tar_crowd(200001), "EFBIG"),
                ("good-crowd", crowd(20000), ["= 20000 0"])):
            code, got = run(top, name, data)
            check(name, code, got[-1:], want)
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    if "ASAN_OPTIONS" not in os.environ and used > 400:
        failed.append(f"memory: {used} MiB")
    print(f"{len(failed)} failed, {used} MiB", *failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
