"""The acceptance of components over bases: stand-in bases of real libraries, real wheels, a real Docker engine.

t1 to t10 are the experiments of that name; a base exists only while its step runs. All steps need some 40 GB of disk.
"""

from contextlib import contextmanager
from functools import partial

from acceptance import experiments
from acceptance.base_layout import Layers, write_base
from harness import program
from harness.imgforge import imgforge
from harness.paths import REPOSITORY
from harness.report import Stopwatch, figure, require
from harness.work import Work


class Bases(Work):
    """The stand-in bases, and the images that are built on them."""

    def __enter__(self):
        super().__enter__()
        self.layers = Layers(self.directory / "layers")
        self.roots = {}
        return self

    def base(self, name, base):
        """The layout of a stand-in base."""
        layout = self.directory / f"base-{name}"
        write_base(base, self.root(base), layout, self.layers)
        return layout

    def root(self, base):
        """The layout of the Debian root below a base."""
        if base.debian not in self.roots:
            name = f"root-{len(self.roots)}"
            (self.directory / "images" / f"{name}.yaml").write_text(description(base))
            layout = self.directory / name
            recipe = self.recipe(name, {"base": name, "packages": ["pip"]})
            imgforge("build", recipe, "-o", f"oci:{layout}:latest")
            self.roots[base.debian] = layout
        return self.roots[base.debian]

    @contextmanager
    def built(self, recipe):
        """The engine with the recipe's image, which is removed afterwards."""
        archive = recipe.with_suffix(".tar")
        watch = Stopwatch()
        imgforge("build", recipe, "-o", f"oci-archive:{archive}:latest")
        figure("built", f"in {watch.seconds():.0f} s")
        with self.loaded(archive) as engine:
            yield engine


def description(base):
    """The description of Debian 12 in images/, with the base's areas and packages."""
    path = REPOSITORY / "images" / "debian-bookworm.yaml"
    text = path.read_text()
    require("components: [main]" in text, f"{path} does not take its packages from main alone")
    packages = "".join(f"  - {package}\n" for package in base.debian)
    return text.replace("components: [main]", f"components: [{', '.join(base.areas)}]") + packages


STEPS = {
    **{name: partial(experiments.perform, name=name) for name in experiments.EXPERIMENTS},
    "colab-2025-03-12": experiments.colab_day,
    "finders": experiments.finders,
    "two-majors": experiments.two_majors,
}


def main():
    names = program.step_names("acceptance/bases", __doc__, STEPS, quick=("t2",))
    with Bases("bases") as work:
        program.perform(STEPS, names, work)


if __name__ == "__main__":
    program.start(main)
