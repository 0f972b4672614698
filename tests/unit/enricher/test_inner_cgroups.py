"""Cgroups that a container makes inside of its own come and go, as in docker-in-docker: the container stays."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from enricher.containers.cgroup_resolver import CgroupfsResolver
from enricher.containers.pod_roots import PodRoots
from enricher.core import Core
from enricher.correlate.tracker import ContainerTracker
from enricher.events import Process, ProcessEvent
from enricher.node_inputs import NodeInputs

from .rig import APP, ENTRY, INIT, UID, Rig, end, entering, execute, fork, pod, request
from .test_tracker import RECORD, FakeSensor, there

POD_UID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
CAT = Process(400, 4000)


class Node:
    """A core over a real tree of folders: a pod with its sandbox, a container, and what that made inside."""

    def __init__(self, tree: Path) -> None:
        (tree / "cgroup.controllers").touch()
        self.container = tree / "kubepods" / f"pod{POD_UID}" / APP
        (self.container.parent / ("0" * 64)).mkdir(parents=True)
        self.container.mkdir()
        plain = pod()
        self.rig = Rig(RECORD, replace(plain, metadata=replace(plain.metadata, uid=POD_UID)))
        self.rig.requests[UID] = request()
        self.sensor = FakeSensor()
        self.sensor.populated = lambda: ()  # type: ignore[method-assign]
        cgroups = CgroupfsResolver(PodRoots(tree))
        self.rig.correlator._cgroups = cgroups
        self.own = self.container.stat().st_ino
        self.sensor.there[self.own] = [there(INIT)]
        containers, correlator = self.rig.containers, self.rig.correlator
        tracker = ContainerTracker(self.sensor, cgroups, containers, correlator, lambda _process: False)
        inputs = NodeInputs(tracker, correlator, self.rig.clock, lambda _n: [])
        self.core = Core(inputs, correlator, self.rig.emitter, self.rig.clock)
        self._now = 0.0

    def make(self, name: str) -> Path:
        inner = self.container / name
        inner.mkdir(parents=True)
        return inner

    def happen(self, *events: ProcessEvent, cgroup: int | None = None) -> None:
        self.sensor.report(*(replace(each, cgroup=cgroup or self.own) for each in events))
        self.pass_time(1)

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self._now += 1.0
            self.core.step(self._now)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize("name", ["x", f"docker/{'d' * 64}"])
def test_one_that_is_removed_ends_no_session_and_takes_no_name(node: Node, name: str) -> None:
    inner = node.make(name)
    node.pass_time(1)
    node.happen(*entering())
    node.rig.records.clear()

    inner.rmdir()
    node.pass_time(12)
    assert node.rig.records == []
    node.happen(fork(ENTRY, CAT), execute(CAT, "cat", "/etc/shadow", parent=ENTRY), end(CAT), end(ENTRY))
    node.pass_time(2)

    assert {(each.request_uid, each.user) for each in node.rig.records} == {(UID, "alice")}
    assert [each.outcome for each in node.rig.records if each.phase == "end"] == ["completed"]


def test_what_runs_in_one_is_the_containers_and_nothing_is_decided_for_it_alone(node: Node) -> None:
    inner = node.make(f"docker/{'d' * 64}")
    node.pass_time(1)
    node.happen(*entering())
    node.rig.records.clear()

    node.happen(fork(ENTRY, CAT), execute(CAT, "id", parent=ENTRY), cgroup=inner.stat().st_ino)
    node.pass_time(2)

    (ran,) = [each for each in node.rig.records if each.argv == ["id"]]
    assert (ran.request_uid, ran.container_id) == (UID, APP)
    assert inner.stat().st_ino not in dict(node.sensor.decisions)
    assert dict(node.sensor.decisions)[node.own]


def test_a_container_whose_processes_are_in_one_from_the_start_is_decided_on_with_the_first_event(node: Node) -> None:
    """As crun makes it: `crio-ID.scope/container`."""
    node.pass_time(1)
    own = node.container.parent / ("e" * 64)
    (own / "container").mkdir(parents=True)

    node.happen(fork(ENTRY, CAT), cgroup=(own / "container").stat().st_ino)

    assert own.stat().st_ino in dict(node.sensor.decisions)


def test_what_was_there_in_one_before_is_known_when_its_namespace_opts_in(node: Node) -> None:
    inner = node.make("x").stat().st_ino
    node.sensor.there[inner] = [there(CAT, b"cat\0", ns_pid=9)]
    node.sensor.has_unseen = True

    node.pass_time(1)

    assert {each.process for each in node.rig.correlator.tree.nodes()} == {INIT, CAT}
