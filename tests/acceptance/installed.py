"""Every file of every distribution is what uv installs, but for the differences listed here."""

import json
import re
import shutil
from pathlib import Path

from harness.engine import machine_network, mounted_uv
from harness.report import Stopwatch, figure, require

COMPONENT = re.compile(r"nvidia[-_]\w+[-_]cu1\d")
RELAXED = re.compile(r"^Requires-Dist: (nvidia-|cuda-toolkit).*\n", re.MULTILINE)

# INSTALLER names who installed. RECORD holds the digests of files that may differ. REQUESTED marks what the
# user named; uv is given every name here, imgforge knows which ones the recipe names.
BOOKKEEPING = ("INSTALLER", "RECORD", "REQUESTED")

# Debian's base-files links /usr/local/man to share/man; no distribution brings it.
FROM_THE_BASE = ("man",)


def equal_to_uv(work):
    image, uv = reinstall(work)
    require(image["distributions"] == uv["distributions"], "the distributions themselves differ")
    figure("distributions", len(image["distributions"]))
    moved = set(component_files(uv))
    expected = {path: file for path, file in uv["files"].items() if path not in moved}
    found = {path: file for path, file in image["files"].items() if not is_of_the_system(path, file)}
    judge(expected, found)
    judge_components([uv["files"][path] | {"path": path} for path in moved], image["files"])


def is_of_the_system(path, file):
    """The toolkit's tree, and the links by which `nvidia.*` of site-packages leads to it."""
    leads_there = "/nvidia/" in path and "/cuda-" in file.get("link", "")
    return path in FROM_THE_BASE or path.startswith("cuda") or leads_there


def reinstall(work):
    watch = Stopwatch()
    output = work.directory / "installed"
    output.mkdir()
    options = [*machine_network(), *mounted_uv(), "--volume", f"{output}:/mnt/output"]
    try:
        work.engine.python("reinstall.py", "/mnt/output", options=options)
        figure("uv pip install", f"{watch.seconds():.0f} s with recording both trees")
        return tuple(json.loads((output / name).read_text()) for name in ("image.json", "uv.json"))
    finally:
        shutil.rmtree(output, ignore_errors=True)


def component_files(report):
    """The files of component wheels outside their dist-info, which lie in the system tree instead."""
    tops = (f"{report['site']}/nvidia/", f"{report['site']}/cusparselt/")
    return [path for path in report["files"] if path.startswith(tops)]


def judge(expected, found):
    missing = sorted(path for path in expected.keys() - found.keys() if not is_bookkeeping(path))
    extra = sorted(path for path in found.keys() - expected.keys() if not is_bookkeeping(path))
    require(not missing, f"{len(missing)} files of uv's are missing:\n" + "\n".join(missing[:50]))
    require(not extra, f"{len(extra)} files uv does not install:\n" + "\n".join(extra[:50]))
    compared = sorted(path for path in expected.keys() & found.keys() if not is_bookkeeping(path))
    unequal = [path for path in compared if expected[path] != found[path]]
    relaxed = [path for path in unequal if is_relaxed(expected[path], found[path])]
    different = [path for path in unequal if path not in relaxed]
    require(not different, differences(different, expected, found))
    figure("files", f"{len(compared) - len(relaxed)} equal in name, bytes and mode")
    figure("relaxed metadata", [Path(path).parent.name.removesuffix(".dist-info") for path in relaxed])


def is_bookkeeping(path):
    return Path(path).parent.name.endswith(".dist-info") and Path(path).name in BOOKKEEPING


def is_relaxed(expected, found):
    """True when only requirements on CUDA components differ."""
    texts = [RELAXED.sub("", file.get("text") or "") for file in (expected, found)]
    return bool(texts[0]) and texts[0] == texts[1] and expected["mode"] == found["mode"]


def differences(paths, expected, found):
    def short(file):
        return file.get("link") or f"{file['mode']} {file['digest'][:12]}"

    lines = [f"{path}: uv {short(expected[path])}, image {short(found[path])}" for path in paths[:50]]
    return f"{len(paths)} files differ:\n" + "\n".join(lines)


def judge_components(moved, files):
    system = {(Path(path).name, file.get("digest")) for path, file in files.items() if path.startswith("cuda")}
    anywhere = {file.get("digest") for file in files.values()}

    def is_kept(file):
        name = Path(file["path"]).name
        if name == "__init__.py":
            return True
        if name.upper().startswith("LICENSE"):
            return file["digest"] in anywhere
        return (name, file["digest"]) in system

    lost = [file["path"] for file in moved if not is_kept(file)]
    require(moved, "no component wheel brought a file: nothing was compared")
    require(not lost, f"{len(lost)} component files are not in the system tree:\n" + "\n".join(lost[:50]))
    figure("component files", f"{len(moved)}, all with the same bytes below /usr/local/cuda-*")
