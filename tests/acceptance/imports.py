"""The verdict of the check is what imports show, on stacks that people install.

Each image is built without the check, judged, and then everything in it that no other distribution requires is imported by
its own interpreter in the sandbox. The distributions with errors must be those that cannot be imported. An image exists only
while it is looked at. Needs up to 40 GB of disk; a stack takes two to six minutes.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import partial

from acceptance.combinations import TRIXIE
from harness import program
from harness.imgforge import binary, build, imgforge
from harness.oci import Layout
from harness.report import Stopwatch, figure, gigabytes, require
from harness.work import Work

KEPT = "1GiB"


@dataclass
class Stack:
    """The keys of a recipe, but for a base of Debian 12."""

    packages: list = field(default_factory=list)
    frameworks: dict = field(default_factory=dict)
    keys: dict = field(default_factory=dict)


TORCH = {"torch": "2.6.0"}
FFMPEG = {"system-packages": ["ffmpeg"]}
THREE = {"torch": "2.15.0", "jax[cuda13]": "0.12.0.1", "tensorflow[and-cuda]": "2.21.0"}
STACKS = {
    "torchaudio": Stack(["torchaudio"], TORCH),
    "torchcodec": Stack(["torchcodec"], {"torch": "2.15.0"}, FFMPEG),
    "torchcodec-without-ffmpeg": Stack(["torchcodec"], {"torch": "2.15.0"}),
    "cupy-12": Stack(["cupy-cuda12x==12.3.0", "numpy<2"]),
    "cupy-14": Stack(["cupy-cuda12x>=14"]),
    "onnxruntime-12": Stack(["onnxruntime-gpu==1.22.0"]),
    "onnxruntime": Stack(["onnxruntime-gpu"]),
    "ctranslate2": Stack(["ctranslate2", "faster-whisper"]),
    "spacy": Stack(["spacy[cuda12x]"]),
    "paddle": Stack(["paddlepaddle-gpu"]),
    "rapids": Stack(["cudf-cu12", "cuml-cu12"]),
    "lmdeploy": Stack(["lmdeploy"]),
    "vllm": Stack(["vllm"]),
    "sglang": Stack(["sglang"]),
    "three": Stack([], THREE, {"base": TRIXIE}),
}


def report(layout, *options):
    """The errors of a check."""
    command = [binary(), "check", f"oci:{layout}", "--json", *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    require(done.returncode in (0, 1), f"check exited with {done.returncode}: {done.stderr}")
    return [finding for finding in json.loads(done.stdout)["findings"] if finding["level"] == "error"]


def distribution(finding):
    """The distribution that a finding is about, or else its subject."""
    chain = finding["evidence"].get("chain") or finding["evidence"]
    about = finding["about"].get("distribution") or chain.get("distribution")
    return about["name"] if about else finding["subject"]


def verdicts(layout):
    """The distributions with errors, and those that cannot be imported."""
    watch = Stopwatch()
    errors = report(layout)
    figure("check", f"{watch.seconds():.1f} s")
    watch = Stopwatch()
    imports = [finding for finding in report(layout, "--import") if finding["rule"] == "failed-import"]
    figure("imports", f"{watch.seconds():.0f} s")
    for finding in errors + imports:
        print(f"     {finding['rule']} {finding['seen'][:300]}")
    told = {distribution(finding) for finding in errors}
    failed = {distribution(finding) for finding in imports}
    figure("told", ", ".join(sorted(told)) or "nothing")
    figure("not imported", ", ".join(sorted(failed)) or "nothing")
    return told, failed


def judge(work, name):
    stack = STACKS[name]
    keys = {"base": "debian-bookworm", "packages": stack.packages, "frameworks": stack.frameworks, **stack.keys}
    layout = work.directory / name
    try:
        built = build(work.recipe(name, keys), f"oci:{layout}:latest", "--no-check", "--quiet")
        figure("built", f"{gigabytes(Layout(layout).size())} in {built.seconds:.0f} s")
        told, failed = verdicts(layout)
        require(told == failed, f"told: {sorted(told)}, not imported: {sorted(failed)}")
    finally:
        shutil.rmtree(layout, ignore_errors=True)
        imgforge("cache", "prune", "--keep-size", KEPT)


STEPS = {name: partial(judge, name=name) for name in STACKS}


def main():
    names = program.step_names("acceptance/imports", __doc__, STEPS)
    with Work("imports", own_store=True) as work:
        program.perform(STEPS, names, work)


if __name__ == "__main__":
    program.start(main)
