"""Wheels of one's own are installed as uv installs them: named by path and by URL, from directories and pages of links, with
overrides, and from locks. Each image has the distributions of `uv pip install --target` with the same inputs, file by file.
"""

import hashlib
import http.server
import json
import shutil
import subprocess
import tarfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness import program
from harness.imgforge import binary, build, imgforge
from harness.oci import Layout
from harness.paths import UV
from harness.processes import run
from harness.report import figure, require
from harness.wheels import downloaded
from harness.work import Work

SITE = "usr/local/lib/python3.11/dist-packages/"
# Who installed, what was asked for by name, the hashes of both, uv's own notes, and pip's origin, which is compared apart.
BOOKKEEPING = ("INSTALLER", "RECORD", "REQUESTED", "uv_cache.json", "uv_build.json", "direct_url.json")
WHEELS = ("six==1.16.0", "attrs==23.2.0", "markupsafe==2.1.5")


@dataclass
class Case:
    """The keys of a recipe, and the words for uv; `{wheels}` is the directory and `{url}` the page of the wheels."""

    keys: dict
    uv: list
    direct: tuple = ()  # distributions whose origin is recorded
    files: dict = field(default_factory=dict)


CASES = {
    "path": Case({"packages": ["./wheels/{six}"]}, ["{wheels}/{six}"], ("six",)),
    "url": Case({"packages": ["six @ {url}{six}"]}, ["six @ {url}{six}"], ("six",)),
    "hashed": Case({"packages": ["{url}{six}#sha256={hash}", "flask"]}, ["{url}{six}", "flask"], ("six",)),
    "file": Case(
        {"requirements": ["requirements.txt"]},
        ["-r", "{directory}/requirements.txt"],
        ("attrs",),
        {"requirements.txt": "./wheels/{attrs} ; python_version > '3'\njinja2\n-f {wheels}\n"},
    ),
    "directory": Case({"packages": ["markupsafe"], "indexes": [{"path": "wheels"}]}, ["markupsafe==2.1.5"]),
    "links": Case({"packages": ["markupsafe<3"], "find-links": ["{url}"]}, ["markupsafe<3", "--find-links", "{url}"]),
    "overrides": Case(
        {"packages": ["flask==3.0.3"], "overrides": ["click==8.0.4"]},
        ["flask==3.0.3", "--overrides", "{directory}/overrides.txt"],
        files={"overrides.txt": "click==8.0.4\n"},
    ),
}


@contextmanager
def served(directory):
    """The directory as a page of links."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=directory))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def filled(value, words):
    """The value with the words in place of their names in braces."""
    for name, word in words.items():
        value = json.loads(json.dumps(value).replace(f"{{{name}}}", word))
    return value


def check(case, name, work, words):
    for file, text in case.files.items():
        (work.directory / file).write_text(filled(text, words))
    recipe = work.recipe(name, {"base": "debian-bookworm", **filled(case.keys, words)})
    layout = work.directory / f"{name}-image"
    build(recipe, f"oci:{layout}")
    found = installed(Layout(layout))
    expected = by_uv(filled(case.uv, words), work.directory / f"{name}-uv", work.directory)
    origins = {path: found.pop(path) for path in [*found] if path.endswith("direct_url.json")}
    theirs = {path for path in expected if path.endswith("direct_url.json")}
    require(set(origins) == theirs, f"{name}: origins of {sorted(origins)}, uv's of {sorted(theirs)}")
    require(len(origins) == len(case.direct), f"{name}: origins of {sorted(origins)}")
    compare(name, {path: content for path, content in expected.items() if path not in theirs}, found)
    shutil.rmtree(layout)


def compare(name, expected, found):
    def is_kept(path):
        return Path(path).name not in BOOKKEEPING

    def same(path):
        return found[path] == expected[path] or is_override(name, path)

    missing = sorted(filter(is_kept, expected.keys() - found.keys()))
    extra = sorted(filter(is_kept, found.keys() - expected.keys()))
    require(not missing and not extra, f"{name}: missing {missing[:20]}, extra {extra[:20]}")
    unequal = [path for path in filter(is_kept, expected) if not same(path)]
    require(not unequal, f"{name}: other bytes in {unequal[:20]}")
    figure(f"{name}: equal files", len(expected))


def is_override(name, path):
    """The one file that differs on purpose: an overridden requirement is rewritten, so that pip agrees."""
    return name == "overrides" and path == "flask-3.0.3.dist-info/METADATA"


def installed(layout):
    """The files of the top layers below site-packages, by path, with their bytes."""
    files = {}
    for descriptor in layout.manifest["layers"]:
        with tarfile.open(layout.blob(descriptor)) as layer:
            for member in layer:
                if member.isfile() and member.name.startswith(SITE):
                    files[member.name.removeprefix(SITE)] = layer.extractfile(member).read()
    return files


def by_uv(words, target, directory, machine="x86_64"):
    command = [UV, "pip", "install", "--quiet", "--no-config", "--target", target]
    command += ["--python-version", "3.11", "--python-platform", f"{machine}-manylinux_2_28", "--only-binary", ":all:"]
    command += ["--link-mode", "copy", "--cache-dir", directory / "uv-cache"]
    run(*command, *words, cwd=directory)
    # Scripts are elsewhere in an image, and `.lock` is uv's own.
    files = [path for path in target.rglob("*") if path.is_file() and path.relative_to(target).parts[0] != "bin"]
    return {str(path.relative_to(target)): path.read_bytes() for path in files if path.name != ".lock"}


def locks(work, words):
    """A lock of uv's is installed as uv installs it, and uv installs a lock of imgforge's as the image has it."""
    theirs, ours = work.directory / "pylock.toml", work.directory / "pylock.ours.toml"
    (work.directory / "flask.in").write_text("flask==3.0.3\n")
    written = ["--format", "pylock.toml", "--output-file", theirs, "--python-version", "3.11", "--quiet", "--no-config"]
    run(UV, "pip", "compile", "flask.in", *written, cwd=work.directory)
    check_lock(work, "from-uv", {"requirements": ["pylock.toml"]}, theirs)
    keys = {"packages": ["flask<3.1", f"./wheels/{words['six']}"]}
    recipe = work.recipe("to-uv", {"base": "debian-bookworm", **keys})
    ours.write_text(imgforge("lock", recipe, "--format", "pylock"))
    check_lock(work, "to-uv", keys, ours)


def check_lock(work, name, keys, lock):
    layout = work.directory / f"{name}-image"
    build(work.recipe(name, {"base": "debian-bookworm", **keys}), f"oci:{layout}")
    compare(name, by_uv(["-r", lock], work.directory / f"{name}-target", work.directory), installed(Layout(layout)))
    shutil.rmtree(layout)


def refused(work):
    """Projects without wheels are named at once."""
    recipe = work.recipe("sources", {"base": "debian-bookworm", "packages": ["hydra-core==1.3.2", "fvcore"]})
    done = subprocess.run(
        [binary(), "plan", recipe], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    require(done.returncode == 1, f"sources are not refused: {done.stdout}")
    for words in (
        "antlr4-python3-runtime 4.9.3",
        "fvcore 0.1.5",
        "pip wheel --no-deps",
        "no other base or Python helps",
    ):
        require(words in done.stderr, f"the refusal does not say `{words}`:\n{done.stderr}")


def main():
    names = program.step_names("acceptance/own_wheels", __doc__, [*CASES, "locks", "sources"])
    with Work("own_wheels") as work:
        wheels = work.directory / "wheels"
        wheels.mkdir()
        copies = {wheel.split("==")[0]: downloaded(wheel) for wheel in WHEELS}
        for wheel in copies.values():
            shutil.copy(wheel, wheels)
        with served(wheels) as url:
            words = {name: path.name for name, path in copies.items()}
            digest = hashlib.sha256(copies["six"].read_bytes()).hexdigest()
            words |= {"wheels": str(wheels), "url": url, "directory": str(work.directory), "hash": digest}
            steps = {name: lambda _, name=name: check(CASES[name], name, work, words) for name in CASES}
            steps |= {"locks": lambda _: locks(work, words), "sources": lambda _: refused(work)}
            program.perform(steps, names, work)


if __name__ == "__main__":
    program.start(main)
