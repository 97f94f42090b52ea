#!/usr/bin/env python3
"""Lock files, right and wrong."""
import os
import sys

A, B = "a" * 40, "b" * 40
SHA, GIT, KEY = "12" * 32, "34" * 20, "56" * 32
HEAD = "omnihub-lock 1\n"
MODEL = f"model huggingface org/repo@{A}\n"
NAME = "name huggingface org/repo\n"


def put(name, text):
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())


put("good-empty", HEAD + "end\n")
put("good-full", f"""{HEAD}# comment

{MODEL}date 2024-02-19T11:06:12Z
{NAME}name huggingface org/repo@refs%2Fpr%2F1
name huggingface short
file 570 gitsha1:{GIT},sha256:{SHA} config.json
file 440449768 sha256:{SHA} a directory/the weights.bin
file - - unknown
file 12 -,sha256:{SHA} no digest at the hub
file 7 sha256:12345678 by its name
file 7 md5:{'0' * 32} x/y
staged {KEY} pytorch/model.onnx

model kaggle owner/model/onnx/base@3
name kaggle owner/model/onnx/base

end
""")
put("good-no-newline", HEAD + MODEL + NAME + "end")
put("bad-nothing", "")
put("bad-magic", "omnihub-lock one\n")
put("bad-version", "omnihub-lock 2\nend\n")
put("bad-cut", HEAD + MODEL + NAME)
put("bad-after-end", HEAD + "end\n" + MODEL)
put("bad-twice", HEAD + MODEL + NAME + MODEL + NAME + "end\n")
put("bad-name-twice", HEAD + MODEL + NAME + f"model huggingface org/repo@{B}\n"
    + NAME + "end\n")
put("bad-no-name", HEAD + MODEL + "end\n")
put("bad-other-hub", HEAD + MODEL + "name kaggle org/repo\nend\n")
put("bad-orphan", HEAD + NAME + "end\n")
for i, line in enumerate((
        "file 1 - ../../etc/passwd", "file 1 - /etc/passwd", "file 1 -",
        "file -1 - x", "file 9223372036854775808 - x", "file 1 sha256:xy x",
        f"file 1 sha256:{SHA},sha256:{SHA} x", "file 1 crc:12 x",
        f"staged {KEY[1:]} x", "staged", "date yesterday",
        "date 1969-12-31T23:59:59Z", "date 2024-02-19T11:06:12Z x",
        "name huggingface org/repo@a b", "name huggingface ../x",
        "name huggingface", "name /x", "name huggingface x@%00", "frob x",
        "file 1 - a\rb", "x" * 9000, "model huggingface org/repo",
        "file 1 - a\nfile 1 - a", "file 1 - a\nfile 1 - a/b")):
    put(f"bad-line-{i}", HEAD + MODEL + NAME + line + "\nend\n")
put("bad-nul", (HEAD + MODEL + NAME).encode() + b"file 1 - a\0b\nend\n")
