"""Hosts of static files, as hubs.md 4.1, 4.4 and 5.3 tell of them.

    .hosts/torchvision/models/X.pth         download.pytorch.org
    .hosts/torchserve/mar_files/X.mar       torchserve.pytorch.org
    .hosts/torchserve-s3/war_files/X.war    torchserve.s3.amazonaws.com
    .hosts/storage/BUCKET/OBJECT            storage.googleapis.com

The first three are S3, two of them behind CloudFront: what is missing is 403
there, because nobody may list the bucket. The last is Google's: 404, and
x-goog-hash tells MD5 and CRC-32C. Faults that these settings do not name are
rules of faults.py (ignore-range, html, ...).
"""
import base64
import email.utils
import functools
import hashlib
import os
import threading
import urllib.parse

from faults import Reply

SETTINGS = {
    "static_head": 200,         # else the status that answers every HEAD
    "static_length": True,      # False: no reply tells how long it is
    "static_range": True,       # False: Range is not known there at all
    "goog_md5": True,           # False: as of a composed object
}
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
PART = 8 << 20                  # of an upload in parts


def crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = crc32c_table()


def crc32c(data):
    """Castagnoli's polynomial, which zlib has not."""
    c = 0xFFFFFFFF
    for b in data:
        c = TABLE[(c ^ b) & 255] ^ c >> 8
    return c ^ 0xFFFFFFFF


class Facts:
    """What a store knows of one object."""

    def __init__(self, disk):
        with open(disk, "rb") as f:
            data = f.read()
        self.stat = os.stat(disk)
        self.size = len(data)
        self.md5 = hashlib.md5(data)
        parts = [hashlib.md5(data[i:i + PART]).digest()
                 for i in range(0, len(data), PART)]
        self.s3 = self.md5.hexdigest() if len(parts) < 2 else \
            f"{hashlib.md5(b''.join(parts)).hexdigest()}-{len(parts)}"
        self.disk = disk

    @functools.cached_property
    def crc(self):
        """Seconds for megabytes, so only for who tells it."""
        with open(self.disk, "rb") as f:
            return base64.b64encode(
                crc32c(f.read()).to_bytes(4, "big")).decode()


class Static:
    """One host; what differs between stores is below."""

    keys, directory = (), None

    def __init__(self, hub):
        self.hub = hub
        self.known = {}
        self.lock = threading.Lock()    # who asks again waits for the first

    def load(self):
        self.known = {}

    def facts(self, disk):
        st = os.stat(disk)
        with self.lock:
            f = self.known.get(disk)
            if f is None or (f.stat.st_mtime_ns, f.stat.st_size) != \
                    (st.st_mtime_ns, st.st_size):
                f = self.known[disk] = Facts(disk)
        return f

    def answer(self, q):
        s = self.hub.set
        path = urllib.parse.unquote(q.path).strip("/")
        disk = self.hub.files(self.directory, path)
        if q.headers.get("Authorization"):      # nobody's, leaked
            return self.error(400, "InvalidArgument",
                              "Unsupported Authorization Type")
        if q.method not in ("GET", "HEAD"):
            return self.error(405, "MethodNotAllowed", "The specified method "
                              "is not allowed against this resource.")
        if q.method == "HEAD" and s["static_head"] != 200:
            return self.error(s["static_head"], "MethodNotAllowed", "no HEAD")
        if ".." in path.split("/") or not os.path.isfile(disk):
            return self.missing(path)
        f = self.facts(disk)
        headers = self.describe(f)
        headers.append(("Last-Modified", email.utils.formatdate(
            int(f.stat.st_mtime), usegmt=True)))
        if q.headers.get("If-None-Match") == dict(headers)["ETag"]:
            return Reply(304, b"", headers)
        rng = q.headers.get("Range") if s["static_range"] else None
        if s["static_range"]:
            headers.append(("Accept-Ranges", "bytes"))
        reply = Reply(200, b"", headers, "application/octet-stream")
        reply.label = path
        reply.of_file(disk, f.size, rng)
        if reply.status == 416:
            e = self.error(416, "InvalidRange",
                           "The requested range is not satisfiable")
            e.put("Content-Range", reply.get("Content-Range"))
            return e
        reply.chunked = not s["static_length"]
        return reply


class S3(Static):
    """Amazon's, with the headers of a CDN in front of it."""

    cdn = True

    def error(self, status, code, say):
        where = [("Server", "AmazonS3"),
                 ("x-amz-request-id", os.urandom(8).hex().upper()),
                 ("x-amz-id-2", base64.b64encode(os.urandom(30)).decode())]
        if self.cdn:
            where += [("X-Cache", "Error from cloudfront"),
                      ("Via", "1.1 local.cloudfront.net (CloudFront)")]
        ids = dict(where)
        body = (f"{XML}<Error><Code>{code}</Code><Message>{say}</Message>"
                f"<RequestId>{ids['x-amz-request-id']}</RequestId><HostId>"
                f"{ids['x-amz-id-2']}</HostId></Error>")
        return Reply(status, body.encode(), where, "application/xml")

    def missing(self, path):
        return self.error(403, "AccessDenied", "Access Denied")

    def describe(self, f):
        out = [("Server", "AmazonS3"), ("ETag", f'"{f.s3}"'),
               ("x-amz-request-id", os.urandom(8).hex().upper()),
               ("x-amz-server-side-encryption", "AES256")]
        if self.cdn:
            out += [("X-Cache", "Hit from cloudfront"), ("Age", "7"),
                    ("Via", "1.1 local.cloudfront.net (CloudFront)"),
                    ("X-Amz-Cf-Pop", "LOCAL1-P1")]
        return out


class Torchvision(S3):
    name = directory = "torchvision"
    keys = ("torchvision.endpoint",)


class Torchserve(S3):
    name = directory = "torchserve"
    keys = ("torchserve.endpoint",)


class TorchserveS3(S3):
    name = directory = "torchserve-s3"
    keys = ("torchserve.s3",)
    cdn = False


class Storage(Static):
    """Google's XML API, anonymous."""

    name = directory = "storage"
    keys = ("keras.endpoint",)

    def error(self, status, code, say, details=""):
        body = (f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}"
                f"</Code><Message>{say}</Message>"
                f"<Details>{details}</Details></Error>")
        return Reply(status, body.encode(), [
            ("Server", "UploadServer"),
            ("Cache-Control", "private, max-age=0"),
            ("X-GUploader-UploadID", os.urandom(24).hex())],
            "application/xml; charset=UTF-8")

    def missing(self, path):
        bucket, _, name = path.partition("/")
        if not os.path.isdir(self.hub.files(self.directory, bucket)):
            return self.error(404, "NoSuchBucket",
                              "The specified bucket does not exist.")
        if not name:
            return self.error(
                403, "AccessDenied", "Access denied.",
                "Anonymous caller does not have storage.objects.list access "
                "to the Google Cloud Storage bucket.")
        return self.error(404, "NoSuchKey",
                          "The specified key does not exist.",
                          f"No such object: {bucket}/{name}")

    def describe(self, f):
        out = [("Server", "UploadServer"), ("ETag", f'"{f.md5.hexdigest()}"'),
               ("x-goog-generation", str(f.stat.st_mtime_ns // 1000)),
               ("x-goog-metageneration", "1"),
               ("x-goog-stored-content-encoding", "identity"),
               ("x-goog-stored-content-length", str(f.size)),
               ("x-goog-storage-class", "STANDARD"),
               ("x-goog-hash", "crc32c=" + f.crc)]
        if self.hub.set["goog_md5"]:
            md5 = base64.b64encode(f.md5.digest()).decode()
            out.append(("x-goog-hash", "md5=" + md5))
        return out


SITES = [Torchvision, Torchserve, TorchserveS3, Storage]
