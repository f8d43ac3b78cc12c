"""Compares layers that wheels were spliced into with what Python's zipfile unpacks from the same wheels, bit by bit.

The wheels are those of oracle_wheels.txt, of as many origins as there are compressors. pip downloads them once.
"""

import json
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from acceptance import wheel_layers
from harness import program
from harness.cargo import built
from harness.paths import ACCEPTANCE, TESTS
from harness.processes import run
from harness.report import Stopwatch, figure, gigabytes, require
from harness.wheels import downloaded

LIST = TESTS / "acceptance" / "oracle_wheels.txt"
FORMS = ["gzip", "zstd", "estargz"]
# The number of wheels whose layers are kept at once.
SOME = 40


def wanted(quick):
    """The lines of the list, `NAME==VERSION [PLATFORM]`; with `quick` those before its first empty line."""
    text = LIST.read_text()
    if quick:
        text = text.split("\n\n", 1)[0]
    lines = [line.split() for line in text.splitlines()]
    return [line for line in lines if line and not line[0].startswith("#")]


def fetched(line):
    """The wheel that a line names."""
    requirement, platform = line if len(line) > 1 else (line[0], "any")
    return downloaded(requirement, [platform])


class Pipe:
    """A file that cannot be gone back in: sizes and CRC follow the data then."""

    def __init__(self, path):
        self.file = open(path, "wb")  # noqa: SIM115 (zipfile closes no file that it is given)

    def write(self, data):
        return self.file.write(data)

    def flush(self):
        self.file.flush()


def repacked(wheel, directory):
    """The wheel as no tool on the index packs it now: stored, in one pass, as zip64, at the ends of zlib's levels."""
    for name, target, method, level, zip64 in (
        ("stored", str, zipfile.ZIP_STORED, None, False),
        ("one-pass", Pipe, zipfile.ZIP_DEFLATED, 6, False),
        ("zip64", str, zipfile.ZIP_DEFLATED, 6, True),
        ("level-0", str, zipfile.ZIP_DEFLATED, 0, False),
        ("level-1", str, zipfile.ZIP_DEFLATED, 1, False),
        ("level-9", str, zipfile.ZIP_DEFLATED, 9, False),
    ):
        path = directory / name / wheel.name
        path.parent.mkdir()
        with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(target(str(path)), "w", method, compresslevel=level) as new:
            for info in old.infolist():
                with new.open(copied(info, method), "w", force_zip64=zip64) as member:
                    member.write(old.read(info))
        yield path


def copied(info, method):
    new = zipfile.ZipInfo(info.filename, info.date_time)
    new.compress_type, new.external_attr = method, info.external_attr
    return new


def judge(form, wheels):
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(dir=ACCEPTANCE) as directory:
        wheels = [*wheels, *repacked(wheels[0], Path(directory))]
        size = sum(judge_some(form, wheels[at : at + SOME]) for at in range(0, len(wheels), SOME))
    figure(form, f"{len(wheels)} wheels, {gigabytes(size)} of tar, bit by bit in {watch.seconds():.0f} s")


def judge_some(form, wheels):
    """The size of their layers' tars in bytes; the layers are removed."""
    with tempfile.TemporaryDirectory(dir=ACCEPTANCE) as directory:
        store, scratch = Path(directory) / "store", Path(directory) / "tar"
        layers = run(built("example", "transcode"), store, form, *wheels).splitlines()
        size = 0
        for wheel, layer in zip(wheels, map(json.loads, layers), strict=True):
            require("error" not in layer, f"{wheel.name}: {layer.get('error')}")
            size += wheel_layers.check(wheel, layer, form, scratch)
        return size


def main():
    command_line = program.parser("acceptance/oracle", __doc__)
    forms = f"of {', '.join(FORMS)}; by default gzip"
    command_line.add_argument(
        "forms", nargs="*", type=program.one_of(FORMS), default=FORMS[:1], metavar="FORM", help=forms
    )
    command_line.add_argument("--quick", action="store_true", help="the wheels before the list's first empty line")
    options = command_line.parse_args()
    ACCEPTANCE.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(4) as pool:
        wheels = list(pool.map(fetched, wanted(options.quick)))
    for form in options.forms:
        judge(form, wheels)
    print(f"passed for {len(wheels)} wheels")


if __name__ == "__main__":
    program.start(main)
