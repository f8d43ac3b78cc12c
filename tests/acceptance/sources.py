"""Sources are built as uv builds them: each project that publishes source distributions alone is built by imgforge in its
sandbox, and by `uv build --wheel` in a chroot of the image's base, of the same source with the same distributions. Both
wheels must have the same files, and what the image has must import in a chroot.

Root is for the chroots; `--quick` builds one stack of pure projects.
"""

import os
import shutil
import tomllib
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness import program
from harness.chroot import PATH, Root
from harness.imgforge import build, imgforge
from harness.paths import UV
from harness.processes import run
from harness.report import figure, require
from harness.work import Work

PURE = "debian-bookworm"
COMPILERS = {
    "suites": ["bookworm", "bookworm-updates", "bookworm-security"],
    "packages": ["python3", "python3-dev", "g++", "ca-certificates", "libstdc++6"],
}
# The settings of the machine for indexes, which both must have.
SETTINGS = ("UV_", "SSL_CERT_FILE", "HTTP", "http", "NO_PROXY", "no_proxy")


@dataclass
class Case:
    """Requirements, those of them that are built, and modules that must import."""

    packages: list
    built: list
    modules: list
    base: object = PURE
    keys: dict = field(default_factory=dict)


CASES = {
    "langdetect": Case(["langdetect"], ["langdetect"], ["langdetect"]),
    "hydra": Case(
        ["hydra-core==1.3.2", "omegaconf==2.3.0"], ["antlr4-python3-runtime"], ["hydra", "omegaconf", "antlr4"]
    ),
    "small": Case(
        ["docopt", "wget", "sgmllib3k", "pyperclip", "rouge-score", "future==0.18.3"],
        ["docopt", "wget", "sgmllib3k", "rouge-score", "future"],
        ["docopt", "wget", "sgmllib", "pyperclip", "rouge_score", "future"],
    ),
    "fvcore": Case(["fvcore", "iopath"], ["fvcore", "iopath"], ["fvcore", "iopath", "yacs"]),
    "promise": Case(["promise", "tensorflow-datasets"], ["promise"], ["promise", "tensorflow_datasets"]),
    "sequences": Case(["seqeval"], ["seqeval"], ["seqeval.metrics"]),
    "texts": Case(
        ["segtok", "pptree", "wikipedia-api", "sqlitedict"],
        ["pptree", "sqlitedict"],
        ["segtok.segmenter", "pptree", "wikipediaapi", "sqlitedict"],
    ),
    "clouds": Case(["oss2", "hdfs"], ["oss2", "crcmod", "hdfs"], ["oss2", "crcmod", "hdfs"]),
    "survival": Case(["lifelines"], ["autograd-gamma"], ["lifelines", "autograd_gamma"]),
    "gpus": Case(["gpustat", "jsmin", "langid"], ["gpustat", "jsmin", "langid"], ["gpustat", "jsmin", "langid"]),
    "more": Case(
        ["gym==0.26.2", "pathtools", "proglog", "ftfy", "python-docx==0.8.11", "wikipedia", "jieba", "pypinyin<0.54"],
        ["gym", "pathtools", "python-docx", "wikipedia", "jieba"],
        ["pathtools", "docx", "jieba"],
    ),
    "whisper": Case(["openai-whisper"], ["openai-whisper"], ["whisper"], keys={"frameworks": {"torch": "2.6.0"}}),
    "compiled": Case(
        ["evdev==1.7.1", "fasttext==0.9.3", "editdistance==0.6.2"],
        ["evdev", "fasttext"],
        ["evdev", "fasttext", "editdistance"],
        COMPILERS,
    ),
}
QUICK = ("hydra",)


def check(case, name, work):
    keys = {"base": case.base, "packages": case.packages, "python": {"build": "all"}, **case.keys}
    recipe = work.recipe(name, keys)
    imgforge("lock", recipe)
    locked = locked_sources(recipe.with_suffix(".lock"))
    require(set(case.built) <= set(locked), f"{name}: built {sorted(locked)}")
    layout = work.directory / f"{name}-image"
    build(recipe, f"oci:{layout}", "--no-check")
    with unpacked(layout, work.directory / f"{name}-root") as root:
        for project, source in sorted(locked.items()):
            compare(project, source, root, work)
        done = root.run("python3", "-c", f"import {', '.join(case.modules)}")
        require(done.code == 0, f"{name}: {done.error}")
        figure(f"{name}: wheels built, modules imported", f"{len(locked)}, {len(case.modules)}")
    shutil.rmtree(layout)


@contextmanager
def unpacked(layout, directory):
    """The root of an image, with what uv needs."""
    run("umoci", "raw", "unpack", "--image", f"{layout}:latest", directory)
    try:
        for file in ("etc/resolv.conf", "etc/hosts"):
            shutil.copy(f"/{file}", directory / file)
        (directory / "build").mkdir()
        yield Root(directory, {"uv": UV.resolve(), **certificates()})
    finally:
        shutil.rmtree(directory)


def certificates():
    file = os.environ.get("SSL_CERT_FILE")
    return {"certificates": Path(file)} if file else {}


def locked_sources(lock):
    """By project, the wheel that was built with its source and what it was built with."""
    distributions = tomllib.loads(lock.read_text())["distribution"]
    return {one["name"]: one for one in distributions if "source" in one}


def compare(project, locked, root, work):
    """Holds a wheel against the one that uv builds of the same source, with the same distributions."""
    blobs = work.store / "blobs" / "sha256"
    place = root.directory / "build" / project
    place.mkdir()
    source = place / locked["source"]["file"]
    shutil.copy(blob(blobs, locked["source"]["digest"]), source)
    pins = [pin(one["wheel"]) for one in locked["source"].get("requires", [])]
    (place / "constraints.txt").write_text("".join(f"{line}\n" for line in pins))
    settings = {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)}
    if "SSL_CERT_FILE" in settings:
        settings["SSL_CERT_FILE"] = "/mnt/certificates"
    environment = {
        "PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "315532800", "PYTHONHASHSEED": "0",
        **settings,
    }  # fmt: skip
    words = ["--wheel", "--python", "/usr/bin/python3", "--build-constraints", f"/build/{project}/constraints.txt"]
    words += ["--out-dir", f"/build/{project}/out", f"/build/{project}/{source.name}"]
    done = root.run("/mnt/uv", "build", "--no-config", *words, environment=environment, timeout=1800)
    require(done.code == 0, f"uv does not build {project}: {done.error[-2000:]}")
    [theirs] = (place / "out").glob("*.whl")
    require(theirs.name == locked["wheel"], f"{project}: uv built {theirs.name}, imgforge {locked['wheel']}")
    ours, theirs = contents(blob(blobs, locked["digest"])), contents(theirs)
    names = ours.keys() ^ theirs.keys()
    require(not names, f"{project}: only in one of the wheels: {sorted(names)[:20]}")
    unequal = [name for name in ours if ours[name] != theirs[name]]
    # RECORD has the hashes of the libraries.
    excused = {name for name in ours if is_binary(name)}
    excused |= {name for name in ours if excused and name.endswith(".dist-info/RECORD")}
    require(excused.issuperset(unequal), f"{project}: other bytes in {unequal[:20]}")
    figure(f"{project}: equal files", len(ours) - len(unequal))


def is_binary(name):
    """A library has the path of its build's directory in it, which is another one for uv."""
    return name.endswith(".so")


def blob(blobs, digest):
    return blobs / digest.removeprefix("sha256:")


def pin(wheel):
    name, version, *_ = wheel.split("-")
    return f"{name}=={version}"


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def main():
    names = program.step_names("acceptance/sources", __doc__, CASES, QUICK)
    require(os.geteuid() == 0, "only root may enter a chroot")
    with Work("sources") as work:
        steps = {name: lambda _, name=name: check(CASES[name], name, work) for name in CASES}
        program.perform(steps, names, work)


if __name__ == "__main__":
    program.start(main)
