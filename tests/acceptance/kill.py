"""The acceptance of `kill -9`: whatever a build was at, the next one makes the same image of what is left.

The wheels are made here and served on loopback; the base's packages are downloaded once. Every tenth build makes the
base's layers too. SEED determines the moments; the one that was used is printed.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import time

from harness import program, wheels
from harness.imgforge import binary, imgforge
from harness.index import Index
from harness.oci import Layout
from harness.raw_zip import Deflated
from harness.report import Stopwatch, figure, require
from harness.store import forget_layers, linked
from harness.work import Work

COUNT, QUICK_COUNT = 200, 10
NAMES = [f"small-{number}" for number in range(24)]
# Large enough for a layer of its own, or rather for several of `max-size`.
LARGE = {"large": 70 << 20}
KEYS = {"base": "debian-bookworm", "packages": [*NAMES, *LARGE], "layers": {"max-size": "40MiB"}}
STORED = re.compile(r"(blobs/sha256|seals|records/[a-z-]+)/[0-9a-f]{64}|lock|tmp/[^/]+")


def write_wheel(directory, name, size, source):
    """A wheel of libraries and modules: half of it compresses."""
    members = {f"{name}/module_{number}.py": b"VALUE = %d\n" % number * 400 for number in range(30)}
    members |= {f"{name}/data_{number}.bin": source.randbytes(size // 8) + bytes(size // 8) for number in range(4)}
    return wheels.write(directory, name, {path: Deflated(content) for path, content in members.items()})


class Builds(Work):
    """Builds of one recipe, to a layout and to an archive."""

    def __init__(self):
        super().__init__("kill", own_store=True)
        self.image = self.directory / "image"
        self.archive = self.directory / "archive" / "image.tar"

    def write_wheels(self):
        directory = self.directory / "wheels"
        directory.mkdir()
        source = random.Random(0)
        sizes = dict.fromkeys(NAMES, 1 << 20) | LARGE
        return [write_wheel(directory, name, size, source) for name, size in sizes.items()]

    def build(self):
        """A build that has begun."""
        destinations = ["-o", f"oci:{self.image}", "-o", f"oci-archive:{self.archive}"]
        return subprocess.Popen(
            [binary(), "build", self.recipe("kill", KEYS), *destinations, "-q"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": self.index.url},
        )

    def base(self):
        """The layout of an image of the base alone."""
        layout = self.directory / "base"
        imgforge("build", self.recipe("base", KEYS | {"packages": []}), "-o", f"oci:{layout}", "-q")
        return layout

    def digest(self):
        """The digest of a build that nobody disturbs."""
        process = self.build()
        output, errors = process.communicate()
        require(process.returncode == 0, f"a build exited with {process.returncode}:\n{errors}")
        return output.strip()

    def use(self, template):
        """Begins anew with another store."""
        shutil.rmtree(self.store, ignore_errors=True)
        linked(template, self.store)

    def remove_images(self):
        shutil.rmtree(self.image, ignore_errors=True)
        shutil.rmtree(self.archive.parent, ignore_errors=True)

    def check_left(self):
        """Requires that a killed build has left only what the next one expects."""
        files = [path for path in self.store.rglob("*") if path.is_file()]
        stray = [path for path in files if not STORED.fullmatch(str(path.relative_to(self.store)))]
        require(not stray, f"a killed build left {stray}")
        published = [path for path in self.image.rglob("*") if path.is_file()]
        known = re.compile(r"blobs/sha256/[0-9a-f]{64}|index\.json|oci-layout|(blobs/sha256/)?\.imgforge-[^/]+")
        stray = [path for path in published if not known.fullmatch(str(path.relative_to(self.image)))]
        require(not stray, f"a killed build left {stray}")

    def check_mended(self):
        """Requires that the next build has left its image and nothing else."""
        temporary = list((self.store / "tmp").iterdir())
        require(not temporary, f"the next build left {temporary}")
        abandoned = list(self.directory.rglob(".imgforge-*"))
        require(not abandoned, f"the next build left {abandoned}")
        layout = Layout(self.image)
        images = len(layout.index["manifests"])
        require(images == 1, f"the layout has {images} images")
        used = {one["digest"] for one in (*layout.manifest["layers"], layout.manifest["config"], layout.descriptor)}
        there = {f"sha256:{blob.name}" for blob in layout.blobs.iterdir()}
        require(there == used, f"the layout has {sorted(there - used)} too, and lacks {sorted(used - there)}")
        archive = [path.name for path in self.archive.parent.iterdir()]
        require(archive == ["image.tar"], f"beside the archive is {archive}")
        imgforge("cache", "verify", "-q")


def blob_names(image):
    return {blob.name for blob in Layout(image).blobs.iterdir()}


def templates(work):
    """Stores with the base's packages alone, and with its layers too; and the digest that all builds must make."""
    digest = work.digest()
    made = blob_names(work.image) | set(work.index.digests.values())
    base = blob_names(work.base()) & made
    with_base = linked(work.store, work.directory / "with-base", made - base)
    forget_layers(with_base, kept=base)
    without_base = linked(work.store, work.directory / "without-base", made)
    forget_layers(without_base)
    return digest, with_base, without_base


def kill_builds(work, count, moments):
    digest, with_base, without_base = templates(work)
    work.remove_images()
    lengths = {}
    for template in (with_base, without_base):
        work.use(template)
        watch = Stopwatch()
        require(work.digest() == digest, "a build from another store makes another image")
        lengths[template] = watch.seconds()
    figure("a build", f"{lengths[with_base]:.2f} s, with its base {lengths[without_base]:.2f} s")
    begun = killed = 0
    while killed < count:
        # Some end before their moment, and are no proof.
        require(begun < 2 * count, f"only {killed} of {begun} builds were killed: the others ended before")
        template = without_base if begun % 10 == 9 else with_base
        begun += 1
        work.use(template)
        if moments.random() < 0.5:
            work.remove_images()  # Otherwise it is published over the image of the build before.
        process = work.build()
        time.sleep(moments.uniform(0, lengths[template]))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        work.check_left()
        found = work.digest()
        require(found == digest, f"after build {begun}: the digest is {found}, it was {digest}")
        work.check_mended()
        if begun % 20 == 0:
            figure("so far", f"{killed} of {begun}")
    figure("builds killed", f"{killed}; {begun - killed} more were faster")
    figure("digest", digest)


def main():
    command_line = program.parser("acceptance/kill", __doc__)
    command_line.add_argument("count", nargs="?", type=int, default=COUNT, metavar="N", help=f"by default {COUNT}")
    command_line.add_argument("--quick", action="store_true", help=f"{QUICK_COUNT} builds, as .ci/run")
    options = command_line.parse_args()
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    figure("seed", seed)
    with Builds() as work, Index(work.write_wheels(), has_metadata=False) as work.index:
        kill_builds(work, QUICK_COUNT if options.quick else options.count, random.Random(seed))


if __name__ == "__main__":
    program.start(main)
