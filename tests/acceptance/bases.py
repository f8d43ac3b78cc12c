"""Stand-in bases: a Debian root with Python and pip, and real CUDA libraries in the layouts that bases have.

The Debian root is made by imgforge. NVIDIA's libraries come from its wheels, downloaded once; here they lie as its
Debian packages and images lay them: under their full file names, with links, loader configuration and dpkg database.
Sources: the Dockerfiles of nvidia/cuda, and `dpkg -L` in them.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from harness import Stopwatch, figure, gigabytes, require, run

TARGETS = "targets/x86_64-linux"
MULTIARCH = "usr/lib/x86_64-linux-gnu"
SITE = "usr/local/lib/python3.11/dist-packages"
LAYER = "application/vnd.oci.image.layer.v1.tar"  # uncompressed: the root's layers are compressed, these are not
MTIME = 1_700_000_000


@dataclass(frozen=True)
class FromWheel:
    """A file of a wheel, by its name there."""

    wheel: Path
    member: str
    mode: int = 0o644


@dataclass(frozen=True)
class Link:
    target: str


@dataclass(frozen=True)
class Package:
    """A stanza of dpkg's status file."""

    name: str
    version: str
    source: str
    held: bool = False


@dataclass
class Content:
    """What one layer brings: files by their paths, and the packages that own them by the package's name."""

    files: dict = field(default_factory=dict)  # path -> FromWheel | Link | str
    owners: dict = field(default_factory=dict)  # Package -> [path]

    def add(self, package, files):
        self.files |= files
        if package:
            self.owners.setdefault(package, []).extend(files)


# --- NVIDIA's versions, as its Debian packages name them ---------------------------------------------------------------


@dataclass(frozen=True)
class Toolkit:
    """One CUDA toolkit of NVIDIA's apt archive: the versions of its libraries, and the year in CUPTI's file name."""

    version: str  # 12.2
    release: str  # 12.2.2
    cupti: str
    versions: tuple  # (component, version)

    @property
    def root(self):
        return f"usr/local/cuda-{self.version}"

    @property
    def dashed(self):
        return self.version.replace(".", "-")

    def of(self, component):
        return dict(self.versions).get(component)


CUDA_12_2 = Toolkit(
    "12.2", "12.2.2", "2023.2.2",
    (
        ("cublas", "12.2.5.6"), ("cuda-cupti", "12.2.142"), ("cuda-nvcc", "12.2.140"), ("cuda-nvrtc", "12.2.140"),
        ("cuda-runtime", "12.2.140"), ("cufft", "11.0.8.103"), ("curand", "10.3.3.141"), ("cusolver", "11.5.2.141"),
        ("cusparse", "12.1.2.141"), ("npp", "12.2.1.4"), ("nvjitlink", "12.2.140"), ("nvjpeg", "12.2.2.4"),
        ("nvtx", "12.2.140"),
    ),
)  # fmt: skip
# Colab's in March 2025. Its cuFile 1.10.1.7 was never a wheel.
CUDA_12_5 = Toolkit(
    "12.5", "12.5.1", "2024.2.1",
    (
        ("cublas", "12.5.3.2"), ("cuda-cupti", "12.5.82"), ("cuda-nvcc", "12.5.82"), ("cuda-nvrtc", "12.5.82"),
        ("cuda-runtime", "12.5.82"), ("cufft", "11.2.3.61"), ("curand", "10.3.6.82"), ("cusolver", "11.6.3.83"),
        ("cusparse", "12.5.1.3"), ("npp", "12.3.0.159"), ("nvjitlink", "12.5.82"), ("nvjpeg", "12.3.2.81"),
        ("nvtx", "12.5.82"),
    ),
)  # fmt: skip
CUDA_12_8 = Toolkit(
    "12.8", "12.8.1", "2025.1.1",
    (
        ("cublas", "12.8.4.1"), ("cuda-cupti", "12.8.90"), ("cuda-nvcc", "12.8.93"), ("cuda-nvrtc", "12.8.93"),
        ("cuda-runtime", "12.8.90"), ("cufft", "11.3.3.83"), ("cufile", "1.13.1.3"), ("curand", "10.3.9.90"),
        ("cusolver", "11.7.3.90"), ("cusparse", "12.5.8.93"), ("npp", "12.3.3.100"), ("nvjitlink", "12.8.93"),
        ("nvjpeg", "12.3.5.92"), ("nvtx", "12.8.90"),
    ),
)  # fmt: skip
