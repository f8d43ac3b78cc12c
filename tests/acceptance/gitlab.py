"""The pipeline of `imgforge matrix emit gitlab`, run as it is by gitlab-ci-local, whose runners share one docker-registry.

Each job has a store of its own, which is empty. Every wheel is fetched once in total, and the registry ends with the digests
that one machine builds alone. gitlab-ci-local comes from npm, is installed below cargo's target directory, and compiles a
module of C++: it takes minutes, once.
"""

import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from acceptance.slurm import Matrix, check_images, locked, one_machine
from harness import program
from harness.imgforge import binary, imgforge
from harness.paths import TARGET
from harness.processes import run
from harness.report import Stopwatch, figure, require

RUNNER = "gitlab-ci-local@4.60.0"
TOOLS = TARGET / "test-tools" / "gitlab-ci-local"
SHARDS = 4
LONGEST = 900  # seconds
# Every job is a machine of its own: the number of its shard names its store.
MACHINE = """#!/bin/sh
IMGFORGE_CACHE_DIR={stores}/$CI_JOB_STAGE-$CI_NODE_INDEX exec {binary} "$@"
"""


def installed():
    """The runner; it is installed where it is not there."""
    place = TOOLS / "node_modules" / ".bin" / "gitlab-ci-local"
    if not (TOOLS / "node_modules" / "re2" / "build" / "Release" / "re2.node").exists():
        require(shutil.which("npm"), "npm is not installed: apt-get install npm libnode-dev rsync")
        TOOLS.mkdir(parents=True, exist_ok=True)
        watch = Stopwatch()
        headers = {"npm_config_nodedir": "/usr"} if Path("/usr/include/node/node.h").exists() else {}
        run("npm", "install", "--no-audit", "--no-fund", "--prefix", TOOLS, RUNNER, env=os.environ | headers)
        figure("installed", f"{RUNNER} in {watch.seconds():.0f} s")
    return place


def pipeline(work):
    """Both stages, as gitlab-ci-local runs them."""
    options = ("--shards", str(SHARDS), "--cache", work.place("gitlab/cache"), "-o", work.destinations("gitlab"))
    # The pipeline lies in a repository beside its matrix, as it does at GitLab.
    (work.directory / ".gitlab-ci.yml").write_text(
        imgforge("matrix", "emit", "gitlab", work.matrix.name, *options, cwd=work.directory)
    )
    committed(work.directory)
    programs = work.directory / "bin"
    programs.mkdir()
    (programs / "imgforge").write_text(
        MACHINE.format(stores=work.directory / "stores", binary=Path(binary()).resolve())
    )
    (programs / "imgforge").chmod(0o755)
    work.index.sent.clear()
    watch = Stopwatch()
    done = subprocess.run(
        [installed(), "--concurrency", str(SHARDS)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=LONGEST,
        cwd=work.directory,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(work.directory)},
    )  # fmt: skip
    require(done.returncode == 0, f"gitlab-ci-local exited with {done.returncode}\n{done.stdout}{done.stderr}")
    figure("both stages", f"{2 * SHARDS} jobs in {watch.seconds():.1f} s")
    check_images(work, "gitlab", {"gitlab-ci-local": done.stdout + done.stderr})
    stores = sorted(path.name for path in (work.directory / "stores").iterdir())
    require(len(stores) == 2 * SHARDS, f"only {stores} worked")
    sent = Counter(work.index.sent)
    several = {wheel: count for wheel, count in sent.items() if count > 1}
    figure("images", f"{len(work.digests)}, with the digests of one machine alone")
    figure("wheels", f"{len(sent)} of {len(work.index.wheels)} fetched, {len(several)} of them more than once")
    require(not several, f"fetched more than once: {several}")


def committed(directory):
    git = ["git", "-C", directory, "-c", "user.name=imgforge", "-c", "user.email=tests@imgforge.test"]
    run(*git, "init", "--quiet", "--initial-branch=main")
    run(*git, "remote", "add", "origin", "https://gitlab.test/team/images.git")
    run(*git, "add", ".gitlab-ci.yml", "matrix.yaml", "matrix.locks")
    run(*git, "commit", "--quiet", "--message", "The matrix")


STEPS = {"locked": locked, "one-machine": one_machine, "pipeline": pipeline}


def main():
    names = program.step_names("acceptance/gitlab", __doc__, STEPS)
    with Matrix({"left": 4}, "gitlab") as work:
        program.perform(STEPS, names, work)


if __name__ == "__main__":
    program.start(main)
