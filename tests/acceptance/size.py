"""The size of the image beside that of the same distributions with each framework's own CUDA.

Each framework is resolved alone, as pip would install it; the unpacked sizes of the nvidia wheels it asks for are
read from the wheels' central directories by range requests. Nothing big is downloaded.
"""

import io
import tomllib
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor

from acceptance.builds import RECIPE
from harness.paths import UV
from harness.processes import run
from harness.report import figure, gigabytes, require

FRAMEWORKS = ("torch==2.6.0", "jax[cuda12]==0.5.3", "tensorflow[and-cuda]==2.18.0")
SAVED = 2.5e9  # bytes


def smaller_than_own_cuda(work):
    unpacked = tree_size(work.bundle / "rootfs")
    shared = tree_size(work.bundle / "rootfs/usr/local/cuda-12.5")
    own = {framework: own_cuda(framework) for framework in FRAMEWORKS}
    for framework, wheels in own.items():
        figure(f"own CUDA of {framework}", f"{gigabytes(sum(wheels.values()))} in {len(wheels)} wheels")
    separate = unpacked - shared + sum(sum(wheels.values()) for wheels in own.values())
    figure("shared CUDA", gigabytes(shared))
    figure("image, unpacked", gigabytes(unpacked))
    figure("with each framework's own CUDA", gigabytes(separate))
    figure("smaller by", f"{gigabytes(separate - unpacked)} (at least {gigabytes(SAVED)})")
    require(separate - unpacked >= SAVED, "the image is not smaller by as much as promised")


def tree_size(root):
    """The bytes of all regular files below `root`, a file with several names counted once."""
    require(root.is_dir(), f"{root} is missing")
    files = (path.lstat() for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return sum({(file.st_dev, file.st_ino): file.st_size for file in files}.values())


def own_cuda(framework):
    """The unpacked size of every nvidia wheel that `framework`, resolved alone, asks for."""
    lock = run(
        UV, "pip", "compile", "-", "--quiet", "--format", "pylock.toml",
        "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36", *exclude_newer(),
        stdin=None, input=framework,
    )  # fmt: skip
    wheels = {package["name"]: package["wheels"] for package in tomllib.loads(lock)["packages"]}
    urls = {name: x86_64(found)["url"] for name, found in wheels.items() if name.startswith("nvidia-")}
    require(urls, f"{framework} asks for no nvidia wheel")
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(urls, pool.map(unpacked_size, urls.values()), strict=True))


def exclude_newer():
    """The recipe's own date: both sides are resolved as of the same day."""
    for line in RECIPE.read_text().splitlines():
        if line.startswith("exclude-newer:"):
            return ["--exclude-newer", line.split(":", 1)[1].split("#")[0].strip().strip("\"'")]
    return []


def x86_64(wheels):
    return next(wheel for wheel in wheels if "x86_64" in wheel["url"] or "-any.whl" in wheel["url"])


def unpacked_size(url):
    with zipfile.ZipFile(io.BufferedReader(RemoteFile(url), 1 << 18)) as wheel:
        return sum(entry.file_size for entry in wheel.infolist())


class RemoteFile(io.RawIOBase):
    """A file behind HTTP, read by ranges."""

    def __init__(self, url):
        self.url = url
        self.position = 0
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as response:
            self.length = int(response.headers["Content-Length"])

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self.position

    def seek(self, offset, whence=io.SEEK_SET):
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.length}[whence]
        self.position = start + offset
        return self.position

    def readinto(self, buffer):
        end = min(self.position + len(buffer), self.length)
        if end <= self.position:
            return 0
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={self.position}-{end - 1}"})
        with urllib.request.urlopen(request, timeout=60) as response:
            require(response.status == 206, f"{self.url} is not served by ranges")
            data = response.read()
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)
