"""A cache in Debian's docker-registry: an empty machine builds and pushes what another one built, and downloads nothing.

Each step prints its figures beside the limit: the layers to mount, the requests that takes at least, and the bytes that the
machine received from the registry. Nothing else can be reached by it: every proxy that it is told of is dead. The whole
program does it with colab-like; --quick with a small recipe.
"""

import os
import shutil
import subprocess
import threading

from acceptance.builds import RECIPE
from acceptance.registries import Registry
from harness import program
from harness.imgforge import binary, imgforge
from harness.oci import Layout
from harness.processes import packaged, run
from harness.report import Stopwatch, figure, megabytes, require
from harness.work import Work

SKOPEO = packaged("skopeo")
SMALL = {"base": "debian-bookworm", "packages": ["click==8.1.7", "pyyaml==6.0.1", "numpy==2.1.3"]}
MOST_RECEIVED = 20e6
MOST_SECONDS = 10
WRITERS = 8
# Nothing listens there: whoever asks for anything but the registry on this machine fails.
UNREACHABLE = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")


class SharedCache(Work):
    """A recipe with its lock, the image that it is without a cache, and a registry."""

    def __init__(self, recipe):
        super().__init__("shared-cache", own_store=True)
        self.wanted = recipe
        self.digest = None

    def __enter__(self):
        super().__enter__()
        self.registry = self.stack.enter_context(Registry(self.directory / "registry"))
        if isinstance(self.wanted, dict):
            self.path = self.recipe("recipe", self.wanted)
        else:
            self.path = self.directory / self.wanted.name
            shutil.copy(self.wanted, self.path)
        return self

    def place(self, name):
        return f"docker://{self.registry.host}/{name}"

    def build(self, destination, *options, store=None, alone=False):
        """Builds by the lock, on this machine or with a store of another; `alone` nothing but the registry is there."""
        environment = os.environ | (UNREACHABLE if alone else {})
        environment |= {"NO_PROXY": "127.0.0.1"} | ({"IMGFORGE_CACHE_DIR": str(store)} if store else {})
        digest = imgforge("build", self.path, "--locked", "-o", destination, *options, env=environment, timeout=None)
        return digest.strip()

    def empty_store(self, name):
        store = self.directory / f"store-{name}"
        shutil.rmtree(store, ignore_errors=True)
        return store

    def answers(self):
        """The method, path, status and bytes of each answer so far."""
        lines = [line for line in self.registry.log.read_text().splitlines() if ' "' in line and " HTTP/" in line]
        words = [(line.split('"')[1].split(), line.split('"')[2].split()) for line in lines]
        return [(asked[0], asked[1], int(told[0]), int(told[1])) for asked, told in words if asked[1] != "/v2/"]


def first_machine(work):
    imgforge("lock", work.path, timeout=None)
    watch = Stopwatch()
    work.digest = work.build(f"oci:{work.directory / 'image'}:latest")
    figure("without a cache", f"{work.digest[:19]} in {watch.seconds():.1f} s")
    work.layers = Layout(work.directory / "image").manifest["layers"]
    size = sum(layer["size"] for layer in work.layers)
    figure("layers", f"{len(work.layers)}, {megabytes(size)}")
    shutil.rmtree(work.directory / "image")
    watch = Stopwatch()
    require(work.build(work.place("first/app:v1"), "--cache", work.place("cache")) == work.digest, "another digest")
    figure("into the cache and a repository", f"{watch.seconds():.1f} s")


def empty_machine(work):
    """Builds and pushes with an empty store: documents, mounts, a manifest."""
    store, before = work.empty_store("second"), len(work.answers())
    watch = Stopwatch()
    digest = work.build(work.place("second/app:v1"), "--cache", work.place("cache"), store=store, alone=True)
    seconds = watch.seconds()
    require(digest == work.digest, f"the cache gives {digest}, without it it is {work.digest}")
    told(work, before, seconds)
    shutil.rmtree(store)


def other_image(work):
    """The same with an annotation that no image of the cache has: each layer is asked for by its key."""
    store, before = work.empty_store("third"), len(work.answers())
    watch = Stopwatch()
    options = ("--cache", work.place("cache"), "--annotation", "run=7")
    work.build(work.place("third/app:v1"), *options, store=store, alone=True)
    told(work, before, watch.seconds())
    shutil.rmtree(store)


def told(work, before, seconds):
    answers = work.answers()[before:]
    received = sum(size for method, _, _, size in answers if method != "HEAD")
    layers = {layer["digest"] for layer in work.layers}
    moved = [path for method, path, _, _ in answers if method == "GET" and path.split("/")[-1].split("?")[0] in layers]
    mounts = sum(method == "POST" and "mount=" in path for method, path, _, _ in answers)
    least = 2 * len(layers) + 4  # HEAD and mount for each, the config, the manifest
    figure("received", f"{received / 1e6:.2f} MB, of {megabytes(MOST_RECEIVED)} at most")
    figure("seconds", f"{seconds:.1f}, of {MOST_SECONDS} at most")
    figure("requests", f"{len(answers)}, of which {mounts} mounts; at least {least}")
    require(not moved, f"layers were downloaded: {moved}")
    require(mounts == len(layers), f"{mounts} of {len(layers)} layers were mounted")
    require(received < MOST_RECEIVED, f"{received} bytes were received")
    require(seconds < MOST_SECONDS, f"it took {seconds:.1f} s")


def layout(work):
    """Into a layout: every layer is brought, hashed and read."""
    store, image = work.empty_store("fourth"), work.directory / "pulled"
    watch = Stopwatch()
    digest = work.build(f"oci:{image}:latest", "--cache-from", work.place("cache"), store=store, alone=True)
    require(digest == work.digest, f"the cache gives {digest}")
    figure("into a layout", f"{watch.seconds():.1f} s, each layer hashed and read")
    imgforge("check", f"oci:{image}:latest", timeout=None)
    shutil.rmtree(store)
    shutil.rmtree(image)


def entries(work):
    """Skopeo takes entries of every kind for images."""
    if not shutil.which(SKOPEO):
        return figure("skipped", "skopeo is not installed")
    host = work.registry.host
    tags = run(SKOPEO, "list-tags", "--tls-verify=false", f"docker://{host}/cache")
    kinds = {kind: next(word for word in tags.split('"') if word.startswith(f"{kind}-")) for kind in "lfi"}
    for tag in kinds.values():
        run(SKOPEO, "inspect", "--tls-verify=false", f"docker://{host}/cache:{tag}")
        run(SKOPEO, "inspect", "--config", "--tls-verify=false", f"docker://{host}/cache:{tag}")
    return figure("skopeo", "inspects an entry of each kind")


def writers(work, times):
    """Builds of machines that begin at once, and have all layers, leave one manifest for each key."""
    for time in range(times):
        cache = work.place(f"written/{time}")
        stores = [work.empty_store(f"writer-{number}") for number in range(WRITERS)]
        for store in stores:
            shutil.copytree(work.store, store)
        digests = [None] * WRITERS

        def write(number, cache=cache, stores=stores, digests=digests, time=time):
            place = work.place(f"written/{time}/app:v{number}")
            digests[number] = work.build(place, "--cache", cache, store=stores[number])

        threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        require(set(digests) == {work.digest}, f"the digests are {digests}")
        repository = work.registry.directory / f"data/docker/registry/v2/repositories/written/{time}"
        manifests = list((repository / "_manifests/revisions/sha256").iterdir())
        tags = list((repository / "_manifests/tags").iterdir())
        require(len(manifests) == len(tags), f"{len(tags)} keys have {len(manifests)} manifests")
        for store in stores:
            shutil.rmtree(store)
    figure("writers", f"{WRITERS} at once, {times} times: one manifest for each of {len(tags)} keys")


def collected(work):
    """What was pruned and collected is made anew, with the same digest."""
    pruned = imgforge("cache", "prune", work.place("cache"), "--older-than", "0s").strip()
    figure("prune", pruned)
    work.registry.collect_garbage()
    store = work.empty_store("fifth")
    watch = Stopwatch()
    digest = work.build(work.place("fifth/app:v1"), "--cache", work.place("cache"), store=store)
    require(digest == work.digest, f"after the collection it is {digest}")
    figure("made anew after prune and garbage collection", f"{watch.seconds():.1f} s")
    shutil.rmtree(store)


def pinned(work):
    """Under a lock that pins layers, entries of other keys are refused."""
    imgforge("lock", work.path, "--layers", timeout=None)
    store = work.empty_store("sixth")
    digest = work.build(work.place("sixth/app:v1"), "--cache-from", work.place("cache"), store=store, alone=True)
    require(digest == work.digest, f"under pins it is {digest}")
    shutil.rmtree(store)
    store = work.empty_store("seventh")
    tags = work.registry.directory / "data/docker/registry/v2/repositories/cache/_manifests/tags"
    names = sorted(tag.name for tag in tags.iterdir() if tag.name.startswith("l-"))
    links = [(tags / name / "current/link").read_text() for name in names]
    for name, link in zip(names, [*links[1:], links[0]], strict=True):
        (tags / name / "current/link").write_text(link)
    for tag in [tag for tag in tags.iterdir() if tag.name.startswith("i-")]:
        shutil.rmtree(tag)
    command = [binary(), "build", work.path, "--locked", "-o", work.place("seventh/app:v1")]
    done = subprocess.run(
        [*command, "--cache-from", work.place("cache")],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env=os.environ | {"IMGFORGE_CACHE_DIR": str(store)},
    )  # fmt: skip
    require(done.stdout.strip() == work.digest, f"exchanged entries give {done.stdout}{done.stderr}")
    told = " ".join(done.stderr.split())
    require("it is the entry of another key" in told, "exchanged entries are not told")
    figure("exchanged entries", "named, and made anew")
    shutil.rmtree(store)


STEPS = {
    "first-machine": first_machine,
    "empty-machine": empty_machine,
    "other-image": other_image,
    "layout": layout,
    "entries": entries,
}
QUICK_STEPS = STEPS | {"writers": lambda work: writers(work, 1)}
SMALL_STEPS = STEPS | {"writers": lambda work: writers(work, 100), "collected": collected, "pinned": pinned}


def main():
    command_line = program.parser("acceptance/shared_cache", __doc__)
    command_line.add_argument("--quick", action="store_true", help="with a small recipe alone")
    quick = command_line.parse_args().quick
    with SharedCache(SMALL) as work:
        steps = QUICK_STEPS if quick else SMALL_STEPS
        program.perform(steps, list(steps), work)
    if not quick:
        with SharedCache(RECIPE) as work:
            program.perform(STEPS, list(STEPS), work)


if __name__ == "__main__":
    program.start(main)
