"""Distributions that were built for another version of a framework: the check finds what does not load, and nothing else.

Two images of torch 2.6.0, each with the same companions: in one of them those of torch 2.5, which `overrides` forces beside
it, in the other its own. What is true is what the image's own interpreter imports in the sandbox; what is imported and does
not work is named here. Needs 15 GB of disk and some minutes.
"""

from acceptance import imports
from harness import program
from harness.imgforge import build
from harness.report import require
from harness.work import Work

# torchtext has no release for torch 2.6.
WRONG = ("torchaudio==2.5.1", "torchvision==0.20.1", "xformers==0.0.28.post3", "fbgemm-gpu==1.0.0", "torchtext==0.18.0")
RIGHT = (
    "torchaudio==2.6.0",
    "torchvision==0.21.0",
    "xformers==0.0.29.post2",
    "fbgemm-gpu==1.1.0",
    "torchrl==0.7.2",
    "tensordict==0.7.2",
)
# Its extension fits nothing of torch 2.6; it says so on standard error, and is imported without its operators.
IMPORTED_WITHOUT = {"xformers"}


def images(work, name, packages):
    keys = {"base": "debian-bookworm", "frameworks": {"torch": "2.6.0"}, "overrides": ["torch==2.6.0"]}
    recipe = work.recipe(name, {**keys, "packages": packages})
    layout = work.directory / name
    build(recipe, f"oci:{layout}:latest", "--no-check")
    return imports.verdicts(layout)


def wrong(work):
    told, failed = images(work, "wrong", WRONG)
    require(failed, "everything is imported, so that nothing is shown")
    require(told == failed | IMPORTED_WITHOUT, f"told: {sorted(told)}, not imported: {sorted(failed)}")


def right(work):
    told, failed = images(work, "right", RIGHT)
    require(not told and not failed, f"told: {sorted(told)}, not imported: {sorted(failed)}")


STEPS = {"wrong": wrong, "right": right}


def main():
    names = program.step_names("acceptance/mismatches", __doc__, STEPS)
    with Work("mismatches") as work:
        program.perform(STEPS, names, work)


if __name__ == "__main__":
    program.start(main)
