"""The contenders: imgforge and what it is measured against. Each returns the seconds of its steps by their names."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from harness.paths import UV
from harness.processes import packaged, run, unmount_below, wait_for
from harness.report import Failure, Stopwatch

THREADS = os.cpu_count() or 1
UV_INSTALL = "uv pip install --system --no-cache"
PIP_INSTALL = "pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore"


def timed(*command, **options):
    """The seconds that a command takes."""
    watch = Stopwatch()
    run(*command, timeout=None, **options)
    return watch.seconds()


class Limit:
    """The work that no build can avoid: tests/bench/build_limit.rs."""

    title = "limit: inflate, hash twice, write"

    def __init__(self, program, directory):
        self.program, self.output = program, directory / "limit"

    def run(self, task):
        self.output.mkdir()
        try:
            seconds = run(self.program, self.output, THREADS, *task.wheels)
        finally:
            shutil.rmtree(self.output)
        return {"": float(seconds)}


class Imgforge:
    """Cold: the store has the wheels and the base, and no layer."""

    title = "imgforge build, to an OCI layout"

    def __init__(self, directory):
        self.output = directory / "image"

    def run(self, task):
        task.forget_layers()
        try:
            seconds = timed(*task.build_command(self.output), env=task.environment)
        finally:
            shutil.rmtree(self.output, ignore_errors=True)
        return {"": seconds}


class Docker:
    """`docker build` by a Docker engine of our own, and `docker push` to a registry on loopback that has the base."""

    def __init__(self, installer, command, engine, registry):
        self.title = f"docker build, {installer}"
        self.command, self.engine, self.registry = command, engine, registry
        self.name = f"{installer.split()[0]}"

    def run(self, task):
        context = write_context(task, self.command, f"FROM {self.registry.base}")
        tag = f"{self.registry.address}/bench/{self.name}:latest"
        docker = [self.engine.client, "-H", self.engine.host]
        environment = os.environ | {"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
        try:
            options = ["--no-cache", "--network", "host", "--tag", tag]
            built = timed(*docker, "build", *options, context, env=environment)
            pushed = timed(*docker, "push", "--quiet", tag)
        finally:
            subprocess.run([*docker, "rmi", "--force", tag], capture_output=True, check=False)
            subprocess.run([*docker, "builder", "prune", "--all", "--force"], capture_output=True, check=False)
            self.registry.reset()
        return {"": built, " + docker push": built + pushed}


class Buildah:
    """`buildah build` in a storage of its own, and the push that makes an OCI layout."""

    title = "buildah build, uv pip install"

    def __init__(self, directory, base):
        self.directory, self.base = directory / "buildah", base

    def run(self, task):
        context = write_context(task, UV_INSTALL, f"FROM oci:{self.base}:latest")
        output = self.directory / "image"
        self.directory.mkdir()
        # Container tools refuse a run root of more than 50 characters.
        state = tempfile.mkdtemp(prefix="buildah-")
        storage = ["--root", self.directory / "root", "--runroot", state, "--storage-driver", "overlay"]
        buildah = [packaged("buildah"), *storage]
        environment = os.environ | {"TMPDIR": str(self.directory)}
        try:
            isolation = ["--isolation", "chroot", "--network", "host"]
            built = timed(*buildah, "build", *isolation, "--tag", "bench", context, env=environment)
            pushed = timed(*buildah, "push", "--quiet", "localhost/bench", f"oci:{output}:latest", env=environment)
        finally:
            subprocess.run([*map(str, buildah), "rm", "--all"], capture_output=True, check=False)
            for directory in (self.directory, Path(state)):
                unmount_below(directory)
                shutil.rmtree(directory, ignore_errors=True)
        return {"": built, " + buildah push to an OCI layout": built + pushed}


class Tar:
    """`tar` and a compressor over the tree that uv installs; installing it is not measured."""

    def __init__(self, title, compressor, directory):
        self.title = f"tar and {title} of the installed tree"
        self.compressor, self.directory = compressor, directory / "tar"

    def run(self, task):
        tree, output = self.directory / "tree", self.directory / "packed"
        self.directory.mkdir()
        try:
            requirements = self.directory / "requirements.txt"
            requirements.write_text(task.requirements())
            install = [
                UV,
                "pip",
                "install",
                "-q",
                "--no-deps",
                "--no-cache",
                "--only-binary",
                ":all:",
                "--target",
                tree,
            ]
            target = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36"]
            run(*install, *target, "--index-url", task.index, "--requirements", requirements)
            os.sync()
            seconds = timed("sh", "-c", f"tar -C '{tree}' -c . | {self.compressor} > '{output}'")
        finally:
            shutil.rmtree(self.directory)
        return {"": seconds}


def write_context(task, command, first_line):
    """A build context: two files, since the wheels come from the index on loopback."""
    context = task.directory / "context"
    context.mkdir(exist_ok=True)
    (context / "requirements.txt").write_text(task.requirements())
    install = f"{command} --no-deps --index-url {task.index} --requirement /requirements.txt"
    (context / "Dockerfile").write_text(f"{first_line}\nCOPY requirements.txt /requirements.txt\nRUN {install}\n")
    return context


class Registry:
    """Debian's docker-registry on loopback. The base is in it, as that of most pushes is."""

    def __init__(self, directory, engine):
        self.directory, self.engine = directory / "registry", engine

    def __enter__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.base = f"{self.address}/bench/base:latest"
        self.directory.mkdir(parents=True)
        configuration = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.directory / "data")}},
            "http": {"addr": self.address},
        }
        (self.directory / "config.yml").write_text(json.dumps(configuration))
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self):
        with (self.directory / "log").open("w") as log:
            self.process = subprocess.Popen(
                [packaged("docker-registry"), "serve", self.directory / "config.yml"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        host, port = self.address.split(":")
        try:
            wait_for(lambda: socket.create_connection((host, int(port)), 1).close(), self.process)
        except OSError as error:
            log = (self.directory / "log").read_text()
            raise Failure(f"docker-registry does not answer:\n{log[-2000:]}") from error

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def push_base(self, archive):
        self.engine.load(archive)
        self.engine.docker("tag", self.engine.image, self.base)
        self.engine.docker("push", "--quiet", self.base)
        shutil.copytree(self.directory / "data", self.directory / "base")

    def reset(self):
        """Forgets everything but the base."""
        self.stop()
        shutil.rmtree(self.directory / "data")
        shutil.copytree(self.directory / "base", self.directory / "data")
        self.start()
