"""The proc connector and its sensor, on the real kernel: processes in cgroups that look like a pod's container."""

import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enricher.clock import Clock
from enricher.config import procconn_sensor
from enricher.containers.containers import CgroupRef, Containers
from enricher.containers.pods import Container, ContainerStatus, Namespace, Pod, PodSpec, PodStatus
from enricher.correlate.correlator import Correlator
from enricher.correlate.sessions import Sessions
from enricher.correlate.tracker import ContainerTracker
from enricher.events import ExecEvent, ExitEvent, ForkEvent, Process, ProcessEvent, SeccompEvent
from enricher.sensors.procconn.connector import ProcConnector
from enricher.tally import Tally
from exectrail.contracts.meta import ObjectMeta
from tests.kernel.fake_pods import FakeContainer, FakePods, v2_tree

PYTHON = (sys.executable, "-I", "-S", "-c")
ID, SANDBOX = "c" * 64, "5" * 64
UID = "11111111-2222-3333-4444-555555555555"
FOLDER = f"kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-{{}}.scope"


class Tapped(Correlator):
    """A pipeline that keeps what it was given."""

    events: list[ProcessEvent]

    def take(self, event: ProcessEvent, now: float, seccomp: SeccompEvent | None = None) -> None:
        if self._cgroups.of(event).container_id in (ID, SANDBOX):  # others start containers meanwhile
            self.events.append(event)
        super().take(event, now, seccomp)


def recorded_container() -> Containers:
    containers = Containers()
    containers.namespace_changed(None, Namespace(ObjectMeta(name="shop", labels={"exectrail.io/record": "true"})))
    status = PodStatus(container_statuses=[ContainerStatus("app", f"containerd://{ID}")])
    spec = PodSpec(containers=[Container("app", "shop:1")])
    containers.pod_changed(None, Pod(ObjectMeta(name="web", namespace="shop", uid=UID), spec, status))
    return containers


class Rig:
    """A sensor at work, and what it told."""

    def __init__(self, connector: ProcConnector) -> None:
        self._connector = connector
        containers, clock, sessions = recorded_container(), Clock(), Sessions(lambda _uid: None)
        self.sensor, self.cgroups = procconn_sensor(v2_tree(), connector)
        self.correlator = Tapped(self.cgroups, containers, sessions, clock, Tally(), 0.5)
        self.correlator.events = []
        self._tracker = ContainerTracker(self.sensor, self.cgroups, containers, self.correlator)
        self._selector = selectors.DefaultSelector()
        self.sensor.register(self._selector)
        self.follow(lambda: True)

    def follow(self, over: Callable[[], object]) -> list[ProcessEvent]:
        """Do the agent's rounds until something is over and everything of it is told; returns what was."""
        while not over():
            self._round()
        until = time.monotonic() + 0.05
        self._round()
        while time.monotonic() < until or self.sensor.poll_timeout() < 1:  # something is held back still
            self._round()
        told, self.correlator.events = self.correlator.events, []
        return told

    def follow_until_runs(self, argv: bytes) -> list[ProcessEvent]:
        """Follow until a program that runs on was reported; 20 seconds at most.

        How many execs come before it differs: that of a shell that joins the cgroup may be looked at only after that.
        """
        until = time.monotonic() + 20

        def over() -> bool:
            return any(event.argv == argv for event in execs(self.correlator.events)) or time.monotonic() > until

        return self.follow(over)

    def run(self, container: FakeContainer, *argv: str) -> tuple[int, list[ProcessEvent]]:
        """Run a program to its end in the container: its pid, and what was told."""
        procs = container.folder / "cgroup.procs"
        # In its cgroup before its first exec: of one that joins later, the exec before may be read only after that.
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, preexec_fn=lambda: procs.write_text("0"))  # noqa: PLW1509
        container.started.append(process)
        patient_until = 0.0

        def over() -> bool:
            nonlocal patient_until
            if process.poll() is None:
                return False
            # The kernel wakes who waits for a process before it tells of its end (do_exit in kernel/exit.c).
            patient_until = patient_until or time.monotonic() + 10
            ended = any(event.process.pid == process.pid for event in exits(self.correlator.events[-8:]))
            return ended or time.monotonic() > patient_until

        return process.pid, self.follow(over)

    def run_undisturbed(self, container: FakeContainer, *argv: str) -> tuple[int, list[ProcessEvent]]:
        """Run it again where other tests' storms filled the buffer, which all processes of this machine share."""
        for _ in range(5):
            before = self._connector.overruns
            found = self.run(container, *argv)
            if self._connector.overruns == before:
                return found
        raise AssertionError("the connector's buffer overran in each of five runs")

    def _round(self) -> None:
        now = time.monotonic()
        self._tracker.advance(now)
        self.correlator.advance(now)
        self._selector.select(min(0.01, self.sensor.poll_timeout()))


@pytest.fixture
def web(pods: FakePods) -> FakeContainer:
    # The first cgroup of a pod is its sandbox.
    pods.container(FOLDER.format(SANDBOX))
    return pods.container(FOLDER.format(ID))


@pytest.fixture
def connector() -> Iterator[ProcConnector]:
    with_room = ProcConnector.open(8 << 20)
    yield with_room
    with_room.close()


@pytest.fixture
def rig(connector: ProcConnector) -> Rig:
    return Rig(connector)


def of(kind: type[ProcessEvent], events: list[ProcessEvent]) -> list[ProcessEvent]:
    return [event for event in events if isinstance(event, kind)]


def exits(events: list[ProcessEvent]) -> list[ExitEvent]:
    return [event for event in events if isinstance(event, ExitEvent)]


def execs(events: list[ProcessEvent]) -> list[ExecEvent]:
    return [event for event in events if isinstance(event, ExecEvent)]


def of_others(entry: int, events: list[ProcessEvent]) -> list[ExecEvent]:
    """The execs but for the entry's own."""
    return [event for event in execs(events) if event.process.pid != entry]


def test_each_new_process_leaves_a_clone_an_exec_and_its_exact_exit_code(rig: Rig, web: FakeContainer) -> None:
    script = 'i=0; while [ $i -lt 200 ]; do sh -c "exit $i"; i=$((i+1)); done'

    pid, events = rig.run(web, "sh", "-c", script)

    forks = [event for event in events if isinstance(event, ForkEvent)]
    children = {event.child for event in forks}
    assert {event.parent.pid for event in forks} == {pid}
    assert len(children) == len(forks) == 200
    assert {event.process for event in execs(events)} == children | {forks[0].parent}
    assert [event.code for event in exits(events)] == [*range(200), 0]


def test_events_tell_when_and_where(rig: Rig, web: FakeContainer) -> None:
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    _, events = rig.run(web, "sleep", "0.5")

    begin, end = events
    assert before < begin.time < end.time - 500_000_000 < time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert isinstance(begin, ExecEvent)
    assert rig.cgroups.of(begin) == CgroupRef(ID, UID)
    assert begin.process.start == pytest.approx(begin.time / 1e7, abs=100)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_is_told_from_a_code(rig: Rig, web: FakeContainer, number: signal.Signals) -> None:
    pid, events = rig.run(web, "sh", "-c", f"sleep 0.2; kill -{number} $$")

    assert [(end.code, end.signal) for end in exits(events) if end.process.pid == pid] == [(None, number)]


def test_threads_are_no_processes(rig: Rig, web: FakeContainer) -> None:
    code = "import threading\nfor _ in range(50): threading.Thread(target=lambda: None).start()"

    _, events = rig.run(web, *PYTHON, code)

    assert of(ForkEvent, events) == []
    assert len(exits(events)) == 1


def test_an_exec_from_a_second_thread_ends_nothing(rig: Rig, web: FakeContainer) -> None:
    code = (
        "import os, threading, time\n"
        "threading.Thread(target=os.execv, args=('/bin/sh', ['sh', '-c', 'sleep 0.05; exit 5'])).start(); time.sleep(9)"
    )

    pid, events = rig.run(web, *PYTHON, code)

    assert [event.argv for event in execs(events) if event.process.pid == pid][-1] == b"sh\0-c\0sleep 0.05; exit 5\0"
    assert [event.code for event in exits(events) if event.process.pid == pid] == [5]


def test_a_process_whose_first_thread_ends_early_ends_with_its_last_thread(rig: Rig, web: FakeContainer) -> None:
    code = (
        "import ctypes, os, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), os._exit(9))).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)"
    )

    _, events = rig.run(web, *PYTHON, code)

    (end,) = exits(events)
    assert (end.code, end.weak) == (9, ("exit",))
    assert end.time - events[0].time > 200_000_000


def test_a_vforked_child_is_a_process_like_any_other(rig: Rig, web: FakeContainer) -> None:
    web.start(*PYTHON, "import os; os.waitpid(os.posix_spawn('/bin/sleep', ['nap', '99'], {}), 0)")
    # It lives until its arguments have been looked at: of one that is gone by then they are unknown.
    events = rig.follow_until_runs(b"nap\00099\0")

    (fork,) = (event for event in events if isinstance(event, ForkEvent))
    assert [event.argv for event in execs(events) if event.process == fork.child] == [b"nap\00099\0"]


def test_a_process_has_the_user_that_it_has_taken(rig: Rig, web: FakeContainer) -> None:
    web.start("sh", "-c", "exec sleep 99", user=1234)
    events = rig.follow_until_runs(b"sleep\00099\0")

    assert [(event.uid, event.gid) for event in execs(events)][-1] == (1234, 1234)


def test_processes_that_were_there_before_are_known_by_their_children(web: FakeContainer) -> None:
    process = web.start("sleep", "9")
    runs, until = Path(f"/proc/{process.pid}/cmdline"), time.monotonic() + 5
    while runs.read_bytes() != b"sleep\0009\0" and time.monotonic() < until:
        time.sleep(0.01)
    connector = ProcConnector.open(1 << 20)
    rig = Rig(connector)
    parent = [each for each in rig.correlator.tree.processes() if each.pid == process.pid]
    process.kill()
    events = rig.follow(lambda: process.poll() is not None)
    connector.close()

    assert len(parent) == 1
    assert [event.process for event in exits(events)] == parent


# Others make processes meanwhile, and may take the pid: then it tries with another.
SAME_PID_TWICE = """
import os, time
def child(code, wanted=None):
    if wanted:
        open('/proc/sys/kernel/ns_last_pid', 'w').write(str(wanted - 1))
    got = os.fork()
    if not got: os._exit(code if wanted in (None, os.getpid()) else 99)
    os.waitpid(got, 0)
    return got
for _ in range(100):
    first = child(1)
    time.sleep(0.05)
    if child(2, wanted=first) == first: break
"""


def test_a_pid_that_is_used_again_is_another_process(rig: Rig, web: FakeContainer) -> None:
    _, events = rig.run(web, *PYTHON, SAME_PID_TWICE)

    *_, first, second = (event for event in exits(events) if event.code in (1, 2))
    assert (first.code, second.code) == (1, 2)
    assert first.process.pid == second.process.pid
    assert first.process.start < second.process.start
    assert {first.process, second.process} <= {event.child for event in events if isinstance(event, ForkEvent)}


def test_arguments_are_those_of_the_exec_or_marked_weak(rig: Rig, web: FakeContainer) -> None:
    script = 'i=0; while [ $i -lt 5000 ]; do /bin/true "arg$i"; i=$((i+1)); done'

    entry, events = rig.run_undisturbed(web, "sh", "-c", script)

    expected = [b"/bin/true\0arg%d\0" % number for number in range(5000)]
    told = of_others(entry, events)
    assert len(told) == 5000
    strong = [(event.argv, right) for event, right in zip(told, expected, strict=True) if "argv" not in event.weak]
    assert [pair for pair in strong if pair[0] != pair[1]] == []
    share = len(strong) / 5000
    sys.stderr.write(f"argv captured of {share:.1%}\n")
    assert share > 0.05  # as much as the machine has time for


def test_a_chain_of_execs_by_one_process_is_never_mixed_up(rig: Rig, web: FakeContainer) -> None:
    script = 'i=0; while [ $i -lt 500 ]; do env A=$i env B=$i nice -n 0 sh -c "exit 0"; i=$((i+1)); done'

    entry, events = rig.run_undisturbed(web, "sh", "-c", script)

    seen: dict[Process, list[ExecEvent]] = {}
    for event in of_others(entry, events):
        seen.setdefault(event.process, []).append(event)
    assert len(seen) == 500
    for number, chain in enumerate(seen.values()):
        expected = [
            b"env\0A=%d\0env\0B=%d\0nice\0-n\0000\0sh\0-c\0exit 0\0" % (number, number),
            b"env\0B=%d\0nice\0-n\0000\0sh\0-c\0exit 0\0" % number,
            b"nice\0-n\0000\0sh\0-c\0exit 0\0",
            b"sh\0-c\0exit 0\0",
        ]
        assert len(chain) == 4
        assert [
            e.argv for e, right in zip(chain, expected, strict=True) if "argv" not in e.weak and e.argv != right
        ] == []


def test_what_the_buffer_had_no_room_for_is_counted() -> None:
    connector = ProcConnector.open(4096)
    for _ in range(200):
        subprocess.run(["/bin/true"], check=True)

    connector.read()
    lost = connector.dropped()
    connector.close()

    assert lost > 100
    assert connector.overruns >= 1


def test_what_root_of_the_node_sends_is_refused(connector: ProcConnector) -> None:
    forger = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11)
    forger.bind((0, 0))
    message = b"\0" * 36 + struct.pack("=I", 2) + b"\0" * 36
    port = connector._socket.getsockname()[0]
    forger.sendto(message, (port, 0))
    forger.close()
    connector.read()

    assert connector.forged == 1
