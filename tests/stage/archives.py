"""Archives, good and hostile, byte by byte where the standard library is too
decent to write them.

make() gives {file name: (bytes, lines)}: what tests/unit/stage-archive prints
of each; a line that ends with "*" is compared up to there. One string instead
of the lines is the name of the error.
"""
import gzip
import hashlib
import io
import struct
import tarfile
import zlib

MIB = 1 << 20


def sha(data):
    return hashlib.sha256(data).hexdigest()


def member(path, data, how):
    return f"{path} {len(data)} {how} {sha(data)}"


def noise(n, seed=1):
    """n bytes that do not compress."""
    out = bytearray()
    while len(out) < n:
        seed = (seed * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        out += struct.pack("<Q", seed ^ seed >> 29)
    return bytes(out[:n])


class Zip:
    """Members as told, also lies; APPNOTE.TXT 4.3.7, 4.3.12, 4.3.16."""

    def __init__(self):
        self.body = bytearray()
        self.dir = bytearray()
        self.n = 0

    def add(self, name, data=b"", method=8, mode=0o100644, flags=0, *,
            size=None, crc=None, local_name=None, local_size=None, host=3,
            at=None, packed=None, extra=b""):
        name = name if isinstance(name, bytes) else name.encode()
        local = name if local_name is None else local_name
        raw = data
        if packed is None:
            packed = raw
            if method == 8:
                z = zlib.compressobj(9, zlib.DEFLATED, -15)
                packed = z.compress(raw) + z.flush()
        size = len(raw) if size is None else size
        crc = zlib.crc32(raw) if crc is None else crc
        here = len(self.body) if at is None else at
        self.dir += struct.pack(
            "<IBBHHHHHIIIHHHHHII", 0x02014b50, 20, host, 20, flags, method, 0,
            0x21, crc, len(packed), size, len(name), len(extra), 0, 0, 0,
            mode << 16, here) + name + extra
        if at is None:
            sizes = ((0, 0, 0) if flags & 8 else
                     (crc, len(packed),
                      size if local_size is None else local_size))
            self.body += struct.pack(
                "<IHHHHHIIIHH", 0x04034b50, 20, flags, method, 0, 0x21,
                *sizes, len(local), 0) + local + packed
            if flags & 8:
                self.body += struct.pack("<IIII", 0x08074b50, crc,
                                         len(packed), size)
        self.n += 1
        return self

    def end(self, count=None):
        n = self.n if count is None else count
        return bytes(self.body + self.dir + struct.pack(
            "<IHHHHIIH", 0x06054b50, 0, 0, n & 0xffff, n & 0xffff,
            len(self.dir), len(self.body), 0))


class Tar:
    def __init__(self, form=tarfile.PAX_FORMAT):
        self.out = io.BytesIO()
        self.tar = tarfile.TarFile(fileobj=self.out, mode="w", format=form)

    def add(self, name, data=b"", kind=tarfile.REGTYPE, **more):
        info = tarfile.TarInfo(name)
        info.type = kind
        info.size = len(data) if kind == tarfile.REGTYPE else 0
        for key, value in more.items():
            setattr(info, key, value)
        self.tar.addfile(info, io.BytesIO(data))
        return self

    def raw(self, data):
        """Blocks as they are, after what was added."""
        self.out.write(data)
        self.tar.offset += len(data)
        return self

    def end(self):
        self.tar.close()
        return self.out.getvalue()


def gz(data):
    return gzip.compress(data, 6, mtime=0)


def header(name, size, kind=b"0"):
    """A ustar header whose size is what we say."""
    octal = b"%011o\0" % size if size < 8 ** 11 else (
        b"\x80" + size.to_bytes(11, "big"))
    h = bytearray(512)
    h[0:len(name)] = name
    h[100:108] = b"0000644\0"
    h[108:124] = b"0000000\0" * 2
    h[124:136] = octal
    h[136:148] = b"00000000000\0"
    h[156:157] = kind
    h[257:265] = b"ustar\00000"
    h[148:156] = b" " * 8
    h[148:156] = b"%06o\0 " % sum(h)
    return bytes(h)


def zips():
    text, big = b"text " * 4000, noise(300000)
    good = (Zip().add("MAR-INF/MANIFEST.json", b'{"a": 1}')
            .add("model.pt", big, 0).add("a/b/c.txt", text)
            .add("a/b/empty", b"", 0).add("dir/", b"", 0, 0o40755)
            .add("stream.bin", text, flags=8).add("win.txt", b"x", host=0))
    yield "good-zip", good.end(), [
        member("MAR-INF/MANIFEST.json", b'{"a": 1}', "deflated"),
        member("a/b/c.txt", text, "deflated"),
        member("a/b/empty", b"", "stored"), "dir/",
        member("model.pt", big, "stored"),
        member("stream.bin", text, "deflated"),
        member("win.txt", b"x", "deflated")]
    yield "good-zip-empty", Zip().end(), []
    yield "good-zip-names", (
        Zip().add("../up", b"1").add("/abs", b"2").add("a/../b", b"3")
        .add("a//b", b"4").add("nul\0name", b"5").add("x" * 256, b"6")
        .add(b"\xff\xfe", b"7").add("", b"8").add("tab\t", b"9")
        .add("ok", b"10").add("twice", b"11").add("twice", b"12")
        .add("file", b"13").add("file/below", b"14")
        .add("d/" * 2047 + "yz", b"15")).end(), [
        member("file", b"13", "deflated"), member("ok", b"10", "deflated"),
        "! : it is no good name", "! ../up: not a name for a file",
        "! /abs: not a name for a file", "! a/../b: not a name for a file",
        "! a//b: not a name for a file", "! d/d/*",
        "! nul?name: it is no good name",
        "! tab?: not a name for a file", "! twice: it comes twice",
        "! twice: it comes twice", "! xxx*", "! ??: not a name for a file",
        "! file/below: it is below a member that is a file"]
    yield "good-zip-kinds", (
        Zip().add("link", b"/etc/passwd", 0, 0o120777)
        .add("dev", b"", 0, 0o20666).add("pipe", b"", 0, 0o10666)
        .add("secret", noise(40), 0, flags=1).add("lzma", b"zz", 14)
        .add("aes", b"zz", 99).add("fine", b"!", 0)).end(), [
        member("fine", b"!", "stored"), "! aes: compressed by method 99",
        "! dev: neither a file nor a directory",
        "! link: a symbolic link", "! lzma: compressed by method 14",
        "! pipe: neither a file nor a directory", "! secret: encrypted"]
    yield "good-zip-lies", (
        Zip().add("crc", b"abc", crc=7).add("longer", b"abc", size=4)
        .add("shorter", b"abcd", size=3)
        .add("header", b"abc", local_size=5)
        .add("other", b"abc", local_name=b"OTHER")
        .add("cut", b"abc" * 99, packed=b"\x4b\x4c")
        .add("more", b"abc", packed=b"\x4b\x4c\x4a\x06\x00xx")
        .add("stored", b"abc", 0, size=9)).end(), [
        "crc 3 deflated EBADMSG", "cut 297 deflated EBADMSG",
        "header 3 deflated EBADMSG", "longer 4 deflated EBADMSG",
        "more 3 deflated EBADMSG", "other 3 deflated EBADMSG",
        "shorter 3 deflated EBADMSG",
        "! stored: it is stored in another length"]
    # Many names for one run of bytes, and a header inside another's bytes.
    z = Zip().add("a", noise(5000), 0)
    for i in range(5):
        z.add(f"b{i}", noise(5000), 0, at=0)
    z.add("z", noise(9), 0)
    z.add("in", noise(50), 0, at=100)
    yield "good-zip-overlap", z.end(), [
        "in 50 stored EBADMSG", member("z", noise(9), "stored"),
        "! a: it overlaps what follows it"] + [
        f"! b{i}: it overlaps what follows it" for i in range(5)]
    # Three that say nearly 1 GiB of zeros: the second is too much.
    z = Zip()
    packed = zeros(64 * MIB)
    for i in range(3):
        z.add(f"zeros{i}", b"", packed=packed, size=(1 << 30) - 9, crc=0)
    z.add("small", b"small")
    yield "good-zip-bomb", z.end(), [
        member("small", b"small", "deflated"),
        f"zeros0 {(1 << 30) - 9} deflated EBADMSG",
        "! zeros1: the archive would unpack to too much",
        "! zeros2: the archive would unpack to too much"]
    z64 = struct.pack("<HHQ", 1, 8, 1 << 62)
    z = Zip().add("large", b"abc", size=0xffffffff, extra=z64)
    z.add("cut", b"abc", size=0xffffffff, extra=b"\1\0\3\0abc")
    z.add("huge", b"abc", size=0xffffffff,
          extra=struct.pack("<HHQ", 1, 8, 1 << 63))
    yield "good-zip-zip64", z.end(), [
        "! cut: it has an extra field that breaks off",
        "! huge: the archive would unpack to too much",
        "! large: the archive would unpack to too much"]
    yield "bad-zip-cut", good.end()[:-30], "EBADMSG"
    yield "bad-zip-count", good.end(count=9), "EBADMSG"


def zeros(n):
    z = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join(z.compress(bytes(MIB)) for _ in range(n // MIB)) + z.flush()


def tars():
    text, big = b"text " * 4000, noise(700000)
    good = (Tar().add("./", kind=tarfile.DIRTYPE).add("./saved_model.pb", text)
            .add("./variables", kind=tarfile.DIRTYPE)
            .add("./variables/variables.index", b"index")
            .add("./variables/variables.data-00000-of-00001", big)
            .add("./empty", b"").add("./näme", b"utf-8")
            .add("long/" * 40 + "name", b"pax")).end()
    lines = [
        member("empty", b"", "stream"),
        member("long/" * 40 + "name", b"pax", "stream"),
        member("näme", b"utf-8", "stream"),
        member("saved_model.pb", text, "stream"), "variables/",
        member("variables/variables.data-00000-of-00001", big, "stream"),
        member("variables/variables.index", b"index", "stream")]
    yield "good-tar", good, lines
    yield "good-tar-gz", gz(good), lines
    yield "good-tar-gz-parts", gz(good[:7000]) + gz(good[7000:]), lines
    yield "good-tar-gz-tail", gz(good) + bytes(9000), lines
    yield "good-tar-gnu", (Tar(tarfile.GNU_FORMAT).add("x/" * 100 + "y", b"1")
                           .end()), [member("x/" * 100 + "y", b"1", "stream")]
    yield "good-tar-empty", Tar().end(), []
    sparse = {"GNU.sparse.map": "0,1,1073741823,1",
              "GNU.sparse.size": "1073741824", "GNU.sparse.name": "holes"}
    hostile = (Tar().add("../up", b"1").add("/abs", b"2").add("a/../../b", b"3")
               .add("link", kind=tarfile.SYMTYPE, linkname="/etc/passwd")
               .add("hard", kind=tarfile.LNKTYPE, linkname="ok")
               .add("dev", kind=tarfile.CHRTYPE).add("blk", kind=tarfile.BLKTYPE)
               .add("pipe", kind=tarfile.FIFOTYPE).add("ok", b"fine")
               .add("twice", b"1").add("twice", b"2").add("file", b"x")
               .add("file/below", b"y").add("link/below", b"z")
               .add("n" * 300, b"w").add("sparse", b"ab", pax_headers=sparse))
    yield "good-tar-hostile", gz(hostile.end()), [
        member("file", b"x", "stream"), member("link/below", b"z", "stream"),
        member("ok", b"fine", "stream"), "! ../up: not a name for a file",
        "! /abs: not a name for a file", "! a/../../b: not a name for a file",
        "! link: a symbolic link", "! hard: a hard link", "! dev: a device",
        "! blk: a device", "! pipe: a pipe", "! nnn*",
        "! holes: a sparse file",
        "! file/below: it is below a member that is a file",
        "! twice: the name comes twice"]
    lie = header(b"bomb", 1 << 40) + bytes(512)
    yield "good-tar-bomb", gz(Tar().add("ok", b"fine").raw(lie).end()), [
        member("ok", b"fine", "stream"),
        "! bomb: the archive would unpack to too much; *"]
    yield "bad-tar-cut", good[:200000], "EBADMSG"
    yield "bad-tar-gz-cut", gz(good)[:-4], "EBADMSG"
    crc = bytearray(gz(good))
    crc[-6] ^= 1
    yield "bad-tar-gz-crc", bytes(crc), "EBADMSG"
    yield "bad-tar-size", header(b"more", 4096) + bytes(1024), "EBADMSG"
    yield "bad-gz-in-gz", gz(gz(good)), "EBADMSG"
    yield "bad-noise", noise(5000), "EBADMSG"
    yield "bad-short", b"PK", "EBADMSG"


def make():
    return {name: (data, lines)
            for of in (zips, tars) for name, data, lines in of()}
