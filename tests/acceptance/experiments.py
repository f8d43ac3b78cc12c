"""T1 to T10: what imgforge decides over each stand-in base, and what the image then maps in a Docker engine.

Each is a recipe over one base. A component is expected from a wheel when the base's copy is missing or does not do.
"""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from acceptance import stand_ins
from acceptance.pip_content import report_fetched
from acceptance.stand_ins import Base, Member
from harness.engine import machine_network
from harness.imgforge import decisions
from harness.paths import REPOSITORY
from harness.report import figure, gigabytes, require

COLAB = REPOSITORY / "recipes" / "colab-2025-03-12.yaml"

# The component of each library that the frameworks map. cuDNN's parts begin with its name.
COMPONENT = {
    "libcublas": "cublas", "libcublasLt": "cublas", "libcudart": "cuda-runtime", "libcufft": "cufft",
    "libcufile": "cufile", "libcupti": "cuda-cupti", "libcurand": "curand", "libcusolver": "cusolver",
    "libcusparse": "cusparse", "libcusparseLt": "cusparselt", "libnccl": "nccl", "libnvJitLink": "nvjitlink",
    "libnvToolsExt": "nvtx", "libnvrtc": "cuda-nvrtc", "libnvrtc-builtins": "cuda-nvrtc", "libnvshmem_host": "nvshmem",
}  # fmt: skip

# torch 2.2.1's eleven, and what cuSPARSE and cuSOLVER need.
TORCH_2_2 = {
    "cublas", "cuda-cupti", "cuda-nvrtc", "cuda-runtime", "cudnn", "cufft", "curand", "cusolver", "cusparse", "nccl",
    "nvjitlink", "nvtx",
}  # fmt: skip


def nothing(_):
    pass


@dataclass
class Experiment:
    """A recipe over a base, and what must come of it."""

    base: Callable
    frameworks: dict = field(default_factory=dict)
    packages: list = field(default_factory=list)
    imports: tuple = ()
    loads: tuple = ()  # by ctypes, after the imports
    from_wheels: set = field(default_factory=set)  # components; every other one must come from the base
    shadowed: set = field(default_factory=set)  # of these, what the base has a copy of that nobody uses
    judge: Callable = nothing  # of the container's report
    dry_run: bool = False


# --- the plan ---


def judge_plan(experiment, decided):
    from_wheels = {one.component for one in decided if one.kind == "wheel"}
    for kind in ("base", "wheel", "pip"):
        told = [f"{one.component} {one.version} ({one.place})" for one in decided if one.kind == kind]
        figure(f"from {kind}", "; ".join(told) or "nothing")
    require(decided, "the plan decides on no component")
    require(from_wheels == experiment.from_wheels, f"from wheels: {from_wheels}, not {set(experiment.from_wheels)}")
    wasted = {one.component: one.wasted for one in decided if one.wasted}
    figure("wasted in the base", {name: gigabytes(size) for name, size in wasted.items()})
    missing = experiment.shadowed - wasted.keys()
    require(not missing, f"no wasted bytes are reported of {missing}")


# --- the image ---


def perform(work, name):
    experiment = EXPERIMENTS[name]
    base = experiment.base()
    layout = work.base(name, base)
    recipe = work.recipe(
        name,
        {
            "base": {"layout": str(layout)},
            "frameworks": experiment.frameworks,
            "packages": experiment.packages,
            "config": {"workdir": "/content"},
        },
    )
    plan_build_and_run(work, recipe, experiment, base, layout)


def plan_build_and_run(work, recipe, experiment, base, layout):
    try:
        decided = decisions(recipe)
        judge_plan(experiment, decided)
        build_and_run(work, recipe, experiment, base, decided)
    finally:
        shutil.rmtree(layout, ignore_errors=True)


def build_and_run(work, recipe, experiment, base, decided):
    with work.built(recipe) as engine:
        report = imported(engine, experiment.imports, experiment.loads)
        judge_mapped(report, base, experiment)
        judge_versions(report, experiment)
        experiment.judge(Seen(report, decided))
        figure("pip check", engine.command("pip", "check").strip())
        if experiment.dry_run:
            said = engine.command("pip", "install", "--dry-run", "torchmetrics", options=machine_network())
            report_fetched("pip", "torchmetrics", said)


def imported(engine, imports, loads):
    """The report of a process that imports modules and then loads libraries."""
    return engine.report("imports.py", json.dumps({"imports": imports, "loads": loads}))


@dataclass(frozen=True)
class Seen:
    report: dict
    decided: list

    def mapped(self, stem):
        return [one["path"] for one in self.report["mapped"] if one["soname"].startswith(f"{stem}.so")]

    def version(self, component):
        [one] = [one for one in self.decided if one.component == component]
        return tuple(map(int, one.version.split(".")))


def component_of(soname):
    stem = soname.split(".so")[0]
    return "cudnn" if stem.startswith("libcudnn") else COMPONENT.get(stem)


def judge_mapped(report, base, experiment):
    """Each SONAME is mapped once, and from the base exactly when it was to come from there."""
    files = {}
    paths = {library["path"] for library in report["mapped"]}
    for library in report["mapped"]:
        files.setdefault(library["soname"], set()).add(tuple(library["file"]))
    twice = sorted(soname for soname, seen in files.items() if len(seen) > 1)
    require(not twice, f"mapped more than once: {twice}")
    require(files, "no CUDA library is mapped")
    owned = {f"/{path}" for path in base_members(base)}
    # Debian's packages have their libraries here, and nothing that is laid out from a wheel lies here.
    owned |= {path for path in paths if base.debian and path.startswith("/usr/lib/")}
    wrong = [
        library["path"]
        for library in report["mapped"]
        if (component := component_of(library["soname"]))
        and (library["path"] in owned) == (component in experiment.from_wheels)
    ]
    require(not wrong, f"mapped from the wrong side: {wrong}")
    places = sorted({str(Path(library["path"]).parent) for library in report["mapped"]})
    figure("mapped", f"{len(files)} CUDA libraries, each once, in {' '.join(places)}")


def base_members(base):
    for files in [*(package.files for package in base.packages), base.files or {}]:
        yield from (path for path, content in files.items() if isinstance(content, Member))


def judge_versions(report, experiment):
    for name, version in report["versions"].items():
        wanted = experiment.frameworks.get(name)
        require(not wanted or version.split("+")[0] == wanted, f"{name} is {version}, the recipe says {wanted}")
    figure("imported", report["versions"])


# --- what is special in each ---


def cudnn_is(version):
    def judge(seen):
        found = seen.report["torch"]["cudnn"]
        figure("torch's cuDNN", found)
        require(found == version, f"torch.backends.cudnn.version() is {found}, not {version}")

    return judge


def cudnn_at_least(version):
    def judge(seen):
        found = seen.report["torch"]["cudnn"]
        figure("torch's cuDNN", found)
        require(found >= version, f"torch.backends.cudnn.version() is {found}, less than {version}")

    return judge


def no_stray(seen):
    cudnn_is(8906)(seen)
    stray = [one["path"] for one in seen.report["mapped"] if "dist-packages" in one["path"]]
    require(not stray, f"the stray copy is mapped: {stray}")


def new_nvjitlink(seen):
    require(seen.version("nvjitlink") >= (12, 8), "nvJitLink is older than cuSPARSE needs")
    mapped = seen.mapped("libnvJitLink")
    require(mapped and not any(path.startswith("/opt/") for path in mapped), f"nvJitLink is mapped from {mapped}")


def no_cuda_13(seen):
    cudnn_is(8906)(seen)
    newer = [one["path"] for one in seen.report["mapped"] if "cuda-13" in one["path"]]
    require(not newer, f"CUDA 13 is mapped: {newer}")


def jax_finds_all(seen):
    versions = seen.report["jax"]
    figure("JAX sees", versions)
    missing = [name for name, version in versions.items() if not version and "driver" not in name]
    require(versions and not missing, f"JAX finds no version: {missing}")


TORCH = {"frameworks": {"torch": "2.2.1"}, "packages": ["numpy<2"], "imports": ("torch",)}
NEW_TORCH = {
    "frameworks": {"torch": "2.10.0"},
    "packages": ["numpy"],
    "imports": ("torch",),
    "judge": cudnn_at_least(91002),
}

EXPERIMENTS = {
    # No CUDA in the base: everything comes from wheels.
    "t1": Experiment(Base, **TORCH, from_wheels=TORCH_2_2, judge=cudnn_is(8902)),
    # Colab's base of April 2024 serves torch 2.2.1 alone.
    "t2": Experiment(stand_ins.colab_2024, **TORCH, judge=cudnn_is(8906), dry_run=True),
    # The runtime images have no CUPTI.
    "t3": Experiment(
        lambda: stand_ins.colab_2024(devel=False), **TORCH, from_wheels={"cuda-cupti"}, judge=cudnn_is(8906)
    ),
    # Colab's base of 2026 cannot serve its torch: two libraries are missing, two are too old.
    "t4": Experiment(
        stand_ins.colab_2026, **NEW_TORCH, from_wheels={"cudnn", "cusparselt", "nccl", "nvshmem"},
        shadowed={"cudnn", "nccl"},
    ),
    "t5": Experiment(
        stand_ins.with_sparse_and_shmem, **NEW_TORCH, from_wheels={"cudnn", "nccl"}, shadowed={"cudnn", "nccl"}
    ),
    "t6": Experiment(
        lambda: stand_ins.with_sparse_and_shmem(nccl="2.27.5"), **NEW_TORCH, from_wheels={"cudnn"}, shadowed={"cudnn"},
        dry_run=True,
    ),
    # A stray wheel in the base's site-packages, which torch's RPATH would find first.
    "t7": Experiment(stand_ins.with_stray_cublas, **TORCH, judge=no_stray),
    # LD_LIBRARY_PATH comes before the RUNPATH of NVIDIA's libraries.
    "t8": Experiment(
        stand_ins.with_old_nvjitlink, packages=["nvidia-cusparse-cu12==12.5.8.93"], loads=("libcusparse.so.12",),
        from_wheels={"cusparse", "nvjitlink"}, judge=new_nvjitlink,
    ),
    # CUDA 13's cuSPARSE has the SONAME of CUDA 12's.
    "t9": Experiment(stand_ins.with_cuda_13, **TORCH, judge=no_cuda_13),
    # cuDNN 8 does not serve JAX 0.7.2; its compiler and NVSHMEM are newer than the base's or missing there.
    "t10": Experiment(
        stand_ins.colab_2024, frameworks={"jax": "0.7.2"}, imports=("jax",),
        from_wheels={"cuda-nvcc", "cudnn", "nvshmem"}, judge=jax_finds_all,
    ),
    # Debian's own CUDA 11.8. CUPTI's SONAME has the minor version, so torch's is another.
    "debian": Experiment(
        stand_ins.debian_11_8, frameworks={"torch": "2.0.1"}, packages=["numpy<2"], imports=("torch",),
        from_wheels={"cuda-cupti", "cudnn", "nccl"}, judge=cudnn_is(8500),
    ),
    # The wheels that torch pins are installed in the base: none is added.
    "site-packages": Experiment(stand_ins.site_packages, **TORCH, judge=cudnn_is(8902)),
    # The loader does not look into a conda prefix: what it has is linked into the toolkit's tree.
    "conda": Experiment(
        stand_ins.conda, **TORCH, from_wheels=TORCH_2_2 - {"cublas", "cuda-runtime", "cusparse", "nvjitlink"},
        judge=cudnn_is(8902),
    ),
}  # fmt: skip


# --- Colab's day ---

COLAB_IMPORTS = (
    "torch", "torchvision", "torchaudio", "tensorflow", "jax", "cupy", "xgboost", "lightgbm", "transformers", "cudf",
    "cv2", "keras_hub", "numba.cuda", "spacy", "tensorflow_probability",
)  # fmt: skip


def colab_day(work):
    """Colab had its apt CUDA, and 15 of its libraries again in site-packages. Here one of each is left."""
    base = stand_ins.colab_2025()
    layout = work.base("colab-2025-03-12", base)
    recipe = work.directory / COLAB.name
    text, bases_found = re.subn("^base: .*$", f"base: {{layout: {layout}}}", COLAB.read_text(), flags=re.MULTILINE)
    require(bases_found == 1, f"{COLAB} does not have its base on one line")
    recipe.write_text(text)
    shutil.copy(COLAB.with_suffix(".txt"), recipe.parent)
    experiment = Experiment(
        stand_ins.colab_2025, imports=COLAB_IMPORTS, from_wheels={"cuda-nvcc", "cudnn", "cusparselt"},
        shadowed={"cuda-nvcc", "cudnn"}, judge=jax_finds_all, dry_run=True,
    )  # fmt: skip
    plan_build_and_run(work, recipe, experiment, base, layout)


# --- libraries that look for CUDA by themselves ---


def finders(work):
    recipe = work.recipe(
        "finders",
        {
            "base": "debian-bookworm",
            "frameworks": {"torch": "2.6.0", "jax": "0.5.3", "tensorflow": "2.18.0"},
            "packages": [
                "cuda-bindings<13", "cuda-pathfinder>=1.8", "cupy-cuda12x>=14", "numba-cuda", "onnxruntime-gpu==1.22.0",
                "pip",
            ],
            "exclude-newer": "2026-11-01",
        },
    )  # fmt: skip
    root = "/usr/local/cuda-12.5/"
    with work.built(recipe) as engine:
        report = engine.report("finders.py")
    for name, outcome in report.items():
        figure(name, outcome.get("error") or outcome["found"])
    failed = sorted(name for name, outcome in report.items() if "error" in outcome)
    require(not failed, f"these do not find CUDA: {failed}")
    elsewhere = {path for outcome in report.values() for path in outcome["mapped"] if not path.startswith(root)}
    require(not elsewhere, f"mapped from outside {root}: {elsewhere}")
    modules = report["nvidia_modules"]["found"]
    require(all(path.startswith(root) for path in modules.values()), f"not below {root}: {modules}")
    unresolved = {name: path for name, path in report["onnxruntime"]["found"]["resolved"].items() if root not in path}
    require(not unresolved, f"onnxruntime's CUDA provider would load {unresolved}")


# --- two CUDA majors in one image ---


def two_majors(work):
    """torch is built for CUDA 13, TensorFlow for CUDA 12: each process maps one of them, although both have cuDNN 9."""
    frameworks = {"torch": "2.11.0", "tensorflow": "2.20.0"}
    recipe = work.recipe("two-majors", {"base": "debian-bookworm", "frameworks": frameworks, "packages": ["pip"]})
    shared = ("libcudnn.so.9", "libcusparse.so.12", "libcurand.so.10", "libnccl.so.2", "libcublas.so.12")
    with work.built(recipe) as engine:
        maps_below("/usr/local/cuda-13.", engine, "torch", loads=())
        maps_below("/usr/local/cuda-12.", engine, "tensorflow", loads=shared)
        figure("pip check", engine.command("pip", "check").strip())


def maps_below(root, engine, framework, loads):
    mapped = imported(engine, [framework], loads)["mapped"]
    elsewhere = [one["path"] for one in mapped if not one["path"].startswith(root)]
    require(mapped and not elsewhere, f"{framework} maps {elsewhere or 'no CUDA'}, not only what is below {root}*")
    figure(framework, f"maps {len(mapped)} CUDA libraries, all below {root}*")
