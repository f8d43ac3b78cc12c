"""What binaries need is planned: real distributions whose metadata says little of the CUDA that they are linked with.

Each recipe is planned, or refused with the words that name a version that fits.
"""

import json
import subprocess
from dataclasses import dataclass, field

from harness import program
from harness.imgforge import binary
from harness.report import figure, require
from harness.work import Work

BLAS_12 = {"cublas": 12, "cuda-nvrtc": 12}
CUPY = {**BLAS_12, "cuda-runtime": 12, "cufft": 12, "curand": 12, "cusolver": 12, "cusparse": 12}


@dataclass
class Case:
    """Packages beside a framework, and what their plan says."""

    packages: list
    frameworks: dict = field(default_factory=dict)
    components: dict = field(default_factory=dict)  # name: CUDA major
    says: tuple = ()
    refused: str = ""


REFUSED = "(libcudart.so.13), torch 2.6.0 serves CUDA 12: torchaudio 2.6.0 fits"
TORCH = {"torch": "2.6.0"}
TORCH_15 = {"torch": "2.15.0"}
CASES = {
    "cupy-12": Case(["cupy-cuda12x==12.3.0"], components=CUPY, says=("12.3.0 is linked with libcublas.so.12",)),
    "cupy-14": Case(["cupy-cuda12x>=14"], components=CUPY, says=("compiles with cuda_fp16.h",)),
    "onnxruntime-12": Case(["onnxruntime-gpu==1.22.0"], components={**BLAS_12, "cudnn": 12, "cufft": 12}),
    "onnxruntime": Case(["onnxruntime-gpu"], components={"cublas": 13, "cuda-runtime": 13, "curand": 13}),
    "onnxruntime-beside-torch": Case(["onnxruntime-gpu"], TORCH, {"cublas": 12, "cudnn": 12}, ("is taken",)),
    "ctranslate2": Case(["ctranslate2"], components=BLAS_12, says=("opens libcublas.so.12",)),
    "torchaudio": Case(["torchaudio"], TORCH, {"cuda-runtime": 12}, ("torchaudio 2.6.0 is taken",)),
    "torchaudio-wrong": Case(["torchaudio==2.11.0"], TORCH, refused=REFUSED),
    "torchaudio-right": Case(["torchaudio==2.6.0"], TORCH, {"cuda-runtime": 12}),
    "torchcodec": Case(["torchcodec"], TORCH_15, {"cuda-nvrtc": 13}, ("is linked with libnvrtc.so.13",)),
    "vllm": Case(["vllm"], components={"cuda-cccl": 13}),
    "sglang": Case(["sglang"], components={"cuda-runtime": 13}),
    "lmdeploy": Case(["lmdeploy"], components={"cublas": 12, "nccl": 12}, says=("lmdeploy", "is built for CUDA 12")),
    "xgboost": Case(["xgboost"], TORCH_15, {"nccl": 13}, ("the copy of nvidia-nccl-cu13",)),
}


def planned(recipe, *options):
    return subprocess.run([binary(), "plan", recipe, *options], capture_output=True, text=True, check=False)


def check(name, work):
    case = CASES[name]
    keys = {"base": "debian-bookworm", "frameworks": case.frameworks, "packages": case.packages}
    recipe = work.recipe(name, keys)
    shown = planned(recipe, "--wide")
    if case.refused:
        require(shown.returncode == 1 and case.refused in shown.stderr, f"{name} is not refused: {shown.stderr}")
        return
    require(shown.returncode == 0, f"{name} is refused: {shown.stderr}")
    for words in case.says:
        require(words in shown.stdout, f"the plan of {name} does not say `{words}`:\n{shown.stdout}")
    plan = json.loads(planned(recipe, "--json", "--offline").stdout)
    served = {(one["component"], one["cuda_major"]) for one in plan["components"]}
    figure("components", len(served))
    for wanted in case.components.items():
        require(wanted in served, f"{name} has no {wanted[0]} of CUDA {wanted[1]}: {sorted(served)}")


def main():
    names = program.step_names("acceptance/needs", __doc__, CASES)
    with Work("needs") as work:
        program.perform({name: lambda _, name=name: check(name, work) for name in names}, names, work)


if __name__ == "__main__":
    program.start(main)
