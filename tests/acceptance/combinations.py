"""Images that import fine are clean of errors, and `imgforge check` finds in them what they themselves show.

Each combination is built, checked, compared with the real loader over every ELF file, and imported in a Docker engine. An
image exists only while its combination runs. Needs root, and 20 GB of disk (6 GB for --quick).
"""

import shutil
from dataclasses import dataclass, field
from functools import partial

from acceptance import real_loader, verdicts
from harness import program
from harness.imgforge import build, findings, imgforge
from harness.oci import Layout
from harness.processes import run
from harness.report import Stopwatch, figure, gigabytes, megabytes
from harness.work import Work

QUICK = ("onnxruntime-ctranslate2",)
KEPT = "1GiB"


@dataclass
class Combination:
    """A recipe, and what must be imported in its image."""

    imports: list
    frameworks: dict = field(default_factory=dict)
    packages: list = field(default_factory=list)
    base: object = "debian-bookworm"
    policy: str = "shared"

    @property
    def is_shared(self):
        return self.policy == "shared"

    @property
    def keys(self):
        """Those of its recipe."""
        cuda = {"policy": self.policy}
        return {"base": self.base, "frameworks": self.frameworks, "packages": self.packages, "cuda": cuda}


def debian(suite, *packages):
    suites = [suite, f"{suite}-updates", f"{suite}-security"]
    return {"suites": suites, "packages": ["apt", "ca-certificates", "python3", "python3-pip", *packages]}


TRIXIE = debian("trixie", "libgomp1", "libstdc++6")
SCIENCE = (
    "python3-numpy", "python3-scipy", "python3-pandas", "python3-h5py", "python3-matplotlib", "python3-lxml",
    "python3-cryptography", "python3-tk",
)  # fmt: skip

COMBINATIONS = {
    "debian": Combination(
        ["numpy", "scipy.linalg", "pandas", "h5py", "matplotlib.pyplot", "lxml.etree", "tkinter"],
        packages=["pip"],
        base=debian("bookworm", *SCIENCE),
    ),
    "onnxruntime-ctranslate2": Combination(
        ["onnxruntime", "ctranslate2"], packages=["onnxruntime-gpu[cuda,cudnn]==1.22.0", "ctranslate2==4.8.5"]
    ),
    "cpu": Combination(
        ["tensorflow", "jax", "onnxruntime", "sklearn.svm", "pyarrow.dataset"],
        frameworks={"tensorflow": "2.21.0", "jax": "0.10.2"},
        packages=["onnxruntime==1.23.2", "scikit-learn==1.7.2", "pyarrow==22.0.0"],
        policy="cpu",
    ),
    "torch-2.0-pip": Combination(["torch"], frameworks={"torch": "2.0.1"}, packages=["numpy<2"], policy="pip"),
    "torch-2.2": Combination(
        ["torch", "torchvision", "torchaudio"],
        frameworks={"torch": "2.2.2", "torchvision": "0.17.2", "torchaudio": "2.2.2"},
        packages=["numpy<2"],
    ),
    "jax-pip": Combination(["jax", "jax_cuda12_plugin"], frameworks={"jax[cuda12]": "0.10.2"}, policy="pip"),
    "tensorflow-pip": Combination(["tensorflow"], frameworks={"tensorflow": "2.21.0"}, policy="pip"),
    "torch-bitsandbytes-cupy": Combination(
        ["torch", "bitsandbytes", "cupy"],
        frameworks={"torch": "2.8.0"},
        packages=["bitsandbytes==0.50.2", "cupy-cuda12x==14.2.0"],
    ),
    "torch-jax": Combination(
        ["torch", "jax", "jax_cuda12_plugin"], frameworks={"torch": "2.10.0", "jax[cuda12]": "0.8.0"}
    ),
    "torch-2.15-jax-cuda13": Combination(
        ["torch", "jax", "jax_cuda13_plugin"],
        frameworks={"torch": "2.15.0", "jax[cuda13]": "0.12.0.1"},
        base=TRIXIE,
    ),
}


class Image(Work):
    """The image of one combination after the other. The store is pruned to the little that the next one may use."""

    def __enter__(self):
        super().__enter__()
        self.layout = self.directory / "layout"
        self.root = self.directory / "root"
        self.archive = self.directory / "image.tar"
        return self

    def free(self):
        """Removes what was built, but for the archive."""
        shutil.rmtree(self.layout, ignore_errors=True)
        imgforge("cache", "prune", "--keep-size", KEPT)

    def remove(self):
        self.archive.unlink(missing_ok=True)
        shutil.rmtree(self.root, ignore_errors=True)
        self.free()


def perform(work, name):
    try:
        judge(work, name, COMBINATIONS[name])
    finally:
        work.remove()


def judge(work, name, combination):
    recipe = work.recipe(name, combination.keys)
    built = build(recipe, f"oci:{work.layout}:latest")
    memory = f"{megabytes(built.peak_memory)} of memory"
    figure("built and checked", f"{gigabytes(Layout(work.layout).size())} in {built.seconds:.0f} s, {memory}")
    found = findings(work.layout)
    verdicts.no_errors(found)
    cache = loader(work)
    shutil.rmtree(work.root)
    build(recipe, f"oci-archive:{work.archive}:latest", "--offline")
    work.free()
    watch = Stopwatch()
    with work.loaded(work.archive) as engine:
        verdicts.agree(engine, combination, found, cache)
        figure("loaded and asked in a container", f"in {watch.seconds():.0f} s")


def loader(work):
    """Compares the loader with the real one; the names of its cache."""
    watch = Stopwatch()
    run("umoci", "raw", "unpack", "--image", f"{work.layout}:latest", work.root)
    real_loader.same_as_the_real_one(work.layout, work.root, work.store)
    figure("unpacked and traced", f"in {watch.seconds():.0f} s")
    return real_loader.traced(work.layout, work.store, 0)[1]


STEPS = {name: partial(perform, name=name) for name in COMBINATIONS}


def main():
    names = program.step_names("acceptance/combinations", __doc__, STEPS, QUICK)
    with Image("combinations", own_store=True) as work:
        program.perform(STEPS, names, work)


if __name__ == "__main__":
    program.start(main)
