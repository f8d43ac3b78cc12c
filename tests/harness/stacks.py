"""The stacks of corpus_sets.txt, solved by uv and by imgforge for Debian 12's Python."""

import json
import os
import subprocess
from dataclasses import dataclass

from harness.imgforge import binary
from harness.paths import TESTS, UV
from harness.report import Stopwatch

SETS = dict(
    line.split("|")
    for line in (TESTS / "acceptance" / "corpus_sets.txt").read_text().splitlines()
    if line and not line.startswith("#")
)


@dataclass(frozen=True)
class Solved:
    versions: dict  # project: version; empty where there is no solution
    seconds: float
    said: str


def requirements(name):
    """The requirements of a set; commas within brackets separate extras."""
    parts, depth = [""], 0
    for letter in SETS[name]:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def by_uv(name, directory, only_wheels, cold=False):
    asked = directory / "asked.txt"
    asked.write_text("\n".join(requirements(name)))
    command = [UV, "pip", "compile", asked, "--quiet", "--no-header", "--no-annotate", "--strip-extras"]
    command += ["--python-platform", "x86_64-manylinux_2_36", "--python-version", "3.11.2"]
    command += ["--only-binary", ":all:"] if only_wheels else []
    command += ["--no-cache"] if cold else []
    watch = Stopwatch()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line.split(" ;")[0].split("==") for line in done.stdout.splitlines() if "==" in line]
    return Solved(dict(lines) if done.returncode == 0 else {}, watch.seconds(), done.stderr)


def by_imgforge(packages, work, only_wheels=True, store=None):
    """The plan of packages over Debian; with a store of its own where one is named."""
    keys = {"base": "debian-bookworm", "packages": packages}
    if not only_wheels:
        keys["python"] = {"build": "all"}
        keys["system-packages"] = ["build-essential", "python3-dev"]
    recipe = work.recipe("stack", keys)
    environment = os.environ | ({"IMGFORGE_CACHE_DIR": str(store)} if store else {})
    watch = Stopwatch()
    command = [binary(), "plan", recipe, "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds = watch.seconds()
    if done.returncode != 0:
        return Solved({}, seconds, done.stderr)
    chosen = json.loads(done.stdout)["distributions"]
    return Solved({one["name"]: one["version"] for one in chosen if one["role"] == "package"}, seconds, done.stderr)
