"""A cache read through a real mount: what programs see of what is damaged."""
import errno
import hashlib
import os
import signal
import subprocess
import sys
import time

import desk
import lib

READY = 30      # seconds until a mount answers


def argv(d, cache, at, args):
    keys = {**lib.NOWHERE, **d.hub.endpoints, "cache.dir": cache,
            "fetch.chunk": desk.CHUNK, "fetch.retries": 2,
            "fetch.timeout": 20, "cache.size": "1G"}
    out = [lib.MOUNT, "-f"]
    for k, v in keys.items():
        out += ["--set", f"{k}={v}"]
    return [*out, *args, at]


def answers(at):
    try:
        return bool(os.listdir(os.path.join(at, ".omnihub")))
    except OSError:
        return False


def one(path):
    """The SHA-256 of a file, or the name of what reading it gave."""
    try:
        with open(path, "rb", buffering=0) as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e.errno))


def start(d, cache, args=()):
    """(process, where it is mounted), once it answers or has ended."""
    at = d.dir("mnt")
    p = subprocess.Popen(argv(d, cache, at, args), stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         env=d.env(), cwd=d.top)
    end = time.monotonic() + READY
    while p.poll() is None and not answers(at):
        if time.monotonic() > end:
            done(p, at)
            raise desk.Wrong("the mount does not answer")
        time.sleep(0.01)
    return p, at


def done(p, at):
    """Whatever has become of it, it is gone afterwards."""
    if p.poll() is None:
        lib.kill_both(p.pid)
    if at in lib.mounted_below(os.path.dirname(at)):
        subprocess.run(["umount", "-l", at], check=False)
    p.communicate()


def ask(at, paths):
    return subprocess.Popen([sys.executable, __file__, at, *paths],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def read(d, cache, paths, args, late):
    """As read-paths does: its exit status, its lines, what was said."""
    p, at = start(d, cache, args)
    q = None
    try:
        if p.poll() is not None:
            return p.returncode, "", p.stdout.read().decode()
        q = ask(at, paths)
        out = q.communicate(timeout=late)[0].decode()
        p.send_signal(signal.SIGTERM)
        said = p.communicate(timeout=late)[0].decode()
        desk.check(p.returncode == 0, "the mount ended with", p.returncode,
                   said[-2000:])
        return q.returncode, out, said
    finally:
        done(p, at)
        if q:
            q.wait()


def killed(d, cache, paths, so_far):
    """A mount is killed while paths are read, once so_far() says so."""
    p, at = start(d, cache)
    q = ask(at, paths)
    try:
        lib.until(so_far, 20, "what is to be killed")
    finally:
        done(p, at)
        q.communicate()


def main():
    at, *paths = sys.argv[1:]
    got = [one(os.path.join(at, path)) for path in paths]
    for what, path in zip(got, paths):
        print(what, path)
    return any(len(what) != 64 for what in got)


if __name__ == "__main__":
    sys.exit(main())
