"""The hosts of static files keep their own promises: what each store says of
what it has, of what it has not, and what the settings change."""
import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from host_static import crc32c  # noqa: E402
from test_hubd import Client, equal  # noqa: E402

DATA = bytes(i * 7 % 251 for i in range(100000))
FILES = {
    "torchvision/models/x-1234abcd.pth": DATA,
    "torchserve/mar_files/x.mar": DATA[:10],
    "torchserve-s3/war_files/x.war": b"",
    "storage/bucket/a/x.h5": DATA,
}


def same_everywhere(c, url):
    status, h, body = c.ask(url, "HEAD")
    equal((status, h["Content-Length"], body), (200, "100000", b""))
    equal(h["Accept-Ranges"], "bytes")
    equal(c.ask(url)[2], DATA)
    status, h, body = c.ask(url, Range="bytes=0-0")
    equal((status, h["Content-Range"], body),
          (206, "bytes 0-0/100000", DATA[:1]))
    status, h, _ = c.ask(url, Range="bytes=100000-")
    equal((status, h["Content-Range"]), (416, "bytes */100000"))
    equal(c.ask(url, **{"If-None-Match": h["ETag"] or c.ask(url)[1]["ETag"]})
          [0], 304)
    equal(c.ask(url, Authorization="Bearer hf_alice")[0], 400, "leaked")
    equal(c.ask(url, "POST", b"")[0], 405)


def settings(c, url):
    c.ctl(set={"static_head": 405})
    equal(c.ask(url, "HEAD")[0], 405)
    equal(c.ask(url)[0], 200)
    c.ctl(set={"static_head": 200, "static_length": False})
    for method in ("HEAD", "GET"):
        status, h, body = c.ask(url, method)
        equal((status, h["Content-Length"]), (200, None), method)
    equal(body, DATA)
    c.ctl(set={"static_length": True, "static_range": False})
    status, h, body = c.ask(url, Range="bytes=5-9")
    equal((status, h["Accept-Ranges"], len(body)), (200, None, 100000))
    c.ctl(set={"static_range": True})


def amazon(c):
    at = c.urls["torchvision"] + "/models/"
    same_everywhere(c, at + "x-1234abcd.pth")
    settings(c, at + "x-1234abcd.pth")
    status, h, body = c.ask(at + "none.pth")
    equal((status, h["Content-Type"]), (403, "application/xml"))
    equal(b"<Code>AccessDenied</Code>" in body, True, body)
    equal(c.ask(at)[0], 403, "a directory")
    equal(c.ask(at + "../../storage/bucket/a/x.h5")[0], 403, "outside")
    equal(c.ask(c.urls["torchserve"] + "/mar_files/x.mar")[2], DATA[:10])
    status, h, body = c.ask(c.urls["torchserve-s3"] + "/war_files/x.war")
    equal((status, h["Content-Length"], body), (200, "0", b""))
    equal(h["X-Cache"], None, "no CDN there")


def google(c):
    equal(crc32c(b"123456789"), 0xE3069283)
    at = c.urls["storage"] + "/bucket/a/"
    same_everywhere(c, at + "x.h5")
    h = c.ask(at + "x.h5", "HEAD")[1]
    md5 = hashlib.md5(DATA).digest()
    equal(h["ETag"], f'"{md5.hex()}"')
    equal(h.get_all("x-goog-hash")[1],
          "md5=" + base64.b64encode(md5).decode())
    c.ctl(set={"goog_md5": False})
    h = c.ask(at + "x.h5", "HEAD")[1]
    equal(len(h.get_all("x-goog-hash")), 1)
    for path, status, code in (("/bucket/a/none.h5", 404, b"NoSuchKey"),
                               ("/none/x.h5", 404, b"NoSuchBucket"),
                               ("/bucket", 403, b"AccessDenied")):
        got, h, body = c.ask(c.urls["storage"] + path)
        equal(got, status, path)
        equal(b"<Code>" + code + b"</Code>" in body, True, body)


def main():
    with tempfile.TemporaryDirectory(prefix="omnihub-test-") as top:
        for path, data in FILES.items():
            full = os.path.join(top, ".hosts", path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as f:
                f.write(data)
        p = subprocess.Popen([sys.executable, os.path.join(HERE, "hubd.py"),
                              "--until-eof", "--host", "static", top],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            urls = json.loads(p.stdout.readline())
            equal(urls["endpoints"]["keras.endpoint"], urls["storage"])
            amazon(Client(urls))
            google(Client(urls))
        finally:
            p.stdin.close()
            p.wait(10)


if __name__ == "__main__":
    main()
