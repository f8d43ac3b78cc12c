#!/usr/bin/env -S python3 -B
"""Measures the scan of a base of more than 2 GB, made from NVIDIA's own libraries, against the least that any scan
must do: inflate every layer, and hash it before and after, on as many threads.

Prints medians, their ratio in time and in CPU time (promised: at most 1.2), the peak memory of a scan (promised: below
200 MB), and how long a second look takes (promised: below 100 ms). Beside it, `imgforge check` of an image with the same
libraries, by a store that never saw it, and what its layers take to inflate: by `gzip -dc`, as many at once (promised:
check takes at most 1.3 times as long, and below 300 MB), and by a loop over zlib-rs. Fails when a promise is broken.
"""

import gzip
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import repeat

from harness import program
from harness.cargo import built
from harness.imgforge import binary, imgforge
from harness.index import sha256
from harness.oci import GZIP_LAYER, MANIFEST, Layout
from harness.paths import BENCH, REPOSITORY
from harness.processes import measured
from harness.report import Stopwatch, gigabytes, require
from harness.wheels import downloaded

WHEELS = [  # the largest libraries of a base with CUDA 12
    "nvidia-cublas-cu12==12.4.5.8",
    "nvidia-cudnn-cu12==9.1.0.70",
    "nvidia-cufft-cu12==11.2.3.61",
    "nvidia-cusolver-cu12==11.6.1.9",
    "nvidia-cusparse-cu12==12.3.1.170",
    "nvidia-cusparselt-cu12==0.7.1",
    "nvidia-nccl-cu12==2.21.5",
]
THREADS = os.cpu_count() or 1


def write_layer(path, blobs):
    """A layer of the wheel's files, as NVIDIA's packages lay them out."""
    unfinished = blobs / f"unfinished-{path.stem}"
    diff_id = hashlib.sha256()
    with unfinished.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, mtime=0) as packed:

        class Hashed:
            def write(self, data):
                diff_id.update(data)
                return packed.write(data)

        with zipfile.ZipFile(path) as archive, tarfile.open(fileobj=Hashed(), mode="w|", bufsize=1 << 20) as tar:
            for member in sorted(archive.infolist(), key=lambda member: member.filename):
                name = member.filename.rsplit("/", 1)[-1]
                system = "cudnn" in name or "nccl" in name
                library = "usr/lib/x86_64-linux-gnu" if system else "usr/local/cuda-12.4/targets/x86_64-linux/lib"
                place = f"{library}/{name}" if ".so" in name else f"opt/{member.filename}"
                header = tarfile.TarInfo(place)
                header.size = member.file_size
                tar.addfile(header, archive.open(member))
    digest, size = sha256(unfinished), unfinished.stat().st_size
    unfinished.rename(blobs / digest)
    return {"mediaType": GZIP_LAYER, "digest": f"sha256:{digest}", "size": size}, f"sha256:{diff_id.hexdigest()}"


def write_layout(layout):
    layout.blobs.mkdir(parents=True)
    wheels = [downloaded(requirement) for requirement in WHEELS]
    with ProcessPoolExecutor(THREADS) as pool:
        layers, diff_ids = zip(*pool.map(write_layer, wheels, repeat(layout.blobs)), strict=True)
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    layout.publish({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers}, config)


def base():
    layout = Layout(BENCH / "base")
    if not (layout.path / "oci-layout").exists():
        shutil.rmtree(layout.path, ignore_errors=True)
        print("making the base", file=sys.stderr)
        write_layout(layout)
    return layout


def image():
    """The same libraries in an image, as pip installs them."""
    layout = Layout(BENCH / "image")
    if not (layout.path / "oci-layout").exists():
        print("making the image", file=sys.stderr)
        shutil.copytree(REPOSITORY / "images", BENCH / "images", dirs_exist_ok=True)
        recipe = BENCH / "image.yaml"
        recipe.write_text(json.dumps({"base": "debian-bookworm", "packages": WHEELS, "cuda": {"policy": "pip"}}))
        with tempfile.TemporaryDirectory(dir=BENCH) as store:
            environment = os.environ | {"IMGFORGE_CACHE_DIR": store}
            imgforge("build", "--quiet", "--no-check", recipe, "-o", f"oci:{layout.path}", env=environment)
    return layout


def run(mode, layout, *arguments):
    """The seconds that a mode of scan.rs says it took, and its cost."""
    output, cost = measured(built("bench", "scan"), mode, layout.path, THREADS, *arguments)
    return float(output), cost


def check(layout, store):
    """The cost of a check. Findings are no failure."""
    command = (binary(), "check", "--quiet", f"oci:{layout.path}")
    return measured(*command, exit_codes=(0, 1), environment={"IMGFORGE_CACHE_DIR": store})[1]


def gunzip(layout):
    """The seconds that gzip takes for all blobs, the largest first."""
    watch = Stopwatch()
    blobs = sorted(layout.blobs.iterdir(), key=lambda blob: blob.stat().st_size, reverse=True)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(inflate, filter(is_gzip, blobs)))
    return watch.seconds()


def inflate(blob):
    subprocess.run(["gzip", "-dc", blob], stdout=subprocess.DEVNULL, check=True)


def is_gzip(path):
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def unpacked_size():
    members = (member for requirement in WHEELS for member in zipfile.ZipFile(downloaded(requirement)).infolist())
    return sum(member.file_size for member in members)


def row(name, values):
    print(f"{name:<16}{statistics.median(values):8.3f}   ({min(values):.3f} to {max(values):.3f})")


def ratios(ours, theirs):
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


class Measurements:
    """The figures of every run."""

    def __init__(self):
        self.plain, self.scan, self.again = [], [], []
        self.inflated, self.unzipped, self.checked = [], [], []

    def add_scan(self, layout, store):
        self.plain.append(run("plain", layout))
        self.scan.append(run("scan", layout, store))
        self.again.append(run("scan", layout, store)[0])

    def add_check(self, layout, store):
        self.inflated.append(run("inflate", layout)[0])
        self.unzipped.append(gunzip(layout))
        self.checked.append(check(layout, store))

    def report_scan(self):
        """Prints the figures of the scan; whether its promises are kept."""
        seconds = [[took for took, _ in figures] for figures in (self.scan, self.plain)]
        cpu = [[cost.cpu_seconds for _, cost in figures] for figures in (self.scan, self.plain)]
        for unit, (scan, plain) in (("s", seconds), ("CPU s", cpu)):
            row(f"plain loop, {unit}", plain)
            row(f"scan, {unit}", scan)
        row("ratio", ratios(*seconds))
        row("ratio of CPU", ratios(*cpu))
        row("second look, s", self.again)
        memory = report_memory(cost for _, cost in self.scan)
        slowest = max(statistics.median(ratios(*seconds)), statistics.median(ratios(*cpu)))
        return slowest <= 1.2 and memory < 200e6 and statistics.median(self.again) < 0.1

    def report_check(self):
        """Prints the figures of the check; whether its promises are kept."""
        seconds = [cost.seconds for cost in self.checked]
        row("check, s", seconds)
        row("gzip -dc, s", self.unzipped)
        row("zlib-rs loop, s", self.inflated)
        row("ratio to gzip", ratios(seconds, self.unzipped))
        row("ratio to loop", ratios(seconds, self.inflated))
        memory = report_memory(self.checked)
        return statistics.median(ratios(seconds, self.unzipped)) <= 1.3 and memory < 300e6


def report_memory(costs):
    memory = max(cost.peak_memory for cost in costs)
    print(f"peak memory     {memory / 1e6:8.0f} MB")
    return memory


def main():
    command_line = program.parser("bench/scan", __doc__)
    command_line.add_argument("runs", nargs="?", type=int, default=5, metavar="RUNS", help="by default 5")
    runs = command_line.parse_args().runs
    layout, finished = base(), image()
    run("plain", layout)  # reads the base into the page cache
    measurements = Measurements()
    for _ in range(runs):
        with tempfile.TemporaryDirectory(dir=BENCH) as store:
            measurements.add_scan(layout, store)
        with tempfile.TemporaryDirectory(dir=BENCH) as store:
            measurements.add_check(finished, store)
    print(f"base            {gigabytes(layout.size())} in layers, {gigabytes(unpacked_size())} in files")
    print(f"runs            {runs}, with {THREADS} layers at once")
    kept = [measurements.report_scan(), measurements.report_check()]
    require(all(kept), "a promise is broken")


if __name__ == "__main__":
    program.start(main)
