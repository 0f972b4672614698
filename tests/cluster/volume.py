"""A small volume for the trail, on which faults can be made: memory of the node, claimed as any other volume."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exectrail.contracts.record import Record, decode
from exectrail.contracts.seal import seal
from exectrail.reading import segments

from .cluster import Cluster
from .node.paths import RUN
from .node.pki import NODE_NAME
from .product import NAMESPACE

FOLDER = RUN / "trails"
"""What is mounted there goes with the node, also where a test run was killed."""
FILE = FOLDER / f"trail-{NODE_NAME}.jsonl"
CLAIM = "faulty"
_SIZE = 48 << 20


@contextmanager
def claimed(admin: Cluster) -> Iterator[None]:
    """The volume, with a claim in the release's namespace."""
    _remove(admin)  # a test run that was killed may have left it
    FOLDER.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=750", "tmpfs", FOLDER], check=True)
    try:
        _claim(admin)
        yield
    finally:
        _remove(admin, "--wait=false")  # the enricher still has it, until the next values come
        # Lazily: a pod that ends may still hold it.
        subprocess.run(["umount", "--lazy", FOLDER], check=True)
        FOLDER.rmdir()


def _remove(admin: Cluster, *wait: str) -> None:
    for kind, *there in (("pvc", "-n", NAMESPACE), ("pv",)):
        admin.kubectl("delete", kind, CLAIM, *there, "--ignore-not-found", "--timeout=60s", *wait)


def _claim(admin: Cluster) -> None:
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": "test"}
    size = {"storage": "1Gi"}
    admin.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": CLAIM},
            "spec": {**common, "capacity": size, "hostPath": {"path": str(FOLDER)}},
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM, "namespace": NAMESPACE},
            "spec": {**common, "resources": {"requests": size}},
        },
    )


@contextmanager
def full() -> Iterator[None]:
    """No room for another byte."""
    ballast = FOLDER / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            pass
    yield
    ballast.unlink()


@contextmanager
def read_only(pid: int) -> Iterator[None]:
    """A volume in its place, as the process sees it, that cannot be written: as after an error of its disk."""
    # In its mount namespace. The kernel makes no volume read-only by request while a file is open for writing.
    inside = ("nsenter", "--target", str(pid), "--mount")
    subprocess.run([*inside, "mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "/trail"], check=True)
    yield
    # Lazily: it is being tried.
    subprocess.run([*inside, "umount", "--lazy", "/trail"], check=True)


def compressed() -> list[Path]:
    """Closed and compressed segments of the trail."""
    return sorted(FOLDER.glob("trail-*.gz"))


def records() -> list[Record]:
    """The whole trail, which is one chain."""
    lines = [line for stream in segments.read(FILE) for line in stream.read().splitlines()]
    found = [decode(line) for line in lines]
    assert [record.seq for record in found] == list(range(found[0].seq, found[0].seq + len(found)))
    assert [record.prev for record in found[1:]] == [seal(line) for line in lines[:-1]]
    return found
