"""Builds a small image in every form of layers, and has every tool read and run it.

A tool that is not installed is skipped with a message. A form that a tool is known to refuse must be refused with a message,
not taken and broken, and be taken by a later version of the tool, from another suite of Debian.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import zlib

from harness import program
from harness.engine import Engine
from harness.imgforge import imgforge
from harness.oci import GZIP_LAYER, ZSTD_LAYER, Layout
from harness.paths import TESTS
from harness.processes import packaged, run, wait_for
from harness.report import Failure, Stopwatch, figure, heading, require
from harness.suites import unpacked
from harness.work import Work

MEDIA_TYPES = {"gzip": GZIP_LAYER, "zstd": ZSTD_LAYER, "estargz": GZIP_LAYER}
FORMS = list(MEDIA_TYPES)
# The program that runs in every container, and its output.
PROGRAM = "import numpy, click; print(numpy.arange(6).sum(), click.__version__)"
PRINTS = "15 8.1.7"
RECIPE = {"base": "debian-bookworm", "packages": ["numpy==1.26.4", "click==8.1.7", "pyyaml==6.0.1"]}
PREFETCH = {"estargz": ["/usr/local/lib/python3.11/dist-packages/click"]}
# Which tool refuses which form, and a word of what it says.
REFUSED = {
    ("umoci", "zstd"): "not correct mediatype",
    ("docker", "zstd"): "invalid",
}
# Later versions of these tools: the packages, and the first suite that has them.
LATER = {
    "umoci": {"umoci": "forky"},
    "docker": {"docker.io": "trixie", "docker-cli": "trixie", "containerd": "trixie"},
}


class Image:
    """An image of one form, as a layout and as an archive."""

    def __init__(self, work, form):
        self.form = form
        self.directory = work.directory
        self.layout = Layout(self.directory / "layout")
        self.archive = self.directory / "image.tar"
        self.source = f"oci:{self.layout.path}:latest"
        layers = {"compression": form} | ({"prefetch": PREFETCH[form]} if form in PREFETCH else {})
        recipe = work.recipe(f"forms-{form}", RECIPE | {"layers": layers})
        imgforge("build", recipe, "-o", self.source, "-o", f"oci-archive:{self.archive}:latest")


def bytes_of_layers(image):
    """gzip, zstd and GNU tar agree with the config about every layer."""
    forms = set()
    layers = image.layout.manifest["layers"]
    for layer, diff_id in zip(layers, image.layout.config["rootfs"]["diff_ids"], strict=True):
        path = image.layout.blob(layer)
        program = "zstd" if layer["mediaType"].endswith("zstd") else "gzip"
        with open(path, "rb") as blob:
            subprocess.run([program, "-t", "-q"], stdin=blob, check=True)
        with open(path, "rb") as blob, subprocess.Popen([program, "-dc"], stdin=blob, stdout=subprocess.PIPE) as tar:
            digest = hashlib.file_digest(tar.stdout, "sha256").hexdigest()
        require(f"sha256:{digest}" == diff_id, f"{program} makes another tar of {path}")
        run("tar", f"--use-compress-program={program}", "-tf", path)
        members = 0 if program == "zstd" else members_of(path)
        forms.add((layer["mediaType"], min(members, 2)))
    expected = {"gzip": 1, "zstd": 0, "estargz": 2}[image.form]
    # The base's layers stay as they are.
    base = (MEDIA_TYPES["gzip"], 1)
    require(forms == {base, (MEDIA_TYPES[image.form], expected)}, f"layers are {sorted(forms)}")
    figure("layers", f"{len(layers)}, {sum(layer['size'] for layer in layers)} bytes")


def members_of(path):
    """The number of gzip members in a file, at most two."""
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    with open(path, "rb") as file:
        while not decoder.eof:
            decoder.decompress(file.read(1 << 20))
        return 2 if decoder.unused_data or file.read(1) else 1


def estargz(image):
    """The stargz project's own reader verifies each chunk."""
    if image.form != "estargz":
        return
    verifier = image.directory / "verify_estargz"
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}
    run("go", "build", "-o", verifier, TESTS / "acceptance" / "verify_estargz.go", env=environment)
    annotation = "containerd.io/snapshot/stargz/toc.digest"
    layers = [layer for layer in image.layout.manifest["layers"] if annotation in layer.get("annotations", {})]
    require(layers, "no layer has a table")
    for layer in layers:
        files, chunks, largest = run(verifier, image.layout.blob(layer), layer["annotations"][annotation]).split()
        figure("verified", f"{files} files in {chunks} chunks of at most {largest} bytes")


def skopeo(image):
    for source in (image.source, f"oci-archive:{image.archive}:latest"):
        run("skopeo", "inspect", source)
    run("skopeo", "copy", image.source, f"oci:{image.directory / 'copy'}:latest")
    if image.form != "zstd":
        run("skopeo", "copy", image.source, f"docker-archive:{image.directory / 'docker.tar'}:x:latest")


def umoci(image, root=None):
    bundle = image.directory / "bundle"
    run(root / "usr/bin/umoci" if root else "umoci", "unpack", "--image", f"{image.layout.path}:latest", bundle)
    check(run("chroot", bundle / "rootfs", "python3", "-B", "-c", PROGRAM))


def docker(image, root=None):
    with Engine(image.directory / "docker", root) as engine:
        engine.load(image.archive)
        check(engine.command("python3", "-B", "-c", PROGRAM))


def podman(image):
    # Podman refuses a run root of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman-") as state:
        store = ["--root", image.directory / "podman", "--runroot", state, "--storage-driver", "vfs"]
        loaded = run("podman", *store, "load", "--input", image.archive).split()[-1]
        root = run("podman", *store, "image", "mount", loaded).strip()
        # `podman run` may not set resource limits in a virtual machine.
        check(run("chroot", root, "python3", "-B", "-c", PROGRAM))
        run("podman", *store, "image", "unmount", loaded)


def containerd(image):
    directory = image.directory / "containerd"
    directory.mkdir()
    socket = directory / "sock"
    paths = ["--address", socket, "--root", directory / "root", "--state", directory / "state"]
    command = ["containerd", *map(str, paths)]
    with (directory / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as daemon:
        try:
            ctr = ["ctr", "--address", socket]
            wait_for(lambda: run(*ctr, "version", timeout=10), daemon)
            run(*ctr, "images", "import", "--snapshotter", "native", image.archive)
            [name] = run(*ctr, "images", "list", "-q").split()
            mounted = directory / "mounted"
            mounted.mkdir()
            run(*ctr, "images", "mount", "--snapshotter", "native", name, mounted)
            try:
                check(run("chroot", mounted, "python3", "-B", "-c", PROGRAM))
            finally:
                run("umount", mounted)
        finally:
            daemon.send_signal(signal.SIGTERM)


def check(printed):
    require(printed.strip() == PRINTS, f"it prints {printed!r}")


# The judges, and the program that each needs.
JUDGES = {
    "layers": (bytes_of_layers, "zstd"),
    "stargz": (estargz, "go"),
    "skopeo": (skopeo, "skopeo"),
    "umoci": (umoci, "umoci"),
    "docker": (docker, packaged("dockerd")),
    "podman": (podman, "podman"),
    "containerd": (containerd, "containerd"),
}


def judge(image):
    for name, (judgement, needed) in JUDGES.items():
        if not shutil.which(needed):
            figure(name, f"skipped: {needed} is not installed")
            continue
        watch = Stopwatch()
        refusal = REFUSED.get((name, image.form))
        try:
            judgement(image)
        except Failure as failure:
            require(refusal and refusal in str(failure).lower(), f"{name}: {failure}")
            figure(name, f"refuses {image.form}, as expected")
            later(name, judgement, image)
        else:
            require(not refusal, f"{name} takes {image.form} now")
            figure(name, f"{watch.seconds():.0f} s")


def later(name, judgement, image):
    """Requires that a later version of the tool takes the image."""
    root = unpacked(LATER[name], image.directory / f"later-{name}")
    figure(f"later {name}", run(root / "usr/bin" / name, "--version").splitlines()[0])
    watch = Stopwatch()
    # The files of the one before are in its way.
    shutil.rmtree(image.directory / "bundle", ignore_errors=True)
    judgement(image, root)
    figure(f"later {name}", f"{watch.seconds():.0f} s")


def main():
    command_line = program.parser("acceptance/forms", __doc__)
    command_line.add_argument("forms", nargs="*", type=program.one_of(FORMS), metavar="FORM", help="by default all")
    forms = command_line.parse_args().forms or FORMS
    require(os.geteuid() == 0, "only root may unpack and run images")
    for form in forms:
        heading(form)
        with Work("forms") as work:
            judge(Image(work, form))
    print(f"{' '.join(forms)} passed")


if __name__ == "__main__":
    program.start(main)
