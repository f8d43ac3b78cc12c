"""What people install is planned, and to the versions that uv chooses: every set of corpus_sets.txt, on Debian 12's Python.

A set that `uv pip compile` solves must be planned; outside of CUDA the versions must be equal, but for the differences that
are explained below. A set that uv solves from wheels alone is planned from wheels alone, another one with `build: all`.
How long both take is measured by tests/bench/plan.
"""

from harness import program
from harness.report import figure, heading, require
from harness.stacks import SETS, by_imgforge, by_uv, requirements
from harness.work import Work

QUICK = ("timm", "ort", "numba")

# Of a set, why projects differ from uv's, or one of the two leaves them out, and which.
EVERYTHING = None
TORCH = {"torch", "torchvision", "triton", "setuptools"}
RAPIDS = {"cudf-polars-cu12", "cudf-streaming-cu12", "kvikio-cu12", "libcudf-cu12", "libcudf-streaming-cu12"}
RAPIDS |= {"libkvikio-cu12", "librapidsmpf-cu12", "librmm-cu12", "libucx-cu12", "libucxx-cu12", "pylibcudf-cu12"}
RAPIDS |= {"rapidsmpf-cu12", "rmm-cu12", "ucxx-cu12", "rapids-logger"}
EXPLAINED = {
    "diffusers": ("xformers is built for CUDA 12, as torch 2.10 is", TORCH),
    "whisper": ("ctranslate2 opens CUDA 12, which torch 2.10 is built for", TORCH),
    "spacy": ("cupy-cuda12x is built for CUDA 12, as torch 2.10 is", TORCH),
    "lmdeploy": ("lmdeploy is built for CUDA 12, as torch 2.10 is", TORCH),
    "axolotl": ("xformers 0.0.35 is built for CUDA 12; an older axolotl has a torch that is, too", EVERYTHING),
    "bitnet": ("auto-gptq is built for CUDA 12, as torch 2.10 is", TORCH),
    "unsloth": ("xformers is built for CUDA 12, as torch 2.10 is", TORCH | {"torchao", "xformers"}),
    "polarsgpu": (
        "uv reads torch's pins of CUDA, which only older RAPIDS meet",
        RAPIDS | {"polars", "polars-runtime-32"},
    ),
}

# Sets that uv solves and nobody can install from this index.
NOT_TO_BE_HAD = {"trtllm": "the build of tensorrt-cu12-libs fetches its wheel from an index of NVIDIA's"}


def is_cuda(project):
    return project.startswith("nvidia-") or project in (
        "cuda-toolkit",
        "cuda-bindings",
        "cuda-pathfinder",
        "cuda-python",
    )


def differences(theirs, ours):
    """Every project outside of CUDA that is not the same in both, as `project: uv's version, ours`."""
    names = sorted(name for name in theirs.keys() | ours.keys() if not is_cuda(name))
    return {name: f"{theirs.get(name)}, {ours.get(name)}" for name in names if theirs.get(name) != ours.get(name)}


def judge(name, work, faults):
    heading(name)
    only_wheels = True
    theirs = by_uv(name, work.directory, only_wheels)
    if not theirs.versions:
        only_wheels = False
        theirs = by_uv(name, work.directory, only_wheels)
    ours = by_imgforge(requirements(name), work, only_wheels)
    figure(
        "uv", f"{len(theirs.versions)} projects{'' if only_wheels else ', some from source'}, {theirs.seconds:.1f} s"
    )
    figure("imgforge", f"{len(ours.versions)} projects, {ours.seconds:.1f} s")
    if theirs.versions and not ours.versions and name not in NOT_TO_BE_HAD:
        faults.append(f"{name}: uv solves it, imgforge says: {ours.said.strip()[:1500]}")
    if not theirs.versions or not ours.versions:
        figure("no solution", theirs.said.strip()[-300:] if not theirs.versions else ours.said.strip()[:1500])
        return
    for project, versions in differences(theirs.versions, ours.versions).items():
        why, explained = EXPLAINED.get(name, ("", set()))
        reason = why if explained is EVERYTHING or project in explained else ""
        figure(f"{project} (uv, imgforge)", f"{versions}: {reason or 'NOT EXPLAINED'}")
        if not reason:
            faults.append(f"{name}: {project} is {versions}")


def main():
    command_line = program.parser("acceptance/corpus", __doc__)
    command_line.add_argument("sets", nargs="*", type=program.one_of(SETS), metavar="SET", help="by default all")
    command_line.add_argument("--quick", action="store_true", help=f"these sets: {', '.join(QUICK)}")
    options = command_line.parse_args()
    names = QUICK if options.quick else options.sets or list(SETS)
    faults = []
    with Work("corpus") as work:
        for name in names:
            judge(name, work, faults)
    print(f"{len(names)} sets, {len(faults)} faults")
    require(not faults, "\n".join(faults))


if __name__ == "__main__":
    program.start(main)
