"""An image that is changed as people's Dockerfiles change it, and parts that it can be changed with."""

import hashlib
import os
import re
import shlex
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from harness.chroot import Root
from harness.paths import UV
from harness.processes import run
from harness.report import require
from harness.store import link
from harness.wheels import downloaded, urlsafe

# The wheels of all cases, small ones; pip and uv find no others.
PINS = (
    "certifi==2024.8.30", "cffi==1.17.1", "charset-normalizer==3.3.2", "cryptography==43.0.1", "idna==3.10",
    "lightgbm==4.5.0", "markupsafe==2.1.5", "matplotlib==3.8.4", "numpy==1.26.4", "pandas==2.1.4", "pillow==10.4.0",
    "pip==24.2", "pycparser==2.22", "python-dateutil==2.9.0", "pytz==2024.2", "pyyaml==6.0.2", "requests==2.32.3",
    "scipy==1.11.4", "six==1.16.0", "tzdata==2024.2", "urllib3==2.2.3",
)  # fmt: skip

SITE = "/usr/local/lib/python3.11/dist-packages"
OFFLINE = ("--no-index", "--find-links", "/mnt/wheels")
# pip compiles what it installs when its user does not say otherwise: the cases about bytecode say so.
# From outside the image, where its modules are compiled once, and none is compiled into the image.
PIP = (
    "python3",
    "/mnt/pip/pip",
    "install",
    "--quiet",
    *OFFLINE,
    "--root-user-action=ignore",
    "--break-system-packages",
)

# The interface of an extension module, without Python's headers: PyModuleDef as CPython has had it since 3.5.
MODULE = """
struct {{ long references; void *type, *init; long index; void *copy; const char *name, *doc; long size; void *rest[5]; }}
    definition = {{1, 0, 0, 0, 0, "{name}", 0, -1, {{0}}}};
void *PyModule_Create2(void *, int);
{declared}
void *PyInit_{name}(void) {{ {called} return PyModule_Create2(&definition, 1013); }}
"""


def wheels(directory, pins):
    """A directory with the wheels of these pins."""
    directory.mkdir(parents=True, exist_ok=True)
    for pin in pins:
        wheel = downloaded(pin)
        if not (directory / wheel.name).exists():
            link(wheel, directory / wheel.name)
    return directory


def tools(directory, pins):
    """What is lent to the images: wheels, uv, and pip as a directory."""
    [pip] = (pin for pin in PINS if pin.startswith("pip=="))
    with zipfile.ZipFile(downloaded(pip)) as archive:
        archive.extractall(directory / "pip")
    return {"wheels": wheels(directory / "wheels", [*PINS, *pins]), "uv": UV.resolve(), "pip": directory / "pip"}


@dataclass
class Tree:
    """The unpacked image of one case."""

    root: Path
    lent: dict  # what is in /mnt while programs run
    scratch: Path

    @property
    def entered(self):
        return Root(self.root, self.lent)

    def sh(self, script):
        """Runs a line of a Dockerfile."""
        ended = self.entered.run("sh", "-ec", script)
        require(ended.code == 0, f"`{script}` exited with {ended.code}\n{ended.output}{ended.error}")

    def pip(self, *words, compiles=False):
        self.sh(shlex.join([*PIP, *([] if compiles else ["--no-compile"]), *words]))

    def uv(self, *words, mode="copy"):
        """uv pip install; its cache stays in the image, as `RUN uv pip install` leaves it."""
        self.sh(shlex.join(["/mnt/uv", "pip", "install", "--quiet", *OFFLINE, "--link-mode", mode, *words]))

    def pip_line(self, *words):
        return shlex.join([*PIP, *words])

    def packages(self, *names):
        """Installs for Debian's Python as pip would, in less time."""
        self.uv("--system", "--break-system-packages", "--no-cache", *names)

    def uv_venv(self, place, *words):
        self.sh(shlex.join(["/mnt/uv", "venv", "--quiet", "--python", "/usr/bin/python3", *words, place]))

    def user(self, name):
        self.sh(f"useradd --create-home --uid 1000 {name}")

    def path(self, path):
        return self.root / path.lstrip("/")

    def write(self, path, content, mode=0o644):
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        place.chmod(mode)

    def found(self, pattern):
        """The files that a pattern matches, of which there must be some."""
        paths = sorted(self.root.glob(pattern.lstrip("/")))
        require(paths, f"nothing matches {pattern}")
        return paths

    def remove(self, *patterns):
        for path in (path for pattern in patterns for path in self.found(pattern)):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def install(self, name, files, requires=(), site=SITE, metadata=None):
        """Writes an installed distribution of version 1.0, as an installer leaves it."""
        information = f"{name.replace('-', '_')}-1.0.dist-info"
        wanted = "".join(f"Requires-Dist: {one}\n" for one in requires)
        files = {path: content.encode() if isinstance(content, str) else content for path, content in files.items()}
        files[f"{information}/METADATA"] = (
            metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{wanted}"
        ).encode()
        files[f"{information}/INSTALLER"] = b"pip\n"
        rows = [f"{path},sha256={urlsafe(hashlib.sha256(it).digest())},{len(it)}\n" for path, it in files.items()]
        files[f"{information}/RECORD"] = "".join([*rows, f"{information}/RECORD,,\n"]).encode()
        for path, content in files.items():
            self.write(f"{site}/{path}", content)

    def install_again_by_links(self, *names):
        """Gives every file of these distributions a second name in uv's cache, before its first one."""
        for name in names:
            for file in (it for it in self.path(SITE).glob(f"{name}*/**/*") if it.is_file()):
                cached = self.path(f"/root/.cache/uv/archive-v0/{name}") / file.relative_to(self.path(SITE))
                cached.parent.mkdir(parents=True, exist_ok=True)
                cached.hardlink_to(file)

    def patch(self, pattern, offset, content):
        """Writes over bytes of a file."""
        [path] = self.found(pattern)
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(content)

    def python_3_12(self, prefix):
        """Another CPython, without what no case needs of it."""
        source = other_python()
        unwanted = shutil.ignore_patterns(
            "test", "config-*", "idlelib", "ensurepip", "__pycache__", "site-packages", "*.a", "pip*", "idle*", "pydoc3*",
            "2to3*", "*-config", "*-gdb.py",
        )  # fmt: skip
        shutil.copytree(source, self.path(prefix), symlinks=True, ignore=unwanted, dirs_exist_ok=True)
        self.path(f"{prefix}/lib/python3.12/site-packages").mkdir(exist_ok=True)

    # --- what a C compiler makes ---

    def library(self, soname, defines=(), links=(), options=()):
        """A shared library with these functions, which needs these libraries."""
        text = "".join(f"int {name}(void) {{ return 1; }}\n" for name in defines)
        return self.compiled(soname, text, links, (f"-Wl,-soname,{soname}", *options))

    def module(self, name, calls=(), links=(), options=()):
        """An extension module whose initialisation calls these functions."""
        declared = "".join(f"int {it}(void); " for it in calls)
        called = "".join(f"{it}(); " for it in calls)
        return self.compiled(f"{name}.so", MODULE.format(name=name, declared=declared, called=called), links, options)

    def leave(self, soname, defines):
        """A library to link with, which the image does not have; its name."""
        self.library(soname, defines)
        return soname

    def behind_ld_so_conf(self):
        """A module whose library is in a directory that only a file of /etc/ld.so.conf.d names."""
        self.write("/opt/own/lib/libown.so.1", self.library("libown.so.1", ["own"]), 0o755)
        self.write("/etc/ld.so.conf.d/own.conf", "/opt/own/lib\n")
        module = self.module("_app", ["own"], ["libown.so.1"])
        self.install("app", {"app/__init__.py": "from . import _app\n", "app/_app.so": module})

    def compiled(self, name, text, links, options):
        self.scratch.mkdir(parents=True, exist_ok=True)
        source, output = self.scratch / "source.c", self.scratch / name
        source.write_text(text)
        linked = [f"-l:{link}" for link in links]
        run(
            "cc", "-shared", "-fPIC", "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined", *options, "-o", output, source,
            f"-L{self.scratch}", *linked,
        )  # fmt: skip
        return output.read_bytes()


def other_python():
    """The prefix of a CPython 3.12 of this machine; nothing where there is none."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(it for it in versions.glob("3.12.*") if re.fullmatch(r"3\.12\.\d+", it.name))
    return found[-1] if found else None
