"""Measures plans from an empty store beside `uv pip compile --no-cache` of the same requirements, from the same index.

A plan has more to do than uv: it fetches and verifies the lists of Debian's packages, and reads what the libraries of wheels
need of CUDA. What a plan of the base alone takes is measured first and allowed on top. Of each stack both run in turn; the
table has medians. Fails when a plan, less that of the base, takes more than 1.5 times as long as uv.
"""

import platform
import shutil
import statistics

from harness import program
from harness.report import require
from harness.stacks import SETS, by_imgforge, by_uv, requirements
from harness.work import Work

PROMISED = 1.5
SOME = (
    "vllm-now", "trl", "diffusers", "sentence", "ultralytics", "timm", "jaxflax", "paddle", "kerasall", "rapids",
    "xgblgb", "ray", "ort", "tei", "numba", "spacy", "lmdeploy", "polarsgpu", "te", "scvi",
)  # fmt: skip


def cold(packages, work):
    """The plan of packages, and its seconds, from an empty store."""
    store = work.directory / "cold"
    try:
        return by_imgforge(packages, work, store=store)
    finally:
        shutil.rmtree(store, ignore_errors=True)


def measure(name, work, runs):
    """The seconds of uv and of imgforge, run by run."""
    theirs, ours = [], []
    for _ in range(runs):
        solved = by_uv(name, work.directory, only_wheels=True, cold=True)
        require(solved.versions, f"{name}: uv has no solution: {solved.said}")
        theirs.append(solved.seconds)
        solved = cold(requirements(name), work)
        require(solved.versions, f"{name}: imgforge has no solution: {solved.said}")
        ours.append(solved.seconds)
    return theirs, ours


def main():
    command_line = program.parser("bench/plan", __doc__)
    command_line.add_argument(
        "sets", nargs="*", type=program.one_of(SETS), metavar="SET", help=f"by default {len(SOME)}"
    )
    command_line.add_argument("--runs", type=int, default=3, help="how often each is planned")
    options = command_line.parse_args()
    slow = []
    with Work("bench-plan") as work:
        base = statistics.median(cold(["pip"], work).seconds for _ in range(options.runs))
        print(
            f"the base alone: {base:.2f} s, medians of {options.runs} runs on Linux {platform.release()}\n", flush=True
        )
        print("| stack | uv, s | imgforge, s | × uv, less the base |\n|---|---:|---:|---:|", flush=True)
        for name in options.sets or SOME:
            theirs, ours = measure(name, work, options.runs)
            ratio = statistics.median((our - base) / their for our, their in zip(ours, theirs, strict=True))
            print(
                f"| {name} | {statistics.median(theirs):.1f} | {statistics.median(ours):.1f} | {ratio:.2f} |",
                flush=True,
            )
            slow += [f"{name} ({ratio:.2f})"] if ratio > PROMISED else []
    require(not slow, f"more than {PROMISED} times as long as uv: {', '.join(slow)}")


if __name__ == "__main__":
    program.start(main)
