"""imgforge's store as the tests know it: blobs by digest, and records of what was made of them."""

import json
import os
import shutil


def blob_path(store, digest):
    return store / "blobs" / digest.replace(":", "/")


def blobs(store):
    """Every blob of the store, and what changes when one is written again."""
    directory = store / "blobs" / "sha256"
    return {blob.name: blob_state(blob.stat()) for blob in directory.iterdir()}


def blob_state(status):
    return status.st_size, status.st_mtime_ns, status.st_ino


def forget_layers(store, kept=frozenset()):
    """Removes the records of all layers, so that builds write them anew, but for those whose blobs have these names."""
    for record in (store / "records" / "layer").iterdir():
        if json.loads(record.read_text())["digest"].removeprefix("sha256:") not in kept:
            record.unlink()


def linked(store, copy, left_out=frozenset()):
    """A copy of the store without the files of these names; it has links, as blobs and records are never written in
    place."""
    shutil.copytree(store, copy, symlinks=True, copy_function=os.link, ignore=lambda _, names: left_out & set(names))
    return copy


def link(source, target):
    """A second name for a file, or a copy of it on another file system."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
