"""Builds a recipe for two platforms, pushes the index, and has the tools of others find the image of each in it.

skopeo, podman and containerd pull the image of each architecture by its name; the distributions in each are, file by file,
those that `uv pip install --target` installs for that platform. Nothing is run: any machine can do this.
"""

import json
import shutil
import subprocess
import tempfile

from acceptance.engines import Containerd
from acceptance.own_wheels import by_uv, compare, installed
from acceptance.registries import PODMAN, SKOPEO, Registry, home
from harness import program
from harness.imgforge import binary, build, imgforge
from harness.oci import Layout
from harness.processes import run
from harness.report import figure, require
from harness.work import Work

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
PLATFORMS = [f"linux/{architecture}" for architecture in MACHINES]
QUICK = ["markupsafe==3.0.2", "pyyaml==6.0.2"]
PACKAGES = ["numpy==2.2.6", "scipy==1.15.3", "pandas==2.2.3"]
# The first wheels of torch for arm64 with CUDA are later ones: these are for processors alone, as the plan says.
FRAMEWORKS = {"torch": "2.6.0"}


class Published:
    """The index of the recipe in a registry, its digest, and the digest of each image by architecture."""

    def __init__(self, work, registry, packages):
        self.work, self.registry, self.packages = work, registry, packages
        self.reference = f"{registry.host}/team/both:v1"
        keys = {"base": "debian-bookworm", "platforms": PLATFORMS, "packages": packages}
        self.recipe = work.recipe("platforms", keys)
        self.layout = work.directory / "both"
        places = [f"docker://{self.reference}", "-o", f"oci:{self.layout}"]
        built = build(self.recipe, *places)
        self.digest = built.digest
        figure("built and pushed", f"{built.digest[:19]} in {built.seconds:.1f} s")
        layout = Layout(self.layout)
        index = layout.read(layout.descriptor)
        require(layout.descriptor["digest"] == self.digest, "the layout names another digest than was printed")
        images = index["manifests"]
        self.images = {image["platform"]["architecture"]: image["digest"] for image in images}
        require(list(self.images) == list(MACHINES), f"the index has {list(self.images)}")


def by_skopeo(published):
    """skopeo sees the index, and copies the image of each architecture out of it."""
    reference, plain = f"docker://{published.reference}", "--tls-verify=false"
    raw = json.loads(run(SKOPEO, "inspect", plain, "--raw", reference))
    digests = [image["digest"] for image in raw["manifests"]]
    require(digests == list(published.images.values()), f"skopeo sees {digests}")
    for architecture, digest in published.images.items():
        copied = published.work.directory / f"copied-{architecture}"
        run(SKOPEO, "--override-arch", architecture, "copy", "--src-tls-verify=false", reference, f"oci:{copied}:x")
        layout = Layout(copied)
        require(layout.descriptor["digest"] == digest, f"skopeo copied {layout.descriptor['digest']}")
        require(layout.config["architecture"] == architecture, f"the config is for {layout.config['architecture']}")
    figure("skopeo", "copied the image of each platform")


def by_podman(published):
    if not shutil.which(PODMAN):
        return figure("skipped", "podman is not installed")
    # Podman refuses a run root of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman-") as state:
        root = published.work.directory / "podman"
        storage = ["--root", root, "--runroot", state, "--storage-driver", "vfs"]
        for architecture in MACHINES:
            run(PODMAN, *storage, "pull", "--quiet", "--tls-verify=false", "--arch", architecture, published.reference)
            inspected = run(PODMAN, *storage, "image", "inspect", published.reference)
            seen = json.loads(inspected)[0]
            require(seen["Architecture"] == architecture, f"podman pulled {seen['Architecture']}")
            config = Layout(published.work.directory / f"copied-{architecture}").manifest["config"]["digest"]
            require(f"sha256:{seen['Id']}" == config, f"podman pulled {seen['Id']}")
            run(PODMAN, *storage, "rmi", "--all", "--force")
    return figure("podman", "pulled the image of each platform")


def by_containerd(published):
    containerd = Containerd(published.work)
    for platform in PLATFORMS:
        containerd.ctr("images", "pull", "--plain-http", "--platform", platform, published.reference)
        [row] = [line.split() for line in containerd.ctr("images", "ls").splitlines()[1:]]
        require(row[2] == published.digest, f"containerd names {row[2]}")
        require(platform in " ".join(row), f"containerd has {row}")
        containerd.forget()
    figure("containerd", "pulled the image of each platform")


def by_uv_for_each(published):
    """The distributions of each image have the files that uv installs for its platform."""
    for architecture, machine in MACHINES.items():
        target = published.work.directory / f"uv-{architecture}"
        expected = by_uv(published.packages, target, published.work.directory, machine)
        found = installed(Layout(published.work.directory / f"copied-{architecture}"))
        compare(architecture, expected, found)
        shutil.rmtree(target)


def by_imgforge(published):
    """imgforge reads what it wrote, and builds of it what one platform alone gives."""
    for platform, digest in zip(PLATFORMS, published.images.values(), strict=True):
        place = f"docker://{published.reference}"
        imgforge("check", place, "--platform", platform)
        inspected = json.loads(imgforge("inspect", place, "--platform", platform, "--json"))
        require(f"linux/{inspected['architecture']}" == platform, f"inspected {inspected['architecture']}")
        alone = published.work.directory / "alone"
        one = imgforge("build", published.recipe, "--platform", platform, "-o", f"oci:{alone}").strip()
        require(one == digest, f"{platform} alone is {one}")
        copied = imgforge("copy", place, f"oci:{published.work.directory}/one", "--platform", platform).strip()
        require(copied == digest, f"{copied} was copied")
    figure("imgforge", "checks, inspects, copies and builds each platform")


def locked(published):
    """The lock holds both platforms, and gives the same index without asking an index of packages."""
    imgforge("lock", published.recipe)
    again = published.work.directory / "again"
    digest = imgforge("build", published.recipe, "--locked", "--offline", "-o", f"oci:{again}").strip()
    require(digest == published.digest, f"the lock gives {digest}")
    shutil.rmtree(again)
    figure("lock", "the same digest, offline")


ENGINES = (by_podman, by_containerd)


def images(work, packages, engines=ENGINES):
    with Registry(work.directory / "registry") as registry, home(work, registry):
        published = Published(work, registry, packages)
        for judge in (by_skopeo, *engines, by_uv_for_each, by_imgforge, locked):
            judge(published)


def frameworks(work):
    """A framework that is CUDA on one platform and has wheels for processors alone on another is told."""
    keys = {"base": "debian-bookworm", "platforms": PLATFORMS, "frameworks": FRAMEWORKS}
    recipe = work.recipe("platforms-torch", keys)
    done = subprocess.run([binary(), "plan", recipe], capture_output=True, text=True, check=True)
    said = "torch 2.6.0 uses CUDA on linux/amd64, and its wheel for linux/arm64 asks for none"
    require(said in done.stderr, f"`{said}` is not said:\n{done.stderr}")
    figure("torch", "told to be without CUDA on arm64")


STEPS = {"images": lambda work: images(work, PACKAGES), "frameworks": frameworks}


def main():
    command_line = program.parser("acceptance/platforms", __doc__)
    command_line.add_argument("--quick", action="store_true", help="two small projects, without podman and containerd")
    quick = command_line.parse_args().quick
    with Work("platforms") as work:
        steps = {"images": lambda work: images(work, QUICK, ())} if quick else STEPS
        program.perform(steps, list(steps), work)


if __name__ == "__main__":
    program.start(main)
