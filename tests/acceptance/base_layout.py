"""Writes a stand-in base as an OCI layout: the root's layers, one for each package or group of files, the databases."""

import contextlib
import hashlib
import io
import json
import os
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path

from acceptance.stand_ins import Link, Member, Text
from harness.oci import LAYER, Layout, hexadecimal
from harness.processes import run
from harness.report import Stopwatch, figure, gigabytes

MODIFIED = 1_700_000_000
STATUS = "var/lib/dpkg/status"


class Layers:
    """The layers written so far, by what they hold: bases share most of them."""

    def __init__(self, directory):
        self.directory = directory
        self.written = {}
        self.directory.mkdir(parents=True, exist_ok=True)

    def layer(self, files):
        """The tar of `files`; a second request for the same is answered by the first."""
        key = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        if key not in self.written:
            path = self.directory / f"{key}.tar"
            write_tar(path, files)
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self.written[key] = path, digest
        return self.written[key]


def write_tar(path, files):
    with contextlib.ExitStack() as stack, tarfile.open(path, "w") as tar:
        archives = {}
        for name in parents(files):
            tar.addfile(entry(name, tarfile.DIRTYPE, 0o755))
        for name, content in sorted(files.items()):
            match content:
                case Link(target):
                    link = entry(name, tarfile.SYMTYPE, 0o777)
                    link.linkname = target
                    tar.addfile(link)
                case Text(text):
                    data = text if isinstance(text, bytes) else text.encode()
                    file = entry(name, tarfile.REGTYPE, 0o644)
                    file.size = len(data)
                    tar.addfile(file, io.BytesIO(data))
                case Member(wheel, member):
                    if wheel not in archives:
                        archives[wheel] = stack.enter_context(zipfile.ZipFile(wheel))
                    file = entry(name, tarfile.REGTYPE, 0o755 if "/bin/" in f"/{name}" else 0o644)
                    file.size = archives[wheel].getinfo(member).file_size
                    with archives[wheel].open(member) as data:
                        tar.addfile(file, data)


def parents(files):
    return sorted({str(parent) for name in files for parent in Path(name).parents if str(parent) != "."})


def entry(name, kind, mode):
    found = tarfile.TarInfo(name)
    found.type, found.mode, found.mtime = kind, mode, MODIFIED
    return found


def write_base(base, root, directory, layers):
    """Writes `base` over the layout `root` as the layout `directory`."""
    watch = Stopwatch()
    groups = grouped(base)
    tars = [layers.layer(files) for files in groups]
    database = loader_and_package_databases(base, root, [path for path, _ in tars])
    tars.append(layers.layer(database))
    write_layout(Layout(root), Layout(directory), tars, base.environment or {})
    size = sum(path.stat().st_size for path, _ in tars)
    figure("base", f"{directory.name}: {gigabytes(size)} over the root, in {watch.seconds():.0f} s")


def grouped(base):
    """A layer for each source of packages, as each RUN of a Dockerfile makes one, then one for the other files."""
    sources = {}
    for package in base.packages:
        sources.setdefault(package.source, {}).update(package.files)
    return [files for files in [*sources.values(), base.files] if files]


def loader_and_package_databases(base, root, tars):
    with unpacked(root) as tree:
        for tar in tars:
            add_outlines(tree, tar)
        run("/sbin/ldconfig", "-X", "-r", tree)
        cache = (tree / "etc/ld.so.cache").read_bytes()
        status = (tree / STATUS).read_text()
    files = {"etc/ld.so.cache": Text(cache)}
    if not base.packages:
        return files
    # A package that two toolkits share is there in its last version.
    packages = {package.name: package for package in base.packages}
    files[STATUS] = Text(status.rstrip("\n") + "\n\n" + "\n".join(map(stanza, packages.values())))
    for name, package in packages.items():
        files[f"var/lib/dpkg/info/{name}.list"] = Text(listing(package))
        files[f"var/lib/dpkg/info/{name}.md5sums"] = Text("")
    return files


def stanza(package):
    return (
        f"Package: {package.name}\n"
        f"Status: {'hold' if package.held else 'install'} ok installed\n"
        "Priority: optional\n"
        "Section: multiverse/devel\n"
        "Maintainer: cudatools <cudatools@nvidia.com>\n"
        "Architecture: amd64\n"
        f"Source: {package.source}\n"
        f"Version: {package.version}\n"
        f"Description: {package.name}, files of NVIDIA's wheel\n"
    )


def listing(package):
    """The paths that a package owns for dpkg. The alternatives' links are not among them."""
    owned = [name for name in package.files if not name.startswith("etc/alternatives/")]
    return "".join(f"/{name}\n" for name in [".", *sorted([*owned, *parents(owned)])])


@contextlib.contextmanager
def unpacked(layout):
    with tempfile.TemporaryDirectory(dir=layout.parent) as directory:
        bundle = Path(directory) / "bundle"
        run("umoci", "unpack", "--image", f"{layout}:latest", bundle)
        yield bundle / "rootfs"


def add_outlines(tree, tar):
    """Adds the files of `tar` to `tree`, of libraries no more than ldconfig reads."""
    with tarfile.open(tar) as members, open(tar, "rb") as data:
        for member in members:
            path = tree / member.name
            if member.isdir():
                path.mkdir(exist_ok=True)
            elif member.issym():
                path.unlink(missing_ok=True)
                path.symlink_to(member.linkname)
            elif ".so" in path.name:
                write_outline(path, data, member.offset_data, member.size)
            elif path.suffix == ".conf":
                path.write_bytes(members.extractfile(member).read())


def write_outline(path, data, start, size):
    """A sparse copy of an ELF file: its headers, notes, dynamic section and string table."""

    def read(offset, length):
        data.seek(start + offset)
        return data.read(length)

    header = read(0, 64)
    with open(path, "wb") as outline:
        outline.truncate(size)
        if header[:4] != b"\x7fELF":
            return
        (table,) = struct.unpack_from("<Q", header, 32)
        entry_size, count = struct.unpack_from("<HH", header, 54)
        raw = read(table, entry_size * count)
        segments = [struct.unpack_from("<IIQQQQ", raw, at * entry_size) for at in range(count)]
        ranges = [(0, 64), (table, len(raw))]
        ranges += [(offset, length) for kind, _, offset, _, _, length in segments if kind in ELF_SEGMENTS_READ]
        [(offset, length)] = [(segment[2], segment[5]) for segment in segments if segment[0] == 2]
        dynamic = dict(struct.iter_unpack("<QQ", read(offset, length)))
        for kind, _, offset, address, _, length in segments:
            if kind == 1 and address <= dynamic[5] < address + length:
                ranges.append((dynamic[5] - address + offset, dynamic[10]))
        for offset, length in ranges:
            outline.seek(offset)
            outline.write(read(offset, length))


# PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_GNU_PROPERTY
ELF_SEGMENTS_READ = (2, 3, 4, 0x6474E553)


def write_layout(root, layout, tars, environment):
    """Writes the image of the layout `root` with the tars as further layers; the blobs are links."""
    manifest, config = root.manifest, root.config
    layout.blobs.mkdir(parents=True)
    for layer in manifest["layers"]:
        os.link(root.blob(layer), layout.blob(layer))
    for path, digest in tars:
        # The root's layers are compressed; these are not, which is as valid.
        layer = {"mediaType": LAYER, "digest": f"sha256:{digest}", "size": path.stat().st_size}
        os.link(path, layout.blob(layer))
        manifest["layers"].append(layer)
        config["rootfs"]["diff_ids"].append(layer["digest"])
        config.setdefault("history", []).append({"created_by": "a stand-in's layer"})
    old = dict(word.split("=", 1) for word in config["config"].get("Env", []))
    config["config"]["Env"] = [f"{name}={value}" for name, value in (old | environment).items()]
    layout.publish(manifest, config)
    write_docker_manifest(layout)


def write_docker_manifest(layout):
    """Writes what Docker reads instead of the index, over the same blobs."""
    image = {
        "Config": f"blobs/sha256/{hexadecimal(layout.manifest['config'])}",
        "RepoTags": [f"{layout.path.name}:latest"],
        "Layers": [f"blobs/sha256/{hexadecimal(layer)}" for layer in layout.manifest["layers"]],
    }
    (layout.path / "manifest.json").write_text(json.dumps([image]))
