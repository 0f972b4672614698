"""Writing OCI image archives: a tar of blobs that containerd and buildah import.

https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_MEDIA = "application/vnd.oci.image."
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """An image of one layer. `layer` is a tar file, `config` the specification's execution parameters
    (https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md), e.g. `{"Cmd": ["sh"]}`.
    """

    name: str
    layer: Path
    config: Mapping[str, object] = field(default_factory=dict)


def write_layer(target: Path, files: Mapping[str, Path]) -> None:
    """Write a tar of executable files: `files` maps the path in the image to the file here.

    Owner and time are fixed, so the same files give the same digest.
    """
    with tarfile.open(target, "w") as tar:
        for path, source in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = source.stat().st_size, 0o755
            with source.open("rb") as content:
                tar.addfile(entry, content)


def write_archive(target: Path, images: Sequence[Image]) -> None:
    """Write one archive with all `images`; a layer or blob that several share is stored once."""
    with tarfile.open(target, "w") as tar:
        writer = _Writer(tar)
        manifests = [writer.image(image) for image in images]
        writer.file("oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        index = {"schemaVersion": 2, "mediaType": f"{_MEDIA}index.v1+json", "manifests": manifests}
        writer.file("index.json", json.dumps(index).encode())


class _Writer:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._written: set[str] = set()

    def image(self, image: Image) -> dict[str, Any]:
        """Write the blobs of an image and return the descriptor of its manifest."""
        layer = self._blob_file(image.layer, f"{_MEDIA}layer.v1.tar")
        config = {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": image.config,
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
            # Optional, but buildah builds no image on one whose history and layers differ in number.
            "history": [{"created_by": "exectrail tests/cluster/node"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA}manifest.v1+json",
            "config": self._blob(json.dumps(config).encode(), f"{_MEDIA}config.v1+json"),
            "layers": [layer],
        }
        # containerd reads the full name from the first key, buildah's reader from the second.
        names = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name}
        return {**self._blob(json.dumps(manifest).encode(), manifest["mediaType"]), "annotations": names}

    def file(self, path: str, content: bytes) -> None:
        self._add(path, len(content), io.BytesIO(content))

    def _blob(self, content: bytes, media_type: object) -> dict[str, Any]:
        return self._add_blob(hashlib.sha256(content).hexdigest(), len(content), io.BytesIO(content), media_type)

    def _blob_file(self, source: Path, media_type: str) -> dict[str, Any]:
        with source.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            content.seek(0)
            return self._add_blob(digest, source.stat().st_size, content, media_type)

    def _add_blob(self, digest: str, size: int, content: IO[bytes], media_type: object) -> dict[str, Any]:
        if digest not in self._written:
            self._written.add(digest)
            self._add(f"blobs/sha256/{digest}", size, content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}

    def _add(self, path: str, size: int, content: IO[bytes]) -> None:
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = size, 0o644
        self._tar.addfile(entry, content)
