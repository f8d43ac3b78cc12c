"""The build itself: same digest every time, quickly when nothing changed, in little memory."""

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass

from harness import Stopwatch, figure, gigabytes, require, run

RECIPE = "recipes/colab-like.yaml"
BINARY = shlex.split(os.environ.get("IMGFORGE_BINARY", "cargo run --release --quiet --"))


@dataclass
class Build:
    digest: str
    seconds: float
    peak_memory: int  # bytes


def build(destination, *options, recipe=RECIPE, environment=None):
    """Runs `imgforge build`, measured as the kernel accounts for it."""
    command = [*BINARY, "build", str(recipe), "-o", destination, *options]
    watch = Stopwatch()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=os.environ | (environment or {})
    )
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    require(process.returncode == 0, f"`{' '.join(command)}` exited with {process.returncode}")
    digest = output.strip()
    require(re.fullmatch("sha256:[0-9a-f]{64}", digest), f"stdout is not a digest alone: {output!r}")
    return Build(digest, watch.seconds(), usage.ru_maxrss * 1024)


def blobs(store):
    """Every blob of the store, and what changes when one is written again."""
    directory = store / "blobs" / "sha256"
    statuses = {blob.name: blob.stat() for blob in directory.iterdir()}
    require(statuses, f"no blobs in {directory}: is it the store's directory?")
    return {name: (status.st_size, status.st_mtime_ns, status.st_ino) for name, status in statuses.items()}


def first_build(work):
    run("cargo", "build", "--release", "--quiet")
    result = build(work.layout_destination)
    figure("digest", result.digest)
    figure("seconds", f"{result.seconds:.1f}")
    figure("peak memory", f"{result.peak_memory / 1e6:.0f} MB")
    # With every download, the base and the check in it.
    require(result.peak_memory < 250e6, "the build needed 250 MB or more")
    work.digest = result.digest


def second_build(work):
    for options, limit in (((), 5), (("--offline",), 2)):
        before = blobs(work.store)
        result = build(work.layout_destination, *options)
        figure(" ".join(["seconds", *options]), f"{result.seconds:.2f} (limit {limit})")
        require(result.digest == work.digest, f"the digest changed: {result.digest}, it was {work.digest}")
        require(result.seconds < limit, f"took {result.seconds:.2f} s, the limit is {limit} s")
        require(blobs(work.store) == before, "the store's blobs changed")
    figure("blobs written", 0)


def other_machine(work):
    """An empty store and as many threads as a large machine has stand for another machine."""
    store = work.directory / "empty-store"
    destination = work.directory / "other"
    try:
        result = build(
            f"oci:{destination}:latest", environment={"IMGFORGE_CACHE_DIR": str(store), "IMGFORGE_THREADS": "64"}
        )
        figure("seconds", f"{result.seconds:.1f}")
        figure("peak memory", f"{result.peak_memory / 1e6:.0f} MB")
        figure("blobs written", len(blobs(store)))
        require(result.digest == work.digest, f"the digest differs: {result.digest}, it was {work.digest}")
        require(result.peak_memory < 250e6, "the build on 64 threads needed 250 MB or more")
    finally:
        shutil.rmtree(store, ignore_errors=True)
        shutil.rmtree(destination, ignore_errors=True)


def archive(work):
    result = build(work.archive_destination)
    figure("seconds", f"{result.seconds:.1f}")
    figure("peak memory", f"{result.peak_memory / 1e6:.0f} MB")
    figure("size", gigabytes(work.archive.stat().st_size))
    require(result.digest == work.digest, f"the archive's digest is {result.digest}, the layout's {work.digest}")
    require(result.peak_memory < 250e6, "writing the archive needed 250 MB or more")
