"""HDF5 files with groups, float32 arrays and text attributes: as much as the
weights of Keras are made of. Standard library only.

Written after the HDF5 File Format Specification, version 0 of the superblock:
old-style groups (symbol tables), contiguous data, version 1 object headers.
"""
import struct
import zlib

UNDEFINED = (1 << 64) - 1
LEAF_K, NODE_K = 32, 16     # half of what a symbol table node and a tree hold
CHUNK_K = 32                # and a tree of chunks
FLOAT32 = struct.pack("<B3BI2H4BI", 0x11, 0x20, 31, 0, 4, 0, 32, 23, 8, 0, 23,
                      127)


def pad8(data):
    return data + b"\0" * (-len(data) % 8)


def dataspace(shape):
    return struct.pack("<BBB5x", 1, len(shape), 0) + b"".join(
        struct.pack("<Q", d) for d in shape)


def text_type(length):
    """A string of fixed length, filled up with NUL."""
    return struct.pack("<B3BI", 0x13, 1, 0, 0, length)


def message(kind, data):
    data = pad8(data)
    return struct.pack("<HHB3x", kind, len(data), 0) + data


def attribute(name, value):
    """value: bytes, or a list of them."""
    many = isinstance(value, list)
    values = value if many else [value]
    length = max([1] + [len(v) for v in values])
    kind, space = text_type(length), dataspace((len(values),) if many else ())
    name = name.encode() + b"\0"
    return message(0x0C, struct.pack("<BxHHH", 1, len(name), len(kind),
                                     len(space)) + pad8(name) + pad8(kind)
                   + pad8(space) + b"".join(v.ljust(length, b"\0")
                                            for v in values))


class File:
    def __init__(self):
        self.out = bytearray(96)

    def put(self, data):
        """Append at a multiple of 8; returns the address."""
        self.out += b"\0" * (-len(self.out) % 8)
        at = len(self.out)
        self.out += data
        return at

    def header(self, messages):
        body = b"".join(messages)
        return self.put(struct.pack("<BxHII4x", 1, len(messages), 1,
                                    len(body)) + body)

    def array(self, shape, data):
        """float32, little-endian; returns the address of its header."""
        return self.header([
            message(0x01, dataspace(shape)), message(0x03, FLOAT32),
            message(0x05, struct.pack("<BBBB", 2, 2, 2, 0)),
            message(0x08, struct.pack("<BBQQ", 3, 1, self.put(data),
                                      len(data)))])

    def group(self, members, attributes=()):
        """members: {name: address}. Returns the address of its header, and
        the addresses of tree and heap."""
        if len(members) > 2 * LEAF_K:
            raise ValueError("too many members")
        names, at = bytearray(8), {}
        for n in sorted(members):
            at[n] = len(names)
            names += pad8(n.encode() + b"\0")
        data = self.put(bytes(names))
        heap = self.put(b"HEAP" + struct.pack("<B3xQQQ", 0, len(names), 1,
                                              data))
        node = b"SNOD" + struct.pack("<BxH", 1, len(members))
        for n in sorted(members):
            node += struct.pack("<QQI4x16x", at[n], members[n], 0)
        node = self.put(node.ljust(8 + 80 * LEAF_K, b"\0"))
        tree = b"TREE" + struct.pack("<BBHQQ", 0, 0, 1 if members else 0,
                                     UNDEFINED, UNDEFINED)
        if members:
            tree += struct.pack("<QQQ", 0, node, max(at.values()))
        tree = self.put(tree.ljust(24 + 8 * (4 * NODE_K + 1), b"\0"))
        return self.header([message(0x11, struct.pack("<QQ", tree, heap))]
                           + [attribute(k, v) for k, v in attributes]
                           ), tree, heap

    def end(self, root):
        """root: what group() returned. Returns the file."""
        address, tree, heap = root
        self.put(b"")
        self.out[:96] = b"\x89HDF\r\n\x1a\n" + struct.pack(
            "<8B2HI4Q2QI4x2Q", 0, 0, 0, 0, 0, 8, 8, 0, LEAF_K, NODE_K, 0, 0,
            UNDEFINED, len(self.out), UNDEFINED, 0, address, 1, tree, heap)
        return bytes(self.out)


class Chunked(File):
    """The arrays are one chunk each, through deflate that deflates nothing:
    the file is always as long."""

    def array(self, shape, data):
        data = zlib.compress(data, 0)
        chunk = self.put(data)
        ends = [struct.pack(f"<II{len(shape) + 1}Q", len(data), 0, *at, 0)
                for at in ((0,) * len(shape), shape)]
        tree = b"TREE" + struct.pack("<BBHQQ", 1, 0, 1, UNDEFINED,
                                     UNDEFINED)
        tree += ends[0] + struct.pack("<Q", chunk) + ends[1]
        tree = self.put(tree.ljust(24 + 2 * CHUNK_K * 8 + len(ends[0]) *
                                   (2 * CHUNK_K + 1), b"\0"))
        return self.header([
            message(0x01, dataspace(shape)), message(0x03, FLOAT32),
            message(0x05, struct.pack("<BBBB", 2, 3, 2, 0)),
            message(0x0B, struct.pack("<BB6xHHHHI4x", 1, 1, 1, 0, 0, 1, 0)),
            message(0x08, struct.pack(f"<BBBQ{len(shape) + 1}I", 3, 2,
                                      len(shape) + 1, tree, *shape, 4))])


def keras_weights(layers, version=b"2.2.4", kind=File):
    """layers: [(layer, [(weight, shape, data)])], as save_weights() of Keras 2
    lays them out: a group a layer, in it weights by names with slashes."""
    f = kind()
    top = {}
    for layer, weights in layers:
        inner, full = {}, []
        for name, shape, data in weights:
            inner[name] = f.array(shape, data)
            full.append(f"{layer}/{name}".encode())
        below = {layer: f.group(inner)[0]} if inner else {}
        top[layer] = f.group(below, [("weight_names", full)] if full else
                             ())[0]
    return f.end(f.group(top, [
        ("layer_names", [n.encode() for n, _ in layers]),
        ("backend", b"tensorflow"), ("keras_version", version)]))
