"""imgforge's loader held against the real one, over every ELF file of an image.

For every ELF file with a dynamic section the image's own loader says in a chroot which file it takes for each name
(LD_TRACE_LOADED_OBJECTS, which runs nothing but the loader), and so does imgforge, from the layers. Needs root.
"""

import os
import re
import shlex
import subprocess
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from harness import figure, require

ROOT = Path(__file__).resolve().parents[2]
PROFILE = os.environ.get("IMGFORGE_ACCEPTANCE_PROFILE", "release")
TRACE = shlex.split(os.environ.get("IMGFORGE_TRACE", f"cargo run -q --profile {PROFILE} --example trace --"))
FOUND = re.compile(r"^\s*(\S+) => (\S+) \(0x[0-9a-f]+\)$")
PLAIN = re.compile(r"^\s*(/\S+) \(0x[0-9a-f]+\)$")
MISSED = re.compile(r"^\s*(\S+) => not found$")


def traced(layout, store, level):
    """What imgforge says: by path, the files for each name; and the names and paths of the loader's cache."""
    command = [*TRACE, layout, store, str(level)]
    text = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    answers, cache = {}, []
    for line in text.splitlines():
        path, name, found = line.split("\t")
        if path == "/etc/ld.so.cache":
            cache.append([name, found])
        else:
            answers.setdefault(path, {}).setdefault(name, set()).add(found)
    return answers, cache


def level_of_this_machine():
    """0 for the baseline, 1 to 3 for x86-64-v2 to v4, as this machine's loader says."""
    loader = next(Path("/").glob("lib64/ld-linux-*.so.2"))
    text = subprocess.run([loader, "--help"], capture_output=True, text=True).stdout
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


def compare(layout, root, store):
    """Holds what imgforge finds in the image of the layout LAYOUT against what its own loader finds in ROOT, where it is
    unpacked: gives the numbers of files, names and misses, and every difference."""
    config = subprocess.run(
        ["skopeo", "inspect", "--config", f"oci:{layout}:latest"], capture_output=True, text=True, check=True
    )
    path = re.search(r'"LD_LIBRARY_PATH=([^"]*)"', config.stdout)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | ({"LD_LIBRARY_PATH": path[1]} if path else {})
    mine, _ = traced(layout, store, level_of_this_machine())
    interpreter = Interpreter(root, environment)
    files = sorted(mine)
    # Processes, not threads: each enters the root between fork and exec.
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        theirs = dict(zip(files, pool.map(interpreter.list, files, chunksize=16)))
    names = misses = 0
    differences = []
    for file in files:
        real, refused = theirs[file]
        here = mine[file]
        if refused:
            # The loader ends at the first file that it cannot map.
            if not any("refused" in files for files in here.values()):
                differences.append(f"{file}: the loader says `{refused[0]}`, imgforge nothing")
            continue
        for name in sorted(set(real) | set(here)):
            if name.startswith("linux-vdso"):
                continue
            names += 1
            left, right = (sorted(map(os.path.normpath, it.get(name, ()))) for it in (here, real))
            misses += "not found" in right
            if left != right:
                differences.append(f"{file}: {name}: imgforge {left}, the loader {right}")
    return len(files), names, misses, differences


def same_as_the_real_one(layout, root, store):
    """Prints the figures; any difference is a failure."""
    files, names, misses, differences = compare(layout, root, store)
    figure("loader", f"{files} files, {names} names, {misses} of them missed, {len(differences)} differences")
    require(not differences, "imgforge's loader finds other files:\n   " + "\n   ".join(differences[:40]))


def of_bundle(work):
    """The step of an acceptance whose image is unpacked."""
    same_as_the_real_one(work.layout, work.bundle / "rootfs", work.store)
