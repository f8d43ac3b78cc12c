"""Distributions that were built for another version of a framework: the check finds what does not load, and nothing else.

Two images of torch 2.6.0, each with the same companions: in one of them those of torch 2.5, which `overrides` forces beside
it, in the other its own. What is true is what the image's own interpreter imports in the sandbox; what is imported and does
not work is named here. Needs 15 GB of disk and some minutes.
"""

import json
import subprocess

from harness import program
from harness.imgforge import binary, build
from harness.report import Stopwatch, figure, require
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


def report(layout, *options):
    command = [binary(), "check", f"oci:{layout}", "--json", *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    require(done.returncode in (0, 1), f"check exited with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)["findings"]


def distribution(finding):
    about = finding["about"].get("distribution") or finding["evidence"]["chain"]["distribution"]
    return about["name"]


def images(work, name, packages):
    keys = {"base": "debian-bookworm", "frameworks": {"torch": "2.6.0"}, "overrides": ["torch==2.6.0"]}
    recipe = work.recipe(name, {**keys, "packages": packages})
    layout = work.directory / name
    build(recipe, f"oci:{layout}:latest", "--no-check")
    watch = Stopwatch()
    errors = [finding for finding in report(layout) if finding["level"] == "error"]
    figure("check", f"{watch.seconds():.1f} s")
    imports = [finding for finding in report(layout, "--import") if finding["rule"] == "failed-import"]
    told = {distribution(finding) for finding in errors}
    failed = {distribution(finding) for finding in imports if finding["level"] == "error"}
    figure("told", ", ".join(sorted(told)) or "nothing")
    figure("not imported", ", ".join(sorted(failed)) or "nothing")
    return told, failed


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
