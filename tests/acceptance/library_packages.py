"""The table of the Debian packages that have a library, by its SONAME, against the indexes of the archives' contents.

Without --write, the table in the repository must be what the archives have; with it, the table is written. A library is a
file in a directory of the loader whose name ends in `.so.` and a number. The suites are in SUITES: Debian's are read from
the mirror that this machine's apt uses, Ubuntu's from MIRROR_OF_UBUNTU in the environment; what cannot be read is told.
"""

import gzip
import os
import re
import urllib.request

from harness import program
from harness.paths import REPOSITORY
from harness.report import figure, require
from harness.suites import mirror

TABLE = REPOSITORY / "src" / "debian" / "libraries.tsv"
SUITES = {"bookworm": "dists/bookworm/main/Contents-amd64.gz", "trixie": "dists/trixie/main/Contents-amd64.gz",
          "noble": "dists/noble/Contents-amd64.gz"}  # fmt: skip
OF_UBUNTU = ("noble",)
# They come from the host, never from a package.
OF_THE_DRIVER = ("libcuda.so", "libnv")
DIRECTORY = re.compile(r"(?:usr/)?lib/x86_64-linux-gnu/(lib[^/\s]+\.so\.\d[0-9.]*)\s+(\S+)$")


def contents(suite):
    """The lines of a suite's index."""
    root = os.environ["MIRROR_OF_UBUNTU"] if suite in OF_UBUNTU else mirror()
    with urllib.request.urlopen(f"{root.rstrip('/')}/{SUITES[suite]}", timeout=600) as answer:
        return gzip.decompress(answer.read()).decode().splitlines()


def libraries(lines):
    """The package of each SONAME: of several the one of the section `libs`, and then the one with the shortest name."""
    offered = {}
    for line in lines:
        found = DIRECTORY.match(line)
        if not found:
            continue
        name, places = found.groups()
        for place in places.split(","):
            *section, package = place.split("/")
            if not package.endswith(("-dbg", "-dbgsym", "-dev", "-cross")) and not name.startswith(OF_THE_DRIVER):
                offered.setdefault(name, []).append((section[-1:] != ["libs"], len(package), package))
    chosen = {name: min(packages)[2] for name, packages in offered.items()}
    return {name: package for name, package in chosen.items() if is_soname(name, package, chosen)}


def is_soname(name, package, chosen):
    """libx.so.1.2.3 is the file behind libx.so.1 where the same package has both."""
    stem, version = name.split(".so.", 1)
    parts = version.split(".")
    shorter = (f"{stem}.so.{'.'.join(parts[:length])}" for length in range(1, len(parts)))
    return all(chosen.get(other) != package for other in shorter)


def table(suites):
    """The lines: a SONAME, and its package where all suites have the same one, else that of each, `-` where one has none."""
    rows = ["\t".join(["soname", *suites])]
    for name in sorted(set().union(*suites.values())):
        packages = [found.get(name, "-") for found in suites.values()]
        rows.append("\t".join([name, *(packages[:1] if len(set(packages)) == 1 else packages)]))
    return "".join(f"{row}\n" for row in rows)


def column_of(lines, suite):
    """The packages of a suite in the table, by SONAME."""
    column = lines[0].split("\t").index(suite)
    rows = (line.split("\t") for line in lines[1:])
    packages = {row[0]: row[column] if len(row) > 2 else row[1] for row in rows}
    return {name: package for name, package in packages.items() if package != "-"}


def main():
    command_line = program.parser("acceptance/library_packages", __doc__)
    command_line.add_argument("--write", action="store_true", help="write the table")
    options = command_line.parse_args()
    read = {
        suite: libraries(contents(suite))
        for suite in SUITES
        if suite not in OF_UBUNTU or "MIRROR_OF_UBUNTU" in os.environ
    }
    for suite in SUITES:
        figure(
            suite, f"{len(read[suite])} libraries" if suite in read else "not read: MIRROR_OF_UBUNTU names no mirror"
        )
    if options.write:
        require(len(read) == len(SUITES), "every suite must be read to write the table")
        TABLE.write_text(table(read))
    for suite, found in read.items():
        kept = column_of(TABLE.read_text().splitlines(), suite)
        different = {name for name in kept.keys() | found.keys() if kept.get(name) != found.get(name)}
        require(not different, f"{suite} has other libraries than the table: {sorted(different)[:10]}; write it anew")


if __name__ == "__main__":
    program.start(main)
