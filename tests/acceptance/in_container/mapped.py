"""The CUDA libraries mapped into a process of the container. Imported by the scripts beside it."""

import mmap
import os
import re
import struct

CUDA = re.compile(
    r"lib(cublas(Lt)?|cudart|cudnn\w*|cufftw?|cufile|cupti|curand|cusolver(Mg)?|cusparse(Lt)?|nccl|npp\w+|nvblas"
    r"|nvJitLink|nvToolsExt|nvjpeg|nvperf_\w+|nvrtc(-builtins)?|nvshmem\w*|nvvm|checkpoint|pcsamplingutil)\.so"
)


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


def versions_of_jax():
    """The versions JAX's own plugin finds: it opens each library by the path it would use on a GPU."""
    from jax_cuda12_plugin import _versions

    return {name: getattr(_versions, name)() for name in dir(_versions) if name.endswith("_get_version")}
