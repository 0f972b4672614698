"""The sensor by the trees of cgroup v1, which this node has beside that of v2."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from enricher.cgroup import Hierarchy
from enricher.containers.cgroupfs import CgroupIndex
from enricher.events import ExecEvent, ExitEvent, ForkEvent, ProcessEvent
from enricher.sensors.bpf.program import BpfProgram
from tests.kernel.fake_pods import FakePods

Opened = tuple[FakePods, BpfProgram]


@pytest.fixture(params=["memory", "pids"])
def opened(request: pytest.FixtureRequest, bpf_object: Path) -> Iterator[Opened]:
    hierarchy: Hierarchy = request.param
    assert (Path("/sys/fs/cgroup") / hierarchy / "cgroup.procs").exists()
    pods = FakePods(hierarchy)
    program = BpfProgram.open(pods.cgroup, object_path=bpf_object)
    yield pods, program
    program.close()
    pods.remove()


def drain(program: BpfProgram) -> list[ProcessEvent]:
    events: list[ProcessEvent] = []
    while batch := program.events():
        events += batch
    assert (program.lost(), program.undecodable) == (0, 0)
    return events


@pytest.mark.parametrize("path", ["pod1/container1", "burstable/pod1/container1", "burstable/pod1/container1/nested"])
def test_processes_in_a_v1_container_are_told(opened: Opened, path: str) -> None:
    pods, program = opened
    container = pods.container(path)
    container.run("/bin/sh", "-c", "/bin/true; exit 0")

    events = drain(program)
    assert [type(event) for event in events] == [ExecEvent, ForkEvent, ExecEvent, ExitEvent, ExitEvent]
    assert {event.cgroup for event in events} == {container.id}
    assert CgroupIndex([pods.cgroup]).path(container.id) == (pods.root, pods.root / path)


def test_a_decision_about_a_v1_container_counts(opened: Opened) -> None:
    pods, program = opened
    ignored, recorded = pods.container("pod1/ignored"), pods.container("pod1/recorded")
    program.decide(ignored.id, record=False)
    program.decide(recorded.id, record=True)
    ignored.run("/bin/true")
    recorded.run("/bin/true")

    assert {event.cgroup for event in drain(program)} == {recorded.id}


def test_who_moves_out_of_a_v1_container_is_still_told(opened: Opened) -> None:
    pods, program = opened
    container = pods.container()
    program.decide(container.id, record=True)
    container.run("/bin/sh", "-c", 'echo 0 > "$0/cgroup.procs"; exec /bin/true', pods.root.parent)

    assert [event.outside for event in drain(program)] == [False, True, True]
