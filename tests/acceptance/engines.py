"""Brings images into a Docker engine, podman and containerd, each started for the test, and has them run.

For each engine: the image runs, and has the digest that imgforge printed; building it again sends nothing; after one small
package changed, little is sent, and nothing that the engine has; what was sent on the way leaves no stray image; the image
is read from the engine, and copied out of it. `times` prints, for a larger image, how long each takes to the running
container, beside the engine's own floor: the same layers, uncompressed, loaded from a file.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

from harness import program
from harness.imgforge import binary, imgforge
from harness.oci import Layout
from harness.processes import packaged, run, wait_for
from harness.report import Stopwatch, figure, megabytes, require
from harness.work import Work

NAME = "imgforge-test"
SMALL = ["pyyaml==6.0.1"]
LARGE = [*SMALL, "numpy==1.26.4", "pandas==2.2.2", "scipy==1.13.1", "scikit-learn==1.5.1", "pyarrow==17.0.0"]
CLICK, OTHER_CLICK = "8.1.7", "8.1.6"
PROGRAM = "import click, yaml; print(click.__version__)"
LITTLE = 3_000_000  # bytes: the layers of click, of its neighbours and of the system, their tars uncompressed
SECONDS = {
    "nothing changed": 2,
    "one package changed": 10,
}  # for tests on busy machines; the promises are in tests/bench


class Counter:
    """A socket before that of an engine, which counts what is sent to it."""

    def __init__(self, directory, target):
        self.path, self.target, self.sent = directory / "counted.sock", target, 0
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(self.path))
        self.server.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.server.accept()
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(str(self.target))
            threading.Thread(target=self.copy, args=(client, engine, True), daemon=True).start()
            threading.Thread(target=self.copy, args=(engine, client, False), daemon=True).start()

    def copy(self, source, target, is_counted):
        try:
            while piece := source.recv(1 << 20):
                self.sent += len(piece) if is_counted else 0
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()


@contextmanager
def variables(**values):
    """The environment with these variables."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class Docker:
    """A Docker engine, asked through a socket that counts."""

    name, transport, runs = "docker", "docker-daemon", True

    def __init__(self, work):
        self.engine = work.engine
        self.counter = Counter(self.engine.directory, self.engine.directory / "docker.sock")
        self.environment = {"DOCKER_HOST": self.engine.host}
        self.counting = {"DOCKER_HOST": f"unix://{self.counter.path}"}

    def sent(self):
        return self.counter.sent

    def output(self):
        return self.engine.docker("run", "--rm", "--network", "none", NAME, "python3", "-c", PROGRAM).strip()

    def is_sound(self, layout):
        described = json.loads(self.engine.docker("image", "inspect", NAME))[0]
        require(described["Id"] == layout.manifest["config"]["digest"], f"the id is {described['Id']}")
        strays = self.engine.docker("images", "--quiet", "--filter", "dangling=true").split()
        return len(strays)

    def forget(self):
        images = self.engine.docker("images", "--quiet", "--all").split()
        if images:
            self.engine.docker("rmi", "--force", *set(images))

    def floor(self, archive):
        self.engine.docker("load", "--quiet", "--input", archive)


class Fed:
    """An engine that is fed through its program: a script before it on PATH counts what it is given."""

    def __init__(self, work, program_name, feeding):
        self.directory = work.directory / self.name
        self.directory.mkdir()
        self.count = self.directory / "sent"
        script = self.directory / "bin" / program_name
        script.parent.mkdir()
        given, real = self.directory / "given", packaged(program_name)
        script.write_text(
            f"#!/bin/bash\ncase \" $* \" in *' {feeding} '*) cat >{given} && stat --format %s {given} >>{self.count}\n"
            f'{real} "$@" <{given}\nexit;; esac\nexec {real} "$@"\n'
        )
        script.chmod(0o755)
        self.counting = {"PATH": f"{script.parent}:{os.environ['PATH']}"}
        self.environment = {}

    def sent(self):
        return sum(map(int, self.count.read_text().split())) if self.count.exists() else 0


class Podman(Fed):
    """Podman with a storage of its own; `podman run` may not set resource limits in a virtual machine."""

    name, transport, runs = "podman", "podman", False

    def __init__(self, work):
        super().__init__(work, "podman", "load")
        # Podman refuses a run root of more than 50 characters.
        self.state = work.stack.enter_context(tempfile.TemporaryDirectory(prefix="podman-"))
        configuration = self.directory / "storage.conf"
        graph = self.directory / "graph"
        configuration.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{graph}"\nrunroot = "{self.state}"\n')
        self.environment |= {"CONTAINERS_STORAGE_CONF": str(configuration)}
        work.stack.callback(shutil.rmtree, graph, ignore_errors=True)

    def podman(self, *arguments):
        return run(packaged("podman"), *arguments, env=os.environ | self.environment)

    def is_sound(self, layout):
        described = json.loads(self.podman("image", "inspect", f"localhost/{NAME}"))[0]
        require(described["Digest"] == layout.descriptor["digest"], f"the digest is {described['Digest']}")
        return 0

    def output(self):
        root = Path(self.podman("image", "mount", f"localhost/{NAME}").strip())
        try:
            return run("chroot", root, "python3", "-B", "-c", PROGRAM).strip()
        finally:
            self.podman("image", "unmount", f"localhost/{NAME}")

    def forget(self):
        self.podman("rmi", "--all", "--force")

    def floor(self, archive):
        self.podman("load", "--quiet", "--input", archive)


class Containerd(Fed):
    """A containerd of the test's own."""

    name, transport, runs = "containerd", "containerd", True

    def __init__(self, work):
        super().__init__(work, "ctr", "import")
        self.socket = self.directory / "sock"
        paths = {"root": self.directory / "root", "state": self.directory / "state"}
        configuration = self.directory / "config.toml"
        lines = ["version = 2", *(f'{name} = "{path}"' for name, path in paths.items())]
        lines += ['disabled_plugins = ["io.containerd.grpc.v1.cri"]', "[grpc]", f'address = "{self.socket}"']
        lines += ["[ttrpc]", f'address = "{self.socket}.ttrpc"']
        configuration.write_text("\n".join(lines) + "\n")
        with (self.directory / "log").open("w") as log:
            self.daemon = subprocess.Popen(
                [packaged("containerd"), "--config", configuration],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        work.stack.callback(self.end)
        wait_for(lambda: self.ctr("version"), self.daemon)
        self.environment |= {"CONTAINERD_ADDRESS": str(self.socket)}

    def end(self):
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(60)

    def ctr(self, *arguments):
        return run(packaged("ctr"), "--address", self.socket, *arguments)

    def full_name(self):
        names = self.ctr("images", "ls", "--quiet").split()
        return next(name for name in names if f"/{NAME}:" in name)

    def is_sound(self, layout):
        rows = [row.split() for row in self.ctr("images", "ls").splitlines()]
        digest = next(row[2] for row in rows if row[0] == self.full_name())
        require(digest == layout.descriptor["digest"], f"the digest is {digest}")
        return 0

    def output(self):
        return self.ctr("run", "--rm", self.full_name(), NAME, "python3", "-c", PROGRAM).strip()

    def forget(self):
        for name in self.ctr("images", "ls", "--quiet").split():
            self.ctr("images", "rm", "--sync", name)

    def floor(self, archive):
        self.ctr("images", "import", archive)


ENGINES = {"docker": (Docker, "dockerd"), "podman": (Podman, "podman"), "containerd": (Containerd, "ctr")}


def recipe(work, packages, click):
    return work.recipe(f"engines-{click}", {"base": "debian-bookworm", "packages": [*packages, f"click=={click}"]})


def build(engine, path, is_counted=True):
    """Builds into the engine; the time to the running container, and the bytes that were sent where they are counted."""
    before, watch = engine.sent(), Stopwatch()
    with variables(**(engine.environment | (engine.counting if is_counted else {}))):
        imgforge("build", "--quiet", path, "-o", f"{engine.transport}:{NAME}")
    printed = engine.output()
    return printed, watch.seconds(), engine.sent() - before


def opened(work, name):
    kind, needed = ENGINES[name]
    if not shutil.which(packaged(needed)):
        figure("skipped", f"{needed} is not installed")
        return None
    return kind(work)


def judge(work, name):
    engine = opened(work, name)
    if not engine:
        return
    layout = Layout(work.directory / "layout")
    first, second = recipe(work, SMALL, CLICK), recipe(work, SMALL, OTHER_CLICK)
    imgforge("build", "--quiet", first, "-o", f"oci:{layout.path}:latest")
    printed, seconds, whole = build(engine, first)
    require(printed == CLICK, f"the container printed {printed!r}")
    require(engine.is_sound(layout) == 0, "a stray image is left")
    figure("cold", f"{megabytes(whole)} in {seconds:.1f} s")
    printed, seconds, sent = build(engine, first)
    require(printed == CLICK and sent < 20_000, f"{sent} bytes were sent though nothing changed")
    figure("nothing changed", f"{sent} bytes in {seconds:.1f} s")
    printed, seconds, sent = build(engine, second)
    require(printed == OTHER_CLICK, f"the container printed {printed!r}")
    require(sent < LITTLE < whole, f"{sent} bytes were sent for one package")
    figure("one package changed", f"{sent} bytes in {seconds:.1f} s")
    from_engine(work, engine, second)
    engine.forget()
    printed, _, sent = build(engine, first)
    require(printed == CLICK and sent > LITTLE, "an image that was removed did not come again")
    if name == "docker":
        runs(engine, first)


def runs(engine, path):
    """The image is started at the end of its build, with input, output and exit status."""
    program = "import sys; print(sys.stdin.read().upper()); sys.exit(7)"
    words = ["build", "--quiet", path, "-o", f"{engine.transport}:{NAME}", "--run", "--", "python3", "-c", program]
    environment = os.environ | engine.environment | {"PATH": f"{Path(packaged('docker')).parent}:{os.environ['PATH']}"}
    watch = Stopwatch()
    ended = subprocess.run(
        [binary(), *map(str, words)], input="hello", capture_output=True, text=True, check=False, env=environment
    )  # fmt: skip
    require(ended.returncode == 7 and ended.stdout == "HELLO\n", f"{ended}")
    require("sha256:" in ended.stderr, "the digest is not told")
    figure("--run", f"{watch.seconds():.1f} s to the end of its container, whose exit status is handed on")


def from_engine(work, engine, path):
    """The image is read from the engine, and comes out of it with the layers that it went in with."""
    place = f"{engine.transport}:{NAME}"
    copied, built = Layout(work.directory / "copied"), Layout(work.directory / "built")
    imgforge("build", "--quiet", path, "-o", f"oci:{built.path}:latest")
    with variables(**engine.environment), tempfile.TemporaryDirectory(dir=work.directory) as store:
        watch = Stopwatch()
        imgforge("check", place)
        known = watch.seconds()
        with variables(IMGFORGE_CACHE_DIR=store):
            seconds = []
            for _ in range(2):
                watch = Stopwatch()
                imgforge("check", place)
                seconds.append(watch.seconds())
        imgforge("copy", place, f"oci:{copied.path}:latest")
    figure("check", f"{known:.2f} s where it was built, {seconds[0]:.2f} s elsewhere, {seconds[1]:.2f} s there again")
    require(known < seconds[0] and seconds[1] < seconds[0], "the image was saved though everything of it was known")
    same = copied.manifest["config"]["digest"] == built.manifest["config"]["digest"]
    require(same, "the image that comes out of the engine has another config")
    figure("read", "checked in the engine, and copied out of it with the same config")


def plain(archive, target):
    """An archive as docker saves it, of the layers of another one without their compression."""
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        layout = Path(directory) / "layout"
        run("skopeo", "copy", "--quiet", f"oci-archive:{archive}", f"dir:{layout}", "--dest-decompress")
        manifest = json.loads((layout / "manifest.json").read_text())
        name = manifest["config"]["digest"].split(":")[1]
        layers = [layer["digest"].split(":")[1] for layer in manifest["layers"]]
        saved = [
            {"Config": f"{name}.json", "RepoTags": [f"{NAME}:latest"], "Layers": [f"{layer}.tar" for layer in layers]}
        ]
        (layout / "saved.json").write_text(json.dumps(saved))
        with tarfile.open(target, "w") as tar:
            tar.add(layout / name, f"{name}.json")
            for hexadecimal in dict.fromkeys(layers):
                tar.add(layout / hexadecimal, f"{hexadecimal}.tar")
            tar.add(layout / "saved.json", "manifest.json")


def times(work):
    """The table: each engine cold, with its floor, after one package changed, and when nothing changed."""
    first, second = recipe(work, LARGE, CLICK), recipe(work, LARGE, OTHER_CLICK)
    archive, plain_archive = work.directory / "image.tar", work.directory / "plain.tar"
    imgforge("build", "--quiet", second, "-o", f"oci:{work.directory}/warm")
    imgforge("build", "--quiet", first, "-o", f"oci-archive:{archive}:latest")
    plain(archive, plain_archive)
    rows, changes = [], []
    for name in ENGINES:
        engine = opened(work, name)
        if not engine:
            continue
        engine.forget()
        floors = []
        for file in (archive, plain_archive):
            watch = Stopwatch()
            engine.floor(file)
            floors.append(watch.seconds())
            engine.forget()
        cold, changed, same = (build(engine, path, is_counted=False) for path in (first, second, second))
        rows.append([name, *(f"{seconds:.1f}" for seconds in (*floors, cold[1], changed[1], same[1]))])
        engine.forget()
        changes += [(name, "one package changed", changed), (name, "nothing changed", same)]
    heads = ["seconds", "its own load of gzip", "of plain tars", "imgforge, cold", "one package", "nothing changed"]
    for row in [heads, *rows]:
        figure(row[0], "  ".join(f"{cell:>20}" for cell in row[1:]))
    for name, what, (printed, seconds, _) in changes:
        require(printed == OTHER_CLICK, f"the container printed {printed!r}")
        require(seconds < SECONDS[what], f"{name} took {seconds:.1f} s though {what}")


STEPS = {name: lambda work, name=name: judge(work, name) for name in ENGINES} | {"times": times}
QUICK = ("docker", "podman", "containerd")


def main():
    names = program.step_names("acceptance/engines", __doc__, STEPS, QUICK)
    for name in names:
        with Work("engines") as work:
            program.perform(STEPS, [name], work)


if __name__ == "__main__":
    program.start(main)
