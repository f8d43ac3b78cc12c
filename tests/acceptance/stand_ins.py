"""Stand-in bases: a Debian root with Python and pip, and real CUDA libraries laid out as bases have them.

imgforge makes the Debian root; base_layout writes the rest over it. NVIDIA's libraries come from its wheels, downloaded
once; here they lie where its Debian packages put them: under their full file names, with links, headers, loader
configuration and dpkg's database, and with the environment of the nvidia/cuda images.

`docker load` takes a base too: `tar -C LAYOUT -c . | docker load`.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from harness.wheels import downloaded

TARGET = "targets/x86_64-linux"
MULTIARCH = "usr/lib/x86_64-linux-gnu"
SITE = "usr/local/lib/python3.11/dist-packages"

# A layer has paths relative to the root, each with one of these.


@dataclass(frozen=True)
class Member:
    """A file of a wheel."""

    wheel: Path
    name: str


@dataclass(frozen=True)
class Link:
    target: str


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Package:
    """A package in dpkg's database, and the files it owns."""

    name: str
    version: str
    source: str
    files: dict
    held: bool = False


# --- NVIDIA's packages ---


@dataclass(frozen=True)
class Toolkit:
    """A toolkit of NVIDIA's archive. A component's version is its wheel's; its package appends `-1`."""

    version: str
    release: str
    cupti: str  # in the name of CUPTI's file
    components: dict

    @property
    def root(self):
        return f"usr/local/cuda-{self.version}"

    @property
    def major(self):
        return self.version.split(".")[0]

    def package(self, stem):
        return f"{stem}-{self.version.replace('.', '-')}"


CUDA_12_2 = Toolkit(
    "12.2", "12.2.2", "2023.2.2",
    {
        "cublas": "12.2.5.6", "cuda-cupti": "12.2.142", "cuda-nvcc": "12.2.140", "cuda-nvrtc": "12.2.140",
        "cuda-runtime": "12.2.140", "cufft": "11.0.8.103", "curand": "10.3.3.141", "cusolver": "11.5.2.141",
        "cusparse": "12.1.2.141", "npp": "12.2.1.4", "nvjitlink": "12.2.140", "nvjpeg": "12.2.2.4",
        "nvtx": "12.2.140",
    },
)  # fmt: skip

# Without cuFile: its 1.10.1.7 was never a wheel.
CUDA_12_5 = Toolkit(
    "12.5", "12.5.1", "2024.2.1",
    {
        "cublas": "12.5.3.2", "cuda-cupti": "12.5.82", "cuda-nvcc": "12.5.82", "cuda-nvrtc": "12.5.82",
        "cuda-runtime": "12.5.82", "cufft": "11.2.3.61", "curand": "10.3.6.82", "cusolver": "11.6.3.83",
        "cusparse": "12.5.1.3", "npp": "12.3.0.159", "nvjitlink": "12.5.82", "nvjpeg": "12.3.2.81",
        "nvtx": "12.5.82",
    },
)  # fmt: skip

CUDA_12_8 = Toolkit(
    "12.8", "12.8.1", "2025.1.1",
    {
        "cublas": "12.8.4.1", "cuda-cupti": "12.8.90", "cuda-nvcc": "12.8.93", "cuda-nvrtc": "12.8.93",
        "cuda-runtime": "12.8.90", "cufft": "11.3.3.83", "cufile": "1.13.1.3", "curand": "10.3.9.90",
        "cusolver": "11.7.3.90", "cusparse": "12.5.8.93", "npp": "12.3.3.100", "nvjitlink": "12.8.93",
        "nvjpeg": "12.3.5.92", "nvtx": "12.8.90",
    },
)  # fmt: skip

# The part of CUDA 13.0 whose SONAMEs are those of CUDA 12, and what it needs. Its wheels have no suffix.
CUDA_13_0 = Toolkit(
    "13.0", "13.0.2", "2025.3.1",
    {"cuda-runtime": "13.0.96", "curand": "10.4.0.35", "cusparse": "12.6.3.3", "nvjitlink": "13.0.88"},
)  # fmt: skip

# The packages of a component: its libraries, then its headers and unversioned links.
PACKAGES = {
    "cublas": ("libcublas", "libcublas-dev"),
    "cuda-cupti": ("cuda-cupti", "cuda-cupti-dev"),
    "cuda-nvcc": ("cuda-nvcc", "cuda-nvcc"),
    "cuda-nvrtc": ("cuda-nvrtc", "cuda-nvrtc-dev"),
    "cuda-runtime": ("cuda-cudart", "cuda-cudart-dev"),
    "cufft": ("libcufft", "libcufft-dev"),
    "cufile": ("libcufile", "libcufile-dev"),
    "curand": ("libcurand", "libcurand-dev"),
    "cusolver": ("libcusolver", "libcusolver-dev"),
    "cusparse": ("libcusparse", "libcusparse-dev"),
    "npp": ("libnpp", "libnpp-dev"),
    "nvjitlink": ("libnvjitlink", "libnvjitlink-dev"),
    "nvjpeg": ("libnvjpeg", "libnvjpeg-dev"),
    "nvtx": ("cuda-nvtx", "cuda-nvtx"),
}

# The components that the images without `devel` in their name do not have.
DEVEL = ("cuda-cupti", "cuda-nvcc")

# NVIDIA's names in version.json.
NAMES = {
    "cublas": ("libcublas", "CUDA cuBLAS"), "cuda-cupti": ("cuda_cupti", "CUDA CUPTI"),
    "cuda-nvcc": ("cuda_nvcc", "CUDA NVCC"), "cuda-nvrtc": ("cuda_nvrtc", "CUDA NVRTC"),
    "cuda-runtime": ("cuda_cudart", "CUDA Runtime (cudart)"), "cufft": ("libcufft", "CUDA cuFFT"),
    "cufile": ("libcufile", "GPUDirect Storage (cufile)"), "curand": ("libcurand", "CUDA cuRAND"),
    "cusolver": ("libcusolver", "CUDA cuSOLVER"), "cusparse": ("libcusparse", "CUDA cuSPARSE"),
    "npp": ("libnpp", "CUDA NPP"), "nvjitlink": ("libnvjitlink", "JIT Linker"),
    "nvjpeg": ("libnvjpeg", "CUDA nvJPEG"), "nvtx": ("cuda_nvtx", "CUDA NVTX"),
}  # fmt: skip


def full_name(soname, version, toolkit=None):
    """The name NVIDIA gives the file that its wheel names by the SONAME."""
    stem, _, abi = soname.partition(".so.")
    if not abi:
        return soname
    in_the_file = {
        "libcupti": toolkit and toolkit.cupti,
        "libnvToolsExt": "1.0.0",
        "libcusparseLt": f"{version}.0",
        "libnvshmem_host": version,
    }.get(stem)
    if stem.startswith("nvshmem_"):
        in_the_file = f"{abi}.0.0"
    elif stem.startswith(("libcudnn", "libcufile")):
        in_the_file = ".".join(version.split(".")[:3])
    return f"{stem}.so.{in_the_file or version}"


def named_in_full(member, directory, version, toolkit=None):
    """The library under its full name with the link that the loader follows, and the one that a linker follows."""
    soname = member.name.rsplit("/", 1)[-1]
    full = full_name(soname, version, toolkit)
    library = {f"{directory}/{full}": member}
    if full != soname:
        library[f"{directory}/{soname}"] = Link(full)
    stem, _, abi = soname.partition(".so.")
    return library, {f"{directory}/{stem}.so": Link(soname)} if abi else {}


def members(path, *directories):
    """The files of a wheel below directories of these names, with what follows the name; no Python files."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            parts = name.split("/")
            directory = next((part for part in parts[1:-1] if part in directories), None)
            if directory and not name.endswith((".py", "/")):
                yield Member(path, name), directory, "/".join(parts[parts.index(directory) + 1 :])


def component_wheel(component, version, suffix="-cu12"):
    return downloaded(f"nvidia-{component}{suffix}=={version}")


def toolkit_packages(toolkit, devel, components=None):
    """The packages of a toolkit: those of the runtime images, and with `devel` CUPTI, the compiler and headers too."""
    suffix = "-cu12" if toolkit.major == "12" else ""
    for component, version in toolkit.components.items():
        if (component in DEVEL and not devel) or (components and component not in components):
            continue
        path = component_wheel(component, version, suffix)
        libraries, development = component_files(toolkit, component, version, path)
        runtime, dev = PACKAGES[component]
        if runtime == dev:
            libraries, development = libraries | development, {}
        held = component == "cublas"
        yield Package(toolkit.package(runtime), f"{version}-1", "cuda", libraries, held)
        if devel and development:
            yield Package(toolkit.package(dev), f"{version}-1", "cuda", development)
    yield from configuration_packages(toolkit, devel)


def component_files(toolkit, component, version, path):
    libraries, development = {}, {}
    for member, directory, rest in members(path, "lib", "include", "bin", "nvvm"):
        if directory == "include":
            development[f"{toolkit.root}/{TARGET}/include/{rest}"] = member
        elif directory == "bin":
            libraries[f"{toolkit.root}/bin/{rest}"] = member
        elif directory == "nvvm":
            libraries |= compiler_file(f"{toolkit.root}/nvvm", rest, member)
        else:
            library, links = named_in_full(member, f"{toolkit.root}/{TARGET}/lib", version, toolkit)
            libraries |= library
            development |= links
    if component == "cuda-cupti":
        extras = f"{toolkit.root}/extras/CUPTI/lib64"
        names = [library.rsplit("/", 1)[-1] for library in libraries]
        libraries |= {f"{extras}/{name}": Link(f"../../../{TARGET}/lib/{name}") for name in names}
    if component == "cufile":
        libraries[f"etc/ld.so.conf.d/gds-{toolkit.version.replace('.', '-')}.conf"] = Text(
            f"/{toolkit.root}/{TARGET}/lib\n"
        )
    return libraries, development


def compiler_file(directory, rest, member):
    if rest != "lib64/libnvvm.so":
        return {f"{directory}/{rest}": member}
    return {
        f"{directory}/lib64/libnvvm.so.4.0.0": member,
        f"{directory}/lib64/libnvvm.so.4": Link("libnvvm.so.4.0.0"),
        f"{directory}/lib64/libnvvm.so": Link("libnvvm.so.4"),
    }


def configuration_packages(toolkit, devel):
    """The links and the loader's configuration of a toolkit, with `devel` its list of versions too."""
    root, runtime = toolkit.root, toolkit.components["cuda-runtime"]
    files = {f"{root}/lib64": Link(f"{TARGET}/lib")}
    if devel:
        files |= {f"{root}/include": Link(f"{TARGET}/include"), f"{root}/version.json": Text(version_json(toolkit))}
    yield Package(f"cuda-toolkit-{toolkit.version.replace('.', '-')}-config-common", f"{runtime}-1", "cuda", files)
    # The alternatives' links belong to no package. The last toolkit installed has the highest priority.
    links = {
        "etc/ld.so.conf.d/000_cuda.conf": Text(f"/usr/local/cuda/{TARGET}/lib\n"),
        "etc/alternatives/cuda": Link(f"/{root}"),
        "usr/local/cuda": Link("/etc/alternatives/cuda"),
    }
    yield Package("cuda-toolkit-config-common", f"{runtime}-1", "cuda", links)
    major = {
        f"etc/ld.so.conf.d/988_cuda-{toolkit.major}.conf": Text(f"/usr/local/cuda-{toolkit.major}/{TARGET}/lib\n"),
        f"etc/alternatives/cuda-{toolkit.major}": Link(f"/{root}"),
        f"usr/local/cuda-{toolkit.major}": Link(f"/etc/alternatives/cuda-{toolkit.major}"),
    }
    yield Package(f"cuda-toolkit-{toolkit.major}-config-common", f"{runtime}-1", "cuda", major)


def version_json(toolkit):
    versions = {"cuda": {"name": "CUDA SDK", "version": toolkit.release}}
    for component, version in toolkit.components.items():
        key, name = NAMES[component]
        versions[key] = {"name": name, "version": version}
    return json.dumps(versions, indent=3)


def cudnn_packages(version, toolkit, devel):
    """cuDNN as apt has it: libraries and headers in the directories of the architecture, headers with a suffix."""
    major = version.split(".")[0]
    if major == "8":
        names, stamp = ("libcudnn8", "libcudnn8-dev"), f"{version}-1+cuda{toolkit.version}"
    else:
        names, stamp = (f"libcudnn{major}-cuda-12", f"libcudnn{major}-dev-cuda-12"), f"{version}-1"
    path = component_wheel("cudnn", version)
    libraries, development = system_libraries(path, version)
    for member, _, rest in members(path, "include"):
        stem = rest.removesuffix(".h").removesuffix(f"_v{major}")
        development[f"usr/include/x86_64-linux-gnu/{stem}_v{major}.h"] = member
        development[f"etc/alternatives/{stem}_h"] = Link(f"/usr/include/x86_64-linux-gnu/{stem}_v{major}.h")
        development[f"usr/include/{stem}.h"] = Link(f"/etc/alternatives/{stem}_h")
    yield Package(names[0], stamp, "cudnn", libraries)
    if devel:
        yield Package(names[1], stamp, "cudnn", development)


def nccl_packages(version, toolkit, devel):
    path = component_wheel("nccl", version)
    libraries, development = system_libraries(path, version)
    development |= {f"usr/include/{rest}": member for member, _, rest in members(path, "include")}
    stamp = f"{version}-1+cuda{toolkit.version}"
    yield Package("libnccl2", stamp, "nccl", libraries, held=True)
    if devel:
        yield Package("libnccl-dev", stamp, "nccl", development)


def system_library_package(name, component, version, stamp):
    """A library with a package of its own beside the toolkit: cuSPARSELt, NVSHMEM."""
    libraries, development = system_libraries(component_wheel(component, version), version)
    return Package(name, stamp, component, libraries | development)


def system_libraries(path, version):
    libraries, development = {}, {}
    for member, _, rest in members(path, "lib"):
        if ".so" in rest:
            library, links = named_in_full(member, MULTIARCH, version)
            libraries |= library
            development |= links
    return libraries, development


SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def image_environment(toolkit, devel):
    """The environment of nvidia/cuda:*-runtime or *-devel."""
    versions = toolkit.components
    environment = {
        "CUDA_VERSION": toolkit.release,
        "LD_LIBRARY_PATH": "/usr/local/nvidia/lib:/usr/local/nvidia/lib64",
        "NVARCH": "x86_64",
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
        "NVIDIA_REQUIRE_CUDA": f"cuda>={toolkit.version}",
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NV_CUDA_CUDART_VERSION": f"{versions['cuda-runtime']}-1",
        "NV_LIBCUBLAS_VERSION": f"{versions['cublas']}-1",
        "NV_LIBCUSPARSE_VERSION": f"{versions['cusparse']}-1",
        "PATH": f"/usr/local/nvidia/bin:/usr/local/cuda/bin:{SYSTEM_PATH}",
    }
    return environment | ({"LIBRARY_PATH": "/usr/local/cuda/lib64/stubs"} if devel else {})


DRIVER_PATHS = {"etc/ld.so.conf.d/nvidia.conf": Text("/usr/local/nvidia/lib\n/usr/local/nvidia/lib64\n")}


# --- layouts of others ---


def installed_wheels(pins, site=SITE):
    """Wheels as pip installs them: the files themselves, and INSTALLER."""
    files = {}
    for distribution, version in pins.items():
        path = downloaded(f"{distribution}=={version}")
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
        files |= {f"{site}/{name}": Member(path, name) for name in names}
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        files[f"{site}/{Path(metadata).parent}/INSTALLER"] = Text("pip\n")
    return files


def conda_prefix(toolkit, components, prefix="opt/conda"):
    """A conda environment: libraries in its `lib`, below their full names; the loader does not look there."""
    files = {}
    for component in components:
        version = toolkit.components[component]
        for member, _, _ in members(component_wheel(component, version), "lib"):
            library, links = named_in_full(member, f"{prefix}/lib", version, toolkit)
            files |= library | links
        record = {"name": component, "version": version, "channel": "nvidia", "files": sorted(files)}
        files[f"{prefix}/conda-meta/{component}-{version}-0.json"] = Text(json.dumps(record))
    return files


# --- the bases ---


@dataclass(frozen=True)
class Base:
    """The files and packages over a Debian root."""

    packages: tuple = ()
    files: dict = None  # beside those of packages
    environment: dict = None
    debian: tuple = ()  # packages that imgforge unpacks into the root, from these
    areas: tuple = ("main",)


def nvidia(toolkit, cudnn, nccl, devel, *more, files=None):
    packages = [
        *toolkit_packages(toolkit, devel),
        *cudnn_packages(cudnn, toolkit, devel),
        *nccl_packages(nccl, toolkit, devel),
        *more,
    ]
    return Base(tuple(packages), DRIVER_PATHS | (files or {}), image_environment(toolkit, devel))


def colab_2024(devel=True, **options):
    return nvidia(CUDA_12_2, "8.9.6.50", "2.19.3", devel, **options)


def colab_2025():
    return nvidia(CUDA_12_5, "9.2.1.18", "2.22.3", True)


def colab_2026(*more, nccl="2.25.1"):
    return nvidia(CUDA_12_8, "9.8.0.87", nccl, True, *more)


def with_sparse_and_shmem(**options):
    return colab_2026(
        system_library_package("libcusparselt0", "cusparselt", "0.7.1", "0.7.1.0-1"),
        system_library_package("libnvshmem3-cuda-12", "nvshmem", "3.4.5", "3.4.5-1"),
        **options,
    )


def with_stray_cublas():
    return colab_2024(files=installed_wheels({"nvidia-cublas-cu12": "12.8.4.1"}))


def with_old_nvjitlink():
    """No toolkit, but an old nvJitLink in a directory that LD_LIBRARY_PATH names."""
    path = component_wheel("nvjitlink", "12.2.140")
    [(member, _, _)] = list(members(path, "lib"))
    library, _ = named_in_full(member, "opt/cuda-12.2/lib", "12.2.140")
    return Base(files=library, environment={"LD_LIBRARY_PATH": "/opt/cuda-12.2/lib"})


def with_cuda_13():
    """CUDA 13.0 installed after CUDA 12.2: `/usr/local/cuda`, hence the loader's first directory, is 13's."""
    old = colab_2024()
    return Base(old.packages + tuple(toolkit_packages(CUDA_13_0, False)), old.files, old.environment)


def debian_11_8():
    """Debian's own packages of CUDA 11.8, unpacked by imgforge."""
    packages = (
        "libcublas11", "libcublaslt11", "libcudart11.0", "libcufft10", "libcupti11.8", "libcurand10", "libcusolver11",
        "libcusparse11", "libnvrtc-builtins11.8", "libnvrtc11.2", "libnvtoolsext1",
    )  # fmt: skip
    return Base(debian=packages, areas=("main", "contrib", "non-free"))


def site_packages():
    """The wheels that torch 2.2.1 pins, installed in the base already."""
    pins = {
        "cublas": "12.1.3.1", "cuda-cupti": "12.1.105", "cuda-nvrtc": "12.1.105", "cuda-runtime": "12.1.105",
        "cudnn": "8.9.2.26", "cufft": "11.0.2.54", "curand": "10.3.2.106", "cusolver": "11.4.5.107",
        "cusparse": "12.1.0.106", "nccl": "2.19.3", "nvjitlink": "12.2.140", "nvtx": "12.1.105",
    }  # fmt: skip
    return Base(files=installed_wheels({f"nvidia-{name}-cu12": version for name, version in pins.items()}))


def conda():
    return Base(files=conda_prefix(CUDA_12_2, ("cublas", "cuda-runtime", "cusparse", "nvjitlink")))
