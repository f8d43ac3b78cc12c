"""Pulls a base from Debian's docker-registry, builds over it, pushes the image, and has skopeo, podman and Docker pull it.

The registry is started for the test, once plain and once with TLS and logins. Every judge must see the digest that imgforge
printed. A judge that is not installed is skipped with a message.
"""

import hashlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
from contextlib import contextmanager

from acceptance.broken_proxy import BrokenProxy
from harness import program
from harness.imgforge import binary, imgforge
from harness.oci import Layout
from harness.processes import packaged, run, wait_for
from harness.report import Stopwatch, figure, require
from harness.work import Work

REGISTRY = packaged("docker-registry")
SKOPEO = packaged("skopeo")
PODMAN = packaged("podman")
USER, PASSWORD = "builder", "s3cret-of-the-test"
BASE = {"base": "debian-bookworm", "packages": ["click==8.1.7"]}
PACKAGES = ["pyyaml==6.0.1"]
PRINTS = "8.1.7 6.0.1"
PROGRAM = "import click, yaml; print(click.__version__, yaml.__version__)"


class Registry:
    """A docker-registry in a directory; with `secured`, by TLS and for one user."""

    def __init__(self, directory, secured=False):
        require(shutil.which(REGISTRY), "docker-registry is not installed: run tests/setup as root")
        self.directory, self.secured = directory, secured
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        self.log = directory / "log"

    def __enter__(self):
        self.directory.mkdir()
        config = {
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(self.directory / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.host},
        }
        if self.secured:
            config["http"]["tls"] = self.make_certificate()
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(self.make_passwords())}}
        file = self.directory / "config.yml"
        file.write_text(json.dumps(config))
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [REGISTRY, "serve", file], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self.connect, self.process)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def connect(self):
        host, port = self.host.split(":")
        socket.create_connection((host, int(port)), timeout=1).close()

    def collect_garbage(self):
        """Removes the blobs that no manifest refers to, and the manifests that have no tag."""
        run(REGISTRY, "garbage-collect", "--delete-untagged", self.directory / "config.yml")

    def make_certificate(self):
        key, certificate = self.directory / "key.pem", self.directory / "ca.crt"
        run(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate,
            "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
            "-addext", "basicConstraints=critical,CA:FALSE",
        )  # fmt: skip
        return {"certificate": str(certificate), "key": str(key)}

    def make_passwords(self):
        file = self.directory / "htpasswd"
        file.write_text(run("htpasswd", "-nbB", USER, PASSWORD))
        return file

    def requests(self):
        """The methods and paths of the requests so far, those for the registry itself left out."""
        words = [
            line.split('"')[1].split()[:2]
            for line in self.log.read_text().splitlines()
            if ' "' in line and " HTTP/" in line
        ]
        return [(method, path) for method, path in words if path.startswith("/v2/") and path != "/v2/"]


@contextmanager
def home(work, registry):
    """A home directory with the registry's authority, and with the login where it wants one."""
    directory = work.directory / "home"
    shutil.rmtree(directory, ignore_errors=True)
    certificates = directory / ".config/containers/certs.d" / registry.host
    certificates.mkdir(parents=True)
    if registry.secured:
        shutil.copy(registry.directory / "ca.crt", certificates / "ca.crt")
    # Podman refuses a file that is named and not there.
    (directory / "auth.json").write_text("{}")
    before = {name: os.environ.get(name) for name in ("HOME", "REGISTRY_AUTH_FILE")}
    os.environ |= {"HOME": str(directory), "REGISTRY_AUTH_FILE": str(directory / "auth.json")}
    try:
        yield directory
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def log_in(directory, registry, password):
    """Logs in as users do: skopeo writes the file."""
    run(
        SKOPEO, "login", "--tls-verify=false", "--username", USER, "--password", password, registry.host,
        env=os.environ | {"HOME": str(directory)},
    )  # fmt: skip


def build(recipe, destination, store=None):
    """Builds with the store that all tests share, or as another machine with one of its own."""
    watch = Stopwatch()
    environment = os.environ | ({"IMGFORGE_CACHE_DIR": str(store)} if store else {})
    digest = imgforge("build", recipe, "-o", destination, env=environment).strip()
    figure("built and pushed", f"{digest[:19]} in {watch.seconds():.1f} s")
    return digest


def publish(work, registry):
    """Pushes a base, and an image over it that another machine pulls; gives the reference and the digest of that."""
    base = f"{registry.host}/team/base:v1"
    build(work.recipe("registries-base", BASE), f"docker://{base}")
    app = f"{registry.host}/other/app:v2"
    recipe = work.recipe("registries-app", {"base": f"docker://{base}", "packages": PACKAGES})
    store = elsewhere(work, registry)
    digest = build(recipe, f"docker://{app}", store)
    pulled = [path for method, path in registry.requests() if method == "GET" and "/team/base/blobs/" in path]
    require(len(pulled) == len(set(pulled)) > 1, f"the base came in {pulled}")
    return app, digest


def elsewhere(work, registry):
    """The store of another machine."""
    return work.directory / f"store-{registry.directory.name}"


def judge_by_skopeo(work, registry, reference, digest):
    if not shutil.which(SKOPEO):
        return figure("skipped", "skopeo is not installed")
    verify = f"--src-tls-verify={str(registry.secured).lower()}"
    copied = work.directory / "copied"
    shutil.rmtree(copied, ignore_errors=True)
    run(SKOPEO, "copy", "--preserve-digests", verify, f"docker://{reference}", f"oci:{copied}:x")
    require(Layout(copied).descriptor["digest"] == digest, "skopeo pulled another digest than was pushed")
    imgforge("check", f"oci:{copied}:x")
    return figure("skopeo", "pulled the same digest")


def judge_by_podman(work, registry, reference, digest):
    if not shutil.which(PODMAN):
        return figure("skipped", "podman is not installed")
    verify = f"--tls-verify={str(registry.secured).lower()}"
    # Podman refuses a run root of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman-") as state:
        root = work.directory / f"podman-{registry.directory.name}"
        storage = ["--root", root, "--runroot", state, "--storage-driver", "vfs"]
        run(PODMAN, *storage, "pull", "--quiet", verify, reference)
        seen = run(PODMAN, *storage, "image", "inspect", "--format", "{{.Digest}}", reference).strip()
        require(seen == digest, f"podman pulled {seen}")
        run(PODMAN, *storage, "rmi", "--all", "--force")
    return figure("podman", "pulled the same digest")


def judge_by_docker(work, _registry, reference, digest):
    engine = work.engine
    engine.docker("pull", "--quiet", reference)
    engine.image = reference
    seen = engine.docker("image", "inspect", "--format", "{{json .RepoDigests}}", reference)
    require(digest in seen, f"docker pulled {seen}")
    printed = engine.docker("run", "--rm", "--network", "none", reference, "python3", "-c", PROGRAM).strip()
    require(printed == PRINTS, f"the container printed {printed!r}")
    return figure("docker", f"pulled the same digest, and it runs: {printed}")


def plain(work, judges=(judge_by_skopeo, judge_by_podman, judge_by_docker)):
    """Without TLS, on loopback; pushing again only asks, another repository gets mounts."""
    with Registry(work.directory / "plain") as registry, home(work, registry):
        reference, digest = publish(work, registry)
        for judge in judges:
            judge(work, registry, reference, digest)
        before = len(registry.requests())
        recipe = work.directory / "registries-app.yaml"
        store = elsewhere(work, registry)
        require(build(recipe, f"docker://{reference}", store) == digest, "pushing again gave another digest")
        methods = {method for method, _ in registry.requests()[before:]}
        require(methods <= {"HEAD", "GET"}, f"pushing again sent {methods}")
        uploads = [path for method, path in registry.requests()[before:] if method == "GET" and "/blobs/" in path]
        require(not uploads, f"pushing again fetched {uploads}")
        before = len(registry.requests())
        build(recipe, f"docker://{registry.host}/third/app:v1", store)
        sent = [(method, path) for method, path in registry.requests()[before:] if method in ("PUT", "PATCH")]
        require(len(sent) == 1 and "/manifests/" in sent[0][1], f"another repository was sent {sent}")
        imgforge("check", f"docker://{reference}")
        figure("again", "only questions; into another repository, mounts and the manifest")


def secured(work, judges=(judge_by_skopeo, judge_by_podman)):
    """With TLS by an authority of its own, and a login; wrong and missing ones are told and not shown."""
    with Registry(work.directory / "secured", secured=True) as registry, home(work, registry) as directory:
        recipe = work.recipe("registries-base", BASE)
        refused(recipe, registry, "log in with `docker login")
        auth = {"auths": {registry.host: {"username": USER, "password": "wrong-and-secret"}}}
        (directory / "auth.json").write_text(json.dumps(auth))
        refused(recipe, registry, "log in again")
        (directory / "auth.json").unlink()
        log_in(directory, registry, PASSWORD)
        reference, digest = publish(work, registry)
        for judge in judges:
            judge(work, registry, reference, digest)
        shutil.rmtree(directory / ".config")
        done = refused(recipe, registry, "certificate")
        require(PASSWORD not in done, "the password is shown")


def refused(recipe, registry, said):
    command = [binary(), "build", recipe, "-o", f"docker://{registry.host}/team/base:v1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    require(done.returncode == 1 and said in done.stderr, f"`{said}` is not said:\n{done.stderr}")
    require("wrong-and-secret" not in done.stderr, "a password is shown")
    figure("refused", said)
    return done.stderr


def layout_of_noise(directory, size):
    """A layout of an image with one layer, which nothing compresses; gives the size of that."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(content):
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        noise = tarfile.TarInfo("srv/noise")
        noise.size = size
        archive.addfile(noise, io.BytesIO(random.Random(7).randbytes(size)))
    layer = put(tar.getvalue()) | {"mediaType": "application/vnd.oci.image.layer.v1.tar"}
    rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
    config = put(json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode())
    config["mediaType"] = "application/vnd.oci.image.config.v1+json"
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": [layer]}
    manifests = [put(json.dumps(manifest).encode()) | {"mediaType": manifest_type}]
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return layer["size"]


def cuts(work, seeds=10):
    """Large requests break at random bytes: the right image arrives, and behind a proxy that passes on whole requests only,
    nothing arrives twice."""
    layout = work.directory / "noise"
    size = layout_of_noise(layout, 200 << 20)
    with Registry(work.directory / "cuts") as registry, home(work, registry):
        host, port = registry.host.split(":")
        for buffers in (True, False):
            broken = 0
            for seed in range(seeds):
                breaks = 4 if buffers else 2
                proxy = BrokenProxy((host, int(port)), seed, breaks, buffers)
                reference = f"{proxy.host}/cuts-{int(buffers)}/{seed}:v1"
                # Another repository of the same registry has the blob: it is there after the first seed, unless removed.
                shutil.rmtree(registry.directory / "data", ignore_errors=True)
                digest = imgforge("copy", "--quiet", f"oci:{layout}", f"docker://{reference}").strip()
                seen = imgforge("copy", "--quiet", f"docker://{reference}", f"oci:{work.directory}/seen").strip()
                require(seen == digest, f"seed {seed}: {seen} arrived")
                if buffers:
                    require(proxy.passed_on == size, f"seed {seed}: {proxy.passed_on} of {size} bytes arrived")
                broken += breaks - proxy.breaks
            figure(
                "behind a proxy that buffers" if buffers else "without", f"{broken} requests broke in {seeds} pushes"
            )
            require(broken, "no request broke")


STEPS = {"plain": plain, "secured": secured, "cuts": cuts}


def main():
    command_line = program.parser("acceptance/registries", __doc__)
    command_line.add_argument("--quick", action="store_true", help="judged by skopeo alone")
    quick = command_line.parse_args().quick
    with Work("registries") as work:
        steps = STEPS
        if quick:
            judged = {name: step for name, step in STEPS.items() if step is not cuts}
            steps = {name: lambda work, step=step: step(work, (judge_by_skopeo,)) for name, step in judged.items()}
            steps["cuts"] = lambda work: cuts(work, seeds=2)
        program.perform(steps, list(steps), work)


if __name__ == "__main__":
    program.start(main)
