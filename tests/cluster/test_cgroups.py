"""Pods are found where they are; one that is not found shows as a fault."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .cluster import Cluster, eventually
from .node.cgroups import kubepods
from .product import NAMESPACE, container_id, pod
from .sessions import Person

_STALE = "a-kubepods.slice"
"""Sorts before the node's own `kubepods`."""
_ELSEWHERE = "exectrail-elsewhere"


@pytest.fixture
def stale_tree(admin: Cluster) -> Iterator[None]:
    """What another cgroup driver has left, empty, and an enricher that started since."""
    made = [top.with_name(_STALE) for top in kubepods()]
    for folder in made:
        folder.mkdir()
    try:
        _restart(admin)
        yield
    finally:
        for folder in made:
            folder.rmdir()
        _restart(admin)


def _restart(admin: Cluster) -> None:
    admin.kubectl("rollout", "restart", "-n", NAMESPACE, "ds/exectrail-enricher")
    admin.kubectl("rollout", "status", "-n", NAMESPACE, "ds/exectrail-enricher", "--timeout=60s")


@pytest.mark.usefixtures("stale_tree")
def test_an_exec_is_recorded_beside_the_empty_tree_of_another_driver(alice: Person, recorded: str) -> None:
    _, records = alice.executes(recorded, "sh", "-c", "/bin/true found; exit 3", code=3)

    assert [each.argv for each in records if each.kind == "exec"][-1] == ["/bin/true", "found"]
    assert {each.user for each in records} == {"alice"}


def test_a_pod_whose_processes_are_not_found_is_uncovered_with_the_reason(admin: Cluster, recorded: str) -> None:
    admin.apply(pod(recorded, "lost"))
    admin.kubectl("wait", "-n", recorded, "pod/lost", "--for=condition=Ready", "--timeout=60s")
    container = container_id(recorded, pod="lost")
    moved = [_move_away(folder) for top in kubepods() for folder in top.rglob(container)]
    try:

        def reported() -> str:
            (status,) = [each["status"] for each in admin.get("nodetrails")["items"] if each["status"].get("sensor")]
            (found, *_) = [each for each in status.get("uncovered", []) if each["pod"] == f"{recorded}/lost"] or [{}]
            assert found, "it is not reported"
            assert (found["reason"], found["runtime"]) == ("cgroup-unknown", "containerd")
            return str(found["detail"])

        detail = eventually(reported, 60)
        assert f"/{_ELSEWHERE}/libpod-{container}.scope, expected a folder of its pod" in detail
        log = admin.kubectl("logs", "-n", NAMESPACE, "ds/exectrail-enricher").stderr
        log += admin.kubectl("logs", "-n", NAMESPACE, "ds/exectrail-enricher").stdout
        assert f"{recorded}/lost is to be recorded and is not: " in log
    finally:
        admin.kubectl("delete", "-n", recorded, "pod/lost", "--now")
        for folder in moved:
            _remove(folder)


def _move_away(folder: Path) -> Path:
    """Put a container's processes into a cgroup of another tool's layout, and remove their own."""
    tree = next(top.parent for top in kubepods() if top in folder.parents)
    target = tree / _ELSEWHERE / f"libpod-{folder.name}.scope"
    target.mkdir(parents=True)
    for below, name in ((target.parent, "cpus"), (target.parent, "mems"), (target, "cpus"), (target, "mems")):
        if (file := below / f"cpuset.{name}").exists() and not file.read_text().strip():  # v1: none can join without
            file.write_text((below.parent / file.name).read_text())
    for pid in (folder / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            (target / "cgroup.procs").write_text(pid)
    _remove(folder, above=False)
    return target


def _remove(folder: Path, *, above: bool = True) -> None:
    eventually(lambda: _removed(folder))
    if above:
        eventually(lambda: _removed(folder.parent))


def _removed(folder: Path) -> bool:
    """Remove a cgroup; it is busy for a moment while its last process ends."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise AssertionError(f"{folder}: {error}") from error
    return True
