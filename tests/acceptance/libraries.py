"""In a container without network: the frameworks import, and every CUDA library comes from one place, once."""

from collections import defaultdict

from harness.report import figure, require

ROOT = "/usr/local/cuda-12.5/"
VERSIONS = {"torch": "2.6.0", "tensorflow": "2.18.0", "jax": "0.5.3"}

# The libraries that the three frameworks open on a GPU: each must have been seen, or the check proved nothing.
EXPECTED = {
    "libcublas.so.12", "libcublasLt.so.12", "libcudart.so.12", "libcudnn.so.9", "libcudnn_adv.so.9",
    "libcudnn_cnn.so.9", "libcudnn_engines_precompiled.so.9", "libcudnn_engines_runtime_compiled.so.9",
    "libcudnn_graph.so.9", "libcudnn_heuristic.so.9", "libcudnn_ops.so.9", "libcufft.so.11", "libcupti.so.12",
    "libcurand.so.10", "libcusolver.so.11", "libcusparse.so.12", "libcusparseLt.so.0", "libnccl.so.2",
    "libnvJitLink.so.12", "libnvToolsExt.so.1", "libnvrtc.so.12",
}  # fmt: skip


def one_cuda(work):
    report = work.engine.report("libraries.py")
    for name, seen in report["frameworks"].items():
        figure(f"import {name}", f"{seen['version']} in {seen['seconds']} s")
        plain = seen["version"].split("+")[0]
        require(plain == VERSIONS[name], f"{name} is {plain}, the recipe says {VERSIONS[name]}")
    figure("mapped by import alone", f"{len(report['by_import'])} CUDA libraries")
    judge_mapped(report["mapped"])
    judge_probes(report)


def judge_mapped(mapped):
    elsewhere = [library["path"] for library in mapped if not library["path"].startswith(ROOT)]
    require(not elsewhere, f"CUDA libraries mapped from outside {ROOT}: {elsewhere}")
    files = defaultdict(set)
    for library in mapped:
        files[library["soname"]].add(tuple(library["file"]))
    twice = sorted(name for name, seen in files.items() if len(seen) > 1)
    require(not twice, f"mapped more than once: {twice}")
    missing = sorted(EXPECTED - set(files))
    require(not missing, f"never loaded: {missing}")
    figure("mapped in the end", f"{len(files)} CUDA libraries, each SONAME once, all below {ROOT}")


def judge_probes(report):
    figure("torch sees", report["torch"])
    figure("JAX sees", report["jax"])
    require(not report["failed"], f"could not be loaded: {report['failed']}")
    missing = [name for name, version in report["jax"].items() if version == 0 and "driver" not in name]
    require(not missing, f"JAX finds no version: {missing}")
    kernel = report["kernel"]
    require(not any(kernel["nvrtc"]), f"NVRTC failed: {kernel['nvrtc']}")
    require(kernel["assembled"] == 0, f"{kernel['ptxas']} failed: {kernel['said']}")
    require(report["libdevice"], "libdevice.10.bc is not below /usr/local/cuda/nvvm/libdevice")
    figure("kernel", f"compiled by NVRTC, assembled by {kernel['ptxas']}")
