"""Zip archives of members that are copied as they are compressed in others (APPNOTE.TXT §4.3), none of 4 GiB or more."""

import hashlib
import os
import struct
import zipfile
import zlib
from functools import cached_property


class Copied:
    """A member of another archive."""

    def __init__(self, path, info):
        self.path, self.info = path, info
        self.method, self.attributes = info.compress_type, info.external_attr
        self.sizes = info.CRC, info.compress_size, info.file_size

    @cached_property
    def digest(self):
        with zipfile.ZipFile(self.path) as archive, archive.open(self.info) as content:
            return hashlib.file_digest(content, "sha256").digest()

    def write(self, output):
        with self.path.open("rb") as file:
            file.seek(self.info.header_offset)
            header = file.read(30)
            file.seek(sum(struct.unpack("<HH", header[26:30])), os.SEEK_CUR)
            left = self.info.compress_size
            while left:
                left -= output.write(file.read(min(left, 1 << 20)))


class Stored:
    """A text that is not compressed."""

    method, attributes = zipfile.ZIP_STORED, 0o100644 << 16

    def __init__(self, text):
        self.content = text.encode()
        self.sizes = zlib.crc32(self.content), len(self.content), len(self.content)
        self.digest = hashlib.sha256(self.content).digest()

    def write(self, output):
        output.write(self.content)


class Deflated:
    """Bytes that are compressed quickly."""

    method, attributes = zipfile.ZIP_DEFLATED, 0o100644 << 16

    def __init__(self, content):
        self.compressed = zlib.compress(content, level=1, wbits=-zlib.MAX_WBITS)
        self.sizes = zlib.crc32(content), len(self.compressed), len(content)
        self.digest = hashlib.sha256(content).digest()

    def write(self, output):
        output.write(self.compressed)


def write(path, members):
    """Writes an archive of these members by their names."""
    entries = []
    with path.open("wb") as output:
        for name, member in members.items():
            encoded = name.encode()
            # UTF-8 names, and the first day that zip can tell.
            common = struct.pack("<HHHHIIIHH", 1 << 11, member.method, 0, 33, *member.sizes, len(encoded), 0)
            offset = output.tell()
            output.write(struct.pack("<IH", 0x04034B50, 20) + common + encoded)
            member.write(output)
            more = struct.pack("<HHHII", 0, 0, 0, member.attributes, offset)
            entries.append(struct.pack("<IHH", 0x02014B50, 3 << 8 | 20, 20) + common + more + encoded)
        start, listing = output.tell(), b"".join(entries)
        output.write(listing)
        output.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(entries), len(entries), len(listing), start, 0))
