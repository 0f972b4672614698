"""A recorded pod whose processes cannot be found is a fault that shows."""

import logging
from collections.abc import Collection
from typing import cast

import pytest

from enricher.containers.cgroup_resolver import NodeCgroups
from enricher.containers.containers import CgroupRef
from enricher.containers.pods import ContainerState, ContainerStatus, Pod, PodSpec, PodStatus, Started
from enricher.containers.uncovered import uncovered
from enricher.containers.unfound import GRACE, Unfound
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.nodetrail import UncoveredPod

ID, OTHER = "a" * 64, "b" * 64


class Cgroups:
    """Cgroups that are known, and containers that are elsewhere."""

    def __init__(self) -> None:
        self.known: dict[int, CgroupRef] = {}
        self.strange: dict[str, str] = {}
        self.searched: list[set[str]] = []

    def search(self, containers: Collection[str]) -> dict[str, str]:
        self.searched.append(set(containers))
        return self.strange


class Node:
    """Looks for pods, with a clock to turn by hand."""

    def __init__(self) -> None:
        self.now, self.cgroups = 0.0, Cgroups()
        self.unfound = Unfound(cast("NodeCgroups", self.cgroups), lambda: self.now)

    def after(self, seconds: float, *pods: Pod) -> list[UncoveredPod]:
        self.now += seconds
        return self.unfound.among(pods)


@pytest.fixture
def node() -> Node:
    return Node()


def pod(container: str = f"containerd://{ID}", *, running: bool = True) -> Pod:
    state = ContainerState(Started() if running else None)
    status = PodStatus([ContainerStatus("app", container, state)] if container else [], phase="Running")
    return Pod(ObjectMeta(name="web", namespace="shop", uid="u"), PodSpec(), status)


def test_a_container_that_is_found_is_covered(node: Node) -> None:
    node.cgroups.known = {7: CgroupRef(ID, "u")}

    assert node.after(0, pod()) == node.after(GRACE, pod()) == []
    assert node.cgroups.searched == []


@pytest.mark.parametrize("no_processes", [pod(running=False), pod("")], ids=["ended", "not started"])
def test_a_container_that_does_not_run_is_not_missed(node: Node, no_processes: Pod) -> None:
    assert node.after(0, no_processes) == node.after(GRACE, no_processes) == []


def test_a_missing_container_is_looked_for_at_once_and_reported_if_it_stays_away(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    before = node.after(0, pod())
    late = node.after(GRACE, pod())
    node.after(5, pod())

    expected = "a folder of its pod below `kubepods` or `kubepods.slice`"
    detail = f"its container aaaaaaaaaaaa has no cgroup that this node shows, expected {expected}"
    assert (before, late) == ([], [UncoveredPod("shop/web", "cgroup-unknown", "containerd", detail)])
    assert node.cgroups.searched[0] == {ID}
    assert [each.getMessage() for each in caplog.records] == [f"shop/web is to be recorded and is not: {detail}"]


@pytest.mark.parametrize(
    ("container", "strange", "detail"),
    [
        (
            f"cri-o://{ID}",
            f"/machine.slice/libpod-{ID}.scope",
            f"has the cgroup /machine.slice/libpod-{ID}.scope, expected",
        ),
        ("rkt://1-2", None, "has the id '1-2', expected 64 hex digits"),
    ],
    ids=["unknown cgroup layout", "unknown runtime"],
)
def test_what_was_found_and_what_was_expected_is_said(
    node: Node, container: str, strange: str | None, detail: str
) -> None:
    if strange:
        node.cgroups.strange = {ID: strange}
    node.after(0, pod(container))

    (found,) = node.after(GRACE, pod(container))

    assert found.runtime == container.partition("://")[0]
    assert detail in found.detail


def test_a_pod_that_is_found_after_all_is_no_longer_reported(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    node.after(0, pod())
    node.after(GRACE, pod())
    node.cgroups.known = {7: CgroupRef(ID, "u")}

    assert node.after(1, pod()) == []
    assert caplog.records[-1].getMessage() == "shop/web has been found, or is gone"


def test_the_whole_tree_is_not_walked_at_each_look(node: Node) -> None:
    for _ in range(12):
        node.after(5, pod())
    missed_later = pod(f"containerd://{OTHER}")
    node.after(0, pod(), missed_later)

    assert node.cgroups.searched == [{ID}, {ID}, {ID, OTHER}]


def test_a_pod_with_a_runtime_of_its_own_is_reported_for_that(node: Node) -> None:
    sandboxed = Pod(pod().metadata, PodSpec(runtime_class_name="gvisor"), pod().status)
    uncovered([sandboxed], {}, node.unfound)
    node.now += GRACE

    assert uncovered([sandboxed], {}, node.unfound) == [UncoveredPod("shop/web", "sandboxed", "gvisor")]
