"""What a release carries, judged by those who read it: bills of materials by spdx-tools, CycloneDX's own schema, and what
Python and dpkg of the image say; signatures by skopeo under a policy and by cosign; referrers by oras. `--quick` leaves the
last two out.
"""

import json
import os
import shutil
import subprocess
from functools import cached_property

from acceptance.registries import Registry
from harness import program
from harness.chroot import Root
from harness.imgforge import binary, build, imgforge
from harness.paths import UV
from harness.processes import run
from harness.report import Stopwatch, figure, require
from harness.suites import unpacked
from harness.work import Work

RECIPE = {
    "base": "debian-bookworm",
    "packages": ["requests==2.32.3", "numpy==2.2.6", "nvidia-cuda-runtime-cu12==12.4.127"],
}
DEBIAN = {
    "suites": ["bookworm", "bookworm-updates", "bookworm-security"],
    "components": ["main"],
    "packages": ["apt", "ca-certificates", "tzdata", "python3", "python3-pip", "libgomp1", "libstdc++6"],
}
SPDX_TOOLS = "spdx-tools==0.8.3"
CYCLONEDX = "cyclonedx-python-lib[json-validation]==11.11.0"
INSTALLED = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
LOADS = """
import numpy, requests
from ctypes import CDLL
CDLL("libsodium.so.23")
CDLL("libcudart.so.12")
print("loaded")
"""
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(errors) if errors else 0)
"""


class Release(Work):
    """The work, with one image in a layout that all steps share."""

    @cached_property
    def recipe_file(self):
        return self.recipe("release", RECIPE)

    @cached_property
    def layout(self):
        layout = self.directory / "image"
        figure("image", build(self.recipe_file, f"oci:{layout}").digest[:19])
        return layout

    @cached_property
    def trixie(self):
        """The root with skopeo, cosign and oras of trixie; skopeo's libraries are newer than this machine's, and bookworm's
        skopeo is built without these signatures."""
        libraries = ("libc6", "libgpgme11t64", "libassuan9", "libgpg-error0")
        wanted = dict.fromkeys(("skopeo", "cosign", "oras", *libraries), "trixie")
        return unpacked(wanted, made(self.directory / "trixie")) / "usr"

    @property
    def skopeo(self):
        loader = self.trixie / "lib64/ld-linux-x86-64.so.2"
        return [loader, "--library-path", self.trixie / "lib/x86_64-linux-gnu", self.trixie / "bin/skopeo"]

    @cached_property
    def forky(self):
        return unpacked({"cosign": "forky"}, made(self.directory / "forky")) / "usr"


def made(directory):
    directory.mkdir()
    return directory


def bills(work):
    """The bills of an image are valid, and list what Python and dpkg list."""
    root = work.directory / "root"
    run("umoci", "raw", "unpack", "--image", f"{work.layout}:latest", root)
    spdx, cyclonedx = work.directory / "bill.spdx.json", work.directory / "bill.cdx.json"
    watch = Stopwatch()
    spdx.write_text(imgforge("sbom", f"oci:{work.layout}"))
    figure("written in", f"{watch.seconds():.2f} s")
    cyclonedx.write_text(imgforge("sbom", f"oci:{work.layout}", "--format", "cyclonedx-json"))
    run(UV, "tool", "run", "--quiet", "--from", SPDX_TOOLS, "pyspdxtools", "--version", "SPDX-2.3", "-i", spdx)
    script = work.directory / "validate.py"
    script.write_text(VALIDATE)
    run(UV, "run", "--quiet", "--no-project", "--with", CYCLONEDX, script, cyclonedx)
    figure("valid by", "spdx-tools and CycloneDX's schema")

    inside = Root(root)
    told = inside.run("python3", "-c", INSTALLED)
    require(told.code == 0, f"Python failed: {told.error}")
    distributions = {normalized(line) for line in told.output.splitlines()}
    query = inside.run(
        "dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package} ${Version} ${Architecture}\\n"
    )
    debian = {line.removeprefix("installed ") for line in query.output.splitlines() if line.startswith("installed ")}
    require(distributions and debian, "nothing is installed")
    document = json.loads(spdx.read_text())
    packages = document["packages"][1:]
    listed = [(one, one["externalRefs"][0]["referenceLocator"]) for one in packages]
    same(
        "distributions",
        distributions,
        {f"{one['name']} {one['versionInfo']}" for one, purl in listed if ":pypi/" in purl},
    )
    arches = {
        f"{one['name']} {one['versionInfo']} {purl.split('arch=')[1].split('&')[0]}"
        for one, purl in listed
        if ":deb/" in purl
    }
    same("Debian packages", debian, arches)
    cuda = [one for one, purl in listed if ":generic/nvidia/" in purl]
    require([one["name"] for one in cuda] == ["cuda-runtime"], f"components: {cuda}")
    require("NVIDIA" in cuda[0]["licenseDeclared"], f"the licence of CUDA is {cuda[0]['licenseDeclared']}")
    stated = sum(1 for one, _ in listed if one["licenseDeclared"] != "NOASSERTION")
    figure("licences", f"{stated} of {len(listed)} packages state theirs")
    names = {one["purl"] for one in json.loads(cyclonedx.read_text())["components"]}
    require(names == {purl for _, purl in listed}, "the two bills differ")


def normalized(line):
    name, version = line.split()
    return f"{name.lower().replace('_', '-').replace('.', '-')} {version}"


def same(what, expected, found):
    missing, more = sorted(expected - found), sorted(found - expected)
    require(not missing and not more, f"{what}: missing {missing}, too many {more}")
    figure(what, f"{len(found)}, as the image itself lists them")


def key_pair(work):
    key, public = work.directory / "key.pem", work.directory / "key.pub"
    if not key.exists():
        run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        run("openssl", "pkey", "-in", key, "-pubout", "-out", public)
    return key, public


def refused(*command, said):
    done = subprocess.run(
        [str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    require(done.returncode != 0 and said in done.stderr, f"`{said}` is not said:\n{done.stderr}")


def pulls(work, reference, public, policy):
    """The command by which skopeo pulls under a policy that wants the key's signature."""
    registries = work.directory / "registries.d"
    registries.mkdir(exist_ok=True)
    (registries / "default.yaml").write_text("default-docker:\n  use-sigstore-attachments: true\n")
    wanted = {"type": "sigstoreSigned", "keyPath": str(public), "signedIdentity": {"type": "matchRepository"}}
    policy.write_text(json.dumps({"default": [{"type": "reject"}], "transports": {"docker": {"": [wanted]}}}))
    target = work.directory / "pulled"
    shutil.rmtree(target, ignore_errors=True)
    options = ["--policy", policy, "--registries.d", registries]
    return [
        *work.skopeo,
        *options,
        "copy",
        "--remove-signatures",
        "--src-tls-verify=false",
        f"docker://{reference}",
        f"oci:{target}:x",
    ]


def signatures(work):
    """What imgforge signs, skopeo pulls under a policy; another key's, another digest's and an unsigned image it refuses."""
    key, public = key_pair(work)
    with Registry(work.directory / "signatures") as registry:
        reference = f"{registry.host}/team/app:v1"
        pushed = build(work.recipe_file, f"docker://{reference}", "--sign-by", key)
        seen = imgforge("verify", f"docker://{reference}", "--key", public).strip()
        require(seen == pushed.digest, f"verified {seen}, built {pushed.digest}")
        policy = work.directory / "policy.json"
        run(*pulls(work, reference, public, policy))
        figure("skopeo", "pulls under a policy of the key")
        other = work.directory / "other.pub"
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", work.directory / "other.pem")
        run("openssl", "pkey", "-in", work.directory / "other.pem", "-pubout", "-out", other)
        refused(*pulls(work, reference, other, policy), said="signature")
        refused(binary(), "verify", f"docker://{reference}", "--key", other, said="is the key's")
        unsigned = f"{registry.host}/team/unsigned:v1"
        imgforge("copy", f"docker://{reference}", f"docker://{unsigned}")
        refused(*pulls(work, unsigned, public, policy), said="signature")
        refused(binary(), "verify", f"docker://{unsigned}", "--key", public, said="is not signed")
        figure("refused", "another key, and an image without a signature")


def cosign(work):
    """cosign of later suites verifies what imgforge signs, with its own keys too, and imgforge what cosign signs."""
    password = {"COSIGN_PASSWORD": "of the test"}
    environment = os.environ | password
    for name, place in (("trixie", work.trixie / "bin/cosign"), ("forky", work.forky / "bin/cosign")):
        prefix = work.directory / f"cosign-{name}"
        run(place, "generate-key-pair", "--output-key-prefix", prefix, env=environment)
        key, public = f"{prefix}.key", f"{prefix}.pub"
        with Registry(work.directory / f"cosign-registry-{name}") as registry:
            by_us, by_them = f"{registry.host}/by/imgforge:v1", f"{registry.host}/by/cosign:v1"
            said = ["--provenance", "--sbom", "spdx-json", "--sbom", "cyclonedx-json"]
            build(work.recipe_file, f"docker://{by_us}", "--sign-by", key, *said, environment=environment)
            verify = [place, "verify", "--key", public, "--insecure-ignore-tlog=true", "--allow-insecure-registry"]
            told = json.loads(run(*verify, by_us).strip())
            digest = told[0]["critical"]["image"]["docker-manifest-digest"]
            require(imgforge("verify", f"docker://{by_us}", "--key", public).strip() == digest, "another digest")
            for kind in ("slsaprovenance1", "spdxjson", "cyclonedx"):
                run(place, "verify-attestation", *verify[2:], "--type", kind, by_us)
            imgforge("copy", f"oci:{work.layout}", f"docker://{by_them}")
            sign = [place, "sign", "--yes", "--key", key, "--allow-insecure-registry", "--tlog-upload=false"]
            if name == "forky":
                sign += ["--new-bundle-format=false", "--use-signing-config=false"]
            run(*sign, f"{registry.host}/by/cosign@{digest}", env=environment)
            imgforge("verify", f"docker://{by_them}", "--key", public)
            figure(f"cosign of {name}", "verifies ours and three attestations, and its own verify with imgforge")


def referrers(work):
    """oras finds what is attached, and gives the documents as they were."""
    with Registry(work.directory / "referrers") as registry:
        reference = f"{registry.host}/team/app:v1"
        build(
            work.recipe_file, f"docker://{reference}", "--sbom", "spdx-json", "--sbom", "cyclonedx-json", "--provenance"
        )
        oras = work.trixie / "bin/oras"
        found = json.loads(run(oras, "discover", "--plain-http", "--format", "json", reference))
        listed = found.get("referrers") or found["manifests"]
        types = sorted(one["artifactType"] for one in listed)
        expected = ["application/spdx+json", "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"]
        require(types == expected, f"oras found {types}")
        figure("oras", f"finds {', '.join(types)}")
        imgforge("check", f"docker://{reference}")


def indexed(work):
    """An index with its documents beside the image: skopeo and podman take the image by its platform, and skopeo copies
    the whole of it."""
    with Registry(work.directory / "indexed") as registry:
        reference = f"{registry.host}/team/app:v1"
        alone = build(work.recipe_file, f"oci:{work.directory}/indexed-alone").digest
        said = ["--sbom", "spdx-json", "--sbom", "cyclonedx-json", "--provenance", "--in-index"]
        build(work.recipe_file, f"docker://{reference}", *said)
        inspect = ["skopeo", "inspect", "--tls-verify=false"]
        index = json.loads(run(*inspect, "--raw", f"docker://{reference}"))
        image, beside = index["manifests"]
        require(image["digest"] == alone, f"the image is {image['digest']}, and {alone} without documents")
        require(beside["annotations"]["vnd.docker.reference.digest"] == alone, f"they are about {beside}")
        copy = ["skopeo", "copy", "--quiet", "--src-tls-verify=false"]
        run(*copy, f"docker://{reference}", f"oci:{work.directory}/by-skopeo:x")
        listed = json.loads((work.directory / "by-skopeo" / "index.json").read_text())["manifests"]
        require([one["digest"] for one in listed] == [alone], f"skopeo copied {listed}")
        run(*copy, "--all", f"docker://{reference}", f"oci:{work.directory}/all-by-skopeo:x")
        imgforge("check", f"oci:{work.directory}/all-by-skopeo")
        run("podman", "pull", "--quiet", "--tls-verify=false", reference)
        pulled = run("podman", "image", "inspect", "--format", "{{.Id}}", reference).strip()
        run("podman", "rmi", reference)
        manifest = json.loads((work.directory / "by-skopeo" / "blobs" / "sha256" / alone.split(":")[1]).read_text())
        require(manifest["config"]["digest"] == f"sha256:{pulled}", f"podman pulled {pulled}")
        figure("in an index", "skopeo and podman take the image by its platform, and skopeo copies all")


def rebased(work):
    """The image goes over a Debian with one library more, in seconds; Python imports there what it has."""
    newer = work.directory / "newer"
    base = json.loads(json.dumps(DEBIAN))
    base["packages"].append("libsodium23")
    build(work.recipe("release-base", {"base": base, "packages": []}), f"oci:{newer}")
    moved, root = work.directory / "moved", work.directory / "moved-root"
    watch = Stopwatch()
    imgforge("rebase", f"oci:{work.layout}", "--base", f"oci:{newer}", "-o", f"oci:{moved}")
    figure("rebased in", f"{watch.seconds():.1f} s")
    imgforge("check", f"oci:{moved}")
    run("umoci", "raw", "unpack", "--image", f"{moved}:latest", root)
    told = Root(root).run("python3", "-c", LOADS)
    require(told.output == "loaded\n", f"Python said {told}")
    # As ldconfig itself writes the cache of this system.
    before = (root / "etc/ld.so.cache").read_bytes()
    require(Root(root).run("ldconfig").code == 0, "ldconfig failed")
    require((root / "etc/ld.so.cache").read_bytes() == before, "ldconfig writes another cache")
    figure("runs", "imports, loads a library that only the new base has, and ldconfig would change nothing")


STEPS = {
    "bills": bills,
    "signatures": signatures,
    "cosign": cosign,
    "referrers": referrers,
    "indexed": indexed,
    "rebased": rebased,
}


def main():
    names = program.step_names(
        "acceptance/release", __doc__, STEPS, quick=("bills", "signatures", "indexed", "rebased")
    )
    with Release("release") as work:
        program.perform(STEPS, names, work)


if __name__ == "__main__":
    program.start(main)
