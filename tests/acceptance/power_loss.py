"""The acceptance of power loss: what was not on the disk is gone, and the next build makes the same image of what is left.

One build is traced with strace: what it wrote, synced, linked, renamed and removed. That is replayed up to many moments,
four times each: with all names and none of the bytes that were not synced; with zeros instead of these; without the names
in directories that were not synced; and with a part of both by chance. It is a model, stricter than a file system with a
journal, which keeps the order of names. SEED determines the moments; the one that was used is printed.
"""

import os
import random
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from harness import program, wheels
from harness.imgforge import binary, imgforge
from harness.index import Index
from harness.oci import Layout
from harness.raw_zip import Deflated
from harness.report import Stopwatch, figure, require
from harness.store import linked
from harness.work import Work

COUNT, QUICK_COUNT = 40, 5
NAMES = [f"small-{number}" for number in range(6)]
KEYS = {"base": "debian-bookworm", "packages": NAMES, "python": {"bytecode": True}, "layers": {"max-size": "2MiB"}}
BLOCK = 4096
CALLS = [
    "openat", "creat", "linkat", "link", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat",
    "rmdir", "symlink", "symlinkat", "fsync", "fdatasync", "syncfs", "ftruncate", "write", "writev", "pwrite64",
    "copy_file_range", "sendfile", "splice", "dup", "dup2", "dup3", "fcntl",
]  # fmt: skip


@dataclass(eq=False)
class File:
    """A file of the traced build. Its bytes are those of the file that it was in the end."""

    path: object = None  # where its bytes are now; none for one that is gone
    is_synced: bool = True
    is_directory: bool = False
    name: str | None = None  # the last one that it had


@dataclass
class Moment:
    """What the disk and the processes saw after some call: names in memory, and the names that are on the disk."""

    names: dict
    durable: dict
    pending: list
    unsynced: set


@dataclass
class Replay:
    """Follows a trace; `roots` are the directories that matter."""

    roots: tuple
    names: dict
    durable: dict = field(init=False)
    pending: list = field(default_factory=list)  # changes of names that no sync of their directory has followed
    descriptors: dict = field(default_factory=dict)
    files: list = field(default_factory=list)

    def __post_init__(self):
        self.durable = dict(self.names)

    def is_ours(self, path):
        return path is not None and path.startswith(self.roots)

    def change(self, path, file):
        """Gives a name to a file, or takes it away."""
        if not self.is_ours(path):
            return
        self.change_together(path, [(path, file)])

    def change_together(self, path, changes):
        """Applies changes that are on the disk all or not at all, with the directory of `path`."""
        apply(self.names, [changes])
        for name, file in changes:
            if file is not None:
                file.name = name
        self.pending.append((path.rpartition("/")[0], changes))

    def rename(self, source, target):
        moved = [path for path in self.names if path == source or path.startswith(source + "/")]
        changes = [(path, None) for path in moved]
        changes += [(target + path.removeprefix(source), self.names[path]) for path in moved]
        self.change_together(target, changes)

    def sync_directory(self, directory):
        apply(self.durable, [changes for at, changes in self.pending if at == directory])
        self.pending = [(at, changes) for at, changes in self.pending if at != directory]

    def sync_all(self):
        apply(self.durable, [changes for _, changes in self.pending])
        self.pending = []
        for file in self.files:
            file.is_synced = True

    def made(self, **state):
        file = File(**state)
        self.files.append(file)
        return file

    def moment(self):
        unsynced = {file for file in self.files if not file.is_synced}
        return Moment(dict(self.names), dict(self.durable), list(self.pending), unsynced)


def apply(names, together):
    for path, file in (change for changes in together for change in changes):
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file


LINE = re.compile(r"(?:\d+ +)?(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")


def whole_calls(lines):
    """The calls of a trace in the order in which they ended."""
    begun = {}
    for line in lines:
        process, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            begun[process] = rest.removesuffix("<unfinished ...>").rstrip()
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", rest):
            rest = begun.pop(process, "") + resumed[1]
        if found := LINE.match(rest):
            yield found["call"], found["arguments"], int(found["result"])


def strings(arguments):
    return [bytes(text, "latin-1").decode("unicode_escape") for text in re.findall(r'"((?:[^"\\]|\\.)*)"', arguments)]


def follow(replay, call, arguments, result):
    """Applies a call that succeeded; gives whether it changed anything that a loss of power could lose."""
    descriptor = int(arguments.split(",")[0].split("<")[0]) if re.match(r"\d", arguments) else None
    file = replay.descriptors.get(descriptor)
    match call:
        case "openat" | "creat":
            replay.descriptors[result] = opened(replay, strings(arguments)[0], arguments)
            return "O_CREAT" in arguments or "O_TMPFILE" in arguments
        case "dup" | "dup2" | "dup3" | "fcntl":
            if call != "fcntl" or "DUPFD" in arguments:
                replay.descriptors[result] = file
            return False
        case "write" | "writev" | "pwrite64" | "ftruncate":
            written(file)
        case "copy_file_range" | "sendfile" | "splice":
            target = arguments.split(",")[2 if call == "copy_file_range" else 0]
            written(replay.descriptors.get(int(target.strip().split("<")[0])))
        case "fsync" | "fdatasync" | "syncfs":
            sync(replay, file, is_all=call == "syncfs")
        case _:
            follow_names(replay, call, strings(arguments))
    return True


def sync(replay, file, is_all):
    if is_all:
        replay.sync_all()
    elif isinstance(file, str):
        replay.sync_directory(file)
    elif file:
        file.is_synced = True


def follow_names(replay, call, paths):
    """Applies a call that changes names."""
    match call:
        case "link" | "linkat":
            source, target = paths
            number = re.fullmatch(r"/proc/self/fd/(\d+)", source)
            found = replay.descriptors.get(int(number[1])) if number else replay.names.get(source)
            if isinstance(found, File):
                replay.change(target, found)
        case "rename" | "renameat" | "renameat2":
            replay.rename(*paths)
        case "unlink" | "unlinkat" | "rmdir":
            replay.change(paths[0], None)
        case "mkdir" | "mkdirat":
            replay.change(paths[0], replay.made(is_directory=True))
        case "symlink" | "symlinkat":
            replay.change(paths[1], replay.made())


def opened(replay, path, arguments):
    """What a descriptor is of: a file, or a directory by its path."""
    if "O_TMPFILE" in arguments:
        return replay.made()
    if path not in replay.names and "O_CREAT" in arguments:
        replay.change(path, replay.made())
    found = replay.names.get(path)
    if found is None or found.is_directory:
        return path if replay.is_ours(path) else None
    return found


def written(file):
    if isinstance(file, File):
        file.is_synced = False


class Builds(Work):
    """Builds of one recipe into a layout."""

    def __init__(self):
        super().__init__("power_loss", own_store=True)
        self.image = self.directory / "image"

    def write_wheels(self):
        directory = self.directory / "wheels"
        directory.mkdir()
        source = random.Random(0)
        return [write_wheel(directory, name, source) for name in NAMES]

    def command(self, keys):
        return [binary(), "build", self.recipe("power_loss", keys), "-o", f"oci:{self.image}", "-q"]

    def environment(self):
        return os.environ | {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": self.index.url}

    def digest(self, *before, keys=KEYS):
        """The digest of a build, run by the command `before`."""
        command = [str(word) for word in (*before, *self.command(keys))]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment(), check=False
        )
        require(done.returncode == 0, f"a build exited with {done.returncode}:\n{done.stderr}")
        return done.stdout.strip()

    def known(self):
        """The files that are there, as they would be found again."""
        found = {}
        for root in (self.store, self.image):
            for path in [root, *root.rglob("*")] if root.exists() else []:
                found[str(path)] = File(path, is_directory=path.is_dir())
        return found

    def lay(self, names, content):
        """Makes store and layout of these names, and of each file what `content` makes of it."""
        for root in (self.store, self.image):
            shutil.rmtree(root, ignore_errors=True)
        for path in sorted(names):
            file = names[path]
            if file.is_directory:
                Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, file in names.items():
            if not file.is_directory and Path(path).parent.is_dir():
                content(path, file)


def write_wheel(directory, name, source):
    members = {f"{name}/module_{number}.py": b"VALUE = %d\n" % number * 400 for number in range(10)}
    members |= {f"{name}/data.bin": source.randbytes(1 << 19) + bytes(1 << 19)}
    return wheels.write(directory, name, {path: Deflated(content) for path, content in members.items()})


def traced(work, template):
    """The digest of a build that is traced, and the moments of it."""
    trace = work.directory / "trace"
    linked(template, work.store)
    before = work.known()
    filters = ["-e", f"trace={','.join(CALLS)}", "-e", "status=successful"]
    digest = work.digest("strace", "-f", "-qq", "-s", "4096", *filters, "-o", trace)
    end = work.directory / "end"
    replay = Replay((str(work.store), str(work.image)), dict(before))
    moments = []
    with trace.open() as lines:
        for call in whole_calls(lines):
            if follow(replay, *call):
                moments.append(replay.moment())
    for root in (work.store, work.image):
        shutil.copytree(root, end / root.name, copy_function=os.link)
    for path, file in replay.names.items():
        # Of what the build made, the bytes are kept under another name; the rest is the template's.
        kept = end / os.path.relpath(path, work.directory)
        file.path = kept if kept.exists() else file.path
    for file in replay.files:
        # Another one took its name, with the same bytes: blobs are named by them.
        kept = file.name and end / os.path.relpath(file.name, work.directory)
        if file.path is None and kept and kept.is_file():
            file.path = kept
    for path, file in before.items():
        file.path = file.path and template / os.path.relpath(path, work.store)
    # A claim may be opened by one thread while another one removes it: which was first, a trace does not tell.
    claims = str(work.store / "tmp") + "/"
    stay = {path: file for path, file in replay.names.items() if not path.startswith(claims)}
    lost = [path for path, file in stay.items() if file.path is None or not file.path.exists()]
    require(not lost, f"the trace leads to files that are not there: {lost[:5]}")
    return digest, moments


def whole(path, file):
    if file.path is None:
        open(path, "wb").close()
    else:
        os.link(file.path, path)


def shortened(size, path, file):
    """The file with `size` of its bytes, the rest being zeros or missing."""
    content = file.path.read_bytes() if file.path else b""
    with open(path, "wb") as target:
        target.write(size(content))


def nothing(_):
    return b""


@dataclass
class Losses:
    """The four ways of losing what a moment had not on the disk."""

    chance: random.Random

    def names_without_bytes(self, moment):
        return moment.names, nothing

    def names_with_zeros(self, moment):
        return moment.names, lambda content: bytes(len(content))

    def no_names(self, moment):
        return moment.durable, nothing

    def some(self, moment):
        names = dict(moment.durable)
        apply(names, [changes for _, changes in moment.pending if self.chance.random() < 0.5])
        return names, self.cut

    def cut(self, content):
        at = self.chance.randrange(len(content) // BLOCK + 1) * BLOCK
        return content[:at] + (bytes(len(content) - at) if self.chance.random() < 0.5 else b"")

    def all(self):
        return [self.names_without_bytes, self.names_with_zeros, self.no_names, self.some]


def lose(work, moment, loss, digest):
    """Lays what is left, and builds upon it."""
    names, bytes_left = loss(moment)

    def content(path, file):
        if file in moment.unsynced:
            shortened(bytes_left, path, file)
        else:
            whole(path, file)

    work.lay(names, content)
    check_layout(work, "what is left")
    found = work.digest()
    require(found == digest, f"after {loss.__name__} the digest is {found}, it was {digest}")
    imgforge("cache", "verify", "-q")
    check_layout(work, "the next build's")


def check_layout(work, whose):
    """Requires that the layout, where there is one with an index, has what the index names."""
    if not (work.image / "index.json").exists():
        return
    layout = Layout(work.image)
    for descriptor in (layout.descriptor, layout.manifest["config"], *layout.manifest["layers"]):
        size = layout.blob(descriptor).stat().st_size
        require(size == descriptor["size"], f"{whose} layout has {size} bytes of {descriptor}")


def main():
    command_line = program.parser("acceptance/power_loss", __doc__)
    command_line.add_argument("count", nargs="?", type=int, default=COUNT, metavar="N", help=f"by default {COUNT}")
    command_line.add_argument("--quick", action="store_true", help=f"{QUICK_COUNT} moments, as .ci/run")
    options = command_line.parse_args()
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    figure("seed", seed)
    chance = random.Random(seed)
    count = QUICK_COUNT if options.quick else options.count
    with Builds() as work, Index(work.write_wheels(), has_metadata=False) as work.index:
        template = work.directory / "template"
        work.digest(keys=KEYS | {"packages": []})
        shutil.rmtree(work.image)
        work.store.rename(template)
        digest, moments = traced(work, template)
        figure("moments", f"{len(moments)} calls that change something")
        at = sorted({len(moments) - 1, *(chance.randrange(len(moments)) for _ in range(count - 1))})
        watch = Stopwatch()
        for number in at:
            for loss in Losses(chance).all():
                lose(work, moments[number], loss, digest)
        figure("losses", f"{4 * len(at)}, each built upon in {watch.seconds() / (4 * len(at)):.2f} s")
        figure("digest", digest)


if __name__ == "__main__":
    program.start(main)
