"""A matrix on a Slurm cluster of four nodes, each with an empty store of its own, that share one docker-registry.

The wheels come from an index that counts what it sends. The script of `imgforge matrix emit slurm` is submitted as it is;
each wheel is fetched once in total, the shards are disjoint, complete and of like size, and the registry ends with the
digests that one machine builds alone. The whole program builds 60 images, and once more while a node is killed at its work,
as a loss of power would, and once on 1, 2, 4 and 8 nodes each; --quick builds twelve.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import time
import urllib.request
from collections import Counter
from pathlib import Path

from acceptance.registries import Registry
from harness import program, wheels
from harness.imgforge import binary, imgforge
from harness.index import Index
from harness.paths import STORE
from harness.raw_zip import Deflated, Stored
from harness.report import Stopwatch, figure, megabytes, require
from harness.slurm import Cluster, is_installed
from harness.work import Work

NODES = 4
RUNNERS = (1, 2, 4, 8)
MOST_UNEQUAL = 1.2
LONGEST = 900  # seconds
RECIPES, PACKAGES = 3, 6
GROUPS = 8  # imgforge puts small wheels into so many layers, by their names
# It is built once and pushed: nodes read it, and mount its layers.
BASE = {"suite": "bookworm", "packages": ["python3-minimal", "libpython3-stdlib"]}


class Matrix(Work):
    """Recipes of small wheels, the matrix over them, an index and a registry."""

    def __init__(self, versions, name="slurm"):
        super().__init__(name, own_store=True)
        self.versions = versions

    def __enter__(self):
        super().__enter__()
        self.index = self.stack.enter_context(Index(self.write_wheels()))
        os.environ |= {"PIP_INDEX_URL": self.index.url, "PIP_CONFIG_FILE": "/dev/null"}
        self.registry = self.stack.enter_context(Registry(self.directory / "registry"))
        base = self.recipe("base", {"base": BASE, "system-packages": ["tzdata"]})
        imgforge("build", base, "-o", self.place("base:v1"), env=os.environ | {"IMGFORGE_CACHE_DIR": str(STORE)})
        for recipe in range(RECIPES):
            packages = [name for name, of in self.parts if of == recipe]
            self.recipe(f"r{recipe}", {"base": f"{self.registry.host}/base:v1", "packages": packages})
        axes = {
            f"frameworks.{name}": [f"{number}.0" for number in range(1, count + 1)]
            for name, count in self.versions.items()
        }
        recipes = [f"r{recipe}.yaml" for recipe in range(RECIPES)]
        self.matrix = self.recipe("matrix", {"recipes": recipes, "matrix": axes})
        return self

    def write_wheels(self):
        directory = self.directory / "wheels"
        directory.mkdir()
        noise = random.Random(7)
        # What an axis changes shares no layer with the rest: only then can each wheel be fetched once by equal shards.
        own = {group(name) for name in self.versions}
        every = ((f"part-{recipe}-{number}", recipe) for number in range(100) for recipe in range(RECIPES))
        self.parts = [(name, recipe) for name, recipe in every if group(name) not in own][: RECIPES * PACKAGES]
        names = [(name, "1.0") for name, _ in self.parts]
        names += [(name, f"{number}.0") for name, count in self.versions.items() for number in range(1, count + 1)]
        written = []
        for name, version in names:
            stem = name.replace("-", "_")
            content = {
                f"{stem}/__init__.py": Stored(f"VERSION = '{version}'\n"),
                f"{stem}/data.bin": Deflated(noise.randbytes(noise.randrange(500_000, 1_500_000))),
            }
            written.append(wheels.write(directory, name, content, version=version))
        return written

    def place(self, name):
        return f"docker://{self.registry.host}/{name}"

    def destinations(self, name):
        return self.place(f"{name}/{{name}}:v1")

    def tag(self, image):
        """The digest that a tag of the registry names."""
        request = urllib.request.Request(
            f"http://{self.registry.host}/v2/{image}/manifests/v1",
            method="HEAD",
            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        )
        with urllib.request.urlopen(request) as answer:
            return answer.headers["Docker-Content-Digest"]


def group(name):
    """The layer of a small wheel among those of its image."""
    return hashlib.sha256(name.encode()).digest()[0] % GROUPS


def locked(work):
    watch = Stopwatch()
    imgforge("matrix", "lock", work.matrix, timeout=None)
    locks = list((work.directory / "matrix.locks").iterdir())
    figure("locked", f"{len(locks)} images in {watch.seconds():.1f} s")


def planned(work):
    """The split, which every machine computes for itself."""
    watch = Stopwatch()
    plan = json.loads(imgforge("matrix", "plan", work.matrix, "--locked", "--json", "--shards", str(NODES)))
    seconds = watch.seconds()
    ahead = {layer["key"] for layer in plan["layers"] if layer["ahead"]}
    keys = [key for shard in plan["shards"] for key in shard["layers"]]
    require(len(keys) == len(set(keys)), "a layer is in two shards")
    require(set(keys) == ahead, f"{len(ahead - set(keys))} layers are in no shard")
    sizes = [shard["bytes"] for shard in plan["shards"]]
    figure("plan", f"{len(plan['images'])} images, {len(plan['layers'])} layers, in {seconds:.1f} s")
    figure("shards", ", ".join(megabytes(size) for size in sizes))
    require(max(sizes) <= MOST_UNEQUAL * min(sizes), f"the shards have {sizes} bytes")


def one_machine(work):
    watch = Stopwatch()
    store = work.directory / "store-alone"
    environment = os.environ | {"IMGFORGE_CACHE_DIR": str(store)}
    output = imgforge(
        "matrix", "images", work.matrix, "--locked", "-o", work.destinations("alone"), env=environment, timeout=None
    )
    work.digests = {name: digest for digest, name in (line.split() for line in output.splitlines())}
    figure("one machine alone", f"{len(work.digests)} images in {watch.seconds():.1f} s")
    shutil.rmtree(store)


def submitted(work, cluster, name):
    """Submits the script that imgforge prints; gives the numbers of the two job arrays."""
    options = (
        "--shards",
        str(len(cluster.nodes)),
        "--cache",
        work.place(f"{name}/cache"),
        "-o",
        work.destinations(name),
    )
    script = imgforge("matrix", "emit", "slurm", work.matrix, *options)
    programs = work.directory / "bin"
    programs.mkdir(exist_ok=True)
    if not (programs / "imgforge").exists():
        (programs / "imgforge").symlink_to(Path(binary()).resolve())
    path = f"{programs}:/usr/sbin:/usr/bin:/bin"
    done = subprocess.run(
        ["/bin/sh"], input=script, capture_output=True, text=True, check=False, cwd=work.directory,
        env=cluster.environment | {"PATH": path},
    )  # fmt: skip
    require(done.returncode == 0, f"the script exited with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.split()


def ended(work, cluster, jobs):
    """Waits for the end of both arrays; gives what their tasks printed, by the files of Slurm."""
    deadline = time.monotonic() + LONGEST
    while cluster.tasks():
        require(time.monotonic() < deadline, f"the queue still has {cluster.tasks()}")
        time.sleep(0.2)
    return {path.name: path.read_text() for job in jobs for path in sorted(work.directory.glob(f"slurm-{job}_*"))}


def check_images(work, name, outputs):
    told = "\n".join(f"== {file}\n{text}" for file, text in outputs.items())
    for image, digest in work.digests.items():
        try:
            found = work.tag(f"{name}/{image}")
        except OSError as error:
            require(False, f"`{name}/{image}` is not there ({error})\n{told}")
        require(found == digest, f"`{name}/{image}` is {found}, and {digest} on one machine")


def cluster(work):
    """Both stages on four nodes."""
    work.index.sent.clear()
    with Cluster(work.directory / "cluster", NODES) as cluster:
        watch = Stopwatch()
        jobs = submitted(work, cluster, "images")
        outputs = ended(work, cluster, jobs)
        figure("four nodes", f"{watch.seconds():.1f} s")
        stores = [node for node in cluster.nodes if cluster.store(node).is_dir()]
    check_images(work, "images", outputs)
    require(len(stores) == NODES, f"only {stores} worked")
    sent = Counter(work.index.sent)
    several = {wheel: count for wheel, count in sent.items() if count > 1}
    figure("wheels", f"{len(sent)} of {len(work.index.wheels)} fetched, {len(several)} of them more than once")
    require(set(sent) == set(work.index.wheels), f"never fetched: {set(work.index.wheels) - set(sent)}")
    require(not several, f"fetched more than once: {several}")
    shutil.rmtree(work.directory / "cluster")


def killed(work):
    """A node that works on a shard of the first stage is killed: Slurm gives its shard to another."""
    with Cluster(work.directory / "cluster", NODES) as cluster:
        watch = Stopwatch()
        jobs = submitted(work, cluster, "killed")
        victim = wait_for_work(cluster, jobs[0])
        cluster.end(victim)
        figure("killed", f"{victim}, {watch.seconds():.1f} s after the submission")
        outputs = ended(work, cluster, jobs)
        figure("three nodes and a killed one", f"{watch.seconds():.1f} s")
        log = (work.directory / "cluster/slurmctld.log").read_text()
        require("requeue" in log.lower(), f"Slurm requeued nothing\n{log}")
    check_images(work, "killed", outputs)
    shutil.rmtree(work.directory / "cluster")


def wait_for_work(cluster, job):
    """The first node on which imgforge writes into its store for a job."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for node in cluster.nodes:
            if (cluster.store(node) / "blobs").is_dir() and cluster.started_on(node):
                return node
        time.sleep(0.02)
    return require(False, f"no node began to work on {job}: {cluster.tasks()}")


def runners(work):
    """The same images on 1, 2, 4 and 8 nodes, of which every one is empty and the cache as well: the seconds, and which part
    of so many times one node's speed they are. No more nodes work at once than this machine has processors."""
    processors = len(os.sched_getaffinity(0))
    alone = None
    for nodes in RUNNERS:
        name = f"runners-{nodes}"
        with Cluster(work.directory / "cluster", nodes) as cluster:
            watch = Stopwatch()
            outputs = ended(work, cluster, submitted(work, cluster, name))
            seconds = watch.seconds()
        check_images(work, name, outputs)
        shutil.rmtree(work.directory / "cluster")
        alone = alone or seconds
        speedup = alone / seconds
        parts = f"{speedup / nodes:.0%} of {nodes} nodes, {speedup / min(nodes, processors):.0%} of the processors"
        figure(f"{nodes} nodes", f"{seconds:.1f} s: {parts}")


QUICK_STEPS = {"locked": locked, "planned": planned, "one-machine": one_machine, "cluster": cluster}
STEPS = QUICK_STEPS | {"killed": killed, "runners": runners}


def main():
    command_line = program.parser("acceptance/slurm", __doc__)
    command_line.add_argument("--quick", action="store_true", help="twelve images instead of 60, and no node is killed")
    quick = command_line.parse_args().quick
    require(is_installed(), "Slurm is not installed: apt-get install slurmctld slurmd slurm-client")
    with Matrix({"left": 4} if quick else {"left": 5, "right": 4}) as work:
        steps = QUICK_STEPS if quick else STEPS
        program.perform(steps, list(steps), work)


if __name__ == "__main__":
    program.start(main)
