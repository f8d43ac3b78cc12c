"""A directory that can be changed without being copied, and its changes as a layer, as engines make them. Needs root."""

import os
import stat
import tarfile
from contextlib import suppress
from pathlib import Path

from harness.processes import run


class Overlay:
    """A file system over `lower`, seen at `merged`; `directory` keeps what is changed."""

    def __init__(self, lower, directory):
        self.upper, self.merged = directory / "upper", directory / "merged"
        self.lower, self.work = lower, directory / "work"

    def mount(self):
        for path in (self.upper, self.merged, self.work):
            path.mkdir(parents=True)
        places = f"lowerdir={self.lower},upperdir={self.upper},workdir={self.work}"
        run("mount", "-t", "overlay", "-o", f"{places},index=off,metacopy=off,redirect_dir=off", "overlay", self.merged)

    def unmount(self):
        run("umount", "-l", self.merged)

    def write_layer(self, path):
        """Writes the changes as a layer's tar: <https://github.com/opencontainers/image-spec/blob/main/layer.md>."""
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as layer:
            for file in sorted(self.upper.rglob("*")):
                add(layer, file, file.relative_to(self.upper))


def add(layer, file, path):
    if is_whiteout(file):
        layer.addfile(tarfile.TarInfo(str(path.with_name(f".wh.{path.name}"))))
        return
    layer.add(file, str(path), recursive=False)
    if is_opaque(file):
        layer.addfile(tarfile.TarInfo(f"{path}/.wh..wh..opq"))


def is_whiteout(file: Path):
    status = file.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(file: Path):
    if file.is_symlink() or not file.is_dir():
        return False
    with suppress(OSError):  # an attribute that is not there
        return os.getxattr(file, "trusted.overlay.opaque") == b"y"
    return False
