"""OCI layouts of one image, read and written."""

import hashlib
import json
from functools import cached_property

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
GZIP_LAYER = f"{LAYER}+gzip"
ZSTD_LAYER = f"{LAYER}+zstd"


class Layout:
    def __init__(self, path):
        self.path = path
        self.blobs = path / "blobs" / "sha256"

    @cached_property
    def index(self):
        return json.loads((self.path / "index.json").read_text())

    @property
    def descriptor(self):
        """The manifest's, as the index has it."""
        [descriptor] = self.index["manifests"]
        return descriptor

    @cached_property
    def manifest(self):
        return self.read(self.descriptor)

    @cached_property
    def config(self):
        return self.read(self.manifest["config"])

    def blob(self, descriptor):
        return self.blobs / hexadecimal(descriptor)

    def read(self, descriptor):
        return json.loads(self.blob(descriptor).read_text())

    def size(self):
        return sum(blob.stat().st_size for blob in self.blobs.iterdir())

    def put(self, data, media_type):
        """Writes a blob, and returns its descriptor."""
        self.blobs.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def publish(self, manifest, config):
        """Writes the image, with the tag `latest`."""
        manifest = manifest | {"config": self.put(json.dumps(config).encode(), CONFIG)}
        descriptor = self.put(json.dumps(manifest).encode(), MANIFEST)
        descriptor["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
        index = {"schemaVersion": 2, "manifests": [descriptor]}
        (self.path / "index.json").write_text(json.dumps(index))
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def hexadecimal(descriptor):
    return descriptor["digest"].removeprefix("sha256:")
