"""Which processes the sensor tells about, and what it says when it cannot."""

import json
import selectors
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from enricher.cgroup import MOST_ROOTS
from enricher.events import ExitEvent, ProcessEvent
from enricher.sensors.bpf.program import BATCH, BpfProgram, SensorUnavailable
from tests.kernel.conftest import Drain
from tests.kernel.fake_pods import FakeContainer, FakePods

CONTAINERS = ["pod1/container1", "burstable/pod1/container1", "besteffort/pod1/container1/nested/deeper"]


def test_processes_outside_the_pods_are_silent(drain: Drain) -> None:
    subprocess.run(["/bin/sh", "-c", "/bin/true; exit 0"], check=True)

    assert drain() == []


def test_a_process_in_the_kubepods_folder_itself_is_silent(
    pods: FakePods, container: FakeContainer, drain: Drain
) -> None:
    container.run("/bin/true")  # from here on the program knows how deep kubepods lies
    drain()
    subprocess.run(["/bin/sh", "-c", 'echo 0 > "$0/cgroup.procs"; exec /bin/true', pods.root], check=True)

    assert drain() == []


@pytest.mark.parametrize("path", CONTAINERS)
def test_an_undecided_container_is_told(pods: FakePods, drain: Drain, path: str) -> None:
    pods.container(path).run("/bin/true")

    assert len(drain()) == 2


@pytest.fixture
def other_pods() -> Iterator[FakePods]:
    """Pods under another root."""
    made = FakePods()
    yield made
    made.remove()


def test_pods_under_several_roots_are_told(
    pods: FakePods, other_pods: FakePods, program: BpfProgram, drain: Drain
) -> None:
    first, second = pods.container(), other_pods.container()
    second.run("/bin/true")
    before = drain()
    assert program.watch(other_pods.cgroup)
    second.run("/bin/true")
    first.run("/bin/true")

    assert before == []
    assert [event.cgroup for event in drain()] == [second.id, second.id, first.id, first.id]


@pytest.mark.parametrize("nested", ["", "/a", "/a/b", "/a/b/c"])
def test_a_container_right_below_its_root_is_followed_out_of_all_below_it(
    pods: FakePods, program: BpfProgram, drain: Drain, nested: str
) -> None:
    """Of a runtime that names one cgroup for pod and container."""
    name = "kubepods-pod1.slice:cri-containerd:1"
    container = pods.container(name)
    program.decide(container.id, record=True)
    inside = pods.container(name + nested) if nested else container
    inside.run("/bin/sh", "-c", 'echo 0 > "$0/cgroup.procs"; exec /bin/true', pods.root.parent)

    events = drain()
    assert [event.outside for event in events] == [False, True, True]
    assert {event.cgroup for event in events[1:]} == {container.id}


@pytest.mark.parametrize("name", [f"kubepods-besteffort-{'p' * 47}.slice:cri-containerd:{'c' * 64}", "n" * 255])
def test_a_containers_long_name_is_told_whole(pods: FakePods, drain: Drain, name: str) -> None:
    pods.container(name).run("/bin/sh", "-c", "/bin/true; /nothing; exit 0")

    assert {event.cgroup_name for event in drain() if not isinstance(event, ExitEvent)} == {name}


def test_what_is_ignored_right_below_a_root_hides_no_container_below_it(
    pods: FakePods, program: BpfProgram, drain: Drain
) -> None:
    container = pods.container("burstable/pod1/container1")
    program.decide((pods.root / "burstable").stat().st_ino, record=False)
    container.run("/bin/true")

    assert len(drain()) == 2


def test_roots_are_bounded(pods: FakePods, program: BpfProgram) -> None:
    assert [program.watch(pods.cgroup) for _ in range(MOST_ROOTS)] == [True] * (MOST_ROOTS - 1) + [False]
    assert program.missing == ()
    assert program._namespace_is_missing() == (), "what the kernel has learned stays"


@pytest.mark.parametrize("path", CONTAINERS)
def test_a_decision_holds_until_it_is_forgotten(pods: FakePods, program: BpfProgram, drain: Drain, path: str) -> None:
    container = pods.container(path)

    def told() -> list[ProcessEvent]:
        container.run("/bin/sh", "-c", "/bin/true; exit 0")
        return drain()

    assert program.decide(container.id, record=False)
    assert told() == []
    assert program.decide(container.id, record=True)
    assert len(told()) == 5
    assert program.decide(container.id, record=False)
    program.forget(container.id)
    assert len(told()) == 5


@pytest.mark.parametrize("path", ["pod1/container1", "burstable/pod1/container1"])
@pytest.mark.parametrize("nested", ["a", "a/b", "a/b/c"])
def test_cgroups_inside_a_container_inherit_its_decision(
    pods: FakePods, program: BpfProgram, drain: Drain, path: str, nested: str
) -> None:
    container = pods.container(path)
    inside = pods.container(f"{path}/{nested}")
    program.decide(container.id, record=False)
    inside.run("/bin/true")
    silent = drain()
    program.decide(container.id, record=True)
    inside.run("/bin/sh", "-c", "/bin/true; /nothing; exit 0")

    reported = drain()
    assert (silent, len(reported)) == ([], 8)
    assert {event.cgroup for event in reported} == {container.id}, "an inner one may be gone before it is looked for"
    assert {getattr(event, "cgroup_name", "") for event in reported} == {""}, "whoever made it chose that"
    assert not any(event.outside for event in reported)


def test_ignoring_one_container_leaves_its_pod_s_other_one_alone(
    pods: FakePods, program: BpfProgram, drain: Drain
) -> None:
    ignored, other = pods.container("burstable/pod1/a"), pods.container("burstable/pod1/b")
    program.decide(ignored.id, record=False)
    ignored.run("/bin/true")
    other.run("/bin/true")

    assert {event.cgroup for event in drain()} == {other.id}


def test_a_decision_that_finds_no_room_says_so(program: BpfProgram) -> None:
    assert all(program.decide(cgroup, record=False) for cgroup in range(1 << 40, (1 << 40) + 16_384))
    assert not program.decide(1 << 41, record=False)


def test_the_sensor_is_readable_while_events_wait(container: FakeContainer, program: BpfProgram, drain: Drain) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(program, selectors.EVENT_READ)
        assert selector.select(0) == []
        container.run("/bin/true")
        assert selector.select(5) != []
        drain()
        assert selector.select(0) == []


def test_one_read_takes_a_bounded_batch_and_leaves_the_rest(
    container: FakeContainer, program: BpfProgram, drain: Drain
) -> None:
    container.run("/bin/sh", "-c", "i=0; while [ $i -lt 400 ]; do /bin/true; i=$((i+1)); done")

    assert len(program.events()) == BATCH
    assert len(drain()) == 1 + 400 * 3 + 1 - BATCH


def test_events_that_find_the_ring_full_are_counted_one_by_one(
    pods: FakePods, container: FakeContainer, bpf_object: Path
) -> None:
    program = BpfProgram.open(pods.cgroup, ring_bytes=4096, object_path=bpf_object)
    try:
        container.run("/bin/sh", "-c", "i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done")
        lost, captured = program.lost(), len(program.events())
    finally:
        program.close()

    assert lost > 0
    assert lost + captured == 1 + 100 * 3 + 1


def test_a_closed_sensor_leaves_nothing_in_the_kernel(
    pods: FakePods, container: FakeContainer, bpf_object: Path
) -> None:
    for _ in range(3):
        program = BpfProgram.open(pods.cgroup, object_path=bpf_object)
        program.close()
    program = BpfProgram.open(pods.cgroup, object_path=bpf_object)
    container.run("/bin/true")
    told = len(program.events())
    program.close()

    assert told == 2


def test_a_ring_that_the_kernel_refuses_is_a_reason(pods: FakePods, bpf_object: Path) -> None:
    with pytest.raises(SensorUnavailable, match=r"cannot load the program into the kernel: .*; libbpf: .*ring"):
        BpfProgram.open(pods.cgroup, ring_bytes=0, object_path=bpf_object)


def test_an_object_that_is_no_bpf_program_is_a_reason(pods: FakePods, tmp_path: Path) -> None:
    rubbish = tmp_path / "sensor.bpf.o"
    rubbish.write_bytes(b"not ELF")

    with pytest.raises(SensorUnavailable, match=r"cannot open .*sensor\.bpf\.o: .*; libbpf: "):
        BpfProgram.open(pods.cgroup, object_path=rubbish)


OPEN_IT = """
import json, sys
from pathlib import Path
from enricher.sensors.bpf.program import BpfProgram, SensorUnavailable
from enricher.cgroup import Cgroup
try:
    program = BpfProgram.open(Cgroup(int(sys.argv[1]), Path("/")), object_path=Path(sys.argv[2]))
    print(json.dumps("open"))
except SensorUnavailable as reason:
    print(json.dumps(str(reason)))
"""


@pytest.mark.parametrize(
    ("capabilities", "outcome"),
    [
        ("+bpf,+perfmon", "open"),
        ("+sys_admin", "open"),
        ("+perfmon", "missing CAP_BPF in the container's securityContext.capabilities"),
        ("+bpf", "missing CAP_PERFMON in the container's securityContext.capabilities"),
        ("+chown", "missing CAP_PERFMON and CAP_BPF in the container's securityContext.capabilities"),
    ],
)
def test_bpf_and_perfmon_are_all_it_needs(pods: FakePods, bpf_object: Path, capabilities: str, outcome: str) -> None:
    dropped = ["setpriv", f"--bounding-set=-all,{capabilities}", f"--inh-caps=-all,{capabilities}"]
    command = [*dropped, sys.executable, "-c", OPEN_IT, str(pods.cgroup.id), str(bpf_object)]
    result = subprocess.run(command, capture_output=True, check=True, text=True)

    assert json.loads(result.stdout) == outcome
