"""What people's Dockerfiles do to an image, one function for each kind of it. None says what comes of it: that is observed.

A case changes a Debian 12 with Python 3.11 and pip. What is imported, by which interpreter, and what the image's config has,
is told beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from acceptance.foreign_parts import SITE, other_python
from harness.chroot import PATH

CASES = {}
# A package whose files are gone but for its directory is imported as a namespace, of no use to anyone.
IMPORT = "import {0} as it; assert it.__spec__.origin, 'there is no code of {0}'"
VENV = "/opt/venv"
PREFIX = "/opt/python3.12"


@dataclass(frozen=True)
class Case:
    kind: str
    change: Callable
    runs: tuple  # statements, each by a Python of its own
    python: tuple = ("python3",)
    environment: tuple = ()
    user: str = ""
    workdir: str = ""
    entrypoint: tuple = ()
    pins: tuple = ()  # wheels that no other case needs
    is_possible: bool = True

    @property
    def config(self):
        """Options of `umoci config`."""
        options = [f"--config.env={name}={value}" for name, value in self.environment]
        options += [f"--config.user={self.user}"] if self.user else []
        options += [f"--config.workingdir={self.workdir}"] if self.workdir else []
        return options + [f"--config.entrypoint={word}" for word in self.entrypoint]


def case(kind, *runs, env=None, **options):
    """Lists a function as a case. What runs is a module to import, or a statement where it is no name."""
    statements = tuple(IMPORT.format(run) if run.replace(".", "").isidentifier() else run for run in runs)

    def listed(change):
        name = change.__name__.strip("_").replace("_", "-")
        CASES[name] = Case(kind, change, statements, environment=tuple((env or {}).items()), **options)
        return change

    return listed


def first_in_path(directory):
    return {"PATH": f"{directory}:{PATH}"}


# --- a Python that cannot start ---

START = "A Python that cannot start"
# Installed, but not where the interpreter that the image's config starts looks for packages.
UNFOUND = "Packages that the interpreter does not find"
WITH_3_12 = {"is_possible": bool(other_python())}


@case(START, "json")
def libexpat_removed(tree):
    tree.remove("/usr/lib/x86_64-linux-gnu/libexpat.so*")


@case(START, "json", env=first_in_path("/opt/conda/bin"), **WITH_3_12)
def conda_without_libpython(tree):
    tree.python_3_12("/opt/conda")
    tree.remove("/opt/conda/lib/libpython3*")


@case(START, "json", env=first_in_path(f"{PREFIX}/bin"), **WITH_3_12)
def libpython_not_in_ld_so_conf(tree):
    tree.python_3_12(PREFIX)


@case(START, "json")
def standard_library_removed(tree):
    tree.remove("/usr/lib/python3.11/encodings")


@case(START, "json")
def python3_linked_to_another(tree):
    tree.sh("ln -sf python3.12 /usr/bin/python3")


@case(START, "json", env={"PYTHONHOME": "/opt/python"})
def pythonhome_elsewhere(tree):
    tree.sh("mkdir -p /opt/python/lib")


@case(START, "json")
def loader_removed(tree):
    tree.remove("/lib64/ld-linux-x86-64.so.2")


@case(START, "ssl")
def libssl_removed(tree):
    tree.remove("/usr/lib/x86_64-linux-gnu/libssl.so.3")


@case(UNFOUND, "requests", env=first_in_path(f"{VENV}/bin"))
def venv_copied_without_its_python(tree):
    tree.uv_venv(VENV)
    tree.uv("requests", "--python", f"{VENV}/bin/python")
    tree.sh(f"ln -sf /usr/local/bin/python3.11 {VENV}/bin/python; ln -sf python {VENV}/bin/python3")


@case(UNFOUND, "requests", env=first_in_path(f"{VENV}/bin"))
def venv_of_another_minor(tree):
    tree.uv_venv(VENV)
    tree.uv("requests", "--python", f"{VENV}/bin/python")
    tree.sh(f"mv {VENV}/lib/python3.11 {VENV}/lib/python3.12")


# --- two parsers of one format ---

PARSERS = "Two parsers of one format"


@case(PARSERS, "pandas", "scipy.linalg", "matplotlib")
def requirements_missing(tree):
    tree.uv("--system", "--break-system-packages", "--no-deps", "pandas", "scipy", "matplotlib")


@case(PARSERS, "folded")
def requirement_after_a_folded_license(tree):
    text = "License: BSD 3-Clause\n        \n        Copyright (c) somebody\n          \n        All rights reserved\n"
    head = f"Metadata-Version: 2.1\nName: folded\nVersion: 1.0\n{text}"
    tree.install("folded", {"folded.py": ""}, metadata=f"{head}Requires-Dist: nowhere-to-be-found\n")


@case(PARSERS, "folded")
def requirement_after_crlf(tree):
    head = "Metadata-Version: 2.1\r\nName: folded\r\nVersion: 1.0\r\nLicense: A\r\n\tB\r\n"
    tree.install("folded", {"folded.py": ""}, metadata=f"{head}Requires-Dist: nowhere-to-be-found\r\n")


@case(PARSERS, "folded")
def requirement_in_the_description(tree):
    head = "Metadata-Version: 2.1\nName: folded\nVersion: 1.0\n"
    tree.install("folded", {"folded.py": ""}, metadata=f"{head}\nRequires-Dist: nowhere-to-be-found\n")


@case(PARSERS, "old")
def requirement_in_parentheses(tree):
    tree.uv("--system", "--break-system-packages", "six")
    tree.install("old", {"old.py": "import six"}, requires=["six (>=2)"])


@case(PARSERS, "app", "foo_bar")
def names_spelt_differently(tree):
    tree.install("Foo.Bar", {"foo_bar.py": ""})
    tree.install("app", {"app.py": ""}, requires=["foo_BAR>=1"])


@case(PARSERS, "legacy")
def egg_info_with_requirements(tree):
    information = f"{SITE}/legacy-1.0-py3.11.egg-info"
    tree.write(f"{SITE}/legacy.py", "")
    tree.write(f"{information}/PKG-INFO", "Metadata-Version: 1.1\nName: legacy\nVersion: 1.0\n")
    tree.write(f"{information}/requires.txt", "nowhere-to-be-found>=1\n")


# --- hard links of uv ---

LINKS = "Hard links of uv"
SYSTEM = ("--system", "--break-system-packages")


@case(LINKS, "pandas")
def uv_without_dependencies(tree):
    tree.uv(*SYSTEM, "--no-deps", "pandas", mode="hardlink")


@case(LINKS, "numpy", "PIL.Image")
def uv_as_it_should_be(tree):
    tree.uv(*SYSTEM, "numpy", "pillow", mode="hardlink")


@case(LINKS, "requests", env=first_in_path(f"{VENV}/bin"))
def uv_cache_removed_from_a_venv(tree):
    tree.uv_venv(VENV)
    tree.uv("requests", "--python", f"{VENV}/bin/python", mode="hardlink")
    tree.remove("/root/.cache")


@case(LINKS, "requests")
def uv_symlinks(tree):
    tree.uv(*SYSTEM, "requests", mode="symlink")


@case(LINKS, "requests")
def uv_symlinks_without_dependencies(tree):
    tree.uv(*SYSTEM, "--no-deps", "requests", mode="symlink")


@case(LINKS, "requests")
def uv_symlinks_without_cache(tree):
    tree.uv(*SYSTEM, "requests", mode="symlink")
    tree.remove("/root/.cache")


@case(LINKS, "lightgbm")
def uv_library_missing(tree):
    tree.uv(*SYSTEM, "lightgbm", mode="hardlink")
    tree.remove("/usr/lib/x86_64-linux-gnu/libgomp.so*")


@case(LINKS, "second")
def dependency_that_preloads(tree):
    preload = (
        "import ctypes, os\nctypes.CDLL(os.path.join(os.path.dirname(__file__), 'libfirst.so.1'), ctypes.RTLD_GLOBAL)\n"
    )
    library = tree.library("libfirst.so.1", ["first"])
    tree.install("first", {"first/__init__.py": preload, "first/libfirst.so.1": library})
    module = tree.module("_second", ["first"], ["libfirst.so.1"])
    tree.install("second", {"second/__init__.py": "import first\nfrom . import _second\n", "second/_second.so": module})
    tree.install_again_by_links("first", "second")


# --- sys.path is one list ---


SYS_PATH = "sys.path is one list"


@case(SYS_PATH, "pandas")
def user_site_without_dependencies(tree):
    tree.pip("--user", "--no-deps", "pandas")


@case(SYS_PATH, "lightgbm")
def user_site_library_missing(tree):
    tree.pip("--user", "lightgbm")
    tree.remove("/usr/lib/x86_64-linux-gnu/libgomp.so*")


@case(SYS_PATH, "requests", user="app")
def user_site_of_the_user(tree):
    tree.user("app")
    tree.sh("HOME=/home/app " + tree.pip_line("--user", "--no-compile", "requests") + "; chown -R 1000:1000 /home/app")


@case(UNFOUND, "requests", user="app")
def user_site_of_root_as_another_user(tree):
    tree.user("app")
    tree.pip("--user", "requests")


@case(UNFOUND, "requests", env={"PYTHONNOUSERSITE": "1"})
def user_site_switched_off(tree):
    tree.pip("--user", "requests")


@case(SYS_PATH, "pandas", env={"PYTHONPATH": "/app/lib"})
def target_without_dependencies(tree):
    tree.pip("--target", "/app/lib", "--no-deps", "pandas")


@case(SYS_PATH, "requests", env={"PYTHONPATH": "/app/lib"})
def dependencies_in_pythonpath(tree):
    tree.pip("--target", "/app/lib", "requests")
    tree.remove("/app/lib/requests*")
    tree.pip("--no-deps", "requests")


@case(SYS_PATH, "import sys; sys.path.insert(0, '/app/lib'); import requests")
def target_that_the_program_adds(tree):
    tree.pip("--target", "/app/lib", "requests")


@case(SYS_PATH, "requests", env={"PYTHONPATH": "lib"}, workdir="/app")
def pythonpath_relative_to_the_working_directory(tree):
    tree.pip("--target", "/app/lib", "requests")


@case(SYS_PATH, "mine", workdir="/app")
def package_in_the_working_directory(tree):
    tree.write("/app/mine/__init__.py", "import six")
    tree.packages("six")


@case(SYS_PATH, "mine")
def editable_with_a_library_missing(tree):
    module = tree.module("_mine", ["mine"], [tree.leave("libmine.so.1", ["mine"])])
    tree.write("/app/src/mine/__init__.py", "from . import _mine\n")
    tree.write("/app/src/mine/_mine.so", module)
    tree.install("mine", {"__editable__.mine-1.0.pth": "/app/src\n"})


@case(SYS_PATH, "mine")
def editable_without_its_requirement(tree):
    tree.write("/app/src/mine/__init__.py", "import six\n")
    tree.install("mine", {"__editable__.mine-1.0.pth": "/app/src\n"}, requires=["six"])


@case(SYS_PATH, "mine")
def editable_that_works(tree):
    tree.write("/app/src/mine/__init__.py", "import six\n")
    tree.install("mine", {"__editable__.mine-1.0.pth": "/app/src\n"}, requires=["six"])
    tree.packages("six")


@case(SYS_PATH, "mine")
def editable_whose_source_is_gone(tree):
    tree.install("mine", {"__editable__.mine-1.0.pth": "/app/src\n"})


@case(SYS_PATH, "six")
def path_added_by_code(tree):
    tree.pip("--target", "/app/lib", "six")
    tree.write(f"{SITE}/app.pth", "import sys; sys.path.append('/app/lib')\n")


@case(UNFOUND, "six")
def site_packages_that_debian_does_not_search(tree):
    tree.pip("--target", "/usr/local/lib/python3.11/site-packages", "six")


@case(SYS_PATH, "zipped", env={"PYTHONPATH": "/app/app.zip"})
def modules_in_a_zip(tree):
    tree.write("/app/zipped.py", "")
    tree.sh("cd /app && python3 -m zipfile -c app.zip zipped.py && rm zipped.py")


@case(SYS_PATH, "space.one", "space.two", env={"PYTHONPATH": "/app/lib"})
def namespace_in_two_directories(tree):
    tree.install("space-one", {"space/one.py": ""})
    tree.write("/app/lib/space/two.py", "import space.one\n")


# --- venvs and entrypoints ---

VENVS = "sys.path is one list: venvs"
BY_ENTRYPOINT = {"python": (f"{VENV}/bin/python",), "entrypoint": (f"{VENV}/bin/python", "-m", "app")}


@case(VENVS, "pandas", **BY_ENTRYPOINT)
def entrypoint_of_a_venv_without_dependencies(tree):
    tree.uv_venv(VENV)
    tree.uv("--no-deps", "pandas", "--python", f"{VENV}/bin/python")


@case(VENVS, "requests", **BY_ENTRYPOINT)
def entrypoint_of_a_venv_that_works(tree):
    tree.uv_venv(VENV)
    tree.uv("requests", "--python", f"{VENV}/bin/python")
    tree.uv(*SYSTEM, "--no-deps", "six")


@case(UNFOUND, "six", **BY_ENTRYPOINT)
def entrypoint_of_a_venv_beside_the_packages(tree):
    tree.uv_venv(VENV)
    tree.uv(*SYSTEM, "six")


@case(VENVS, "requests", python=(f"{VENV}/bin/python",), entrypoint=(f"{VENV}/bin/serve",))
def entrypoint_is_a_script_of_a_venv(tree):
    tree.uv_venv(VENV)
    tree.uv("--no-deps", "requests", "--python", f"{VENV}/bin/python")
    tree.write(f"{VENV}/bin/serve", f"#!{VENV}/bin/python\nimport requests\n", 0o755)


@case(VENVS, "requests", python=(f"{VENV}/bin/python",), entrypoint=("/entrypoint.sh",))
def entrypoint_is_a_shell_script(tree):
    tree.uv_venv(VENV)
    tree.uv("--no-deps", "requests", "--python", f"{VENV}/bin/python")
    tree.write("/entrypoint.sh", f'#!/bin/sh\nset -e\nexec {VENV}/bin/python -m app "$@"\n', 0o755)


@case(VENVS, "json", env={"VIRTUAL_ENV": VENV})
def virtual_env_without_path(tree):
    tree.uv_venv(VENV)
    tree.uv("--no-deps", "pandas", "--python", f"{VENV}/bin/python")


@case(VENVS, "six", env={"VIRTUAL_ENV": VENV})
def virtual_env_has_what_the_system_lacks(tree):
    tree.uv_venv(VENV)
    tree.install("needs-six", {"needs_six.py": "import six"}, requires=["six"])
    tree.uv("six", "--python", f"{VENV}/bin/python")


@case(VENVS, "requests", env=first_in_path(f"{VENV}/bin"))
def venv_in_path(tree):
    tree.sh(f"python3 -m venv --without-pip {VENV}")
    tree.uv("requests", "--python", f"{VENV}/bin/python")


@case(VENVS, "requests", env=first_in_path(f"{VENV}/bin"))
def venv_that_sees_the_system(tree):
    tree.uv_venv(VENV, "--system-site-packages")
    tree.uv(*SYSTEM, "urllib3", "idna", "certifi", "charset-normalizer")
    tree.uv("--no-deps", "requests", "--python", f"{VENV}/bin/python")


@case(VENVS, "requests", env=first_in_path(f"{VENV}/bin"))
def venv_that_does_not_see_the_system(tree):
    tree.uv_venv(VENV)
    tree.uv(*SYSTEM, "urllib3", "idna", "certifi", "charset-normalizer")
    tree.uv("--no-deps", "requests", "--python", f"{VENV}/bin/python")


# --- importing guessed by names ---

IMPORTS = "Importing guessed by names"


@case(IMPORTS, "PIL._imaging", "PIL.Image", "from PIL import Image; Image.new('L', (1, 1))")
def libjpeg_of_pillow_removed(tree):
    tree.packages("pillow")
    tree.remove(f"{SITE}/pillow.libs/libjpeg*")


@case(IMPORTS, "lightgbm")
def libgomp_removed(tree):
    tree.packages("lightgbm")
    tree.remove("/usr/lib/x86_64-linux-gnu/libgomp.so*")


@case(IMPORTS, "scipy", "scipy.linalg", "scipy.optimize")
def libstdcxx_removed(tree):
    tree.packages("scipy")
    tree.remove("/usr/lib/x86_64-linux-gnu/libstdc++.so*")


@case(IMPORTS, "numpy")
def openblas_of_numpy_removed(tree):
    tree.packages("numpy")
    tree.remove(f"{SITE}/numpy.libs/libopenblas*")


@case(IMPORTS, "app.fast")
def module_without_its_library(tree):
    module = tree.module("_speed", ["speed"], [tree.leave("libspeed.so.1", ["speed"])])
    tree.install(
        "app", {"app/__init__.py": "", "app/fast/__init__.py": "from ._speed import *\n", "app/fast/_speed.so": module}
    )


@case(IMPORTS, "app")
def module_imported_by_an_inner_module(tree):
    module = tree.module("native", ["speed"], [tree.leave("libspeed.so.1", ["speed"])])
    files = {
        "app/__init__.py": "from app.a import b\n",
        "app/a/__init__.py": "",
        "app/a/b.py": "from app.c import native\n",
    }
    tree.install("app", files | {"app/c/__init__.py": "", "app/c/native.so": module})


@case(IMPORTS, "app")
def module_imported_by_another_distribution(tree):
    module = tree.module("speedups", ["speed"], [tree.leave("libspeed.so.1", ["speed"])])
    tree.install("helper", {"helper/__init__.py": "", "helper/x/__init__.py": "", "helper/x/speedups.so": module})
    tree.install("app", {"app.py": "import helper.x.speedups\n"}, requires=["helper"])


@case(IMPORTS, "app")
def guarded_module_without_its_library(tree):
    module = tree.module("_app", ["speed"], [tree.leave("libspeed.so.1", ["speed"])])
    guarded = "try:\n    from ._app import *\nexcept ImportError:\n    pass\n"
    tree.install("app", {"app/__init__.py": guarded, "app/_app.so": module})


@case(IMPORTS, "app")
def module_imported_by_a_function_alone(tree):
    module = tree.module("_core", ["speed"], [tree.leave("libspeed.so.1", ["speed"])])
    tree.install("app", {"app/__init__.py": "def run():\n    from . import _core\n", "app/_core.so": module})


@case(IMPORTS, "markupsafe")
def speedups_cut_off(tree):
    tree.packages("markupsafe")
    [module] = tree.found(f"{SITE}/markupsafe/_speedups*.so")
    module.write_bytes(module.read_bytes()[:500])


@case(IMPORTS, "yaml")
def guarded_libyaml_removed(tree):
    tree.packages("pyyaml")
    tree.remove(f"{SITE}/yaml/_yaml*.so")


@case(IMPORTS, "app")
def ld_so_conf_without_ldconfig(tree):
    tree.behind_ld_so_conf()


@case(IMPORTS, "app")
def ld_so_conf_with_ldconfig(tree):
    tree.behind_ld_so_conf()
    tree.sh("ldconfig")


@case(IMPORTS, "app", env={"LD_LIBRARY_PATH": "/opt/own/lib"})
def library_in_ld_library_path(tree):
    tree.behind_ld_so_conf()


@case(IMPORTS, "app", env={"LD_PRELOAD": "/opt/own/lib/libown.so.1"})
def library_in_ld_preload(tree):
    tree.behind_ld_so_conf()


@case(IMPORTS, "app")
def library_without_the_symbol(tree):
    tree.library("libown.so.1", ["own", "newer"])
    module = tree.module("_app", ["newer"], ["libown.so.1"], ["-Wl,-rpath,$ORIGIN", "-Wl,-z,now"])
    older = tree.library("libown.so.1", ["own"])
    tree.install("app", {"app/__init__.py": "from . import _app\n", "app/_app.so": module, "app/libown.so.1": older})


@case(IMPORTS, "app")
def library_beside_the_module(tree):
    library = tree.library("libown.so.1", ["own"])
    module = tree.module("_app", ["own"], ["libown.so.1"], ["-Wl,-rpath,$ORIGIN/../app.libs"])
    tree.install(
        "app", {"app/__init__.py": "from . import _app\n", "app/_app.so": module, "app.libs/libown.so.1": library}
    )


@case(IMPORTS, "app")
def library_loaded_by_ctypes_and_missing(tree):
    code = "import ctypes, os\nctypes.CDLL(os.path.join(os.path.dirname(__file__), 'lib', 'libapp.so'))\n"
    library = tree.library("libapp.so", ["app"], [tree.leave("libspeed.so.1", ["speed"])])
    tree.install("app", {"app/__init__.py": code, "app/lib/libapp.so": library})


# --- modules that are gone or unusable ---

UNUSABLE = "Modules that are gone or unusable"
CORE = f"{SITE}/numpy/core/_multiarray_umath.*.so"


@case(UNUSABLE, "numpy")
def module_of_another_machine(tree):
    tree.packages("numpy")
    tree.patch(CORE, 18, b"\xb7\x00")  # EM_AARCH64


@case(UNUSABLE, "numpy")
def modules_of_another_python(tree):
    tree.packages("numpy")
    for module in tree.found(f"{SITE}/numpy/**/*.cpython-311-*.so"):
        module.rename(module.with_name(module.name.replace("-311-", "-312-")))


@case(UNUSABLE, "numpy")
def module_deleted(tree):
    tree.packages("numpy")
    tree.remove(CORE)


@case(UNUSABLE, "numpy")
def module_cut_off(tree):
    tree.packages("numpy")
    [module] = tree.found(CORE)
    module.write_bytes(module.read_bytes()[:100_000])


@case(UNUSABLE, "app")
def module_is_a_git_lfs_pointer(tree):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1234\n"
    tree.install(
        "app", {"app/__init__.py": "from . import _app\n", "app/_app.cpython-311-x86_64-linux-gnu.so": pointer}
    )


@case(UNUSABLE, "app")
def module_is_empty(tree):
    tree.install("app", {"app/__init__.py": "from . import _app\n", "app/_app.abi3.so": ""})


@case(UNUSABLE, "app")
def module_of_musl(tree):
    tree.library("libc.musl-x86_64.so.1")
    module = tree.module("_app", links=["libc.musl-x86_64.so.1"])
    tree.install("app", {"app/__init__.py": "from . import _app\n", "app/_app.abi3.so": module})


@case(UNUSABLE, "app", user="app")
def module_that_the_user_may_not_read(tree):
    tree.user("app")
    tree.install("app", {"app/__init__.py": "from . import _app\n", "app/_app.abi3.so": tree.module("_app")})
    tree.sh(f"chmod 600 {SITE}/app/_app.abi3.so")


@case(UNUSABLE, "requests", user="app")
def packages_that_the_user_may_not_enter(tree):
    tree.user("app")
    tree.sh("umask 077; " + tree.pip_line("--no-compile", "requests"))


@case(UNUSABLE, "six")
def only_bytecode_in_pycache_left(tree):
    tree.pip("six", compiles=True)
    tree.remove(f"{SITE}/six.py")


@case(UNUSABLE, "six")
def bytecode_instead_of_source(tree):
    tree.packages("six")
    tree.sh(f"python3 -m compileall -q -b {SITE}/six.py; rm {SITE}/six.py")


@case(UNUSABLE, "six", "requests")
def package_directory_linked_to_nothing(tree):
    tree.packages("requests", "six")
    tree.sh(f"mkdir -p /data && mv {SITE}/requests /data/ && ln -s /data/requests {SITE}/requests && rm -r /data")


@case(UNUSABLE, "cryptography.hazmat.bindings._rust")
def stable_abi(tree):
    tree.packages("cryptography")


@case(UNUSABLE, "cryptography.hazmat.primitives.hashes")
def stable_abi_without_cffi_backend(tree):
    tree.packages("cryptography")
    tree.remove(f"{SITE}/_cffi_backend*.so")


# --- several Pythons ---

SEVERAL = "Several Pythons"


@case(SEVERAL, "json", env=first_in_path(f"{PREFIX}/bin") | {"LD_LIBRARY_PATH": f"{PREFIX}/lib"}, **WITH_3_12)
def newer_first_in_path(tree):
    tree.python_3_12(PREFIX)


@case(UNFOUND, "numpy", env=first_in_path(f"{PREFIX}/bin") | {"LD_LIBRARY_PATH": f"{PREFIX}/lib"}, **WITH_3_12)
def newer_first_in_path_without_the_packages(tree):
    tree.packages("numpy")
    tree.python_3_12(PREFIX)


@case(SEVERAL, "six", **WITH_3_12)
def newer_outside_path(tree):
    tree.packages("six")
    tree.python_3_12(PREFIX)


@case(SEVERAL, "six", **WITH_3_12)
def newer_linked_into_usr_local(tree):
    tree.python_3_12(PREFIX)
    tree.write("/etc/ld.so.conf.d/python.conf", f"{PREFIX}/lib\n")
    tree.sh(f"ldconfig; ln -s {PREFIX}/bin/python3.12 /usr/local/bin/python3")
    tree.uv("six", "--target", f"{PREFIX}/lib/python3.12/site-packages", "--python", "/usr/bin/python3")


@case(SEVERAL, "json", python=("python3.12",), entrypoint=("python3.12", "-m", "app"), **WITH_3_12)
def newer_called_by_the_entrypoint(tree):
    tree.packages("six")
    tree.python_3_12("/usr/local")
    tree.sh("ldconfig; rm /usr/local/bin/python3 /usr/local/bin/python; ls /usr/local/bin")


# --- CUDA that is opened and absent ---

CUDA = "CUDA that is opened and absent"


@case(
    CUDA, "from jax_cuda12_plugin import _versions; _versions.cublas_get_version()",
    pins=("jax-cuda12-pjrt==0.5.3", "jax-cuda12-plugin==0.5.3"),
)  # fmt: skip
def jax_plugin_without_nvidia(tree):
    tree.uv(*SYSTEM, "jax-cuda12-plugin")


@case(CUDA, "app")
def library_of_cuda_opened_at_import(tree):
    code = "import ctypes\nctypes.CDLL('libcublas.so.12')\n"
    tree.install("app", {"app.py": code})


@case(CUDA, "app")
def library_of_cuda_needed(tree):
    module = tree.module("_app", ["blas"], [tree.leave("libcublas.so.12", ["blas"])])
    tree.install("app", {"app/__init__.py": "from . import _app\n", "app/_app.so": module})


# --- noise ---

NOISE = "Noise"


@case(NOISE, "numpy")
def pip_with_bytecode(tree):
    tree.pip("numpy", compiles=True)


@case(NOISE, "numpy")
def pip_twice(tree):
    tree.pip("numpy", compiles=True)
    tree.pip("--force-reinstall", "numpy", compiles=True)


@case(NOISE, "six")
def bytecode_compiled_again(tree):
    tree.pip("six", compiles=True)
    tree.sh(f"touch {SITE}/six.py; python3 -m compileall -q -f {SITE}; python3 -c 'import six'")


@case(NOISE, "six")
def uv_with_its_files(tree):
    tree.uv(*SYSTEM, "six")
    tree.uv_venv(VENV)


@case(NOISE, "numpy")
def tests_removed_to_save_space(tree):
    tree.packages("numpy")
    tree.sh(f"find {SITE}/numpy -depth -type d -name tests -exec rm -r {{}} +")


@case(NOISE, "six")
def without_dpkg(tree):
    tree.packages("six")
    tree.remove("/var/lib/dpkg")


@case(NOISE, "requests", "numpy", "PIL.Image")
def plain_pip(tree):
    tree.pip("requests", "numpy", "pillow")


QUICK = (
    "libexpat-removed", "standard-library-removed", "requirement-after-a-folded-license", "uv-symlinks",
    "user-site-of-root-as-another-user", "editable-with-a-library-missing", "entrypoint-of-a-venv-that-works",
    "module-imported-by-an-inner-module", "guarded-module-without-its-library", "library-without-the-symbol",
    "module-is-a-git-lfs-pointer", "library-of-cuda-needed", "bytecode-compiled-again",
)  # fmt: skip
