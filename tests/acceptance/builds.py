"""The builds of colab-like: the same digest every time, quickly when nothing changed, in little memory."""

import shutil

from harness.imgforge import build
from harness.paths import REPOSITORY
from harness.report import figure, gigabytes, megabytes, require
from harness.store import blobs

RECIPE = REPOSITORY / "recipes" / "colab-like.yaml"
MOST_MEMORY = 250e6


def first_build(work):
    result = build(RECIPE, work.layout_destination)
    figure("digest", result.digest)
    figure("seconds", f"{result.seconds:.1f}")
    figure("peak memory", megabytes(result.peak_memory))
    # With every download, the base and the check in it.
    require(result.peak_memory < MOST_MEMORY, "the build needed 250 MB or more")
    work.digest = result.digest


def second_build(work):
    # How long nothing may take is for `rebuild`, and for tests/bench.
    for options in ((), ("--offline",)):
        before = blobs(work.store)
        result = build(RECIPE, work.layout_destination, *options)
        figure(" ".join(["seconds", *options]), f"{result.seconds:.2f}")
        require(result.digest == work.digest, f"the digest changed: {result.digest}, it was {work.digest}")
        require(blobs(work.store) == before, "the store's blobs changed")
    figure("blobs written", 0)


def other_machine(work):
    """An empty store and as many threads as a large machine has stand for another machine."""
    store = work.directory / "empty-store"
    destination = work.directory / "other"
    try:
        environment = {"IMGFORGE_CACHE_DIR": str(store), "IMGFORGE_THREADS": "64"}
        result = build(RECIPE, f"oci:{destination}:latest", environment=environment)
        figure("seconds", f"{result.seconds:.1f}")
        figure("peak memory", megabytes(result.peak_memory))
        figure("blobs written", len(blobs(store)))
        require(result.digest == work.digest, f"the digest differs: {result.digest}, it was {work.digest}")
        require(result.peak_memory < MOST_MEMORY, "the build on 64 threads needed 250 MB or more")
    finally:
        shutil.rmtree(store, ignore_errors=True)
        shutil.rmtree(destination, ignore_errors=True)


def archive(work):
    result = build(RECIPE, work.archive_destination)
    figure("seconds", f"{result.seconds:.1f}")
    figure("peak memory", megabytes(result.peak_memory))
    figure("size", gigabytes(work.archive.stat().st_size))
    require(result.digest == work.digest, f"the archive's digest is {result.digest}, the layout's {work.digest}")
    require(result.peak_memory < MOST_MEMORY, "writing the archive needed 250 MB or more")
