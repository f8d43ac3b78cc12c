"""Images that differ from others by one layer."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path


def blob(layout, descriptor):
    return layout / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")


def put(layout, data, media_type):
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def read(layout):
    """The manifest and the config of a layout with one image."""
    index = json.loads((layout / "index.json").read_bytes())
    manifest = json.loads(blob(layout, index["manifests"][0]).read_bytes())
    return manifest, json.loads(blob(layout, manifest["config"]).read_bytes())


def write(layout, manifest, config):
    manifest["config"] = put(layout, json.dumps(config).encode(), manifest["config"]["mediaType"])
    media_type = manifest.get("mediaType", "application/vnd.oci.image.manifest.v1+json")
    descriptor = put(layout, json.dumps(manifest).encode(), media_type)
    descriptor["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    index = {"schemaVersion": 2, "manifests": [descriptor]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def tar(files=(), removed=(), links=()):
    """A layer: FILES are pairs of a path and bytes, or a path on this machine; REMOVED are paths of lower layers."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in files:
            header = tarfile.TarInfo(path)
            header.mode = 0o644
            data = content if isinstance(content, bytes) else Path(content).read_bytes()
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
        for path in removed:
            directory, _, name = path.rpartition("/")
            archive.addfile(tarfile.TarInfo(f"{directory}/.wh.{name}".lstrip("/")))
        for path, target in links:
            header = tarfile.TarInfo(path)
            header.type = tarfile.SYMTYPE
            header.linkname = target
            archive.addfile(header)
    return buffer.getvalue()


def with_layer(base, layout, raw, env=None):
    """Writes to LAYOUT the image of the layout BASE with one more layer, and with variables set."""
    manifest, config = read(base)
    (layout / "blobs/sha256").mkdir(parents=True)
    for layer in manifest["layers"]:
        os.link(blob(base, layer), blob(layout, layer))
    packed = gzip.compress(raw, 0, mtime=0)
    manifest["layers"].append(put(layout, packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
    config["rootfs"]["diff_ids"].append(f"sha256:{hashlib.sha256(raw).hexdigest()}")
    config.setdefault("history", []).append({"created": "2026-01-01T00:00:00Z", "created_by": "variant"})
    for name, value in (env or {}).items():
        settings = config.setdefault("config", {})
        others = [entry for entry in settings.get("Env") or [] if not entry.startswith(f"{name}=")]
        settings["Env"] = others + ([f"{name}={value}"] if value is not None else [])
    write(layout, manifest, config)
