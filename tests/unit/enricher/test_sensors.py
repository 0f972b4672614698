"""What all three sensors have in common, and which processes each leaves to the agent to look up."""

import ast
import inspect
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from msgspec.structs import replace

import enricher.sensors
from enricher.argv import ARGV_LIMIT
from enricher.cgroup import Cgroup
from enricher.clock import Clock
from enricher.config import OpenSensor, bpf_sensor, proc_sensor, procconn_sensor
from enricher.containers import container_id
from enricher.containers.containers import CgroupRef
from enricher.containers.pod_roots import PodRoots
from enricher.containers.pods import Container, ContainerStatus, PodSpec, PodStatus
from enricher.containers.proc_cgroups import ProcCgroupResolver
from enricher.correlate.tracker import ContainerTracker
from enricher.events import ExecEvent, ExitEvent, ForkEvent, Process, ProcessEvent, SeccompEvent
from enricher.procfs import Proc, ProcessInfo, Stat
from enricher.sensors import proc_snapshot
from enricher.sensors.bpf import program as program_module
from enricher.sensors.bpf.sensor import BpfSensor
from enricher.sensors.entered_from import Entering, entered_from
from enricher.sensors.proc.sensor import ProcSensor
from enricher.sensors.procconn.connector import Event, Execed, Exited, Forked, ProcConnector
from enricher.sensors.procconn.doubt import UNSURE_NS
from enricher.sensors.procconn.sensor import ProcconnSensor
from enricher.sensors.sensor import KnownProcess, Sensor
from exectrail.contracts.meta import ObjectMeta
from tests.unit.enricher.rig import Rig, by_namespace, end, execute, fork, pod

POD = "11111111-2222-3333-4444-555555555555"
OLD, NEW = "a" * 64, "b" * 64
NAMES = ("bpf", "procconn", "proc")
BELOW = {
    "events", "procfs", "clock", "netlink", "cgroup", "pid_namespace", "syscalls", "argv", "runtimes", "sensors"
}  # fmt: skip
"""The modules of the enricher that a sensor may use."""


class FakeProgram:
    """The kernel's part of the sensor `bpf`."""

    missing, undecodable = (), 0

    def __init__(self) -> None:
        self.waiting: list[ProcessEvent] = []
        self.decided: dict[int, bool] = {}
        self.marked: list[tuple[Process, int]] = []
        self.roots: list[Cgroup] = []

    def open(self, root: Cgroup) -> "FakeProgram":
        self.roots.append(root)
        return self

    def watch(self, root: Cgroup) -> bool:
        self.roots.append(root)
        return True

    def events(self) -> list[ProcessEvent]:
        taken, self.waiting = self.waiting, []
        return taken

    def decide(self, cgroup: int, *, record: bool) -> None:
        self.decided[cgroup] = record

    def mark(self, process: Process, cgroup: int) -> None:
        self.marked.append((process, cgroup))

    def forget(self, cgroup: int) -> None:
        del self.decided[cgroup]


class FakeConnector:
    """The kernel's part of the sensor `procconn`."""

    overruns = forged = 0

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self.waiting: list[Event] = []

    def read(self) -> list[Event]:
        taken, self.waiting = self.waiting[: self._most], self.waiting[self._most :]
        return taken

    @property
    def behind(self) -> bool:
        return bool(self.waiting)


class FakeProc:
    """A /proc with these processes."""

    def __init__(self, *infos: ProcessInfo) -> None:
        self.alive = {info.process.pid: info for info in infos}

    def process(self, pid: int) -> ProcessInfo | None:
        return self.alive.get(pid)

    def processes(self) -> Iterator[ProcessInfo]:
        return iter(list(self.alive.values()))


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> FakeProgram:
    made = FakeProgram()
    monkeypatch.setattr("enricher.sensors.bpf.sensor.BpfProgram", SimpleNamespace(open=made.open))
    return made


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The node's cgroup tree, with a pod whose sandbox and first container run."""
    (tmp_path / "cgroup.controllers").touch()
    folder = tmp_path / "kubepods" / f"pod{POD}"
    for name in ("0" * 64, OLD):
        (folder / name).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def opened(program: FakeProgram, tree: Path) -> Callable[[str], OpenSensor]:
    """Opens a sensor by its name."""
    makers: dict[str, Callable[[], OpenSensor]] = {
        "bpf": lambda: bpf_sensor(tree),
        "procconn": lambda: procconn_sensor(tree, cast("ProcConnector", FakeConnector())),
        "proc": lambda: proc_sensor(tree, Clock(), object()),
    }
    return lambda name: makers[name]()


def members() -> dict[str, object]:
    declared = {name: getattr(Sensor, name, None) for name in (*vars(Sensor), *Sensor.__annotations__)}
    return {name: value for name, value in declared.items() if not name.startswith("_")}


@pytest.mark.parametrize("name", NAMES)
def test_each_sensor_has_all_that_the_protocol_declares(opened: Callable[[str], OpenSensor], name: str) -> None:
    sensor = opened(name).sensor

    assert sensor.name == name
    for member, declared in members().items():
        assert hasattr(sensor, member), member
        if inspect.isfunction(declared):
            expected = list(inspect.signature(declared).parameters)[1:]
            assert list(inspect.signature(getattr(sensor, member)).parameters) == expected, member


def test_no_sensor_imports_what_is_above_it() -> None:
    root = Path(enricher.sensors.__file__).parent
    above = {
        f"{file.relative_to(root)} imports {module}"
        for file in root.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for module in imported(node)
        if module.startswith("enricher.") and module.split(".")[1] not in BELOW
    }

    assert above == set()


def imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(module=str(module)):
            return [f"{module}.{alias.name}" for alias in node.names]
    return []


@pytest.mark.parametrize("name", NAMES)
def test_a_container_that_starts_again_is_not_taken_for_its_sibling(
    opened: Callable[[str], OpenSensor], tree: Path, name: str
) -> None:
    """Of `app` the kubelet reports the old id still, and of `sidecar` none."""
    rig = rig_of_two()
    sensor, cgroups = opened(name)
    ContainerTracker(sensor, cgroups, rig.containers, rig.correlator)
    cgroups.scan()
    if isinstance(cgroups, ProcCgroupResolver):  # it is known by a process of it
        cgroups.number(f"0::/kubepods/pod{POD}/{OLD}\n")
    began_again = CgroupRef(NEW, POD)
    sibling = rig.containers.look(began_again).container
    assert sibling and sibling.resource.container == "sidecar", "while the old one is there, it can only be the sibling"

    (tree / "kubepods" / f"pod{POD}" / OLD).rmdir()
    rig.containers.version += 1

    assert rig.containers.look(began_again).container is None


def rig_of_two() -> Rig:
    status = PodStatus(container_statuses=[ContainerStatus("app", f"containerd://{OLD}")])
    made = pod(spec=PodSpec(containers=[Container("app", "shop:1"), Container("sidecar", "shop:1")]), status=status)
    meta = ObjectMeta(name="web", namespace="shop", uid=POD)
    return Rig({"exectrail.io/record": "true"}, replace(made, metadata=meta))


# ---- bpf ----


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is younger than the sensor of its test."""
    time.sleep(0.02)  # starts are counted in ticks of 10 ms
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def bpf(tree: Path, *pids: int) -> BpfSensor:
    return BpfSensor(PodRoots(tree).known, lambda _cgroup: pids)


def pids(sensor: Sensor, cgroup: int = 7) -> list[int]:
    return [info.process.pid for info in sensor.processes({cgroup})[cgroup]]


def test_bpf_leaves_to_be_looked_up_what_was_born_before_it_was_attached(program: FakeProgram, tree: Path) -> None:
    young: list[int] = []
    sensor = BpfSensor(PodRoots(tree).known, lambda _cgroup: [os.getpid(), *young])
    time.sleep(0.02)
    with subprocess.Popen(["sleep", "60"]) as process:
        young.append(process.pid)

        assert pids(sensor) == [os.getpid()]
        process.kill()


def test_bpf_leaves_to_be_looked_up_all_of_a_container_that_it_ignored(program: FakeProgram, tree: Path) -> None:
    young: list[int] = []
    sensor = BpfSensor(PodRoots(tree).known, lambda _cgroup: young)
    assert not sensor.decide(7, record=True), "what came later was reported"
    sensor.decide(7, record=False)
    time.sleep(0.02)
    with subprocess.Popen(["sleep", "60"]) as process:
        young.append(process.pid)

        assert sensor.decide(7, record=True)
        assert pids(sensor) == [process.pid]
        process.kill()


def test_bpf_watches_every_root_and_looks_up_what_ran_below_one_before_that_was_found(
    program: FakeProgram, tree: Path
) -> None:
    (tree / "kubepods.slice").mkdir()
    opened = bpf_sensor(tree)
    service = tree / "system.slice/containerd.service"
    folder = service / f"kubepods-pod{POD.replace('-', '_')}.slice:cri-containerd:{NEW}"
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").write_text(f"{os.getpid()}\n")

    assert opened.cgroups.search({NEW}) == {}
    opened.cgroups.scan()

    assert [root.path for root in program.roots] == [tree / "kubepods", tree / "kubepods.slice", service]
    cgroup = folder.stat().st_ino
    assert opened.cgroups.known[cgroup] == CgroupRef(NEW, POD, sandbox=True)
    assert opened.sensor.decide(cgroup, record=True), "its processes are to be looked up"
    assert pids(opened.sensor, cgroup) == [os.getpid()]


def test_bpf_marks_what_has_left_its_containers_cgroup(program: FakeProgram, tree: Path) -> None:
    inside, outside = Process(10, 100), Process(11, 110)
    sensor = bpf(tree)

    sensor.resume([KnownProcess(inside, 7, b"sh\0", outside=False), KnownProcess(outside, 7, b"sh\0", outside=True)])

    assert program.marked == [(outside, 7)]


def test_only_the_first_exec_of_a_process_that_enters_by_namespace_is_looked_at() -> None:
    entering, shell, grandchild = Entering(), Process(10, 100), Process(11, 110)
    events: list[ProcessEvent] = [
        execute(shell, "sh"),
        execute(shell, "bash"),
        fork(shell, grandchild),
        execute(grandchild, "id", parent=shell),
        end(shell),
    ]

    assert [entering.is_first(by_namespace(event)) for event in events] == [True, False, False, False, False]
    assert not entering.is_first(execute(Process(12, 120), "id")), "a process in the container's own cgroup"


def test_bpf_says_where_a_process_comes_from_that_enters_by_namespace(program: FakeProgram, tree: Path) -> None:
    own_process = Proc().process(os.getpid())
    assert own_process
    entering = execute(own_process.process, "sh")
    program.waiting = [by_namespace(entering), entering]

    first, second = [event for event, _ in bpf(tree).poll(0.0)]

    assert isinstance(first, ExecEvent) and first.entered_from
    assert first.entered_from.cgroup is not None
    assert second == entering


def test_a_cgroup_of_any_name_stands_in_a_record() -> None:
    event = execute(Process(10, 100), "sh")
    stats = {10: Stat(Process(10, 100), b"sh", 1, 10, gone=False)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(proc_snapshot, "stat", stats.get)
        patched.setattr(proc_snapshot, "cgroup", lambda _pid: os.fsdecode(b"0::/user.slice/\xff\n"))
        found = entered_from(event)

    assert found is not None
    assert msgspec.json.encode(found.cgroup) == rb'"/user.slice/\\xff"'


def test_every_sensor_takes_the_same_number_of_bytes_of_arguments() -> None:
    """The others read `ARGV_LIMIT` bytes of /proc."""
    assert size_in_bpf("ARGV_SIZE") == ARGV_LIMIT


def size_in_bpf(name: str) -> int:
    header = (Path(program_module.__file__).parent / "sample.h").read_text()
    return int(re.search(rf"#define {name} (\d+)", header)[1])  # type: ignore[index] # if it is missing


@pytest.mark.parametrize("kind", ["", "-burstable", "-besteffort"])
@pytest.mark.parametrize("runtime", ["cri-containerd", "crio", "docker"])
@pytest.mark.parametrize("layout", ["{pod}:{runtime}:{id}", "kubelet-{pod}:{runtime}:{id}", "{runtime}-{id}.scope"])
def test_the_name_of_a_containers_cgroup_is_not_cut_in_the_kernel(layout: str, runtime: str, kind: str) -> None:
    pod = f"kubepods{kind}-pod0f8e6a52_3c1d_4b7a_9e05_7d2c4f6b8a19.slice"
    name = layout.format(pod=pod, runtime=runtime, id="a" * 64)
    room = size_in_bpf("CGROUP_NAME_SIZE") - len(b"\0")

    assert container_id.from_folder(name[:room]) == "a" * 64


def test_the_longest_name_that_a_folder_can_have_fits() -> None:
    assert size_in_bpf("CGROUP_NAME_SIZE") > os.pathconf("/", "PC_NAME_MAX")


# ---- procconn ----


def own(process: subprocess.Popen[bytes]) -> ProcessInfo:
    info = Proc().process(process.pid)
    assert info
    return info


def procconn(connector: FakeConnector, *infos: ProcessInfo) -> ProcconnSensor:
    sensor = ProcconnSensor(cast("ProcConnector", connector), lambda _text: 7)
    sensor._proc = cast("Proc", FakeProc(*infos))
    return sensor


def test_procconn_leaves_out_a_process_whose_exec_is_on_its_way(child: subprocess.Popen[bytes]) -> None:
    connector = FakeConnector()
    sensor = procconn(connector, own(child))
    sensor.poll(0.0)
    assert pids(sensor) == [child.pid]

    connector.waiting.append(Execed(time.monotonic_ns(), child.pid))

    assert pids(sensor) == []
    assert sensor.populated() == {7}


class NeverEmpty(FakeConnector):
    """A node on which something happens all the time."""

    def read(self) -> list[Event]:
        read = super().read()
        self.waiting.append(Exited(time.monotonic_ns(), 10**9, 10**9, 0))
        return read

    behind = False


def test_procconn_hands_on_what_is_certain_also_where_each_look_finds_something(
    child: subprocess.Popen[bytes],
) -> None:
    connector = NeverEmpty()
    sensor = procconn(connector, own(child))
    connector.waiting.append(Execed(time.monotonic_ns(), child.pid))
    sensor.poll(0.0)
    time.sleep(2 * UNSURE_NS / 1e9)

    assert [type(event) for event, _ in sensor.poll(0.0)] == [ExecEvent]


def test_procconn_waits_for_what_it_has_not_read(child: subprocess.Popen[bytes]) -> None:
    connector = FakeConnector(most=1)
    sensor = procconn(connector, own(child))
    connector.waiting += [Execed(time.monotonic_ns(), child.pid)] * 20
    sensor.poll(0.0)
    time.sleep(2 * UNSURE_NS / 1e9)

    assert sensor.poll(0.0) == []
    assert sensor.behind


def test_procconn_does_not_end_a_process_that_was_found_before_its_birth_was_read(
    child: subprocess.Popen[bytes],
) -> None:
    connector = FakeConnector()
    info, init = own(child), Process(1, 0)
    sensor = procconn(connector, info, ProcessInfo(init, 0, 0, 0, 1, False, b"init\0", False, ""))
    asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    connector.waiting.append(Forked(info.process.born - asleep + 1_000_000, init.pid, child.pid))

    events = [event for event, _ in sensor.poll(0.0)]

    assert [(type(event), isinstance(event, ForkEvent) and event.child) for event in events] == [
        (ForkEvent, info.process)
    ]


def test_procconn_drops_the_events_of_a_cgroup_that_is_ignored(child: subprocess.Popen[bytes]) -> None:
    connector = FakeConnector()
    sensor = procconn(connector, own(child))
    sensor.poll(0.0)
    sensor.decide(7, record=False)
    connector.waiting.append(Execed(time.monotonic_ns(), child.pid))
    sensor.poll(0.0)

    assert sensor.poll_timeout() > 1, "nothing is delayed"
    assert sensor.decide(7, record=True), "its processes are to be looked up"


# ---- proc ----


def proc(*infos: ProcessInfo) -> tuple[ProcSensor, FakeProc]:
    sensor, fake = ProcSensor(lambda text: int(text or 0), Clock()), FakeProc(*infos)
    sensor._proc = cast("Proc", fake)
    return sensor, fake


def runs(pid: int, argv: bytes, parent: int = 1, cgroup: str = "7", start: int = 1) -> ProcessInfo:
    return ProcessInfo(Process(pid, start), parent, 0, 0, 9, True, argv, truncated=False, cgroup=cgroup)


def execve(pid: int, syscall: int = 59) -> SeccompEvent:
    return SeccompEvent(time.time_ns() // 1_000_000, 1, pid, 0, 0, None, None, b"sh", b"/", 0, 0xC000003E, syscall, 0)


def test_proc_takes_the_seccomp_event_of_an_exec_alone() -> None:
    sensor, _ = proc(runs(20, b"id\0"))

    assert sensor.take(execve(20), 0.0)
    assert not sensor.take(execve(20, syscall=56), 0.0), "clone"
    ((event, seccomp),) = sensor.poll(0.0)
    assert isinstance(event, ExecEvent)
    assert seccomp


def test_proc_leaves_out_a_process_whose_program_it_looks_for() -> None:
    sensor, _ = proc(runs(10, b"sleep\0"), runs(20, b"runc\0init\0"))
    sensor.take(execve(20), 0.0)

    assert pids(sensor) == [10]


def test_proc_gives_back_a_seccomp_event_whose_call_runs_no_program() -> None:
    sensor, _ = proc(runs(20, b""))
    seccomp = execve(20)
    sensor.take(seccomp, 0.0)

    assert sensor.poll(0.05) == []
    assert sensor.poll(0.1) == [(None, seccomp)]


def test_proc_says_what_it_drops() -> None:
    sensor, _ = proc(runs(20, b"id\0", cgroup=""), runs(30, b"id\0"))
    sensor.decide(7, record=False)
    for pid in (20, 30, 40):
        sensor.take(execve(pid), 0.0)

    reasons = ["not-recorded", "not-recorded", "vanished"]
    assert [(each.kind, each.reason) for each in sensor.dropped()] == [("seccomp", reason) for reason in reasons]
    assert sensor.dropped() == []


def test_proc_reports_the_end_of_each_process_that_it_has_shown_or_was_resumed_with() -> None:
    sensor, fake = proc(runs(10, b"sleep\0"))
    sensor.processes({7})
    sensor.resume([KnownProcess(Process(11, 1), 7, b"sh\0", outside=False)])
    fake.alive.clear()

    ends = [event for event, _ in sensor.maintain()]

    assert [(type(event), isinstance(event, ExitEvent) and event.process.pid) for event in ends] == [
        (ExitEvent, 10),
        (ExitEvent, 11),
    ]


def test_proc_reports_the_end_of_a_process_whose_pid_is_used_again() -> None:
    sensor, fake = proc(runs(20, b"old\0"))
    sensor.processes({7})
    fake.alive[20] = runs(20, b"new\0", start=2)
    sensor.take(execve(20), 0.0)

    (ended, _), (began, _) = sensor.poll(0.0)

    assert isinstance(ended, ExitEvent) and ended.process == Process(20, 1)
    assert isinstance(began, ExecEvent) and began.process == Process(20, 2)
