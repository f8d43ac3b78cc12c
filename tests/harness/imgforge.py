"""imgforge as its users run it, and the form of its output."""

import json
import os
import re
import subprocess
from dataclasses import dataclass

from harness.cargo import built
from harness.processes import measured, run
from harness.report import require


def binary():
    """IMGFORGE_BINARY, else the release build of this repository."""
    return os.environ.get("IMGFORGE_BINARY") or built("bin", "imgforge")


def imgforge(*arguments, **options):
    """The standard output of an imgforge command."""
    return run(binary(), *arguments, **options)


@dataclass(frozen=True)
class Build:
    digest: str
    seconds: float
    peak_memory: int  # bytes


def build(recipe, destination, *options, environment=None):
    """Builds the recipe and measures that."""
    command = [binary(), "build", recipe, "-o", destination, *options]
    output, cost = measured(*command, environment=environment)
    digest = output.strip()
    require(re.fullmatch("sha256:[0-9a-f]{64}", digest), f"stdout is not a digest alone: {output!r}")
    return Build(digest, cost.seconds, cost.peak_memory)


@dataclass(frozen=True)
class Decision:
    """The choice of a copy of a CUDA component."""

    component: str
    version: str
    kind: str  # base, wheel or pip
    place: str  # a path in the base, or the distribution
    wasted: int  # bytes of the base's copy that nobody uses


def decisions(recipe):
    """Every decision of `plan --json`."""
    return [
        Decision(
            component=one["component"],
            version=one["version"],
            kind=one["source"]["kind"],
            place=one["source"].get("path") or one["source"]["distribution"],
            wasted=one["wasted_bytes"],
        )
        for one in json.loads(imgforge("plan", recipe, "--json"))["components"]
    ]


@dataclass(frozen=True)
class Finding:
    rule: str
    level: str  # error, warning or note
    subject: str
    seen: str

    def __str__(self):
        return f"{self.rule} {self.subject}: {self.seen}"


def findings(layout, *options):
    """The findings of `check --json`. All that the tests know of their form is in this function."""
    command = [binary(), "check", f"oci:{layout}", "--json", *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    require(done.returncode in (0, 1) and done.stdout, f"check exited with {done.returncode}: {done.stderr}")
    return [
        Finding(one["rule"], one["level"], one["subject"], one["seen"]) for one in json.loads(done.stdout)["findings"]
    ]
