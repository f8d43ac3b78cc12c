"""Images that differ from others by one layer."""

import gzip
import hashlib
import io
import os
import tarfile

from harness.oci import GZIP_LAYER, Layout


def tar(files, removed):
    """A layer: FILES are pairs of a path and bytes, REMOVED are paths of lower layers."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in files:
            header = tarfile.TarInfo(path)
            header.mode = 0o644
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
        for path in removed:
            directory, _, name = path.rpartition("/")
            archive.addfile(tarfile.TarInfo(f"{directory}/.wh.{name}".lstrip("/")))
    return buffer.getvalue()


def with_layer(base, directory, raw, environment):
    """Writes the image of the layout `base` with one more layer, and with variables set, or removed where they are None."""
    old, new = Layout(base), Layout(directory)
    manifest, config = old.manifest, old.config
    new.blobs.mkdir(parents=True)
    for layer in manifest["layers"]:
        os.link(old.blob(layer), new.blob(layer))
    manifest["layers"].append(new.put(gzip.compress(raw, 0, mtime=0), GZIP_LAYER))
    config["rootfs"]["diff_ids"].append(f"sha256:{hashlib.sha256(raw).hexdigest()}")
    config.setdefault("history", []).append({"created": "2026-01-01T00:00:00Z", "created_by": "variant"})
    for name, value in environment.items():
        settings = config.setdefault("config", {})
        others = [entry for entry in settings.get("Env") or [] if not entry.startswith(f"{name}=")]
        settings["Env"] = others + ([f"{name}={value}"] if value is not None else [])
    new.publish(manifest, config)
