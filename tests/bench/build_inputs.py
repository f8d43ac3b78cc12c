"""What is built: wheels on disk, a loopback index over them, and a recipe with its lock for each input."""

import contextlib
import hashlib
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from pathlib import Path

import raw_zip

ROOT = Path(__file__).resolve().parents[2]
# The three largest wheels of a machine-learning image, and nothing else of their dependencies.
TORCH = ("torch==2.2.1", "nvidia-cublas-cu12==12.1.3.1", "nvidia-cudnn-cu12==8.9.2.26")
NEWEST = "2025-06-01"


def small():
    names = (ROOT / "tests/bench/build_small.txt").read_text().split()
    return {"packages": names, "exclude-newer": NEWEST}


def colab_like():
    """The recipe in `recipes/`, over the base that all contenders build on."""
    text = (ROOT / "recipes/colab-like.yaml").read_text()
    assert "\nbase: debian-bookworm\n" in text, "recipes/colab-like.yaml has another base"
    return text.replace("\nbase: debian-bookworm\n", "\nbase: oci:base:latest\n")


INPUTS = {
    # As pip lays them out: a tree of one CUDA needs more than these three.
    "torch": lambda: {"frameworks": {"torch": "2.2.1"}, "cuda": {"policy": "pip"}},
    "colab-like": colab_like,
    "small": small,
}


class Index:
    """A package index on loopback over wheels on disk: PEP 503, with hashes and metadata."""

    def __init__(self, wheels):
        self.wheels = {wheel.name: wheel for wheel in wheels}
        self.metadata = {name: metadata(wheel) for name, wheel in self.wheels.items()}
        self.digests = {name: sha256(wheel) for name, wheel in self.wheels.items()}
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                index.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple/"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request):
        _, kind, name, *_ = [*request.path.split("/"), "", ""]
        wheel = name.removesuffix(".metadata")
        if kind == "simple":
            self.send(request, self.page(name).encode(), "text/html")
        elif kind == "files" and name in self.wheels:
            self.send_file(request, self.wheels[name])
        elif kind == "files" and wheel in self.metadata:
            self.send(request, self.metadata[wheel], "text/plain")
        else:
            self.head(request, 404, 0, "text/plain")

    def page(self, project):
        links = [
            f'<a href="/files/{name}#sha256={self.digests[name]}" data-core-metadata="sha256='
            f'{hashlib.sha256(self.metadata[name]).hexdigest()}">{name}</a>'
            for name in self.wheels
            if normalized(name.split("-")[0]) == normalized(project)
        ]
        return f"<!DOCTYPE html><body>{''.join(links)}</body>"

    def send_file(self, request, path):
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
        first, last = asked.groups() if asked else ("0", "")
        start, end = (int(first), int(last or size - 1) + 1) if first else (size - int(last), size)
        end = min(end, size)
        headers = {"Content-Range": f"bytes {start}-{end - 1}/{size}"} if asked else {}
        self.head(request, 206 if asked else 200, end - start, "application/octet-stream", headers)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError), open(path, "rb") as file:
            request.connection.sendfile(file, start, end - start)

    def send(self, request, content, kind):
        self.head(request, 200, len(content), kind)
        request.wfile.write(content)

    @staticmethod
    def head(request, status, length, kind, headers=None):
        request.send_response(status)
        for name, value in {"Accept-Ranges": "bytes", **(headers or {})}.items():
            request.send_header(name, value)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(length))
        request.end_headers()


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        return archive.read(name)


def downloaded(requirement, directory):
    """A wheel of CPython 3.11 on x86-64, which pip downloads once."""
    name, version = requirement.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*x86_64.whl"
    if not list(directory.glob(pattern)):
        directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-cache-dir", "--no-deps", "-d", directory, requirement]
        platforms = [word for policy in ("1", "2014") for word in ("--platform", f"manylinux{policy}_x86_64")]
        subprocess.run([*command, "--python-version", "3.11", "--only-binary=:all:", *platforms], check=True)
    return next(directory.glob(pattern))


def torch_wheels(directory, downloads):
    """The wheels of TORCH in `directory`: torch's copy requires the other two alone, so that every tool installs the
    same three."""
    directory.mkdir(parents=True, exist_ok=True)
    for requirement in TORCH:
        wheel = downloaded(requirement, downloads)
        if (directory / wheel.name).exists():
            continue
        if requirement.startswith("torch=="):
            reduce(wheel, directory / wheel.name)
        else:
            link(wheel, directory / wheel.name)
    return sorted(directory.glob("*.whl"))


def link(source, target):
    """One file of two names, where one file system has both."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def reduce(wheel, target):
    """A copy of torch's wheel that requires nothing but TORCH."""
    requires = "".join(f"Requires-Dist: {requirement}\n" for requirement in TORCH[1:])
    text = re.sub(r"(?m)^Requires-Dist: .*\n", "", metadata(wheel).decode())
    text = text.replace("\nClassifier:", f"\n{requires}Classifier:", 1)
    with zipfile.ZipFile(wheel) as archive:
        members = {info.filename: raw_zip.Copied(wheel, info) for info in archive.infolist() if not info.is_dir()}
        [name] = [name for name in members if name.endswith(".dist-info/METADATA")]
        record = name.replace("METADATA", "RECORD")
        # Without its row the record says nothing of it, and an installer makes one.
        rows = re.sub(rf"(?m)^{re.escape(name)},.*\n", "", archive.read(record).decode())
    members |= {name: raw_zip.Stored(text), record: raw_zip.Stored(rows)}
    unfinished = target.with_suffix(".unfinished")
    raw_zip.write(unfinished, members)
    unfinished.rename(target)


class Prepared:
    """An input whose wheels are on disk and whose recipe is locked."""

    def __init__(self, name, directory, imgforge):
        self.name = name
        self.recipe = directory / f"{name}.yaml"
        self.imgforge = imgforge
        asked = INPUTS[name]()
        if isinstance(asked, str):
            self.recipe.write_text(asked)
        else:
            self.recipe.write_text(json.dumps({"base": "oci:base:latest"} | asked))

    def lock(self, environment):
        subprocess.run([*self.imgforge, "lock", "--quiet", self.recipe], check=True, env=environment)
        self.locked = tomllib.loads(self.recipe.with_suffix(".lock").read_text())["distribution"]

    def blobs(self, store):
        """The paths of the wheels in a store."""
        return {store / "blobs" / distribution["digest"].replace(":", "/") for distribution in self.locked}

    def borrow_wheels(self, other, directory, store):
        """Links those wheels into the store that another store has, or that are in a directory under their names."""
        for distribution in self.locked:
            blob = Path("blobs") / distribution["digest"].replace(":", "/")
            if not (store / blob).exists():
                known = [path for path in (directory / distribution["wheel"], other / blob) if path.exists()]
                for path in known[:1]:
                    link(path, store / blob)

    def wheels(self, store, directory):
        """The wheels under their names, linked from the store that fetched them."""
        directory.mkdir(exist_ok=True)
        for distribution in self.locked:
            target = directory / distribution["wheel"]
            if not target.exists():
                link(store / "blobs" / distribution["digest"].replace(":", "/"), target)
        return sorted(directory / distribution["wheel"] for distribution in self.locked)

    def requirements(self):
        return "".join(f"{locked['name']}=={locked['version']}\n" for locked in self.locked)
