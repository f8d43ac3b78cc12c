"""The acceptance of size: time grows with the wheels and not faster, and memory does not grow at all.

Builds of 1, 2, 4 and 8 GB of wheels need 20 GB of disk. Every wheel is made of the compressed bytes of real libraries, as
they are in the wheels of torch 2.2.1 and cuDNN 8.9, and comes from a package index on loopback.
"""

import os
import shutil
import zipfile

from harness import memory, program, raw_zip, wheels
from harness.imgforge import build
from harness.index import Index
from harness.report import figure, gigabytes, megabytes, require
from harness.store import blobs, forget_layers, link
from harness.work import Work

# The contents of a wheel: about a gigabyte as it is compressed.
LIBRARIES = {
    "torch==2.2.1": ["torch/lib/libtorch_cuda.so", "torch/lib/libtorch_cpu.so"],
    "nvidia-cudnn-cu12==8.9.2.26": ["nvidia/cudnn/lib/libcudnn_cnn_infer.so.8"],
}
QUICK_LIBRARIES = {"nvidia-cuda-nvrtc-cu12==12.1.105": ["nvidia/cuda_nvrtc/lib/libnvrtc.so.12"]}
BASE = {"base": "debian-bookworm", "packages": []}
SIZES = (1, 2, 4, 8)
# Of the time for each byte: what a larger build may need beside what the smallest needs.
MOST_GROWTH = 1.25
MOST_MEMORY = 250e6
THREADS = (1, 8, 64)
FORMS = ("zstd", "estargz")


def read(libraries):
    """Members of downloaded wheels, by their names without directories."""
    members = {}
    for requirement, names in libraries.items():
        path = wheels.downloaded(requirement)
        with zipfile.ZipFile(path) as archive:
            members |= {name.rsplit("/", 1)[-1]: raw_zip.Copied(path, archive.getinfo(name)) for name in names}
    return members


def write_wheel(directory, number, libraries):
    name = f"growth{number}"
    members = {f"{name}/{library}": member for library, member in libraries.items()}
    return wheels.write(directory, name, members, "py3-none-manylinux1_x86_64")


class Growth(Work):
    """Builds of ever more wheels, in a store that has them and the base."""

    def __init__(self):
        super().__init__("growth", own_store=True)
        self.image = self.directory / "image"

    def write_wheels(self, libraries):
        directory = self.directory / "wheels"
        directory.mkdir()
        self.wheels = [write_wheel(directory, number, libraries) for number in range(max(SIZES))]

    def prepare(self, index):
        """Brings the base, which is not measured, and the wheels into the store, so that no network is measured."""
        self.environment = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index.url}
        recipe = self.recipe("base", BASE)
        build(recipe, f"oci:{self.image}:latest", "--quiet", environment=self.environment)
        for wheel in self.wheels:
            link(wheel, self.store / "blobs" / "sha256" / index.digests[wheel.name])
        self.kept = blobs(self.store).keys()
        self.forget_layers()

    def cold(self, count, threads, form="gzip"):
        """A build of so many wheels, none of whose layers is there."""
        names = [f"growth{number}" for number in range(count)]
        keys = BASE | {"packages": names, "cuda": {"policy": "pip"}, "layers": {"compression": form}}
        recipe = self.recipe(f"growth-{count}", keys)
        environment = self.environment | {"IMGFORGE_THREADS": str(threads)}
        # The libraries that libtorch needs are not there.
        done = build(recipe, f"oci:{self.image}:latest", "--no-check", "--quiet", environment=environment)
        needed = f"{count} wheels on {threads} threads as {form} need {megabytes(done.peak_memory)}"
        require(done.peak_memory < MOST_MEMORY, needed)
        self.forget_layers()
        return done

    def forget_layers(self):
        shutil.rmtree(self.image)
        forget_layers(self.store, self.kept)
        for name in blobs(self.store).keys() - self.kept:
            (self.store / "blobs" / "sha256" / name).unlink()


def grow(work, is_timed):
    """Builds of more and more wheels, and of all of them on other numbers of threads and in other forms."""
    seconds = {count: timed(work, count) for count in SIZES}
    for count in SIZES[1:]:
        growth = seconds[count] / seconds[SIZES[0]] / count
        slow = f"a byte of {count} wheels takes {growth:.2f} times as long as one of the first"
        require(not is_timed or growth <= MOST_GROWTH, slow)
    for threads in THREADS:
        report(f"{threads} threads", work.cold(SIZES[-1], threads))
    for form in FORMS:
        report(f"{THREADS[-1]} threads, {form}", work.cold(SIZES[-1], THREADS[-1], form))


def timed(work, count):
    """The seconds of a build of so many wheels on all threads."""
    done = work.cold(count, os.cpu_count() or 1)
    packed = count * work.wheels[0].stat().st_size
    each = done.seconds / (packed / 1e9)
    figure(gigabytes(packed), f"{done.seconds:.1f} s, {each:.2f} s for each GB, {megabytes(done.peak_memory)}")
    return done.seconds


def report(name, done):
    figure(name, f"{done.seconds:.1f} s, {megabytes(done.peak_memory)}")


def main():
    command_line = program.parser("acceptance/growth", __doc__)
    command_line.add_argument(
        "--quick",
        action="store_true",
        help="a fortieth of the wheels, whose builds are held to the bound of memory alone: the run of .ci/run",
    )
    quick = command_line.parse_args().quick
    with Growth() as work:
        work.write_wheels(read(QUICK_LIBRARIES if quick else LIBRARIES))
        with Index(work.wheels) as index, memory.kept():
            memory.touch(sum(wheel.stat().st_size for wheel in work.wheels) * 2)
            work.prepare(index)
            grow(work, is_timed=not quick)


if __name__ == "__main__":
    program.start(main)
