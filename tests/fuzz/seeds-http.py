#!/usr/bin/env python3
"""Reply headers, as hubs.md 1.7 to 1.10 show them and as nobody should."""
import os
import sys

COMMIT = "dc08351d4dc0732d9c8af04070ced089b201ce2f"


def put(name, *lines):
    with open(os.path.join(sys.argv[1], name), "w", encoding="utf-8",
              newline="") as f:
        f.write("".join(line + "\r\n" for line in lines))


put("good-small", "HTTP/1.1 307 Temporary Redirect",
    "Location: /api/resolve-cache/models/o/m/" + COMMIT +
    "/config.json?%2Fo%2Fm=&etag=%22x%22", "X-Repo-Commit: " + COMMIT,
    'X-Linked-ETag: "' + COMMIT + '"', "Accept-Ranges: bytes",
    'RateLimit: "resolvers";r=2998;t=172')
put("good-lfs", "HTTP/2 302",
    "location: https://cdn.example/x?X-Amz-Date=20270115T080000Z"
    "&X-Amz-Expires=3600&X-Amz-Signature=1", "x-linked-size: 1282439584",
    'link: <https://h/t>; rel="xet-auth", <https://h/n>; rel="next"')
put("good-part", "HTTP/1.1 206 Partial Content", "Content-Length: 1000",
    "Content-Range: bytes 1000-1999/5000", "ETag: W/\"abc\"")
put("good-whole", "HTTP/1.1 200 OK", "Content-Length: 5000")
put("good-limited", "HTTP/1.1 429 Too Many", 'RateLimit: "api";r=0;t=3, "b"',
    "Retry-After: Fri, 15 Jan 2027 08:10:00 GMT",
    "X-Error-Message: slow\tdown")
put("bad-range", "HTTP/1.1 206 X", "Content-Range: bytes 2000-1000/5000",
    "Content-Length: 18446744073709551616")
put("bad-address", "HTTP/1.1 302 X", "Location: file:///a/%2e%2e/b",
    "Link: <//u:p@h/x>; rel=next")
put("bad-downgrade", "HTTP/1.1 302 X", "Location: http://h/x y#z",
    "Retry-After: 99999999999999999999", "RateLimit: ;t=;r=;t=99999999999")
put("bad-long", "HTTP/1.1 200 X", "ETag: " + "x" * 20000)
put("bad-many", "HTTP/1.1 200 X", *["X: " + "y" * 100] * 1000)
put("bad-status", "HTTP/1.1 2000", "HTTP/", ": ", "Link:<", "Location:")
