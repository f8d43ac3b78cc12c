"""A base whose maintainer scripts imgforge follows, against one in which dpkg ran them.

The same .deb files are unpacked and configured by the real dpkg in a chroot, as debootstrap does it. Files, owners, modes,
capabilities, accounts, alternatives, overrides and diversions must be equal; every difference is explained in the table
EXPLAINED, or the program fails. Each step is a suite with packages whose scripts have an effect. Needs root and 4 GB of
disk.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness import program
from harness.chroot import Root
from harness.imgforge import binary
from harness.oci import Layout
from harness.processes import run
from harness.report import Stopwatch, figure, require
from harness.store import blob_path
from harness.work import Work

SMALL = [
    "openssh-client",
    "openssh-server",
    "dbus",
    "iputils-ping",
    "cron",
    "sudo",
    "vim-tiny",
    "tini",
    "python3",
    "apt",
]
LARGE = [name for name in SMALL if name != "vim-tiny"] + [
    "openjdk-17-jre-headless",
    "ca-certificates-java",
    "nginx",
    "exim4-daemon-light",
    "postgresql-client",
    "man-db",
    "vim",
    "libpam-systemd",
    "fonts-dejavu-core",
    "fontconfig",
    "git",
    "ffmpeg",
    "rsync",
    "redis-server",
    "tcpdump",
    "screen",
    "tmux",
    "tzdata",
    "python3-pip",
]
TRIXIE = [name.replace("openjdk-17", "openjdk-21") for name in LARGE]

STEPS = {
    "small": ("bookworm", SMALL),
    "bookworm": ("bookworm", LARGE),
    "trixie": ("trixie", TRIXIE),
}
QUICK = ("small",)

LONGEST_SHOWN = 2000  # bytes of a file that are told where it differs

# Paths that differ for a reason. `only` is where the path may be alone: in the image, or after dpkg.
EXPLAINED = [
    ("logs of dpkg, apt and their front ends", "dpkg", "var/log/dpkg.log var/log/alternatives.log var/log/bootstrap.log"),
    ("debconf's answers and locks, which only a run has", "dpkg", "var/cache/debconf/*"),
    ("backups and locks of the databases", "dpkg",
     "etc/*- var/lib/dpkg/*-old var/lib/dpkg/lock* var/lib/dpkg/triggers/Lock"),
    ("debconf's scripts and templates that dpkg keeps", "dpkg", "var/lib/dpkg/info/*.config"),
    ("bytecode, which imgforge compiles where it is asked to", "dpkg", "*/__pycache__ */__pycache__/* *.pyc"),
    ("the loader's cache is in imgforge's top layer", "dpkg", "etc/ld.so.cache var/cache/ldconfig var/cache/ldconfig/*"),
    ("locks, and copies of a database before its last change", "dpkg",
     "etc/.pwd.lock run/adduser var/lib/ucf/*.[0-9]"),
    ("apt gives them to the user it downloads as when it first does", "both",
     "var/cache/apt/archives/partial var/lib/apt/lists/partial"),
    ("keys are made for each machine", "dpkg", "etc/ssh/ssh_host_*"),
    ("ids are given to each machine", "both", "etc/machine-id var/lib/dbus var/lib/dbus/machine-id"),
    ("caches of programs, which are made anew where they are missing", "dpkg",
     "var/cache/man var/cache/man/* var/cache/fontconfig var/cache/fontconfig/* var/log/fontconfig.log"
     " usr/share/mime/* usr/lib/*/gdk-pixbuf-2.0/*/loaders.cache usr/lib/*/gio/modules/giomodule.cache"
     " usr/share/glib-2.0/schemas/gschemas.compiled var/lib/systemd/catalog var/lib/systemd/catalog/* usr/share/info/dir"),
    ("where imgforge's apt finds the suite", "image", "etc/apt/sources.list.d/*.sources"),
    ("times are in them", "both", "etc/shadow etc/gshadow"),
    ("held apart, name by name", "both", "etc/passwd etc/group var/lib/dpkg/status var/lib/dpkg/available"),
    ("dpkg's own bookkeeping of triggers and versions", "both",
     "var/lib/dpkg/triggers/* var/lib/dpkg/info/*.triggers var/lib/dpkg/info/*.md5sums var/lib/dpkg/info/format"),
]  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A file as both sides must have it; owners are names."""

    kind: str
    mode: str
    owner: str
    content: str
    capabilities: str

    def __str__(self):
        text = f"{self.kind} {self.mode} {self.owner} {self.content}"
        return f"{text} {self.capabilities}" if self.capabilities else text


def entries(root):
    """Every path below root, without what the kernel makes."""
    users, groups = names(root / "etc/passwd"), names(root / "etc/group")
    found = {}
    for directory, subdirectories, files in os.walk(root):
        for name in [*subdirectories, *files]:
            path = Path(directory, name)
            relative = str(path.relative_to(root))
            if relative.split("/", maxsplit=1)[0] not in ("proc", "sys", "dev", "tmp", "debs", "mnt"):
                found[relative] = entry(path, users, groups)
    return found


def entry(path, users, groups):
    status = os.lstat(path)
    owner = f"{users.get(status.st_uid, status.st_uid)}:{groups.get(status.st_gid, status.st_gid)}"
    mode = f"{stat.S_IMODE(status.st_mode):o}"
    if stat.S_ISLNK(status.st_mode):
        return Entry("link", "", owner, str(path.readlink()), "")
    if stat.S_ISDIR(status.st_mode):
        return Entry("directory", mode, owner, "", "")
    capabilities = ""
    with suppress(OSError):
        capabilities = os.getxattr(path, "security.capability").hex()
    content = path.read_bytes()
    # dpkg writes them in the order of its hash table.
    if path.match("var/lib/dpkg/statoverride"):
        content = b"".join(sorted(content.splitlines(keepends=True)))
    if path.match("var/lib/dpkg/diversions"):
        lines = content.splitlines(keepends=True)
        content = b"".join(sorted(b"".join(lines[start : start + 3]) for start in range(0, len(lines), 3)))
    shown = repr(content) if len(content) < LONGEST_SHOWN else hashlib.sha256(content).hexdigest()
    return Entry("file", mode, owner, shown, capabilities)


def names(path):
    lines = (line.split(":") for line in path.read_text().splitlines())
    return {int(line[2]): line[0] for line in lines}


# --- the image ---


def build(work, name, suite, packages):
    """The lines that imgforge warns with, the unpacked base, and the packages in their order."""
    base = {"suites": [suite], "packages": packages}
    recipe = work.recipe(name, {"base": base, "packages": ["six"]})
    run(binary(), "lock", recipe)
    layout = work.directory / f"{name}-layout"
    command = [binary(), "build", recipe, "-o", f"oci:{layout}", "--no-check"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"imgforge exited with {done.returncode}: {done.stderr[-4000:]}")
    root = work.directory / f"{name}-image"
    root.mkdir()
    image = Layout(layout)
    lines = [line for line in image.config["history"] if not line.get("empty_layer")]
    for layer, line in zip(image.manifest["layers"], lines, strict=True):
        if "debian" in str(line):
            run("tar", "--extract", "--preserve-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*",
                "--directory", root, "--file", image.blob(layer))  # fmt: skip
    lock = tomllib.loads(recipe.with_suffix(".lock").read_text())
    return done.stderr, root, lock["base"]["debian"]["package"]


# --- the truth ---


def bootstrapped(work, name, packages):
    """A root in which dpkg has configured the packages, as debootstrap makes it."""
    root = work.directory / f"{name}-dpkg"
    debs = root / "debs"
    debs.mkdir(parents=True)
    for directory in ("bin", "sbin", "lib", "lib64"):
        (root / f"usr/{directory}").mkdir(parents=True)
        (root / directory).symlink_to(f"usr/{directory}")
    for directory in ("proc", "dev", "sys", "mnt", "etc", "var/lib/dpkg/info"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    files = {}
    for package in packages:
        file = debs / f"{package['name']}.deb"
        shutil.copyfile(blob_path(work.store, package["digest"]), file)
        files[package["name"]] = f"/debs/{file.name}"
    needed = [package["name"] for package in packages if is_system(package)]
    for package in needed:
        unpacked = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", debs / f"{package}.deb"], stdout=subprocess.PIPE)
        run("tar", "--extract", "--keep-directory-symlink", "--directory", root, stdin=unpacked.stdout)
        unpacked.wait()
    for file in ("status", "available"):
        (root / "var/lib/dpkg" / file).touch()
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    dpkg = Dpkg(Root(root))
    for package in ("base-passwd", "base-files", "dpkg", "libc6", "perl-base", "mawk", "debconf"):
        if package in files:
            dpkg.run("--force-depends", "--force-overwrite", "--install", files[package])
    dpkg.run("--force-depends", "--force-overwrite", "--unpack", *(files[package] for package in needed))
    dpkg.run("--configure", "--pending", "--force-configure-any", "--force-depends")
    rest = [file for package, file in files.items() if package not in needed]
    for _ in range(4):  # what pre-depends on others is unpacked after they are configured
        dpkg.run("--force-overwrite", "--force-confnew", "--unpack", *rest, may_fail=True)
        dpkg.run("--configure", "--pending", may_fail=True)
        rest = [files[package] for package in files if not dpkg.is_installed(package)]
        if not rest:
            break
    require(not rest, f"dpkg does not configure {', '.join(rest)}:\n{dpkg.said[-6000:]}")
    policy.unlink()
    shutil.rmtree(debs)
    return root


def is_system(package):
    return package.get("system", False)


class Dpkg:
    def __init__(self, root):
        self.root, self.said = root, ""
        self.environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "DEBIAN_FRONTEND": "noninteractive",
            "DEBCONF_NONINTERACTIVE_SEEN": "true",
            "LC_ALL": "C",
        }

    def run(self, *words, may_fail=False):
        done = self.root.run("dpkg", *words, environment=self.environment, timeout=1800)
        self.said += done.output + done.error
        require(may_fail or done.code == 0, f"dpkg {words[0]} exited with {done.code}:\n{self.said[-6000:]}")

    def is_installed(self, package):
        status = self.root.run(
            "dpkg-query", "--show", "--showformat", "${Status}", package, environment=self.environment
        )
        return status.output == "install ok installed"


# --- the comparison ---


def differences(image, truth, table=EXPLAINED, maker="dpkg"):
    """The lines of what differs without a reason in the table, and the number of differences that have one."""
    ours, theirs = entries(image), entries(truth)
    told, explained = [], 0
    for path in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(path), theirs.get(path)
        if one == other:
            continue
        side = "both" if one and other else "image" if one else "dpkg"
        if has_reason(path, side, table):
            explained += 1
        elif side == "both":
            told.append(f"{path}: image has {one}, {maker} makes {other}")
        else:
            told.append(f"{path}: only in the {side}: {one or other}")
    return [*told, *account_differences(image, truth)], explained


def has_reason(path, side, table):
    return any(
        where in (side, "both") and any(fnmatchcase(path, pattern) for pattern in patterns.split())
        for _, where, patterns in table
    )


def account_differences(image, truth):
    """Accounts are compared by their names: the ids that packages get depend on the order of their configuration."""
    for file, fixed in (("passwd", (2, 3)), ("group", (2,)), ("shadow", (2,)), ("gshadow", ())):
        ours, theirs = accounts(image, file, fixed), accounts(truth, file, fixed)
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                yield f"/etc/{file}: image has {ours.get(name)}, dpkg makes {theirs.get(name)}"


def accounts(root, file, numbers):
    lines = [line.split(":") for line in (root / "etc" / file).read_text().splitlines()]
    kept = {}
    for line in lines:
        kept[line[0]] = ":".join(
            "N" if at in numbers and field.isdigit() and (file == "shadow" or 100 <= int(field) < 1000) else field
            for at, field in enumerate(line)
        )
    return kept


def step(name):
    suite, packages = STEPS[name]

    def judge(work):
        watch = Stopwatch()
        warnings, image, locked = build(work, name, suite, packages)
        figure("packages", len(locked))
        figure("built", f"in {watch.seconds():.0f} s")
        for line in warnings.splitlines():
            if "is not configured as dpkg would do" in line:
                figure("told", line)
        truth = bootstrapped(work, name, locked)
        figure("configured by dpkg", f"in {watch.seconds():.0f} s")
        told, explained = differences(image, truth)
        for line in told:
            print(f"      {line}")
        figure("differences", f"{explained} explained, {len(told)} not")
        shutil.rmtree(image)
        shutil.rmtree(truth)
        require(not told, f"{len(told)} differences from what dpkg makes have no reason")

    return judge


def main():
    names_of_steps = program.step_names("acceptance/maintainer_scripts", __doc__, STEPS, QUICK)
    require(os.geteuid() == 0, "only root may unpack files of other owners and enter a chroot")
    with Work("maintainer_scripts") as work:
        program.perform({name: step(name) for name in STEPS}, names_of_steps, work)


if __name__ == "__main__":
    program.start(main)
