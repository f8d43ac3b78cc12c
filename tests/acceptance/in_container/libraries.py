"""Run by the image's python3: imports the frameworks, makes every CUDA library load, and tells what is mapped.

The last line of the output is JSON.
"""

import ctypes
import glob
import importlib
import json
import os
import shutil
import subprocess
import time

from mapped import mapped_cuda, soname, versions_of_jax

SYSTEM = "/usr/local/cuda/targets/x86_64-linux/lib"
KERNEL = b'extern "C" __global__ void add(float *a, float b) { a[threadIdx.x] += b; }'


def imported(name):
    started = time.monotonic()
    version = importlib.import_module(name).__version__
    return {"version": version, "seconds": round(time.monotonic() - started, 1)}


def load_every_library():
    """Loads each library by its SONAME through the loader's cache, as a framework does; what failed, and why."""
    failed = {}
    for path in sorted(glob.glob(f"{SYSTEM}/*.so*")):
        name = soname(path)
        try:
            ctypes.CDLL(name)
        except OSError as error:
            failed[name] = str(error)
    return failed


def probes_of_torch():
    import torch

    # torch opens this one when linear algebra is first used on a GPU; it needs cuSOLVER.
    ctypes.CDLL(f"{os.path.dirname(torch.__file__)}/lib/libtorch_cuda_linalg.so")
    return {"cudnn": torch.backends.cudnn.version(), "nccl": ".".join(map(str, torch.cuda.nccl.version()))}


def compile_kernel():
    """Compiles a kernel with NVRTC and assembles it with the ptxas that XLA would find: both work without a GPU."""
    nvrtc = ctypes.CDLL("libnvrtc.so.12")
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    option = (ctypes.c_char_p * 1)(b"--gpu-architecture=compute_80")
    results = [
        nvrtc.nvrtcCreateProgram(ctypes.byref(program), KERNEL, b"add.cu", 0, None, None),
        nvrtc.nvrtcCompileProgram(program, 1, option),
        nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)),
    ]
    ptx = ctypes.create_string_buffer(size.value)
    results.append(nvrtc.nvrtcGetPTX(program, ptx))
    ptxas = shutil.which("ptxas") or "/usr/local/cuda/bin/ptxas"
    with open("/tmp/add.ptx", "wb") as file:
        file.write(ptx.value)
    assembled = subprocess.run(
        [ptxas, "-arch=sm_80", "-o", "/dev/null", "/tmp/add.ptx"], capture_output=True, text=True, check=False
    )
    return {"nvrtc": results, "ptxas": ptxas, "assembled": assembled.returncode, "said": assembled.stderr}


def main():
    frameworks = {name: imported(name) for name in ("torch", "tensorflow", "jax")}
    by_import = [library["soname"] for library in mapped_cuda()]
    report = {
        "frameworks": frameworks,
        "by_import": by_import,
        "jax": versions_of_jax(),
        "torch": probes_of_torch(),
        "failed": load_every_library(),
        "kernel": compile_kernel(),
        "mapped": mapped_cuda(),
        "libdevice": os.path.exists("/usr/local/cuda/nvvm/libdevice/libdevice.10.bc"),
    }
    print(json.dumps(report))


main()
