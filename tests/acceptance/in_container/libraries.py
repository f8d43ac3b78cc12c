"""Run by the image's python3: imports the frameworks, makes every CUDA library load, and tells what is mapped.

The last line of the output is JSON.
"""

import ctypes
import glob
import importlib
import json
import mmap
import os
import re
import shutil
import struct
import subprocess
import time

SYSTEM = "/usr/local/cuda/targets/x86_64-linux/lib"
CUDA = re.compile(
    r"lib(cublas(Lt)?|cudart|cudnn\w*|cufftw?|cufile|cupti|curand|cusolver(Mg)?|cusparse(Lt)?|nccl|npp\w+|nvblas"
    r"|nvJitLink|nvToolsExt|nvjpeg|nvperf_\w+|nvrtc(-builtins)?|nvshmem\w*|nvvm|checkpoint|pcsamplingutil)\.so"
)
KERNEL = b'extern "C" __global__ void add(float *a, float b) { a[threadIdx.x] += b; }'


def imported(name):
    started = time.monotonic()
    version = importlib.import_module(name).__version__
    return {"version": version, "seconds": round(time.monotonic() - started, 1)}


def mapped_cuda():
    """Each CUDA library mapped into this process: path, SONAME, and the file it is."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        paths = {line.split(maxsplit=5)[5].strip() for line in maps if "/" in line}
    libraries = []
    for path in sorted(paths):
        if CUDA.match(os.path.basename(path)):
            file = os.stat(path)
            libraries.append({"path": path, "soname": soname(path), "file": [file.st_dev, file.st_ino]})
    return libraries


def soname(path):
    """The DT_SONAME of a 64-bit little-endian ELF file, or its name when it has none."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        (table,) = struct.unpack_from("<Q", data, 32)
        size, count = struct.unpack_from("<HH", data, 54)
        segments = [struct.unpack_from("<IIQQQQ", data, table + at * size) for at in range(count)]
        loaded = [segment for segment in segments if segment[0] == 1]
        (dynamic,) = [segment for segment in segments if segment[0] == 2]
        entries = dict(
            struct.unpack_from("<QQ", data, dynamic[2] + at) for at in range(0, dynamic[5], 16)
        )  # DT_NEEDED repeats, what is asked for below does not
        if 14 not in entries:
            return os.path.basename(path)
        # Dynamic entries hold memory addresses; the segment with the strings says where they are in the file.
        (strings,) = [offset - at for _, _, offset, at, _, length in loaded if at <= entries[5] < at + length]
        start = strings + entries[5] + entries[14]
        return data[start : data.find(b"\0", start)].decode()


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


def probes_of_jax():
    """The versions JAX's own plugin finds: it opens each library by the path it would use on a GPU."""
    from jax_cuda12_plugin import _versions

    return {name: getattr(_versions, name)() for name in dir(_versions) if name.endswith("_get_version")}


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
        "jax": probes_of_jax(),
        "torch": probes_of_torch(),
        "failed": load_every_library(),
        "kernel": compile_kernel(),
        "mapped": mapped_cuda(),
        "libdevice": os.path.exists("/usr/local/cuda/nvvm/libdevice/libdevice.10.bc"),
    }
    print(json.dumps(report))


main()
