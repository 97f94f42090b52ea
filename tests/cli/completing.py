#!/usr/bin/env python3
"""What a hub calls its files is completed as a word by a bash with a terminal:
it is no command, and no pattern."""
import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time

SRCDIR = os.environ["SRCDIR"]
NAME = "evil;touch pwned"
OMNIHUB = f"""#!/bin/sh
case $* in
*--help*) exit 0 ;;
*--offline*) echo '{NAME}'; echo 'a*'; echo dot ;;
*) echo "$@" >>said ;;
esac
"""


def until(fd, word, seen=b"", seconds=20):
    end = time.monotonic() + seconds
    while word not in seen:
        if time.monotonic() > end:
            sys.exit(f"waited for {word} after {seen}")
        if select.select([fd], [], [], 0.2)[0]:
            seen += os.read(fd, 4096)
    return seen


def typed(top, *lines):
    """bash in `top`, where these lines are typed; what omnihub was given."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(top)
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], {
            "PATH": top + ":" + os.environ["PATH"], "HOME": top,
            "PS1": "ready> ", "TERM": "dumb", "LC_ALL": "C.UTF-8",
            "INPUTRC": "/dev/null"})
    try:
        until(fd, b"ready> ")
        os.write(fd, f". '{SRCDIR}/contrib/completion/omnihub'\r".encode())
        until(fd, b"ready> ", until(fd, b"completion/omnihub")[-9:])
        for line in lines:
            os.write(fd, line.encode() + b"\r")
            until(fd, b"ready> ")
        os.write(fd, b"exit\r")
    finally:
        os.close(fd)
        os.waitpid(pid, 0)
    with open(os.path.join(top, "said"), encoding="utf-8") as f:
        return f.read().splitlines()


def main():
    if not shutil.which("bash") or subprocess.run(
            ["bash", "-c", "compopt; [ $? -ne 127 ]"], check=False,
            stderr=subprocess.DEVNULL).returncode:
        sys.exit(77)
    top = tempfile.mkdtemp(prefix="omnihub-completing-")
    try:
        with open(os.path.join(top, "omnihub"), "w", encoding="utf-8") as f:
            f.write(OMNIHUB)
        os.chmod(os.path.join(top, "omnihub"), 0o755)
        for name in ("ab", "ac"):
            with open(os.path.join(top, name), "w", encoding="utf-8"):
                pass
        got = typed(top, "omnihub ls ev\t", "omnihub ls a\t",
                    "omnihub ls ot\t")
        if os.path.exists(os.path.join(top, "pwned")):
            sys.exit("what the hub calls a file was run")
        want = ["ls " + NAME, "ls a*", "ls ot"]
        if [g.strip() for g in got] != want:
            sys.exit(f"{got}, not {want}")
    finally:
        shutil.rmtree(top, ignore_errors=True)


main()
