"""Packages that imgforge adds to an image, against the same image in which apt installed them.

A base of packages is built as an image of its own; one recipe adds packages to it, and `apt-get install
--no-install-recommends` does so in a chroot of it. Files, owners, modes, accounts, alternatives, diversions and dpkg's
database must be equal, and what `dpkg --audit`, `apt-get check`, `apt-get -s install` and `ldconfig -p` say; every
difference is explained in the table EXPLAINED, or the program fails. Needs root and 6 GB of disk.
"""

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass

from acceptance import maintainer_scripts
from harness import program
from harness.chroot import Root
from harness.imgforge import binary
from harness.oci import GZIP_LAYER, Layout
from harness.processes import run
from harness.report import Stopwatch, figure, require
from harness.work import Work

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C",
}

# Differences beside those that a new base has. `only` is where the path may be alone: in the image, or after apt.
EXPLAINED = [
    ("backups of the subordinate ids", "dpkg", "etc/subuid- etc/subgid-"),
    ("a name for the interpreter, which the recipe leaves on", "image", "usr/local/bin/python"),
    *(row for row in maintainer_scripts.EXPLAINED if "version" not in row[0] and "held apart" not in row[0]),
    ("apt's lists and caches", "dpkg",
     "var/lib/apt/lists/* var/cache/apt/*.bin var/log/apt var/log/apt/* var/lib/apt/periodic"),
    ("held apart, name by name", "both", "etc/passwd etc/group var/lib/dpkg/status var/lib/dpkg/available"),
    ("held apart, certificate by certificate: times are in it", "both", "etc/ssl/certs/java/cacerts"),
    ("held apart, line by line", "both", "var/lib/dpkg/triggers/* var/lib/apt/extended_states"),
    ("locks of dpkg and apt", "dpkg", "var/lib/dpkg/triggers/Lock var/lib/apt/daily_lock var/cache/apt/archives/lock"),
    ("where apt's chroot resolves names", "both", "etc/resolv.conf"),
    ("the recipe's own layer", "image", "usr/local/lib/python3*/* usr/lib/python3*/dist-packages/* etc/ld.so.cache"),
    ("the loader's cache holds the same libraries, in imgforge's own order", "both", "etc/ld.so.cache"),
    ("services of runit, which the policy of the chroot against starts leaves out", "image",
     "etc/runit/runsvdir/default/* run/runit run/runit/supervise"),
    ("old answers of debconf", "dpkg", "var/cache/debconf/*-old"),
    ("answers of debconf, which only a run has", "both", "var/cache/debconf/*"),
]  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A base, and the packages to add."""

    suite: str
    packages: tuple
    base: tuple = ("apt", "python3", "ca-certificates")
    oddities: tuple = ()
    users: tuple = ()


JAVA = {"bookworm": "openjdk-17-jre-headless", "trixie": "openjdk-21-jre-headless"}

# What people do to images, before packages are added to them.
SLIM = "path-exclude /usr/share/doc/*\npath-include /usr/share/doc/*/copyright\npath-exclude /usr/share/man/*\n"
ODD = ("absolute-links", "slim", "diverted", "overridden", "kept-conffile")

# Users of a recipe, and the commands that make the same ones.
USERS = (
    ({"name": "app", "uid": 1000, "groups": ["video"], "shell": "/bin/bash"},
     "useradd --uid 1000 --groups video --shell /bin/bash --create-home app"),
    ({"name": "svc", "uid": 900, "system": True}, "useradd --system --uid 900 --create-home svc"),
)  # fmt: skip

STEPS = {
    "git": Step("bookworm", ("git",)),
    "libgl1": Step("bookworm", ("libgl1",)),
    "odd": Step("bookworm", ("git", "openssh-server", "libgl1"), oddities=ODD),
    "users": Step("bookworm", ("libgl1",), users=USERS),
    "ssh": Step("bookworm", ("openssh-server",)),
    "nginx": Step("bookworm", ("nginx",)),
    "java": Step("bookworm", (JAVA["bookworm"],)),
    "ffmpeg": Step("bookworm", ("ffmpeg",)),
    "trixie": Step("trixie", ("git", "libgl1", "openssh-server", "nginx", JAVA["trixie"], "ffmpeg")),
}
QUICK = ("git",)


# --- the image ---


def base(work, name, step):
    """The layout of an image that imgforge made of packages, with the step's oddities in a layer above."""
    layout = work.directory / f"{name}-base"
    recipe = work.recipe(
        f"{name}-base", {"base": {"suites": suites(step.suite), "packages": list(step.base)}, "packages": ["six"]}
    )
    run(binary(), "build", recipe, "-o", f"oci:{layout}", "--no-check")
    return layout


def suites(name):
    return [name, f"{name}-updates", f"{name}-security"]


def unpacked(layout, bundle):
    run("umoci", "unpack", "--image", f"{layout}:latest", bundle)
    return bundle / "rootfs"


def make_odd(root, oddities):
    """Does to a root what the step's base shall have been through."""
    if "absolute-links" in oddities:
        for link in ("bin", "sbin", "lib", "lib64"):
            (root / link).unlink()
            (root / link).symlink_to(f"/usr/{link}")
    if "slim" in oddities:
        (root / "etc/dpkg/dpkg.cfg.d/docker").write_text(SLIM)
    if "diverted" in oddities:
        command("dpkg-divert", "--local", "--rename", "--add", "/usr/bin/git-shell", root=root)
    if "overridden" in oddities:
        command("dpkg-statoverride", "--add", "root", "adm", "2750", "/usr/bin/ssh-agent", root=root)
    if "kept-conffile" in oddities:
        (root / "etc/ssh").mkdir(exist_ok=True)
        (root / "etc/ssh/moduli").write_text("# of our own\n")


def command(*words, root):
    done = Root(root).run(*words, environment=ENVIRONMENT, timeout=1800)
    require(done.code == 0, f"`{' '.join(words)}` exited with {done.code}:\n{done.output[-3000:]}{done.error[-3000:]}")
    return done.output


def as_image(root, layout):
    """A layout with one layer: the files below `root`, as `docker export` and `docker import` give it."""
    layer = layout.with_suffix(".tar.gz")
    run("tar", "--create", "--gzip", "--numeric-owner", "--xattrs", "--xattrs-include=security.capability",
        "--directory", root, "--file", layer, ".")  # fmt: skip
    image = Layout(layout)
    descriptor = image.put(layer.read_bytes(), GZIP_LAYER)
    with subprocess.Popen(["gzip", "-dc", layer], stdout=subprocess.PIPE) as inflated:
        diff_id = run("sha256sum", stdin=inflated.stdout).split()[0]
    layer.unlink()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
    }
    image.publish({"schemaVersion": 2, "layers": [descriptor]}, config)


# --- the truth ---


@contextmanager
def quiet_services(root):
    """No service is started, and names are resolved as on this machine."""
    policy, names = root / "usr/sbin/policy-rc.d", root / "etc/resolv.conf"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    before = names.read_bytes() if names.exists() else None
    shutil.copyfile("/etc/resolv.conf", names)
    yield
    policy.unlink()
    names.unlink()
    if before is not None:
        names.write_bytes(before)


def install(root, packages):
    with quiet_services(root):
        apt = ["apt-get", "-q", "-y", "-o", "APT::Sandbox::User=root"]
        command(*apt, "update", root=root)
        command(
            *apt, "-o", "Dpkg::Options::=--force-confold", "install", "--no-install-recommends", *packages, root=root
        )
        command("apt-get", "clean", root=root)


# --- the comparison ---


def differences(image, truth):
    told, explained = maintainer_scripts.differences(image, truth, EXPLAINED, maker="apt")
    told += database_differences(image, truth)
    return told, explained


def database_differences(image, truth):
    """dpkg's paragraphs by package, field by field; and the lines of its lists of triggers, and of apt's list."""
    ours, theirs = paragraphs(image), paragraphs(truth)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            yield f"status of {name}: image has {ours.get(name)}, dpkg writes {theirs.get(name)}"
    lists = ["var/lib/apt/extended_states"]
    lists += [
        str(path.relative_to(truth)) for path in (truth / "var/lib/dpkg/triggers").iterdir() if path.name != "Lock"
    ]
    for path in lists:
        mine, other = lines(image / path), lines(truth / path)
        if mine != other:
            yield f"{path}: only in the image {sorted(mine - other)}, only after apt {sorted(other - mine)}"


def paragraphs(root):
    text = (root / "var/lib/dpkg/status").read_text()
    found = {}
    for paragraph in filter(None, text.split("\n\n")):
        fields = dict(line.split(":", 1) for line in paragraph.replace("\n ", "\x00").splitlines())
        found[fields["Package"], fields["Architecture"]] = fields
    return found


def lines(path):
    """The lines of a list, or the paragraphs of one that has some."""
    text = path.read_text() if path.exists() else ""
    return set(filter(None, text.split("\n\n" if "Package:" in text else "\n")))


def judge_programs(root, packages):
    """dpkg, apt and the loader find everything in order."""
    require(command("dpkg", "--audit", root=root) == "", "dpkg --audit finds something")
    command("apt-get", "check", root=root)
    said = command("apt-get", "--simulate", "install", "--no-install-recommends", *packages, root=root)
    require("0 upgraded, 0 newly installed, 0 to remove" in said, f"apt-get would do something:\n{said}")


def libraries(root):
    listed = command("ldconfig", "-p", root=root).splitlines()[1:]
    return {line.strip() for line in listed if " => " in line}


# --- the steps ---


def step(name):
    wanted = STEPS[name]

    def judge(work):
        watch = Stopwatch()
        layout = base(work, name, wanted)
        truth = unpacked(layout, work.directory / f"{name}-truth")
        make_odd(truth, wanted.oddities)
        if wanted.oddities:
            shutil.rmtree(layout)
            as_image(truth, layout)
        figure("base", f"in {watch.seconds():.0f} s")
        keys = {"base": f"oci:{layout}", "packages": ["six"], "system-packages": list(wanted.packages)}
        recipe = work.recipe(name, keys | {"users": [user for user, _ in wanted.users]})
        image = work.directory / f"{name}-image"
        done = subprocess.run(
            [binary(), "build", recipe, "-o", f"oci:{image}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        require(done.returncode == 0, f"imgforge exited with {done.returncode}: {done.stderr[-4000:]}")
        for line in done.stderr.splitlines():
            if "is not configured as dpkg would do" in line:
                figure("told", line)
        ours = unpacked(image, work.directory / f"{name}-ours")
        figure("added", f"in {watch.seconds():.0f} s")
        install(truth, wanted.packages)
        for _, words in wanted.users:
            command(*words.split(), root=truth)
        figure("installed by apt", f"in {watch.seconds():.0f} s")
        told, explained = differences(ours, truth)
        for line in told:
            print(f"      {line}")
        figure("differences", f"{explained} explained, {len(told)} not")
        judge_programs(ours, wanted.packages)
        missing = libraries(truth) ^ libraries(ours)
        for path in (layout, image, ours.parent, truth.parent):
            shutil.rmtree(path)
        require(not missing, f"ldconfig -p differs: {sorted(missing)[:20]}")
        require(not told, f"{len(told)} differences from what apt makes have no reason")

    return judge


def main():
    names = program.step_names("acceptance/system_packages", __doc__, STEPS, QUICK)
    require(os.geteuid() == 0, "only root may unpack files of other owners and enter a chroot")
    with Work("system_packages") as work:
        program.perform({name: step(name) for name in STEPS}, names, work)


if __name__ == "__main__":
    program.start(main)
