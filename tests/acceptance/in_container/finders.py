"""Run by the image's python3: each library that looks for CUDA's files by its own rules, in a process of its own.

The last line of the output is JSON: for each finder what it found and which CUDA libraries it mapped, or its error.

What each should find is the one copy in the system tree, on a machine without a driver. Known of them (November 2026):
* cuda-pathfinder looks into `nvidia/*/lib` of site-packages, conda, then asks the loader (`system-search`), then
  CUDA_HOME; NVVM is on no loader path and is found by CUDA_HOME alone.
* cupy finds its root through pathfinder, and passes `<root>/include` to NVRTC.
* onnxruntime's CUDA provider crashes when it is initialised without a driver, in any environment: a session cannot be
  tried, so its needs are resolved by the loader without running it.
* torch calls `_preload_cuda_deps` only when the loader failed; it looks at files below `nvidia/` of sys.path alone, so
  without that directory it raises ValueError.
* jax_plugins imports `nvidia.<component>` and takes `__path__[0]/lib`; failing that, the loader's answer serves.
* numba-cuda asks pathfinder; it compiles without a driver when told a compute capability.
* Nothing finds `import nvidia.<component>` in an image without the wheels' `nvidia` directory: ModuleNotFoundError.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import traceback

from mapped import CUDA, mapped_cuda

PATHFINDER_LIBRARIES = (
    "cublas", "cublasLt", "cudart", "cufft", "curand", "cusolver", "cusparse", "nvJitLink", "nvrtc", "nvvm",
)  # fmt: skip
PATHFINDER_HEADERS = ("cudart", "nvrtc", "cublas")
# The modules that libraries import, and the file they then look for: JAX's plugin, faster-whisper, JAX, xgboost.
MODULES = {
    "nvidia.cublas": "lib/libcublas.so.12",
    "nvidia.cudnn.lib": "libcudnn.so.9",
    "nvidia.cuda_nvcc": "bin/ptxas",
    "nvidia.nccl.lib": "libnccl.so.2",
}
KERNEL = '#include <cuda_fp16.h>\nextern "C" __global__ void f(__half *x) { x[0] = __float2half(1.f); }'


def pathfinder():
    from cuda import pathfinder

    libraries = {name: pathfinder.load_nvidia_dynamic_lib(name) for name in PATHFINDER_LIBRARIES}
    return {
        "libraries": {name: library.abs_path for name, library in libraries.items()},
        "found_via": {name: library.found_via for name, library in libraries.items()},
        "headers": {name: pathfinder.find_nvidia_header_directory(name) for name in PATHFINDER_HEADERS},
    }


def cupy():
    import cupy
    from cuda import pathfinder
    from cupy_backends.cuda.libs import nccl, nvrtc

    # With NVRTC from wheels, cupy has no directory of a toolkit, and asks cuda-pathfinder for headers.
    path = cupy.cuda.get_cuda_path()
    include = f"{path}/include" if path else pathfinder.find_nvidia_header_directory("cudart")
    program = nvrtc.createProgram(KERNEL, "f.cu", (), ())
    nvrtc.compileProgram(program, ("--gpu-architecture=compute_80", f"-I{include}"))
    return {
        "cuda_path": cupy.cuda.get_cuda_path(),
        "include": include,
        "nvrtc": nvrtc.getVersion(),
        "ptx": len(nvrtc.getPTX(program)),
        "nccl": nccl.get_version(),
    }


def numba_cuda():
    from numba import cuda, types
    from numba.cuda import cuda_paths

    ptx, _ = cuda.compile_ptx(lambda _: None, (types.int32,), cc=(8, 0))
    return {"ptx": len(ptx), "paths": {name: str(found) for name, found in cuda_paths.get_cuda_paths().items()}}


def cuda_python():
    from cuda.bindings import nvrtc, runtime

    return {"nvrtc": nvrtc.nvrtcVersion()[1:], "runtime": runtime.getLocalRuntimeVersion()[1]}


def jax_plugin():
    import jax_plugins.xla_cuda12 as plugin
    from jax_cuda12_plugin import _versions

    if hasattr(plugin, "_load_nvidia_libraries"):
        plugin._load_nvidia_libraries()
    getters = [name for name in dir(_versions) if name.endswith("_get_version") and "driver" not in name]
    return {"library": str(plugin._get_library_path())} | {name: getattr(_versions, name)() for name in getters}


def torch_preload():
    import torch

    torch._preload_cuda_deps("cublas", "libcublas.so.*[0-9]")
    return {}


def torch_extension():
    from torch.utils import cpp_extension

    return {"CUDA_HOME": cpp_extension.CUDA_HOME}


def onnxruntime():
    import onnxruntime

    said = captured(onnxruntime.preload_dlls)
    provider = f"{os.path.dirname(onnxruntime.__file__)}/capi/libonnxruntime_providers_cuda.so"
    listed = subprocess.run(["ldd", provider], capture_output=True, text=True, check=True).stdout
    resolved = dict(re.findall(r"^\s*(\S+) => (.+?)(?: \(0x\w+\))?$", listed, re.MULTILINE))
    return {
        "preload_dlls": said,
        "providers": onnxruntime.get_available_providers(),
        "resolved": {name: path for name, path in resolved.items() if CUDA.match(name)},
    }


def nvidia_modules():
    import importlib

    found = {}
    for name, file in MODULES.items():
        path = os.path.join(next(iter(importlib.import_module(name).__path__)), file)
        found[name] = os.path.realpath(path, strict=True)
    return found


FINDERS = (
    pathfinder, cupy, numba_cuda, cuda_python, jax_plugin, torch_preload, torch_extension, onnxruntime, nvidia_modules,
)  # fmt: skip


def captured(function):
    """The standard output of `function`."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as said:
        function()
    return said.getvalue()


def mapped_paths():
    return [library["path"] for library in mapped_cuda()]


def apart(finder):
    """The report of `finder` from a child process: what it maps, or how it crashes, stays its own."""
    with tempfile.TemporaryFile("w+") as report:
        child = os.fork()
        if child == 0:
            try:
                outcome = {"found": finder(), "mapped": mapped_paths()}
            except BaseException:
                outcome = {"error": traceback.format_exc().strip().splitlines()[-1], "mapped": mapped_paths()}
            json.dump(outcome, report)
            report.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        report.seek(0)
        return json.loads(report.read() or json.dumps({"error": f"ended with {os.waitstatus_to_exitcode(status)}"}))


wanted = sys.argv[1:] or [finder.__name__ for finder in FINDERS]
print(json.dumps({finder.__name__: apart(finder) for finder in FINDERS if finder.__name__ in wanted}))
