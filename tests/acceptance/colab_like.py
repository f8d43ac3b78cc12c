"""The acceptance of `imgforge build recipes/colab-like.yaml`, on real downloads.

Steps other than the builds work on target/acceptance/colab-like, which only a run of all steps, or of --quick, removes.
"""

import json
import shutil
from functools import cached_property

from acceptance import builds, failures, installed, layout, libraries, pip_content, plans, real_loader, size
from harness import program
from harness.imgforge import imgforge
from harness.oci import Layout
from harness.report import figure, require
from harness.work import Work


class ColabLike(Work):
    """The image as a layout, as an archive, and unpacked. It is kept where not all steps run."""

    def __init__(self, is_kept):
        super().__init__("colab-like", is_kept=is_kept)
        self.layout = self.directory / "image"
        self.archive = self.directory / "image.tar"
        self.bundle = self.directory / "bundle"
        self.layout_destination = f"oci:{self.layout}:latest"
        self.archive_destination = f"oci-archive:{self.archive}:latest"
        self.digest = None

    def __enter__(self):
        super().__enter__()
        self.stack.callback(shutil.rmtree, self.bundle, ignore_errors=True)
        if self.layout.exists():
            self.digest = Layout(self.layout).descriptor["digest"]
        return self

    @cached_property
    def engine(self):
        engine = super().engine
        engine.load(self.archive)
        return engine


def plan_alone(work):
    digest = plans.realized(builds.RECIPE, work)
    figure("digest", digest)
    require(digest == work.digest, f"the plan alone gives {digest}, the recipe {work.digest}")


def imports(work):
    """What the image's own interpreter imports in the sandbox."""
    report = json.loads(imgforge("check", work.layout_destination, "--import", "--json"))
    figure("imported", f"{report['looked_at']['imported']} modules")
    require(report["looked_at"]["imported"], "nothing was imported")


# Of what takes long, .ci/run leaves out what other steps prove of smaller images.
QUICK = (
    "first-build", "second-build", "other-machine", "archive", "inspect", "schemas", "unpack", "loader", "imports",
    "one-cuda", "checks",
)  # fmt: skip

STEPS = {
    "first-build": builds.first_build,
    "second-build": builds.second_build,
    "other-machine": builds.other_machine,
    "plan-alone": plan_alone,
    "archive": builds.archive,
    "inspect": layout.inspect,
    "schemas": layout.schemas,
    "unpack": layout.unpack,
    "loader": real_loader.of_bundle,
    "imports": imports,
    "failures": failures.failures,
    "size": size.smaller_than_own_cuda,
    "one-cuda": libraries.one_cuda,
    "checks": pip_content.checks,
    "dry-runs": pip_content.dry_runs,
    "equal-to-uv": installed.equal_to_uv,
}


def main():
    names = program.step_names("acceptance/colab_like", __doc__, STEPS, QUICK)
    with ColabLike(is_kept=names not in (list(STEPS), list(QUICK))) as work:
        program.perform(STEPS, names, work)


if __name__ == "__main__":
    program.start(main)
