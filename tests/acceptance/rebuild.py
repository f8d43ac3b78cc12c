"""The acceptance of rebuilding: what did not change costs nothing, and what changed costs one layer.

Rebuilds recipes/colab-like.yaml. Times are medians and maxima over several runs of the release binary, which hold where
little else runs.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys

from harness import program
from harness.imgforge import binary, build, imgforge
from harness.oci import Layout, hexadecimal
from harness.paths import REPOSITORY
from harness.processes import run
from harness.report import Stopwatch, figure, gigabytes, megabytes, require
from harness.store import blob_path, blobs, forget_layers, linked
from harness.work import Work

RUNS = 7
NOTHING_CHANGED = 0.3
ONE_CHANGED = 1.5
TWO_AT_ONCE = 1.2
# A small package, and a version of it that the first recipe does not choose.
CHANGE = "tqdm==4.66.6"
QUICK = {
    "base": "debian-bookworm",
    "packages": ["requests", "rich", "tqdm"],
    "exclude-newer": "2025-06-01",
}
REBUILD = ("--locked", "--offline", "--quiet")


class Rebuilds(Work):
    """A recipe, and a change of it that has one small package of another version."""

    def __init__(self, is_quick):
        super().__init__("rebuild")
        self.is_quick = is_quick
        self.original = self.directory / "recipe.yaml"
        self.changed = self.directory / "changed.yaml"

    def write_recipes(self):
        text = json.dumps(QUICK) if self.is_quick else (REPOSITORY / "recipes" / "colab-like.yaml").read_text()
        self.original.write_text(text)
        self.changed.write_text(changed(text))

    def destination(self, name):
        return f"oci:{self.directory / name}:latest"

    def layers(self, name):
        """The digests of an image's layers, bottom first, with what its history calls them."""
        layout = Layout(self.directory / name)
        titles = [entry["created_by"].removeprefix("imgforge: ") for entry in layout.config["history"]]
        return dict(zip(map(hexadecimal, layout.manifest["layers"]), titles, strict=True))

    def judge(self, kept, message):
        """A promise of speed, which only a whole run holds a machine to: continuous integration runs where others do."""
        if self.is_quick:
            figure("limit", "kept" if kept else f"NOT KEPT: {message}")
        else:
            require(kept, message)

    def timed(self, title, limit, rebuild):
        seconds = [rebuild() for _ in range(RUNS)]
        median = statistics.median(seconds)
        figure(title, f"median {median:.2f} s, at most {max(seconds):.2f} s (limit {limit} s)")
        self.judge(median < limit, f"{title}: took {median:.2f} s, the limit is {limit} s")


def changed(text):
    """The recipe with one small package of another version."""
    if text.startswith("{"):
        recipe = json.loads(text)
        recipe["packages"][-1] = CHANGE
        return json.dumps(recipe)
    return re.sub(r"(?m)^packages:$", f"packages:\n  - {CHANGE}", text)


def first_build(work):
    """The digest."""
    imgforge("lock", work.original, "--quiet")
    first = build(work.original, work.destination("image"), "--quiet")
    figure("digest", first.digest)
    figure("first build", f"{first.seconds:.1f} s, {megabytes(first.peak_memory)} at most")
    figure("image", gigabytes(Layout(work.directory / "image").size()))
    return first.digest


def nothing_changed(work, digest):
    def again(name):
        def rebuild():
            result = build(work.original, work.destination(name), *REBUILD)
            require(result.digest == digest, f"the digest changed: {result.digest}, it was {digest}")
            return result.seconds

        return rebuild

    shutil.copytree(work.directory / "image", work.directory / "copied")
    before = blobs(work.store)
    work.timed("nothing changed, into the layout that is there", NOTHING_CHANGED, again("image"))
    work.timed("nothing changed, into a layout with copies of the blobs", NOTHING_CHANGED, again("copied"))
    require(blobs(work.store) == before, "the store's blobs changed")
    shutil.rmtree(work.directory / "copied")
    reads_no_blob(work)


def reads_no_blob(work):
    """Every file that a rebuild opens, as the kernel saw it."""
    if not shutil.which("strace"):
        print("skipped: strace is not installed, so what a rebuild opens is not seen", file=sys.stderr)
        return
    log = work.directory / "opened"
    trace = ["strace", "-f", "-e", "trace=open,openat,openat2", "-o", log]
    run(*trace, binary(), "build", work.original, "-o", work.destination("image"), "--locked", "--offline")
    opened = re.findall(r'open(?:at2?)?\(.*?"([^"]+)"', log.read_text())
    require(any("/records/" in path for path in opened), "strace saw nothing of the store")
    stored = [path for path in opened if path.startswith(str(work.store)) and "/blobs/sha256/" in path]
    require(not stored, f"a rebuild opened {stored}")
    figure("blobs opened", f"0 of {len(opened)} files")


def one_changed(work):
    shutil.copy(work.original.with_suffix(".lock"), work.changed.with_suffix(".lock"))
    imgforge("lock", work.changed, "--quiet")
    old = work.layers("image")
    # Brings what is to be downloaded into the store.
    build(work.changed, work.destination("changed"), "--locked", "--quiet")
    new = {digest: title for digest, title in work.layers("changed").items() if digest not in old}
    of_wheels = [title for title in new.values() if title != "system files"]
    require(len(of_wheels) == 1, f"one small package changed, and these layers: {sorted(new.values())}")
    figure("layers written", ", ".join(new.values()))

    def rebuild():
        shutil.rmtree(work.directory / "changed")
        for digest in new:
            blob_path(work.store, f"sha256:{digest}").unlink()
        before = set(blobs(work.store))
        result = build(work.changed, work.destination("changed"), *REBUILD)
        require(set(blobs(work.store)) - before == set(new), "other blobs were written than the new layers")
        return result.seconds

    work.timed("one small package changed, its wheel in the store", ONE_CHANGED, rebuild)


def without_layers(work, name):
    """A store with what was downloaded, and nothing that was made of it."""
    store = linked(work.store, work.directory / name, set(work.layers("image")))
    forget_layers(store)
    return store


def builds_at_once(work, count, digest):
    """The seconds that so many builds take when they begin at once with one store without layers."""
    store = without_layers(work, "store-without-layers")
    watch = Stopwatch()
    command = [binary(), "build", work.original, *REBUILD]
    builds = [
        subprocess.Popen(
            [*command, "-o", work.destination(f"at-once-{number}")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"IMGFORGE_CACHE_DIR": str(store)},
        )
        for number in range(count)
    ]
    for process in builds:
        output, _ = process.communicate()
        require(process.returncode == 0, f"one of {count} builds at once exited with {process.returncode}")
        require(output.strip() == digest, f"one of {count} builds at once made {output.strip()}")
    seconds = watch.seconds()
    for path in [store, *(work.directory / f"at-once-{number}" for number in range(count))]:
        shutil.rmtree(path)
    return seconds


def two_at_once(work, digest, runs):
    ratios = []
    for _ in range(runs):
        alone = builds_at_once(work, 1, digest)
        ratios.append(builds_at_once(work, 2, digest) / alone)
    ratio = statistics.median(ratios)
    figure("two builds at once", f"{ratio:.2f} times one (limit {TWO_AT_ONCE}); one: {alone:.1f} s")
    work.judge(ratio < TWO_AT_ONCE, f"two builds at once took {ratio:.2f} times as long as one")


def main():
    command_line = program.parser("acceptance/rebuild", __doc__)
    command_line.add_argument(
        "--quick", action="store_true", help="a recipe of a few small packages, and no limits: the run of .ci/run"
    )
    is_quick = command_line.parse_args().quick
    with Rebuilds(is_quick) as work:
        work.write_recipes()
        digest = first_build(work)
        nothing_changed(work, digest)
        one_changed(work)
        two_at_once(work, digest, runs=5 if is_quick else 1)


if __name__ == "__main__":
    program.start(main)
