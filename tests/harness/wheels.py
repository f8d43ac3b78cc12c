"""Wheels that pip downloads once, and wheels that the tests write."""

import base64
import re
import sys
import zipfile

from harness import raw_zip
from harness.paths import WHEELS
from harness.processes import run
from harness.report import require

# CPython 3.11 of Debian 12, which has glibc 2.36.
PYTHON_VERSION = "3.11"
MANYLINUX = ("1", "2010", "2014", "_2_17", "_2_24", "_2_27", "_2_28", "_2_31", "_2_34")
LINUX = (*(f"manylinux{policy}_x86_64" for policy in MANYLINUX), "any")


def downloaded(requirement, platforms=LINUX):
    """The wheel of `NAME==VERSION` for one of the platforms."""
    WHEELS.mkdir(parents=True, exist_ok=True)
    if not matching(requirement, platforms):
        words = [word for platform in platforms for word in ("--platform", platform)]
        run(
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir",
            "--no-deps", "--only-binary=:all:", "--python-version", PYTHON_VERSION, *words, "--dest", WHEELS,
            requirement,
        )  # fmt: skip
    wheels = matching(requirement, platforms)
    require(wheels, f"pip downloaded no wheel of {requirement} for {' or '.join(platforms)}")
    return wheels[0]


def matching(requirement, platforms):
    """The wheels in WHEELS that a requirement means."""
    name, version = requirement.split("==")

    def is_meant(wheel):
        found, found_version, *_, tags = wheel.stem.split("-")
        is_named = (normalized(found), found_version) == (normalized(name), version)
        return is_named and not set(platforms).isdisjoint(tags.split("."))

    return [wheel for wheel in sorted(WHEELS.glob("*.whl")) if is_meant(wheel)]


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        return archive.read(name)


def write(directory, name, members, tag="py3-none-any", version="1.0"):
    """Writes a wheel with these members of `raw_zip`, by their names, and its metadata."""
    stem = name.replace("-", "_")
    information = f"{stem}-{version}.dist-info"
    pure = str(tag.endswith("-any")).lower()
    texts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {pure}\nTag: {tag}\n",
    }
    members = members | {f"{information}/{file}": raw_zip.Stored(text) for file, text in texts.items()}
    rows = [f"{path},sha256={urlsafe(member.digest)},{member.sizes[2]}\n" for path, member in members.items()]
    record = raw_zip.Stored("".join([*rows, f"{information}/RECORD,,\n"]))
    path = directory / f"{stem}-{version}-{tag}.whl"
    raw_zip.write(path, members | {f"{information}/RECORD": record})
    return path


def urlsafe(digest):
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
