"""Layers made of wheels, held against the wheels as Python unpacks them."""

import hashlib
import re
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path

from harness import require

PACKAGES = "usr/local/lib/python3.11/dist-packages"
# Where the directories of NAME.data go.
SCHEMES = {
    "purelib": PACKAGES,
    "platlib": PACKAGES,
    "scripts": "usr/local/bin",
    "data": "usr/local",
    "headers": "usr/local/include/python3.11/{name}",
}
# What an installer writes, and what it leaves out.
WRITTEN = re.compile(r"\.dist-info/(RECORD|INSTALLER|REQUESTED)$")
# What eStargz adds.
ESTARGZ = [".no.prefetch.landmark", "stargz.index.json"]
LEFT_OUT = re.compile(r"\.dist-info/RECORD(\.jws|\.p7s)?$")


def check(wheel, layer, form, scratch):
    """Requires of the layer's tar that it is what its entries' headers and the wheel's contents make, bit by bit.

    Returns the size of the tar in bytes.
    """
    with open(scratch, "w+b") as tar, zipfile.ZipFile(wheel) as archive:
        decompress(layer["blob"], form, tar)
        size = tar.tell()
        members = installed(archive, wheel)
        digest = hashlib.sha256()
        at = 0
        for entry in tarfile.open(scratch, "r:"):
            digest.update(read(tar, at, entry.offset_data - at))
            at = entry.offset_data
            if not entry.isreg():
                continue
            name = members.pop(entry.name, None)
            if name is None:
                require(is_written(entry.name), f"{wheel}: `{entry.name}` is of no member")
                digest.update(read(tar, at, entry.size))
            elif b"#!python" == head(archive, name) and entry.name.startswith("usr/local/bin/"):
                ours, theirs = read(tar, at, entry.size), archive.read(name)
                require(ours.split(b"\n", 1)[1] == theirs.split(b"\n", 1)[1], f"{wheel}: `{entry.name}` is another script")
                digest.update(ours)
            else:
                require(archive.getinfo(name).file_size == entry.size, f"{wheel}: `{entry.name}` has another size")
                with archive.open(name) as content:
                    while part := content.read(1 << 20):
                        digest.update(part)
            at += entry.size
        digest.update(read(tar, at, size - at))
    require(not members, f"{wheel}: not in the layer: {sorted(members.values())[:5]}")
    require(f"sha256:{digest.hexdigest()}" == layer["diff_id"], f"{wheel}: the tar is not what the wheel's contents make")
    return size


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
        subprocess.run([program, "-dc", "-q"], stdin=open(blob, "rb"), stdout=tar, check=True)
        tar.seek(0, 2)


def one_member(blob, tar):
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    with open(blob, "rb") as file:
        while part := file.read(1 << 20):
            require(not decoder.eof, f"{blob}: bytes follow the first gzip member")
            tar.write(decoder.decompress(part))
    tar.write(decoder.flush())
    require(decoder.eof and not decoder.unused_data, f"{blob}: is not one gzip member")
