"""Measures builds side by side with what people use today, and against the least that any build must do.

Contenders are chosen by a word of their title; imgforge is always there. Every tool builds over the same base; wheels come
from a package index on loopback, so that no network is measured. Each run lets every contender build once, in turn; medians
are taken over runs, and of ratios within a run. Before each, what others wrote is written to the disk, the wheels are read
and memory is touched, so that nobody waits for what another left.

While it measures, a virtual machine gives no free memory back to its host, where the kernel lets that be said.

Fails when a promise is broken, for torch and colab-like: within 1.25 of the limit, 2.5 times as fast as docker build with
uv, and 15 times as fast as that with docker push. Needs root and Debian's docker.io, docker-registry, buildah, pigz and
zstd; a contender whose program is missing is left out, and said to be. Wheels are linked from the store of the acceptance
where it has them, and kept in target/bench/build. Everything else is removed, also after a failure or a signal. The figures
of IMGFORGE_TEST_PROFILE=dev mean nothing.
"""

import json
import os
import platform
import re
import shutil
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from bench import contenders
from bench.inputs import INPUTS, Prepared, torch_wheels
from harness import memory, program
from harness.cargo import built
from harness.engine import Engine
from harness.imgforge import binary, imgforge
from harness.index import Index
from harness.paths import BENCH, REPOSITORY, STORE, UV
from harness.processes import packaged, run, unmount_below
from harness.report import gigabytes, require

WORK = BENCH / "build"
OWN_STORE = WORK / "store"
BASE = {"name": "base", "base": "debian-bookworm", "packages": ["pip", "uv"], "exclude-newer": "2025-06-01"}

# Of the limit, imgforge takes at most so many times as long; others take at least so many times as long as imgforge.
LIMIT = contenders.Limit.title
IMGFORGE = contenders.Imgforge.title
DOCKER = "docker build, uv pip install"
PROMISES = {LIMIT: ("at most", 1.25), DOCKER: ("at least", 2.5), f"{DOCKER} + docker push": ("at least", 15.0)}
PROMISED_INPUTS = ("torch", "colab-like")


class Task:
    """An input, ready to be built again and again."""

    def __init__(self, prepared, environment):
        self.name, self.directory = prepared.name, WORK
        self.prepared, self.environment = prepared, environment
        self.wheels, self.index, self.keep = [], "", set()

    def requirements(self):
        return self.prepared.requirements()

    def build_command(self, output):
        # The three wheels of the torch input are not all that torch loads, and the check says so.
        unchecked = ["--no-check"] if self.name == "torch" else []
        options = ["--quiet", "--offline", "--locked", *unchecked]
        return [binary(), "build", *options, self.prepared.recipe, "-o", f"oci:{output}"]

    def settle(self):
        """Nobody waits for what others left to be written, and everybody finds the wheels in memory, and free memory."""
        os.sync()
        memory.touch((1 << 30) + 4 * self.size()[0])
        for wheel in self.wheels:
            with wheel.open("rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass

    def forget_layers(self):
        for path in files(OWN_STORE) - self.keep:
            path.unlink()

    def size(self):
        packed = sum(wheel.stat().st_size for wheel in self.wheels)
        return packed, sum(distribution["unpacked"] for distribution in self.prepared.locked)


def files(directory):
    return {path for path in directory.rglob("*") if path.is_file()}


def write_base(environment):
    """The base of every contender: Debian with Python, pip and uv, as a layout and as an archive for docker."""
    recipe = WORK / "base.yaml"
    recipe.write_text(json.dumps(BASE))
    archive = WORK / "base.tar"
    for output in (f"oci:{WORK / 'base'}:latest", f"oci-archive:{archive}:latest"):
        imgforge("build", "--quiet", recipe, "-o", output, env=environment)
    return WORK / "base", archive


def prepare(name, stack):
    """Locks an input, brings its wheels into the store, and serves them on loopback."""
    environment = os.environ | {"IMGFORGE_CACHE_DIR": str(OWN_STORE)}
    prepared = Prepared(name, WORK)
    if name == "torch":
        index = stack.enter_context(Index(torch_wheels(WORK / "wheels-torch")))
        environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index.url}
    prepared.lock(environment)
    task = Task(prepared, environment)
    before = files(OWN_STORE)
    prepared.borrow_wheels(STORE, WORK / f"wheels-{name}", OWN_STORE)
    contenders.timed(*(word for word in task.build_command(WORK / "image") if word != "--offline"), env=environment)
    shutil.rmtree(WORK / "image")
    task.keep = before | prepared.blobs(OWN_STORE) | prepared.seals(OWN_STORE)
    task.wheels = prepared.wheels(OWN_STORE, WORK / f"wheels-{name}")
    if name != "torch":
        index = stack.enter_context(Index(task.wheels))
    task.index = index.url
    return task


def is_wanted(title, words):
    return not words or any(word in title for word in words)


def chosen(words, limit, base, archive, stack):
    """The contenders whose titles have one of the words; all without words."""
    everyone = [contenders.Limit(limit, WORK), contenders.Imgforge(WORK)]
    wanted = lambda title: is_wanted(title, words)  # noqa: E731
    missing = lambda *programs: [it for it in programs if not shutil.which(packaged(it))]  # noqa: E731

    def absent(title, programs):
        if programs:
            print(f"left out: {title} ({', '.join(programs)} missing)", file=sys.stderr)
        return bool(programs)

    installers = {"uv pip install": contenders.UV_INSTALL, "pip install": contenders.PIP_INSTALL}
    installers = {title: command for title, command in installers.items() if wanted(f"docker build, {title}")}
    if installers and not absent("docker build", missing("dockerd", "docker", "docker-registry")):
        engine = stack.enter_context(Engine(WORK / "docker"))
        registry = stack.enter_context(contenders.Registry(WORK, engine))
        registry.push_base(archive)
        everyone += [contenders.Docker(*installer, engine, registry) for installer in installers.items()]
    if wanted("buildah") and not absent("buildah", missing("buildah")):
        everyone.append(contenders.Buildah(WORK, base))
    for title, compressor in (("gzip -6", "gzip -6"), ("pigz -6", "pigz -6"), ("zstd -3", "zstd -q -3 -T0")):
        if wanted(f"tar and {title}") and not absent(f"tar and {title}", missing(compressor.split()[0])):
            everyone.append(contenders.Tar(title, compressor, WORK))
    return everyone


def measure(task, everyone, runs):
    """By title, the seconds of every run."""
    seconds = {}
    for number in range(1, runs + 1):
        for contender in everyone:
            task.settle()
            for step, took in contender.run(task).items():
                seconds.setdefault(contender.title + step, []).append(took)
                print(f"{task.name}, run {number}: {took:8.2f} s  {contender.title}{step}", file=sys.stderr)
    return seconds


def ratio(seconds, longer, shorter):
    """The time of one as a multiple of the other's: the median over runs."""
    return statistics.median(a / b for a, b in zip(seconds[longer], seconds[shorter], strict=True))


def table(task, seconds):
    packed, unpacked = task.size()
    runs = len(seconds[IMGFORGE])
    title = f"{task.name}: {len(task.wheels)} wheels, {gigabytes(packed)}, {gigabytes(unpacked)} unpacked"
    lines = [f"| {title} | seconds | × imgforge |", "|---|---:|---:|"]
    for title, took in seconds.items():
        lines.append(f"| {title} | {statistics.median(took):.1f} | {ratio(seconds, title, IMGFORGE):.2f} |")
    said = f"Medians of {runs} runs" if runs > 1 else "One run"
    return "\n".join([*lines, "", f"{said} on {machine()}; {versions()}."]) + "\n"


def broken(name, seconds, words):
    """The promises that an input breaks, as sentences; also those that nothing was measured for, unless other contenders
    were asked for."""
    promised = PROMISES if name in PROMISED_INPUTS else ()
    judged = [title for title in promised if title in seconds or is_wanted(title, words)]
    return [f"{name}: {title}" for title in judged if not is_kept(name, title, seconds)]


def is_kept(name, title, seconds):
    bound, promised = PROMISES[title]
    if title not in seconds:
        print(f"{name}: `{title}` was not measured, promised {bound} {promised}: BROKEN")
        return False
    at_most = bound == "at most"
    found = ratio(seconds, IMGFORGE, title) if at_most else ratio(seconds, title, IMGFORGE)
    kept = found <= promised if at_most else found >= promised
    verdict = "" if kept else ": BROKEN"
    print(f"{name}: {found:.2f} between imgforge and `{title}`, promised {bound} {promised}{verdict}")
    return kept


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    size = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024
    processor = model[1] if model else platform.machine()
    kernel = platform.release().split("-")[0]
    return f"{contenders.THREADS} cores ({processor}), {size / 2**30:.0f} GiB of memory, Linux {kernel}"


def versions():
    said = {
        "docker": ["docker", "--version"], "uv": [UV, "--version"], "buildah": ["buildah", "--version"],
    }  # fmt: skip
    found = []
    for name, command in said.items():
        if shutil.which(str(command[0])):
            text = run(packaged(command[0]), *command[1:])
            number = re.search(r"\d+(\.\d+)+", text)
            found.append(f"{name} {number[0]}" if number else name)
    return ", ".join(found)


def write_readme(name, text):
    path = REPOSITORY / "docs/benchmarks.md"
    before = path.read_text()
    start, end = f"<!-- tests/bench/build writes {name} from here -->\n", "<!-- to here -->"
    require(start in before, f"docs/benchmarks.md has no place for the table of {name}")
    head, rest = before.split(start, 1)
    path.write_text(f"{head}{start}\n{text}\n{rest[rest.index(end) :]}")


def options():
    command_line = program.parser("bench/build", __doc__)
    command_line.add_argument("--runs", type=int, default=3, help="how often each contender builds")
    inputs = "torch (2.2.1, with cuBLAS and cuDNN), colab-like (recipes/colab-like.yaml), small (120 packages)"
    command_line.add_argument("--input", action="append", choices=sorted(INPUTS), help=f"by default all: {inputs}")
    command_line.add_argument("--contender", action="append", default=[], metavar="WORD", help="of a title")
    command_line.add_argument("--readme", action="store_true", help="write the tables into docs/benchmarks.md")
    return command_line.parse_args()


def main():
    asked = options()
    WORK.mkdir(parents=True, exist_ok=True)
    failures = []
    with ExitStack() as outer:
        outer.callback(clear)
        clear()
        outer.enter_context(memory.kept())
        base, archive = write_base(os.environ | {"IMGFORGE_CACHE_DIR": str(OWN_STORE)})
        everyone = chosen(asked.contender, built("bench", "build_limit"), base, archive, outer)
        for name in asked.input or INPUTS:
            with ExitStack() as stack:
                task = prepare(name, stack)
                seconds = measure(task, everyone, asked.runs)
            text = table(task, seconds)
            print(text, flush=True)
            if asked.readme:
                write_readme(name, text)
            failures += broken(name, seconds, asked.contender)
    require(not failures, f"broken promises: {'; '.join(failures)}")


def clear():
    """Removes everything but what is worth keeping for the next time."""
    for path in WORK.iterdir():
        if path.name.startswith("wheels-"):
            continue
        unmount_below(path)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    program.start(main)
