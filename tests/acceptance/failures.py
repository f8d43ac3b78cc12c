"""The failures that people hit, each made of a sound image and the bytes of real libraries, and the findings of each.

A failure is one more layer over an image that is clean. Where it shows without a GPU, a container with the same change
imports the framework, and the real loader must agree with `check`, both ways.
"""

import shutil
import zipfile
from dataclasses import dataclass, field

from acceptance import variant
from harness.engine import NO_NETWORK
from harness.imgforge import findings, imgforge
from harness.report import Failure as Failed
from harness.report import figure, require
from harness.wheels import downloaded

TREE = "usr/local/cuda-12.5/targets/x86_64-linux/lib"
PACKAGES = "usr/local/lib/python3.11/dist-packages"


@dataclass
class Failure:
    """A change of the image, and the finding that it must lead to."""

    rule: str
    removed: list = field(default_factory=list)
    files: list = field(default_factory=list)  # a path in the image, a wheel, and a path in that
    texts: list = field(default_factory=list)  # a path in the image, and its content
    wheels: list = field(default_factory=list)  # what is unpacked into site-packages, as pip does
    fixed: list = field(default_factory=list)  # the wheels instead of which the image is clean
    env: dict = field(default_factory=dict)
    fails: tuple = ()  # the command that must fail in a container with the same change, and succeed without
    options: tuple = ()  # of `check`


# The parts of cuDNN 9 that are in every release of it.
CUDNN = ["", "_adv", "_cnn", "_engines_precompiled", "_engines_runtime_compiled", "_graph", "_heuristic", "_ops"]
OLD_CUDNN = "nvidia-cudnn-cu12==9.0.0.312"


def of_old_cudnn(part, directory):
    name = f"libcudnn{part}.so.9"
    return (f"{directory}/{name}", OLD_CUDNN, f"nvidia/cudnn/lib/{name}")


FAILURES = {
    "F1": Failure(
        "unmet-requirement", removed=[f"{PACKAGES}/nvidia_cublas_cu12-12.5.3.2.dist-info"], fails=("pip", "check")
    ),
    "F2": Failure("missing-library", removed=[f"{TREE}/libcusparseLt.so.0"], fails=("python3", "-c", "import torch")),
    "F3": Failure("missing-component", removed=[f"{TREE}/libcupti.so.12"], fails=("python3", "-c", "import torch")),
    "F4": Failure(
        "missing-symbol",
        files=[
            (f"{TREE}/libnvJitLink.so.12", "nvidia-nvjitlink-cu12==12.1.105", "nvidia/nvjitlink/lib/libnvJitLink.so.12")
        ],
        fails=("python3", "-c", "import torch"),
    ),
    "F5": Failure(
        "missing-symbol",
        files=[(f"{TREE}/libnccl.so.2", "nvidia-nccl-cu12==2.16.5", "nvidia/nccl/lib/libnccl.so.2")],
        fails=("python3", "-c", "import torch"),
    ),
    "F6": Failure(
        "old-component",
        removed=[f"{PACKAGES}/nvidia_cudnn_cu12-9.3.0.75.dist-info", "usr/local/cuda-12.5/version.json"],
        files=[of_old_cudnn(part, TREE) for part in CUDNN]
        + [
            (
                "usr/local/cuda-12.5/targets/x86_64-linux/include/cudnn_version.h",
                OLD_CUDNN,
                "nvidia/cudnn/include/cudnn_version.h",
            )
        ],
        fails=("python3", "-c", "import torch; torch.backends.cudnn.version()"),
    ),
    "F7": Failure(
        "file-collision",
        texts=[
            (
                f"{PACKAGES}/nvidia_nccl_cu13-2.28.9.dist-info/METADATA",
                "Metadata-Version: 2.1\nName: nvidia-nccl-cu13\nVersion: 2.28.9\n",
            ),
            (
                f"{PACKAGES}/nvidia_nccl_cu13-2.28.9.dist-info/RECORD",
                f"../../../cuda-12.5/targets/x86_64-linux/lib/libnccl.so.2,sha256={'A' * 43},1\n",
            ),
        ],
    ),
    "F8": Failure(
        "mixed-cudnn",
        removed=[f"{TREE}/libcudnn_adv.so.9"],
        files=[of_old_cudnn("_adv", "usr/lib/x86_64-linux-gnu")],
    ),
    "F9": Failure("missing-library", removed=[f"{TREE}/libnvrtc.so.12"]),
    "F10": Failure("nvrtc-builtins", removed=[f"{TREE}/libnvrtc-builtins.so.12.5"]),
    "F11": Failure(
        "missing-library",
        files=[(f"{TREE}/libcusparse.so.12", "nvidia-cusparse==12.6.3.3", "nvidia/cu13/lib/libcusparse.so.12")],
        fails=("python3", "-c", "import torch"),
    ),
    "F12": Failure(
        "mixed-copies",
        # torch looks here first; the link leads to the shared tree.
        removed=[f"{PACKAGES}/nvidia/cublas/lib"],
        files=[
            (f"{PACKAGES}/nvidia/cublas/lib/{name}", "nvidia-cublas-cu12==12.6.4.1", f"nvidia/cublas/lib/{name}")
            for name in ("libcublas.so.12", "libcublasLt.so.12")
        ],
    ),
    "F13": Failure(
        "unmet-extra",
        wheels=["cuda-toolkit==12.8.1"],
        texts=[
            (
                f"{PACKAGES}/needs_cufft-1.dist-info/METADATA",
                "Metadata-Version: 2.1\nName: needs-cufft\nVersion: 1\nRequires-Dist: cuda-toolkit[cufft]==12.8.1\n",
            )
        ],
    ),
    "F14": Failure(
        "driver-from-image",
        files=[
            (
                "usr/local/cuda-12.5/compat/libcuda.so.1",
                "nvidia-cuda-runtime-cu12==12.5.82",
                "nvidia/cuda_runtime/lib/libcudart.so.12",
            )
        ],
        env={"LD_LIBRARY_PATH": "/usr/local/cuda-12.5/compat"},
    ),
    "F15": Failure("driver-path", removed=["etc/ld.so.conf.d/nvidia.conf"], env={"LD_LIBRARY_PATH": None}),
    "F16": Failure("old-driver", options=("--driver", "470.57.02")),
    "F17 ptxas": Failure("no-ptxas", removed=["usr/local/cuda-12.5/bin/ptxas"]),
    "F17 libdevice": Failure("no-libdevice", removed=["usr/local/cuda-12.5/nvvm/libdevice/libdevice.10.bc"]),
    "F18": Failure(
        "no-headers",
        removed=["usr/local/cuda-12.5/targets/x86_64-linux/include/cuda_fp16.h"],
        wheels=["cupy-cuda12x==13.4.1", "fastrlock==0.8.3"],
        fixed=["cupy-cuda12x==13.4.1", "fastrlock==0.8.3"],
    ),
    "F19": Failure("other-soname", wheels=["ctranslate2==4.4.0"], fixed=["ctranslate2==4.5.0"]),
}


def content(failure, requirements):
    """The files of a failure, with all of these wheels, as pairs of a path in the image and bytes."""
    files = []
    for path, requirement, inside in failure.files:
        with zipfile.ZipFile(downloaded(requirement)) as archive:
            files.append((path, archive.read(inside)))
    files += [(path, text.encode()) for path, text in failure.texts]
    for requirement in requirements:
        with zipfile.ZipFile(downloaded(requirement)) as archive:
            names = [name for name in archive.namelist() if is_package_file(name)]
            files += [(f"{PACKAGES}/{name}", archive.read(name)) for name in names]
    return files


def is_package_file(name):
    return not name.endswith("/") and not name.split("/")[0].endswith(".data")


def sound(work):
    """The image that all failures are made of has no errors and no warnings."""
    found = findings(work.layout)
    bad = [str(one) for one in found if one.level != "note"]
    require(not bad, "a sound image is not clean: " + "; ".join(bad))
    imgforge("check", f"oci:{work.layout}")
    figure("sound image", f"clean, {len(found)} notes")


def agree(work, name, failure, files):
    """A container with the same change must fail at what one without it does."""
    work.engine.command(*failure.fails)
    changed = work.directory / "failure-files"
    shutil.rmtree(changed, ignore_errors=True)
    changed.mkdir()
    script = [f"rm -rf '/{path}'" for path in failure.removed]
    for number, (path, content) in enumerate(files):
        (changed / str(number)).write_bytes(content)
        script.append(f"cp --remove-destination /mnt/changed/{number} '/{path}'")
    script.append('exec "$@"')
    try:
        options = (*NO_NETWORK, "--volume", f"{changed}:/mnt/changed:ro")
        shell = ("sh", "-ec", "; ".join(script), "sh")
        try:
            said = work.engine.command(*shell, *failure.fails, options=options)
        except Failed as failed:
            figure(f"{name} in a container", str(failed).strip().splitlines()[-1])
        else:
            raise Failed(f"{name}: check finds {failure.rule}, and a container says {said}")
    finally:
        shutil.rmtree(changed, ignore_errors=True)


def check_variant(work, failure, files, removed):
    """The findings for the sound image with one more layer."""
    layout = work.directory / "failure"
    shutil.rmtree(layout, ignore_errors=True)
    try:
        variant.with_layer(work.layout, layout, variant.tar(files, removed), failure.env)
        return findings(layout, *failure.options)
    finally:
        shutil.rmtree(layout, ignore_errors=True)


def failures(work):
    sound(work)
    for name, failure in FAILURES.items():
        files = content(failure, failure.wheels)
        found = check_variant(work, failure, files, failure.removed)
        rules = sorted({one.rule for one in found})
        require(failure.rule in rules, f"{name}: check finds {rules}, not {failure.rule}")
        figure(name, next(str(one) for one in found if one.rule == failure.rule))
        if failure.fails:
            agree(work, name, failure, files)
        if failure.fixed:
            found = check_variant(work, failure, content(failure, failure.fixed), [])
            bad = [str(one) for one in found if one.rule == failure.rule or one.level == "error"]
            require(not bad, f"{name}, fixed, is not clean: {bad}")
            figure(f"{name}, fixed", f"clean, with {' and '.join(failure.fixed)}")
