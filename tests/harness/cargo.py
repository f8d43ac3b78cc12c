"""The Rust programs of this repository, built when they are not up to date."""

import json
import os
from functools import cache

from harness.paths import REPOSITORY
from harness.processes import run

PROFILE = os.environ.get("IMGFORGE_TEST_PROFILE", "release")
# With the tests' profile imgforge alone is built anew, optimised as far as that takes little time, over the tests'
# dependencies.
OPTIMISED = {"opt-level": 1, "debug": 0, "debug-assertions": "false", "overflow-checks": "false"}
# Cargo finds its toolchain in the user's home, which a test may have replaced for the programs that it runs.
ENVIRONMENT = dict(os.environ)
CONFIG = [f"--config=profile.dev.package.imgforge.{name}={value}" for name, value in OPTIMISED.items()]


@cache
def built(kind, name):
    """The path of a program: `kind` is bin, example or bench, as cargo's option for it."""
    command = ["bench", "--no-run"] if kind == "bench" else ["build"]
    options = [*CONFIG, "--quiet", "--profile", PROFILE, f"--{kind}", name, "--message-format=json"]
    output = run("cargo", *command, *options, cwd=REPOSITORY, env=ENVIRONMENT, timeout=None)
    messages = map(json.loads, output.splitlines())
    return next(one["executable"] for one in messages if is_program(one, name))


def is_program(message, name):
    return message.get("executable") and message["target"]["name"] == name
