"""Bringing image archives into containerd, where kubelet finds them, and into buildah's storage."""

import json
import tarfile
from pathlib import Path

from .components import BASE_IMAGE
from .paths import CONTAINERD_SOCKET
from .run import run, step


def into_containerd(archive: Path, what: str) -> None:
    """Import the images of an OCI archive that containerd hasn't."""
    there = containerd_images()
    if all(there.get(name) == digest for name, digest in archive_images(archive).items()):
        return
    with step(f"{what} imported"):
        # Kubernetes' images have a namespace of their own in containerd.
        _ctr("images", "import", archive)


def containerd_images() -> dict[str, str]:
    """Digest of the manifest of every image that kubelet can use, by name."""
    rows = [line.split() for line in _ctr("images", "ls").splitlines()[1:]]
    return {row[0]: row[2] for row in rows}


def archive_images(archive: Path) -> dict[str, str]:
    """Digest of the manifest of every image in an OCI archive, by name."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("index.json")
        index = json.loads(member.read() if member else b"{}")
    name = "org.opencontainers.image.ref.name"
    return {manifest["annotations"][name]: manifest["digest"] for manifest in index["manifests"]}


def into_buildah(archive: Path) -> None:
    """Have the base image of `archive` in buildah's storage, where the product's build looks for it."""
    rows = json.loads(run("buildah", "images", "--json", "--all") or "[]") or []
    digests = {name: row["digest"] for row in rows for name in row.get("names") or ()}
    if digests.get(BASE_IMAGE) == archive_images(archive)[BASE_IMAGE]:
        return
    with step("base image in buildah"):
        image = run("buildah", "pull", "--quiet", f"oci-archive:{archive}:{BASE_IMAGE}").strip()
        run("buildah", "tag", image, BASE_IMAGE)


def _ctr(*arguments: str | Path) -> str:
    return run("ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", *arguments)
