"""The OCI layout, validated by programs of others: skopeo, umoci, the JSON schemas, oci-image-tool."""

import json
import os
from pathlib import Path

import jsonschema
import referencing

from harness.oci import Layout
from harness.processes import run
from harness.report import Stopwatch, figure, gigabytes, require

SCHEMAS = Path("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema")


def inspect(work):
    for image in (work.layout_destination, work.archive_destination):
        seen = json.loads(run("skopeo", "inspect", image))
        require(seen["Digest"] == work.digest, f"skopeo sees {seen['Digest']} in {image}, not {work.digest}")
    figure("skopeo inspect", f"{len(seen['Layers'])} layers, created {seen['Created']}")
    watch = Stopwatch()
    run("oci-image-tool", "validate", "--type", "image", "--ref", "name=latest", work.layout)
    figure("oci-image-tool validate", f"{watch.seconds():.0f} s")


def schemas(work):
    layout = Layout(work.layout)
    digest, manifest, config = layout.descriptor["digest"], layout.manifest, layout.config
    require(digest == work.digest, f"the index names {digest}, not {work.digest}")
    validate(read(work.layout / "oci-layout"), "image-layout-schema.json")
    validate(layout.index, "image-index-schema.json")
    validate(manifest, "image-manifest-schema.json")
    validate(config, "config-schema.json")
    history = [entry for entry in config["history"] if not entry.get("empty_layer")]
    require(len(history) == len(manifest["layers"]), "not every layer has its history")
    require(all("created" in entry for entry in config["history"]), "a history entry lacks `created`")
    figure("schemas", "layout, index, manifest and config are valid")
    figure("layers", f"{len(manifest['layers'])}, {gigabytes(sum(layer['size'] for layer in manifest['layers']))}")


def unpack(work):
    watch = Stopwatch()
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    run("umoci", "unpack", *rootless, "--image", f"{work.layout}:latest", work.bundle)
    figure("umoci unpack", f"{watch.seconds():.0f} s")


def read(path):
    return json.loads(path.read_text())


def validate(document, schema):
    def by_file_name(uri):
        contents = read(SCHEMAS / uri.rsplit("/", 1)[-1])
        return referencing.Resource.from_contents(contents, referencing.jsonschema.DRAFT4)

    validator = jsonschema.Draft4Validator(read(SCHEMAS / schema), registry=referencing.Registry(retrieve=by_file_name))
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    require(not errors, f"{schema} is violated:\n" + "\n".join(errors))
