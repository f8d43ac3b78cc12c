"""The acceptance of `python.bytecode: true`, on real wheels and a real Docker engine.

`faster` needs torch 2.6.0 and its CUDA: some 20 GB of disk.
"""

import os
import shutil
import statistics

from harness import memory, program
from harness.engine import NO_NETWORK
from harness.imgforge import imgforge
from harness.report import Stopwatch, figure, require
from harness.work import Work

READ_ONLY = (*NO_NETWORK, "--read-only", "--tmpfs", "/tmp")

BASE = {"base": "debian-bookworm", "exclude-newer": "2025-06-01"}
# Large and small, pure and compiled, and one (pip) with much of others in it.
SMALL = BASE | {"packages": ["pip", "setuptools", "requests", "rich", "jinja2", "numpy", "sympy"]}
TORCH = BASE | {"frameworks": {"torch": "2.6.0"}}
ROUNDS, STARTS = 3, 3
PROMISED = 1.3


class Images(Work):
    """Images with and without bytecode, of which the engine runs one at a time."""

    def __enter__(self):
        super().__enter__()
        self.images = {}
        return self

    def build(self, name, keys, bytecode=True, environment=None):
        """Builds an archive; its path, and the image's digest."""
        recipe = self.recipe(name, keys | {"python": {"bytecode": bytecode}})
        archive = recipe.with_suffix(".tar")
        digest = imgforge("build", recipe, "-o", f"oci-archive:{archive}:latest", env=os.environ | (environment or {}))
        return archive, digest.strip()

    def load(self, name, keys, bytecode=True):
        """Builds the image, the first time, and has the engine run it from now on."""
        if name not in self.images:
            watch = Stopwatch()
            archive, _ = self.build(name, keys, bytecode)
            figure("built", f"{name} in {watch.seconds():.1f} s")
            self.engine.load(archive)
            archive.unlink()
            self.images[name] = self.engine.image
        self.engine.image = self.images[name]

    def ask(self, script, *arguments):
        return self.engine.report(script, *arguments, options=READ_ONLY)


def reproducible(work):
    """An empty store and another number of threads stand for another machine."""
    archive, first = work.build("first", SMALL)
    archive.unlink()
    store = work.directory / "empty-store"
    environment = {"IMGFORGE_CACHE_DIR": str(store), "IMGFORGE_THREADS": "5"}
    archive, digest = work.build("again", SMALL, environment=environment)
    archive.unlink()
    shutil.rmtree(store)
    require(digest == first, f"with 5 threads and an empty store the digest is {digest}, it was {first}")
    figure("digest", first)


def same_code(work):
    work.load("small", SMALL)
    report = work.ask("bytecode.py", "same")
    wrong = {kind: report[kind] for kind in ("missing", "different", "extra") if report[kind]}
    require(not wrong, f"the bytecode is not what the image's Python compiles: {wrong}")
    figure("modules", f"{report['modules']}, {len(report['refused'])} of which no compiler takes")


def taken(work):
    work.load("small", SMALL)
    report = work.ask("bytecode.py", "imports", "requests", "rich.console", "jinja2", "numpy", "sympy")
    require(not report["source"], f"compiled at import: {report['source'][:20]}")
    require(report["bytecode"] > 500, f"only {report['bytecode']} modules were imported")
    figure("imported", f"{report['bytecode']} modules, all of them from bytecode")


def uninstalled(work):
    work.load("small", SMALL)
    names = ["rich", "sympy", "numpy", "requests"]
    packages = "/usr/local/lib/python3.11/dist-packages"
    shell = f"pip uninstall -q -y {' '.join(names)} && cd {packages} && find {' '.join(names)} 2>/dev/null || true"
    left = work.engine.command("sh", "-c", shell).splitlines()
    left = [line for line in left if not line.startswith("WARNING")]
    require(not left, f"pip uninstall leaves {left[:20]}")
    figure("pip uninstall", f"leaves nothing of {', '.join(names)}")


def faster(work):
    """Measured in turns, so that what slows the machine down for a while slows both."""
    images = [("torch-compiled", True), ("torch-plain", False)]
    for name, bytecode in images:
        work.load(name, TORCH, bytecode)
    os.sync()
    starts = {True: [], False: []}
    with memory.kept():
        for name, bytecode in images * ROUNDS:
            work.load(name, TORCH, bytecode)
            starts[bytecode] += work.ask("starts.py", STARTS, "torch")
    for name, bytecode in images:
        seconds = starts[bytecode]
        figure(name, f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")
    ratio = statistics.median(starts[False]) / statistics.median(starts[True])
    figure("import torch", f"{ratio:.2f} times as fast with bytecode (promised: {PROMISED})")
    require(ratio >= PROMISED, f"only {ratio:.2f} times as fast")


STEPS = {
    "reproducible": reproducible,
    "same-code": same_code,
    "taken": taken,
    "uninstalled": uninstalled,
    "faster": faster,
}
QUICK = [name for name in STEPS if name != "faster"]


def main():
    names = program.step_names("acceptance/bytecode", __doc__, STEPS, QUICK)
    with Images("bytecode") as work:
        program.perform(STEPS, names, work)


if __name__ == "__main__":
    program.start(main)
