"""imgforge's loader compared with the real one, over every ELF file of an image.

For every ELF file with a dynamic section the image's own loader says in a chroot which file it takes for each name
(LD_TRACE_LOADED_OBJECTS, which runs nothing but the loader), and so does imgforge, from the layers. Needs root.
"""

import os
import re
import subprocess
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from harness.cargo import built
from harness.processes import run
from harness.report import figure, require

FOUND = re.compile(r"^\s*(\S+) => (\S+) \(0x[0-9a-f]+\)$")
PLAIN = re.compile(r"^\s*(/\S+) \(0x[0-9a-f]+\)$")
MISSED = re.compile(r"^\s*(\S+) => not found$")


def traced(layout, store, level):
    """The files that imgforge finds, by path and name; and the names and paths of the loader's cache."""
    answers, cache = {}, []
    for line in run(built("example", "trace"), layout, store, level).splitlines():
        path, name, found = line.split("\t")
        if path == "/etc/ld.so.cache":
            cache.append([name, found])
        else:
            answers.setdefault(path, {}).setdefault(name, set()).add(found)
    return answers, cache


def level_of_this_machine():
    """0 for the baseline, 1 to 3 for x86-64-v2 to v4, as this machine's loader says."""
    loader = next(Path("/").glob("lib64/ld-linux-*.so.2"))
    text = subprocess.run([loader, "--help"], capture_output=True, text=True, check=False).stdout
    return max((int(v) - 1 for v in re.findall(r"x86-64-v(\d) \(supported", text)), default=0)


class Interpreter:
    """The image's own loader in a chroot."""

    def __init__(self, root, environment):
        self.root = root
        self.environment = environment
        self.loader = next("/" + str(it.relative_to(root)) for it in root.glob("lib64/ld-linux-*.so.2"))

    def enter(self):
        os.chroot(self.root)
        os.chdir("/")

    def list(self, path):
        """The files for each name, several where one object misses what another finds; and why the loader refuses to go
        on, where it does."""
        result = subprocess.run(
            [self.loader, path],
            capture_output=True,
            text=True,
            env=self.environment | {"LD_TRACE_LOADED_OBJECTS": "1"},
            preexec_fn=self.enter,
            check=False,
        )
        answers = {}

        def note(name, file):
            answers.setdefault(name, set()).add(file)

        if "statically linked" in result.stdout:
            # It needs nothing, and the loader does not name itself.
            note(self.loader, self.loader)
        for line in result.stdout.splitlines():
            if match := FOUND.match(line):
                note(match[1], match[2])
            elif match := MISSED.match(line):
                note(match[1], "not found")
            elif match := PLAIN.match(line):
                note(match[1], match[1])
        refused = re.search(r"error while loading shared libraries: (\S+): (.*)", result.stderr)
        return answers, refused


def library_path(layout):
    """The environment of the image, as far as the loader looks at it."""
    config = run("skopeo", "inspect", "--config", f"oci:{layout}:latest")
    path = re.search(r'"LD_LIBRARY_PATH=([^"]*)"', config)
    return {"LD_LIBRARY_PATH": path[1]} if path else {}


def differences(file, here, real, refused):
    """The names of a file for which imgforge and the loader find different files."""
    if not refused:
        for name in sorted(names(here, real)):
            left, right = (sorted(map(os.path.normpath, found.get(name, ()))) for found in (here, real))
            if left != right:
                yield f"{file}: {name}: imgforge {left}, the loader {right}"
    elif not any("refused" in files for files in here.values()):
        # The loader ends at the first file that it cannot map.
        yield f"{file}: the loader says `{refused[0]}`, imgforge nothing"


def names(here, real):
    return {name for name in (*here, *real) if not name.startswith("linux-vdso")}


def same_as_the_real_one(layout, root, store):
    """Requires that imgforge finds in the image of a layout what the image's own loader finds in `root`, where it is
    unpacked."""
    mine, _ = traced(layout, store, level_of_this_machine())
    interpreter = Interpreter(root, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | library_path(layout))
    files = sorted(mine)
    # Processes, not threads: each enters the root between fork and exec.
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        theirs = dict(zip(files, pool.map(interpreter.list, files, chunksize=16), strict=True))
    compared = [(mine[file], real) for file, (real, refused) in theirs.items() if not refused]
    count = sum(len(names(here, real)) for here, real in compared)
    misses = sum("not found" in found for _, real in compared for found in real.values())
    different = [line for file in files for line in differences(file, mine[file], *theirs[file])]
    figure("loader", f"{len(files)} files, {count} names, {misses} of them missed, {len(different)} differences")
    require(not different, "imgforge's loader finds other files:\n   " + "\n   ".join(different[:40]))


def of_bundle(work):
    """The step of an acceptance whose image is unpacked."""
    same_as_the_real_one(work.layout, work.bundle / "rootfs", work.store)
