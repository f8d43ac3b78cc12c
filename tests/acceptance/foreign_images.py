"""`imgforge check` on images that others made: its verdict, and what is true in the image.

Each case is a Debian base that umoci unpacks and that is changed in a chroot, over an overlay, as people's Dockerfiles do;
umoci adds what was changed as a layer. What is true is observed there, with the image's environment, user and working
directory: the interpreter starts, what users import is imported, `pip check` is content, and `ldd` and the hashes in RECORD
say whether a warning has a cause. The check must find errors exactly where something fails, and name what fails; and it must
not warn without a cause.

Prints a table, and fails where they disagree. Needs root, a C compiler and 3 GB of disk; the cases with a second Python need
a CPython 3.12 of pyenv.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from acceptance.foreign_cases import CASES, QUICK
from acceptance.foreign_parts import Tree, tools
from acceptance.verdicts import LINKING, PIP, REQUIRED
from harness import program
from harness.chroot import PATH
from harness.imgforge import Finding, binary, imgforge
from harness.oci import Layout
from harness.overlay import Overlay
from harness.processes import run
from harness.report import Failure, Stopwatch, figure, require
from harness.store import link
from harness.wheels import normalized
from harness.work import Work

# Python's own messages name modules, libraries, symbols and files: these words must be in the check's errors.
WORDS = re.compile(r"No module named '(\w+)|(lib[\w.+-]+\.so[\w.]*)|undefined symbol: (\w+)|(/[\w./+-]+\.so)\b")
UNSUPPORTED = re.compile(r"^(\S+) (\S+) is not supported on this platform")

RECORDED = """
import base64, hashlib, importlib.metadata
for it in importlib.metadata.distributions():
    for file in it.files or ():
        if file.hash and file.suffix != ".pyc":
            place = file.locate()
            read = place.read_bytes() if place.is_file() else b""
            found = base64.urlsafe_b64encode(hashlib.sha256(read).digest()).rstrip(b"=").decode()
            if not place.is_file() or found != file.hash.value:
                print(it.metadata["Name"])
                break
"""


class Foreign(Work):
    """The base of all cases, and the wheels that they need."""

    def __init__(self, name, names):
        super().__init__(name)
        self.pins = sorted({pin for name in names for pin in CASES[name].pins})

    def __enter__(self):
        require(os.geteuid() == 0, "only root may mount, unpack files of other owners and enter a chroot")
        super().__enter__()
        self.memory = self.directory / "memory"
        self.mount_memory()
        require(shutil.which("umoci"), "umoci is not installed: run tests/setup as root")
        self.layout, self.root = self.memory / "base", self.memory / "root"
        watch = Stopwatch()
        recipe = self.recipe("base", {"base": "debian-bookworm", "packages": ["pip"]})
        imgforge("build", recipe, "-o", f"oci:{self.layout}:latest")
        run("umoci", "raw", "unpack", "--image", f"{self.layout}:latest", self.root)
        self.lent = tools(self.memory, self.pins)
        figure("base and wheels", f"in {watch.seconds():.0f} s")
        return self

    def mount_memory(self):
        """Has the images in memory: each is ten thousand small files, which are written, read and removed."""
        if not self.memory.is_mount():
            self.memory.mkdir()
            run("mount", "-t", "tmpfs", "-o", "size=6g,mode=0755", "foreign_images", self.memory)
            self.stack.callback(run, "umount", "-l", self.memory)


@dataclass(frozen=True)
class Truth:
    """What an image itself shows."""

    failures: tuple  # the messages of imports that fail
    unmet: frozenset  # the distributions and requirements that `pip check` names
    unsupported: frozenset

    @property
    def is_sound(self):
        return not (self.failures or self.unmet or self.unsupported)

    def __str__(self):
        told = [*self.failures, *(f"pip check: {one} requires {other}" for one, other in sorted(self.unmet))]
        told += [f"pip check: {one} is not supported" for one in sorted(self.unsupported)]
        return "sound" if self.is_sound else "; ".join(told)


@dataclass(frozen=True)
class Verdict:
    """What `imgforge check` says about it."""

    code: int
    findings: tuple
    said: str  # on stderr

    @property
    def errors(self):
        return [one for one in self.findings if one.level == "error"]

    def __format__(self, form):
        return format(str(self), form)

    def __str__(self):
        if self.code not in (0, 1):
            return f"exit {self.code}"
        levels = [one.level for one in self.findings]
        return f"exit {self.code}, {levels.count('error')} errors, {levels.count('warning')} warnings"


@dataclass(frozen=True)
class Outcome:
    name: str
    kind: str
    truth: Truth
    verdict: Verdict
    objections: tuple
    seconds: float


class Image:
    """The image of one case, in a directory of its own."""

    def __init__(self, work, name):
        self.work, self.case = work, CASES[name]
        self.directory = work.memory / "cases" / name
        self.layout = self.directory / "layout"
        self.overlay = Overlay(work.root, self.directory)

    def __enter__(self):
        self.overlay.mount()
        self.tree = Tree(self.overlay.merged, self.work.lent, self.directory / "scratch")
        (self.layout / "blobs/sha256").mkdir(parents=True)
        for blob in Layout(self.work.layout).blobs.iterdir():
            link(blob, self.layout / "blobs/sha256" / blob.name)
        for name in ("index.json", "oci-layout"):
            shutil.copy(self.work.layout / name, self.layout)
        return self

    def __exit__(self, *_):
        self.overlay.unmount()
        shutil.rmtree(self.directory, ignore_errors=True)

    def make(self):
        self.case.change(self.tree)
        image, layer = f"{self.layout}:latest", self.directory / "layer.tar"
        self.overlay.write_layer(layer)
        run("umoci", "raw", "add-layer", "--image", image, layer)
        layer.unlink()
        if self.case.config:
            run("umoci", "config", "--image", image, *self.case.config)

    # --- what is true ---

    def run(self, *words):
        """Runs a program as a container would."""
        config = Layout(self.layout).config.get("config", {})
        user = self.tree.entered.account(config.get("User"))
        pairs = dict(entry.split("=", 1) for entry in config.get("Env") or [])
        environment = {"PATH": PATH, "HOME": user.home} | pairs
        where = config.get("WorkingDir") or "/"
        return self.tree.entered.run(*words, environment=environment, user=user, directory=where)

    def truth(self):
        failures = [failure for run in self.case.runs if (failure := self.failure(run))]
        checked = self.run(*self.case.python, "/mnt/pip/pip", "--no-input", "check").output.splitlines()
        unmet = (match for line in checked if (match := PIP.match(line)))
        unsupported = (match for line in checked if (match := UNSUPPORTED.match(line)))
        return Truth(
            tuple(failures),
            frozenset((normalized(match[1]), normalized(match[3])) for match in unmet),
            frozenset(normalized(match[1]) for match in unsupported),
        )

    def failure(self, statement):
        """The error that Python, or the loader before it, ends with; nothing where the statement runs."""
        ended = self.run(*self.case.python, "-c", statement)
        lines = [line.strip() for line in ended.error.splitlines()]
        named = [line for line in lines if "rror" in line] or [line for line in lines if line]
        return (named or [f"exit {ended.code}"])[-1] if ended.code else None

    def recorded_otherwise(self):
        """The distributions with a file, bytecode apart, that is not as RECORD has it."""
        return set(map(normalized, self.run(*self.case.python, "-c", RECORDED).output.split()))

    def lacks_a_library(self, path):
        return "not found" in self.run("ldd", path).output


# --- the verdict ---


def verdict(layout):
    command = [binary(), "check", f"oci:{layout}:latest", "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["findings"] if done.returncode in (0, 1) and done.stdout else []
    findings = tuple(Finding(one["rule"], one["level"], one["subject"], one["seen"]) for one in found)
    said = " ".join(line for line in done.stderr.split("\n") if line.startswith(("error:", "hint:")))
    return Verdict(done.returncode, findings, said)


# --- agreement ---


def objections(image, truth, verdict):
    """The ways in which a verdict is not what is true."""
    if verdict.code not in (0, 1):
        yield f"the check gives no verdict: {verdict.said}"
    elif truth.is_sound:
        yield from (f"false error: {one}" for one in verdict.errors)
        yield from (f"false warning: {one}" for one in verdict.findings if is_noise(image, one))
    elif not verdict.errors:
        yield f"loads, says the check, and it does not: {truth}"
    else:
        yield from unexplained(truth, verdict)


def unexplained(truth, verdict):
    """What fails and no error names, and what `pip check` and the check see differently."""
    told = "\n".join(map(str, verdict.errors))
    for failure in truth.failures:
        words = [word for found in WORDS.findall(failure) for word in found if word]
        if words and not any(word in told for word in words):
            yield f"no error explains `{failure}`"
    required = {
        (normalized(one.subject.split()[0]), normalized(match[1]))
        for one in verdict.errors
        if one.rule == "unmet-requirement" and (match := REQUIRED.search(one.seen))
    }
    yield from (f"pip check alone: {one} requires {other}" for one, other in sorted(truth.unmet - required))
    yield from (f"pip check does not say: {one} requires {other}" for one, other in sorted(required - truth.unmet))


def is_noise(image, finding):
    """True for a warning about a sound image that neither RECORD, ldd nor the file itself confirms."""
    if finding.level != "warning":
        return False
    if finding.rule == "world-writable":
        # uv's lock files are empty: nobody reads them.
        path = image.tree.path(finding.subject)
        return path.is_file() and not path.stat().st_size
    if finding.rule == "record-mismatch":
        return normalized(finding.subject.split()[0]) not in image.recorded_otherwise()
    return finding.rule in LINKING and not image.lacks_a_library(finding.subject)


def judge(work, name):
    watch = Stopwatch()
    truth, said = None, None
    try:
        with Image(work, name) as image:
            image.make()
            truth, said = image.truth(), verdict(image.layout)
            against = tuple(objections(image, truth, said))
    except (Failure, OSError) as failure:
        against = (f"cannot be made or asked: {failure}",)
    return Outcome(name, CASES[name].kind, truth, said, against, watch.seconds())


def judged(work, names):
    """The outcomes of several cases at a time; a signal does not wait for those that have not begun."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        return list(pool.map(lambda name: told(judge(work, name)), names))
    finally:
        pool.shutdown(cancel_futures=True)


# --- the table ---


def report(outcomes):
    for kind in dict.fromkeys(one.kind for one in outcomes):
        print(f"\n{kind}")
        for one in (one for one in outcomes if one.kind == kind):
            print(row(one))
            for objection in one.objections:
                print(f"      {shortened(objection)}")
    wrong = sum(bool(one.objections) for one in outcomes)
    print(f"\n{len(outcomes)} images: {len(outcomes) - wrong} agree, {wrong} disagree")
    require(not wrong, f"the check's verdict on {wrong} images is not what is true")


def told(outcome):
    """The outcome, whose line is shown while others are awaited."""
    print(row(outcome), file=sys.stderr, flush=True)
    return outcome


def row(one):
    agrees = "differs" if one.objections else "agrees"
    truth = "unknown" if one.truth is None else "sound" if one.truth.is_sound else "fails"
    return f"  {agrees:8} {one.name:45} {truth:7} {one.verdict or '':32} {one.seconds:4.0f} s"


def shortened(text):
    return text if len(text) <= 300 else f"{text[:300]}…"


def possible(names):
    left_out = [name for name in names if not CASES[name].is_possible]
    if left_out:
        print(f"skipped, as pyenv has no CPython 3.12 here: {', '.join(left_out)}", file=sys.stderr)
    return [name for name in names if name not in left_out]


def main():
    names = possible(program.step_names("acceptance/foreign_images", __doc__, CASES, QUICK))
    watch = Stopwatch()
    with Foreign("foreign_images", names) as work:
        outcomes = judged(work, names)
    figure("judged", f"in {watch.seconds():.0f} s")
    report(outcomes)


if __name__ == "__main__":
    program.start(main)
