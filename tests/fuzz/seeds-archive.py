#!/usr/bin/env python3
"""Archives, good and hostile, by the generator of tests/stage; the small ones,
as all of a seed is read thousands of times."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "stage"))
from archives import Tar, Zip, gz, make  # noqa: E402


def put(name, data):
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)


for title, (content, _) in make().items():
    if len(content) < 20000:
        put(title, content)
put("good-small-zip", Zip().add("a/b", b"stored", 0).add("c", b"text" * 9)
    .add("d", b"with a descriptor", flags=8).add("dir/", b"", 0, 0o40755).end())
put("good-spaces", Zip().add(" a", b"", 0).add("  b/ c ", b"text" * 9).end())
put("good-small-tar", Tar().add("./a", b"text").add("b" * 120, b"pax").end())
put("good-small-tar-gz", gz(Tar().add("./a", b"text" * 99).end()))
put("good-json", b'{"version":1,"members":["3 4 ' + b"0" * 64 +
    b' 0 0 0 0 0 a/b","1 9 - ff 0 9 0 40 c"],"refused":[["d","twice"]],'
    b'"n_refused":1}')
