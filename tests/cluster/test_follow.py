"""`exectrail follow` on the cluster: over restarts of pods and rotation it neither misses nor repeats a record."""

import gzip
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from exectrail.contracts.record import Record, decode

from .cluster import Cluster, eventually
from .followed import Followed, following
from .product import NAMESPACE, TRAIL
from .sessions import Person

_LINES = 60
_FILL = f"for i in $(seq {_LINES}); do /bin/true $i $(head -c 40000 /dev/zero | tr '\\0' x); done"
"""More than two files of a megabyte."""
_SMALL_FILES = pytest.mark.values("logs.auditLogMaxSize=1")
_STDOUT = pytest.mark.values("logs.mode=stdout")


def _restarted(component: str) -> Callable[[Person, str], None]:
    """A DaemonSet's pod is deleted and made anew, and an exec comes before it is there."""

    def happen(alice: Person, recorded: str) -> None:
        admin = alice.admin
        admin.kubectl("delete", "pod", "-n", NAMESPACE, "-l", f"app.kubernetes.io/component={component}")
        _enter(alice, recorded, "true", "meanwhile")
        admin.kubectl("rollout", "status", "-n", NAMESPACE, f"ds/exectrail-{component}", "--timeout=60s")

    return happen


def _away(alice: Person, recorded: str) -> None:
    """No reader's pod is there for longer than the command waits for its second try."""
    admin = alice.admin
    daemonset = "ds/exectrail-node"
    nowhere = '{"spec":{"template":{"spec":{"nodeSelector":{"nowhere":%s}}}}}'
    admin.kubectl("patch", "-n", NAMESPACE, daemonset, "--patch", nowhere % '"true"')
    try:
        eventually(lambda: "Running" not in _readers(admin), 60)
        _enter(alice, recorded, "true", "meanwhile")
        time.sleep(10)
    finally:
        admin.kubectl("patch", "-n", NAMESPACE, daemonset, "--patch", nowhere % "null")
    admin.kubectl("rollout", "status", "-n", NAMESPACE, daemonset, "--timeout=60s")


def _readers(admin: Cluster) -> str:
    label = "app.kubernetes.io/component=node"
    return admin.kubectl("get", "pods", "-n", NAMESPACE, "-l", label, "-o=jsonpath={.items[*].status.phase}").stdout


def _rotated(alice: Person, recorded: str) -> None:
    before = len(_closed())
    _enter(alice, recorded, "sh", "-c", _FILL)
    eventually(lambda: len(_closed()) >= before + 2)


def _enter(alice: Person, namespace: str, *command: str) -> None:
    alice.cluster.kubectl("exec", "-n", namespace, "web", "-c", "app", "--", *command)


def _closed() -> list[Path]:
    return sorted(Path(TRAIL).parent.glob("trail-*"))


@pytest.mark.parametrize(
    "happen",
    [
        pytest.param(_restarted("node"), id="the reader's pod is deleted", marks=_SMALL_FILES),
        pytest.param(_away, id="the reader's pod is gone for a while", marks=_SMALL_FILES),
        pytest.param(_restarted("enricher"), id="the enricher is restarted", marks=_SMALL_FILES),
        pytest.param(_rotated, id="files are closed", marks=_SMALL_FILES),
    ],
)
def test_each_record_of_the_file_comes_once(
    alice: Person, recorded: str, happen: Callable[[Person, str], None]
) -> None:
    with following(alice.admin, recorded) as followed:
        _through(followed, alice, recorded, happen)

    came = [record.audit_id for record in followed.records]
    expected = [record.audit_id for record in _written() if _is_followed(record, recorded)]
    first = expected.index(came[0])
    assert came == expected[first : first + len(came)]
    assert not followed.missing


@_STDOUT
def test_standard_output_is_followed_over_a_restart_of_the_enricher(alice: Person, recorded: str) -> None:
    with following(alice.admin, recorded) as followed:
        _through(followed, alice, recorded, _restarted("enricher"))

    numbers = [record.seq for record in followed.records]
    assert numbers == sorted(set(numbers))
    assert not followed.missing


def _through(followed: Followed, alice: Person, recorded: str, happen: Callable[[Person, str], None]) -> None:
    """Have it happen between two commands, both of which come."""
    first, last = (["true", str(uuid.uuid4())] for _ in range(2))
    _enter(alice, recorded, *first)
    happen(alice, recorded)
    _enter(alice, recorded, *last)
    eventually(lambda: followed.has(*last), 90)
    assert followed.has(*first)


def _is_followed(record: Record, namespace: str) -> bool:
    return record.kind == "exec" and record.resource is not None and record.resource.namespace == namespace


def _written() -> list[Record]:
    """The node's whole trail: closed files and the one that is being written."""
    names = sorted({file.name.removesuffix(".gz") for file in _closed()})
    return [decode(line) for name in [*names, "trail.jsonl"] for line in _content(name).splitlines()]


def _content(name: str) -> bytes:
    file = Path(TRAIL).with_name(name)
    return file.read_bytes() if file.exists() else gzip.decompress(file.with_name(f"{name}.gz").read_bytes())
