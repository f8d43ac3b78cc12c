"""The inputs of the benchmark of builds: for each its wheels on disk, and a recipe with its lock."""

import json
import re
import tomllib
import zipfile

from harness import raw_zip
from harness.imgforge import imgforge
from harness.paths import REPOSITORY, TESTS
from harness.report import require
from harness.store import blob_path, link
from harness.wheels import downloaded, metadata

# The three largest wheels of a machine-learning image, and nothing else of their dependencies.
TORCH = ("torch==2.2.1", "nvidia-cublas-cu12==12.1.3.1", "nvidia-cudnn-cu12==8.9.2.26")
NEWEST = "2025-06-01"


def small():
    names = (TESTS / "bench" / "build_small.txt").read_text().split()
    return {"packages": names, "exclude-newer": NEWEST}


def colab_like():
    """The recipe in `recipes/`, over the base that all contenders build on."""
    text = (REPOSITORY / "recipes" / "colab-like.yaml").read_text()
    require("\nbase: debian-bookworm\n" in text, "recipes/colab-like.yaml has another base")
    return text.replace("\nbase: debian-bookworm\n", "\nbase: oci:base:latest\n")


INPUTS = {
    # As pip lays them out: a tree of one CUDA needs more than these three.
    "torch": lambda: {"frameworks": {"torch": "2.2.1"}, "cuda": {"policy": "pip"}},
    "colab-like": colab_like,
    "small": small,
}


def torch_wheels(directory):
    """The wheels of TORCH in `directory`: torch's copy requires the other two alone, so that every tool installs the
    same three."""
    directory.mkdir(parents=True, exist_ok=True)
    for requirement in TORCH:
        wheel = downloaded(requirement)
        if (directory / wheel.name).exists():
            continue
        if requirement.startswith("torch=="):
            reduce(wheel, directory / wheel.name)
        else:
            link(wheel, directory / wheel.name)
    return sorted(directory.glob("*.whl"))


def reduce(wheel, target):
    """A copy of torch's wheel that requires nothing but TORCH."""
    requires = "".join(f"Requires-Dist: {requirement}\n" for requirement in TORCH[1:])
    text = re.sub(r"(?m)^Requires-Dist: .*\n", "", metadata(wheel).decode())
    text = text.replace("\nClassifier:", f"\n{requires}Classifier:", 1)
    with zipfile.ZipFile(wheel) as archive:
        members = {info.filename: raw_zip.Copied(wheel, info) for info in archive.infolist() if not info.is_dir()}
        [name] = [name for name in members if name.endswith(".dist-info/METADATA")]
        record = name.replace("METADATA", "RECORD")
        # Without its row the record says nothing of it, and an installer makes one.
        rows = re.sub(rf"(?m)^{re.escape(name)},.*\n", "", archive.read(record).decode())
    members |= {name: raw_zip.Stored(text), record: raw_zip.Stored(rows)}
    unfinished = target.with_suffix(".unfinished")
    raw_zip.write(unfinished, members)
    unfinished.rename(target)


class Prepared:
    """An input whose wheels are on disk and whose recipe is locked."""

    def __init__(self, name, directory):
        self.name = name
        self.recipe = directory / f"{name}.yaml"
        asked = INPUTS[name]()
        if isinstance(asked, str):
            self.recipe.write_text(asked)
        else:
            self.recipe.write_text(json.dumps({"base": "oci:base:latest"} | asked))

    def lock(self, environment):
        imgforge("lock", "--quiet", self.recipe, env=environment)
        self.locked = tomllib.loads(self.recipe.with_suffix(".lock").read_text())["distribution"]

    def blobs(self, store):
        """The paths of the wheels in a store."""
        return {blob_path(store, distribution["digest"]) for distribution in self.locked}

    def seals(self, store):
        """The paths of what the store, which fetched and hashed them, knows of the files of the wheels."""
        return {store / "seals" / path.name for path in self.blobs(store)}

    def borrow_wheels(self, other, directory, store):
        """Links those wheels into the store that another store has, or that are in a directory under their names."""
        for distribution in self.locked:
            target, known = (blob_path(one, distribution["digest"]) for one in (store, other))
            present = [path for path in (directory / distribution["wheel"], known) if path.exists()]
            if present and not target.exists():
                link(present[0], target)

    def wheels(self, store, directory):
        """The wheels under their names, linked from the store that fetched them."""
        directory.mkdir(exist_ok=True)
        for distribution in self.locked:
            target = directory / distribution["wheel"]
            if not target.exists():
                link(blob_path(store, distribution["digest"]), target)
        return sorted(directory / distribution["wheel"] for distribution in self.locked)

    def requirements(self):
        return "".join(f"{locked['name']}=={locked['version']}\n" for locked in self.locked)
