"""Checkpoints as torch.save writes them, made with Python's own pickle and
nothing of torch: small, readable, and wrong in ways that torch would not be.

    z = Zip()                       # the writer's layout, 64-byte aligned
    torch_zip({"w": Tensor("Float", [2, 3], data)})   # -> bytes
"""
import collections
import io
import pickle
import struct
import sys
import types

ELEMENT = {"Float": ("f32", 4), "Half": ("f16", 2), "BFloat16": ("bf16", 2),
           "Double": ("f64", 8), "Long": ("i64", 8), "Int": ("i32", 4),
           "Short": ("i16", 2), "Char": ("i8", 1), "Byte": ("u8", 1),
           "Bool": ("bool", 1), "ComplexFloat": ("c64", 8)}


def contents(n, seed):
    """n bytes that no other seed gives."""
    return bytes((i * 7 + seed * 31 + (i >> 5)) & 0xff for i in range(n))


# ---- modules of torch's names, for the pickler to refer to -----------------

def fake(module, name, thing=None):
    if thing is None:
        def thing(*_):
            raise AssertionError(f"{module}.{name} was called")
    parts = module.split(".")
    for i in range(len(parts)):
        sys.modules.setdefault(".".join(parts[:i + 1]),
                               types.ModuleType(".".join(parts[:i + 1])))
    thing.__module__, thing.__qualname__, thing.__name__ = module, name, name
    setattr(sys.modules[module], name, thing)
    return thing


TYPES = {name: fake("torch", name + "Storage") for name in ELEMENT}
TYPES["Untyped"] = fake("torch.storage", "UntypedStorage")
TYPES["QInt8"] = fake("torch", "QInt8Storage")
REBUILD = {n: fake("torch._utils", "_rebuild_" + n) for n in (
    "tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state",
    "qtensor", "sparse_tensor", "meta_tensor_no_storage")}
FROM_TYPE = fake("torch._tensor", "_rebuild_from_type_v2")
SUBCLASS = fake("mymodule", "MyTensor")
SIZE = fake("torch", "Size")


class Storage:
    """Bytes that several tensors may share."""
    def __init__(self, kind, data, key=None, numel=None, view=None):
        self.kind, self.data, self.key, self.view = kind, data, key, view
        size = ELEMENT.get(kind, ("", 1))[1]
        self.numel = len(data) // size if numel is None else numel


class Call:
    """A call in the pickle, and what BUILD gives it."""
    def __init__(self, function, *args, state=None):
        self.function, self.args, self.state = function, args, state

    def __reduce__(self):
        return (self.function, self.args) + (
            (self.state,) if self.state else ())


class Tensor(Call):
    def __init__(self, kind, shape, data=None, storage=None, offset=0,
                 stride=None, how="tensor_v2"):
        size = ELEMENT.get(kind, ("", 1))[1]
        n = 1
        for d in shape:
            n *= d
        if storage is None:
            storage = Storage(kind, contents(n * size, len(shape) * 13 + n)
                              if data is None else data)
        if stride is None:
            stride, step = [], 1
            for d in reversed(shape):
                stride.insert(0, step)
                step *= d
        self.kind, self.shape, self.storage = kind, shape, storage
        self.bytes = storage.data[offset * size:(offset + n) * size]
        args = [storage, offset, tuple(shape), tuple(stride)]
        if how != "tensor":
            args += [False, collections.OrderedDict()]
        super().__init__(REBUILD[how], *args)


class Pickler(pickle._Pickler):
    """The Python one: the C one asks whether classes are what they say."""
    def __init__(self, out, protocol, storages):
        super().__init__(out, protocol)
        self.storages = storages

    def save_global(self, obj, name=None):
        name = name or obj.__qualname__
        if self.proto >= 4:
            self.save(obj.__module__)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(b"c%s\n%s\n" % (obj.__module__.encode(),
                                       name.encode()))
        self.memoize(obj)

    dispatch = dict(pickle._Pickler.dispatch)
    dispatch[types.FunctionType] = save_global

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        if obj not in self.storages:
            self.storages.append(obj)
            if obj.key is None:
                obj.key = str(len(self.storages) - 1)
        return ("storage", TYPES[obj.kind], obj.key, "cpu", obj.numel) + (
            (obj.view,) if self.legacy else ())

    legacy = False


def dump(value, protocol=2, storages=None, legacy=False):
    out = io.BytesIO()
    p = Pickler(out, protocol, [] if storages is None else storages)
    p.legacy = legacy
    p.dump(value)
    return out.getvalue()


# ---- zip, as PyTorchStreamWriter lays it out -------------------------------

class Zip:
    """Members with padding before their data and a descriptor behind it; the
    attributes are there to be set wrong."""
    def __init__(self, align=64, descriptor=True):
        self.out, self.members = bytearray(), []
        self.align, self.descriptor = align, descriptor
        self.count = self.dir_len = self.dir_off = None
        self.zip64, self.comment, self.extra_entry = True, b"", b""

    def add(self, name, data, method=0, local_name=None, size=None, flags=0):
        name = name.encode()
        local = (local_name or name.decode()).encode()
        at = len(self.out)
        start = at + 30 + len(local) + 4
        pad = (-start) % self.align if self.align else 0
        extra = b"FB" + struct.pack("<H", pad) + b"Z" * pad \
            if self.align else b""
        flags |= 0x800 | (8 if self.descriptor else 0)
        size = len(data) if size is None else size
        sizes = (0, 0) if self.descriptor else (len(data), size)
        self.out += struct.pack("<IHHHHHIIIHH", 0x04034b50, 0, flags, method,
                                0, 0, 0, *sizes, len(local), len(extra))
        self.out += local + extra + data
        if self.descriptor:
            self.out += struct.pack("<IIII", 0x08074b50, 0, len(data), size)
        self.members.append((name, flags, method, len(data), size, at))
        return self

    def end(self):
        out = bytearray(self.out)
        off = len(out)
        for name, flags, method, packed, size, at in self.members:
            out += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014b50, 0, 0, flags,
                               method, 0, 0, 0, packed, size, len(name), 0, 0,
                               0, 0, 0, at) + name
        out += self.extra_entry
        n = len(self.members) if self.count is None else self.count
        length = len(out) - off if self.dir_len is None else self.dir_len
        off = off if self.dir_off is None else self.dir_off
        if self.zip64:
            at = len(out)
            out += struct.pack("<IQHHIIQQQQ", 0x06064b50, 44, 0, 45, 0, 0, n,
                               n, length, off)
            out += struct.pack("<IIQI", 0x07064b50, 0, at, 1)
        out += struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, min(n, 0xffff),
                           min(n, 0xffff), min(length, 0xffffffff),
                           min(off, 0xffffffff), len(self.comment))
        return bytes(out + self.comment)


def members(value, root="archive", protocol=2, order="little", z=None):
    """A Zip with everything torch.save puts in, not ended yet."""
    storages = []
    z = z or Zip()
    z.add(f"{root}/data.pkl", dump(value, protocol, storages))
    if order:
        z.add(f"{root}/byteorder", order.encode())
    for s in storages:
        z.add(f"{root}/data/{s.key}", s.data)
    return z.add(f"{root}/version", b"3\n")


def torch_zip(value, **options):
    return members(value, **options).end()


# ---- the form without zip --------------------------------------------------

MAGIC = 0x1950a86a20f9469cfc6c


def torch_legacy(value, protocol=2, magic=MAGIC, little=True, keys=None,
                 tail=b"", version=1001):
    storages = []
    body = dump(value, protocol, storages, legacy=True)
    names = [s.key for s in storages] if keys is None else keys
    out = pickle.dumps(magic, protocol) + pickle.dumps(version, protocol)
    out += pickle.dumps({"protocol_version": 1001, "little_endian": little,
                         "type_sizes": {"short": 2, "int": 4, "long": 4}},
                        protocol)
    out += body + pickle.dumps(names, protocol)
    for s in storages:
        out += struct.pack("<q", s.numel) + s.data
    return out + tail
