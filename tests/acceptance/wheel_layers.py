"""Layers made of wheels, compared with the wheels as Python unpacks them."""

import hashlib
import re
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path

from harness.report import require

PACKAGES = "usr/local/lib/python3.11/dist-packages"
# The places of the directories of NAME.data.
SCHEMES = {
    "purelib": PACKAGES,
    "platlib": PACKAGES,
    "scripts": "usr/local/bin",
    "data": "usr/local",
    "headers": "usr/local/include/python3.11/{name}",
}
# The files that an installer writes, and those that it leaves out.
WRITTEN = re.compile(r"\.dist-info/(RECORD|INSTALLER|REQUESTED)$")
# The files that eStargz adds.
ESTARGZ = [".no.prefetch.landmark", "stargz.index.json"]
LEFT_OUT = re.compile(r"\.dist-info/RECORD(\.jws|\.p7s)?$")


def check(wheel, layer, form, scratch):
    """Requires that the layer's tar is made of its entries' headers and the wheel's contents, bit by bit; the size of the
    tar in bytes."""
    with open(scratch, "w+b") as tar, zipfile.ZipFile(wheel) as archive:
        decompress(layer["blob"], form, tar)
        size = tar.tell()
        members = installed(archive, wheel)
        digest = hashlib.sha256()
        at = 0
        with tarfile.open(scratch, "r:") as entries:
            for entry in entries:
                digest.update(read(tar, at, entry.offset_data - at))
                at = entry.offset_data
                if entry.isreg():
                    for part in contents(wheel, archive, members.pop(entry.name, None), entry, tar):
                        digest.update(part)
                    at += entry.size
        digest.update(read(tar, at, size - at))
    require(not members, f"{wheel}: not in the layer: {sorted(members.values())[:5]}")
    found = f"sha256:{digest.hexdigest()}"
    require(found == layer["diff_id"], f"{wheel}: the tar is not what the wheel's contents make")
    return size


def contents(wheel, archive, member, entry, tar):
    """The contents that the wheel gives a file of the layer. What the installer writes is taken from the tar."""
    if member is None:
        require(is_written(entry.name), f"{wheel}: `{entry.name}` is of no member")
        yield read(tar, entry.offset_data, entry.size)
    elif head(archive, member) == b"#!python" and entry.name.startswith("usr/local/bin/"):
        ours, theirs = read(tar, entry.offset_data, entry.size), archive.read(member)
        require(ours.split(b"\n", 1)[1] == theirs.split(b"\n", 1)[1], f"{wheel}: `{entry.name}` is another script")
        yield ours
    else:
        require(archive.getinfo(member).file_size == entry.size, f"{wheel}: `{entry.name}` has another size")
        with archive.open(member) as content:
            while part := content.read(1 << 20):
                yield part


def is_written(path):
    return WRITTEN.search(path) or path.startswith("usr/local/bin/") or path in ESTARGZ


def installed(archive, wheel):
    """By path in the layer, the member that is installed there."""
    data = re.compile(r"^[^/]+\.data/([^/]+)/(.+)$")
    members = {}
    for info in archive.infolist():
        if info.is_dir() or LEFT_OUT.search(info.filename) or WRITTEN.search(info.filename):
            continue
        inside = data.match(info.filename)
        root = SCHEMES.get(inside[1]) if inside else PACKAGES
        require(root, f"{wheel}: `{info.filename}` has no place")
        root = root.format(name=Path(wheel).name.split("-")[0])
        members[f"{root}/{inside[2] if inside else info.filename}"] = info.filename
    return members


def head(archive, name):
    with archive.open(name) as content:
        return content.read(8)


def read(file, at, size):
    file.seek(at)
    return file.read(size)


def decompress(blob, form, tar):
    """Decompresses a layer as a strict reader of its form does."""
    if form == "gzip":
        one_member(blob, tar)
    else:
        program = {"zstd": "zstd", "estargz": "gzip"}[form]
        with open(blob, "rb") as packed:
            subprocess.run([program, "-dc", "-q"], stdin=packed, stdout=tar, check=True)
        tar.seek(0, 2)


def one_member(blob, tar):
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    with open(blob, "rb") as file:
        while part := file.read(1 << 20):
            require(not decoder.eof, f"{blob}: bytes follow the first gzip member")
            tar.write(decoder.decompress(part))
    tar.write(decoder.flush())
    require(decoder.eof and not decoder.unused_data, f"{blob}: is not one gzip member")
