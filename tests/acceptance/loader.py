"""Compares imgforge's loader with the real one, over every ELF file of images.

Each image (the tag `latest` of an OCI layout) is unpacked by umoci first: needs root, and the disk for one at a time.
"""

import tempfile
from pathlib import Path

from acceptance import real_loader
from harness import program
from harness.paths import ACCEPTANCE, STORE
from harness.processes import run
from harness.report import heading


def main():
    command_line = program.parser("acceptance/loader", __doc__)
    command_line.add_argument("layouts", nargs="+", type=Path, metavar="LAYOUT")
    ACCEPTANCE.mkdir(parents=True, exist_ok=True)
    for layout in command_line.parse_args().layouts:
        heading(layout)
        with tempfile.TemporaryDirectory(dir=ACCEPTANCE, prefix="loader-") as directory:
            root = Path(directory) / "rootfs"
            run("umoci", "raw", "unpack", "--image", f"{layout}:latest", root)
            real_loader.same_as_the_real_one(layout, root, STORE)


if __name__ == "__main__":
    program.start(main)
