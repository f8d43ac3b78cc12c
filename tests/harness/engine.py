"""A real Docker engine of our own: its own socket, data root and process, ended by its pid."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from harness.paths import IN_CONTAINER, UV
from harness.processes import last_json, packaged, run, unmount_below, wait_for
from harness.report import Failure, Stopwatch, figure, require

DAEMON = packaged("dockerd")
CLIENT = packaged("docker")

CA_FILE = Path("/etc/ssl/certs/ca-certificates.crt")
NO_NETWORK = ("--network", "none")
PASSED_ON = ("PIP_", "UV_", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class Engine:
    """The engine of this machine, or one that is unpacked in `root`."""

    def __init__(self, directory, root=None):
        require(os.geteuid() == 0, "a Docker engine can be started by root only")
        self.daemon_program, self.client, self.path = DAEMON, CLIENT, os.environ["PATH"]
        if root:
            self.daemon_program, self.client = root / "usr/sbin/dockerd", root / "usr/bin/docker"
            self.path = f"{root}/usr/bin:{root}/usr/sbin:{self.path}"
        present = shutil.which(self.daemon_program) and shutil.which(self.client)
        require(present, "docker.io is not installed: run tests/setup as root")
        self.directory = directory
        self.host = f"unix://{directory}/docker.sock"
        self.image = None

    def __enter__(self):
        self.directory.mkdir(parents=True)
        with (self.directory / "log").open("w") as log:
            self.daemon = subprocess.Popen(
                [
                    self.daemon_program, "--iptables=false", "--bridge=none", "--host", self.host,
                    "--data-root", str(self.directory / "data"), "--exec-root", str(self.directory / "exec"),
                    "--pidfile", str(self.directory / "pid"),
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=os.environ | {"PATH": self.path},
            )  # fmt: skip
        try:
            self.wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.daemon.send_signal(signal.SIGTERM)
        try:
            self.daemon.wait(60)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        unmount_below(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)

    def wait_until_it_answers(self):
        try:
            wait_for(lambda: self.docker("info", timeout=10), self.daemon)
        except (Failure, subprocess.TimeoutExpired) as failure:
            log = (self.directory / "log").read_text()
            raise Failure(f"dockerd did not come up:\n{log[-3000:]}") from failure

    def docker(self, *arguments, **options):
        return run(self.client, "-H", self.host, *arguments, **options)

    def load(self, archive):
        watch = Stopwatch()
        said = self.docker("load", "--quiet", "--input", archive)
        self.image = said.rsplit(": ", 1)[-1].strip()
        version = self.docker("version", "--format", "{{.Server.Version}}").strip()
        figure("loaded", f"{self.image} into Docker {version} in {watch.seconds():.0f} s")

    def python(self, script, *arguments, options=NO_NETWORK):
        """Runs a script of in_container/ by the image's own python3."""
        return self.docker(
            "run", "--rm", *options, "--volume", f"{IN_CONTAINER}:/mnt/scripts:ro", "--entrypoint", "python3",
            self.image, "-B", f"/mnt/scripts/{script}", *arguments,
        )  # fmt: skip

    def report(self, script, *arguments, options=NO_NETWORK):
        """The JSON that a script of in_container/ prints."""
        return last_json(self.python(script, *arguments, options=options))

    def command(self, *words, options=NO_NETWORK):
        """Runs a command in the image; what it says on both outputs."""
        shell = 'exec "$@" 2>&1'
        return self.docker("run", "--rm", *options, "--entrypoint", "sh", self.image, "-c", shell, "sh", *words)


def machine_network():
    """Options that give a container the network of the machine: its proxies, certificates and package index."""
    options = ["--network", "host"]
    for name, value in sorted(os.environ.items()):
        if name.startswith(PASSED_ON):
            options += ["--env", f"{name}={value}"]
    if CA_FILE.exists():
        options += ["--volume", f"{CA_FILE}:{CA_FILE}:ro"]
        options += [word for name in ("SSL_CERT_FILE", "PIP_CERT") for word in ("--env", f"{name}={CA_FILE}")]
    for configuration in (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"):
        if configuration.exists():
            options += ["--volume", f"{configuration}:/etc/pip.conf:ro"]
    index = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    if index:
        options += ["--env", f"UV_DEFAULT_INDEX={index}"]
    return options


def mounted_uv():
    """Options that put the uv of tests/setup at /mnt/uv."""
    require(UV.exists(), f"{UV} is missing: run tests/setup")
    return ["--volume", f"{UV.resolve()}:/mnt/uv:ro"]
