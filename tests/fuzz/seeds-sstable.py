#!/usr/bin/env python3
"""Tables of LevelDB: plain and snappy, and such that lie."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "..", "contrib", "demo"))
from wire import masked, varint  # noqa: E402


def block(entries, interval=2, restarts=None):
    body, points, last = b"", [], b""
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % interval:
            while shared < min(len(key), len(last)) and \
                    key[shared] == last[shared]:
                shared += 1
        else:
            points.append(len(body))
        body += varint(shared) + varint(len(key) - shared) + \
            varint(len(value)) + key[shared:] + value
        last = key
    points = (points or [0]) if restarts is None else restarts
    return body + b"".join(struct.pack("<I", p) for p in points) + \
        struct.pack("<I", len(points))


def snappy(data):
    """Literals, and one copy when the data ends as it begins."""
    out = varint(len(data))
    for at in range(0, len(data), 60):
        part = data[at:at + 60]
        out += bytes([len(part) - 1 << 2]) + part
    return out


def table(blocks, pack=0, crc=0, magic=0xdb4775248b80fb57):
    out, index = b"", []

    def add(data, kind):
        nonlocal out
        data = snappy(data) if kind == 1 else data
        handle = varint(len(out)) + varint(len(data))
        out += data + bytes([kind]) + struct.pack(
            "<I", masked(data + bytes([kind])) ^ crc)
        return handle

    for entries in blocks:
        last = entries[-1][0] if entries else b""
        index.append((last + b"~", add(block(entries) if isinstance(
            entries, list) else entries, pack)))
    meta = add(block([]), 0)
    footer = meta + add(block(index, 1), pack if pack < 2 else 0)
    return out + footer.ljust(40, b"\0") + struct.pack("<Q", magic)


def put(name, data):
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)


if __name__ == "__main__":
    A = [(b"", b"\x08\x01"), (b"dense/bias", b"1"), (b"dense/kernel", b"22")]
    B = [(b"embedding", b"3" * 90), (b"embedding/slot", b"")]
    put("good-one", table([A]))
    put("good-two", table([A, B]))
    put("good-snappy", table([A, B], pack=1))
    put("bad-order", table([B, A]))
    put("bad-crc", table([A], crc=1))
    put("bad-magic", table([A], magic=1))
    put("bad-short", table([A])[20:])
    put("unsupported-packing", table([A], pack=4))
