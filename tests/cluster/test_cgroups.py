"""Pods are found where they are; one that is not found shows as a fault."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .cluster import Cluster, eventually
from .node.cgroups import kubepods
from .node.container_runtimes import FOREIGN, MIXED_DRIVERS
from .product import NAMESPACE, container_id, may_enter, namespace, pod
from .sessions import Person

_STALE = "a-kubepods.slice"
"""Sorts before the node's own `kubepods`."""


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


@contextmanager
def _running(admin: Cluster, handler: str) -> Iterator[str]:
    """A namespace whose pod `web` has this runtime."""
    runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": handler}}
    admin.apply({**runtime, "handler": handler}, namespace(handler, record="true"), *may_enter(handler))
    admin.kubectl("wait", "-n", handler, "--for=create", "serviceaccount/default", "--timeout=120s")
    admin.apply(pod(handler, runtimeClassName=handler))
    try:
        admin.kubectl("wait", "-n", handler, "pod/web", "--for=condition=Ready", "--timeout=60s")
        yield handler
    finally:
        admin.kubectl("delete", "pod", "-n", handler, "web", "--now")
        admin.kubectl("delete", "namespace", handler, "--wait=false")
        admin.kubectl("delete", "runtimeclass", handler)


def test_an_exec_is_recorded_where_runtime_and_kubelet_have_different_cgroup_drivers(
    admin: Cluster, alice: Person
) -> None:
    with _running(admin, MIXED_DRIVERS) as space:
        _, records = alice.executes(space, "sh", "-c", "/bin/true found; exit 3", code=3)

    assert [each.argv for each in records if each.kind == "exec"][-1] == ["/bin/true", "found"]
    assert {(each.user, each.origin, each.state) for each in records} == {("alice", "session", "confirmed")}


def test_a_pod_whose_processes_are_not_found_is_uncovered_with_the_reason(admin: Cluster) -> None:
    with _running(admin, FOREIGN) as space:
        container = container_id(space)

        def reported() -> str:
            (status,) = [each["status"] for each in admin.get("nodetrails")["items"] if each["status"].get("sensor")]
            found = [each for each in status.get("uncovered", []) if each["pod"] == f"{space}/web"]
            assert found, "it is not reported"
            assert (found[0]["reason"], found[0]["runtime"]) == ("cgroup-unknown", "containerd")
            return str(found[0]["detail"])

        detail = eventually(reported, 60)
        log = admin.kubectl("logs", "-n", NAMESPACE, "ds/exectrail-enricher").stdout
        diagnosis = admin.exectrail("doctor", check=False)

    assert f"/exectrail-elsewhere/libpod-{container}.scope, expected a folder of its pod" in detail
    assert f"{space}/web is to be recorded and is not: " in log
    assert diagnosis.returncode != 0
    assert re.search(rf"{space}/web\b", diagnosis.stdout)
