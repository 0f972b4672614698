"""What is made of SECCOMP records and /proc alone, at the moments in which /proc may be looked at."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from enricher.clock import Clock
from enricher.containers.containers import Containers
from enricher.containers.pods import Container, ContainerStatus, Namespace, Pod, PodSpec, PodStatus
from enricher.containers.proc_cgroups import ProcCgroupResolver
from enricher.correlate.correlator import Correlator
from enricher.correlate.process_tree import Entry, Node
from enricher.correlate.request_index import RequestIndex
from enricher.correlate.sessions import Sessions
from enricher.correlate.tracker import ContainerTracker
from enricher.emit.emitter import Emitter
from enricher.emit.quota import Quota
from enricher.emit.record_builder import RecordBuilder
from enricher.events import Process, SeccompEvent
from enricher.procfs import Proc, ProcessInfo
from enricher.sensors.proc.sensor import ProcSensor
from enricher.tally import Tally
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Record
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User

UID = "de193172-188c-4596-a2a0-b64f75a1b8e4"
ID = "a" * 64
POD = "11111111-2222-3333-4444-555555555555"
CGROUP = f"0::/kubepods/pod{POD}/{ID}\n"
TAGGED = ("env", f"SPO_EXEC_REQUEST_UID={UID}", "sh", "-c", "id")
X86_64, EXECVE = 0xC000003E, 59


class FakeProc:
    """Processes that are what a test says."""

    def __init__(self) -> None:
        self.alive: dict[int, ProcessInfo] = {}

    def is_now(self, pid: int, *argv: str, parent: int = 1, cgroup: str = CGROUP, ns_pid: int = 9) -> None:
        joined = b"".join(word.encode() + b"\0" for word in argv)
        process = Process(pid, pid * 10)
        self.alive[pid] = ProcessInfo(process, parent, 0, 0, ns_pid, True, joined, truncated=False, cgroup=cgroup)

    def process(self, pid: int) -> ProcessInfo | None:
        return self.alive.get(pid)

    def processes(self) -> Iterator[ProcessInfo]:
        return iter(list(self.alive.values()))


class Rig:
    def __init__(self) -> None:
        self.proc, self.requests, self.records = FakeProc(), dict[str, AuditSession](), list[Record]()
        self.clock, self.asked, containers = Clock(), RequestIndex(), Containers()
        containers.namespace_changed(None, Namespace(ObjectMeta(name="shop", labels={"exectrail.io/record": "true"})))
        status = PodStatus(container_statuses=[ContainerStatus("app", f"containerd://{ID}")])
        spec = PodSpec(containers=[Container("app", "shop:1")])
        containers.pod_changed(None, Pod(ObjectMeta(name="web", namespace="shop", uid=POD), spec, status))
        sessions = Sessions(self.requests.get, self.asked)
        cgroups = ProcCgroupResolver(Path("/nowhere"))
        self.sensor = ProcSensor(cgroups.number, self.clock)
        self.sensor._proc = cast("Proc", self.proc)
        record_builder = RecordBuilder("node1", "0123456789abcdef", self.clock, "proc")
        tally = Tally()
        self.emitter = Emitter(containers, sessions, record_builder, self._take, Quota(100, 100), tally)
        self.correlator = Correlator(cgroups, containers, sessions, self.clock, tally, hold=0.5)
        self.tracker = ContainerTracker(self.sensor, cgroups, containers, self.correlator)
        self.proc.is_now(10, "sleep", "inf", ns_pid=1)

    def _take(self, record: Record) -> bool:
        self.records.append(record)
        return True

    def requested(self, uid: str = UID) -> None:
        target, now = Target("shop", "web", "app"), datetime.now(UTC).isoformat()
        spec = SessionSpec(User("alice"), "exec", "pods/exec", target, now, command=["sh", "-c", "id"], tag="env")
        self.requests[uid] = AuditSession(ObjectMeta(name=uid), spec)
        self.asked.changed(None, self.requests[uid])

    def calls_execve(self, pid: int, now: float = 0.0) -> None:
        at = self.clock.wall_ms(self.clock.boot_ns(int(datetime.now(UTC).timestamp() * 1000)))
        record = SeccompEvent(at, 1, pid, 0, 0, None, None, b"runc:[2:INIT]", b"/", 0, X86_64, EXECVE, 0x7FFC0000)
        self.tracker.take(record, now)
        self.tracker.advance(now)

    def wait(self, now: float) -> list[Record]:
        before = len(self.records)
        self.tracker.advance(now)
        for known in self.correlator.advance(now):
            self.emitter.emit(known, now)
        assert self.correlator.tally.difference(self.correlator.held) == 0
        return self.records[before:]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_process_that_began_after_the_call_did_not_make_it(rig: Rig) -> None:
    late = int(rig.clock.boot_ns(int(datetime.now(UTC).timestamp() * 1000) + 5_000) / 1e7)
    info = replace(rig.proc.alive[10], process=Process(77, late), argv=b"passwd\0")
    rig.proc.alive[77] = info

    rig.calls_execve(77)

    assert rig.wait(1.0) == []
    assert rig.correlator.tally.lost["vanished"] == 1


def reported(records: list[Record]) -> list[tuple[str, list[str] | None, str | None]]:
    return [(record.kind, record.argv, record.user) for record in records if record.kind != "session"]


def test_the_tag_is_seen_between_the_runtime_and_the_command(rig: Rig) -> None:
    rig.requested()
    rig.proc.is_now(20, "runc", "init")
    rig.calls_execve(20)
    assert rig.sensor.poll_timeout() < 0.002, "the tag is there for some milliseconds only"

    rig.proc.is_now(20)  # in the middle of the exec
    assert rig.wait(0.001) == []
    rig.proc.is_now(20, *TAGGED)
    assert reported(rig.wait(0.002)) == [("exec", list(TAGGED), "alice")]
    assert rig.sensor.poll_timeout() > 1


def test_a_new_process_is_not_taken_for_what_its_parent_runs(rig: Rig) -> None:
    rig.requested()
    rig.proc.is_now(20, *TAGGED)
    rig.calls_execve(20)
    rig.proc.is_now(21, *TAGGED, parent=20)
    rig.calls_execve(21)
    rig.wait(0.001)
    rig.proc.is_now(21, "id", parent=20)

    assert reported(rig.wait(0.002)) == [("clone", None, "alice"), ("exec", ["id"], "alice")]


def test_a_call_that_changes_nothing_stands_as_a_call_and_not_as_an_exec(rig: Rig) -> None:
    rig.requested()
    rig.proc.is_now(20, *TAGGED)
    rig.calls_execve(20)
    rig.wait(0.001)
    rig.calls_execve(20, now=0.001)
    rig.wait(0.2)

    assert reported(rig.wait(1.3)) == [("syscall", None, "alice")]


def test_an_entry_whose_tag_was_missed_belongs_to_the_only_request_that_can_be_meant(rig: Rig) -> None:
    rig.requested()
    rig.proc.is_now(20, "sh", "-c", "id")
    rig.calls_execve(20)

    assert rig.wait(0.4) == [], "another request may show until the time is over"
    start, line = rig.wait(0.5)

    assert (start.request_uid, start.user, start.state) == (UID, "alice", "confirmed")
    assert {"requestUID", "user", "origin"} <= set(line.weak or ())
    assert line.origin == "session"


def test_of_two_requests_that_can_be_meant_none_is_chosen(rig: Rig) -> None:
    rig.requested()
    rig.requested(UID.replace("d", "e"))
    rig.proc.is_now(20, "sh", "-c", "id")
    rig.calls_execve(20)

    (line,) = rig.wait(0.5)

    assert (line.request_uid, line.user) == (None, None)


def test_the_first_to_come_in_is_not_taken_for_a_container_that_was_there_before(rig: Rig) -> None:
    rig.proc.is_now(20, "sh", "-c", "id")
    rig.calls_execve(20)

    (line,) = rig.wait(0.5)

    assert line.origin == "untracked"


def test_a_process_that_is_gone_before_it_is_looked_at_is_counted(rig: Rig) -> None:
    rig.calls_execve(20)

    assert rig.wait(0.1) == []
    assert rig.correlator.tally.lost["vanished"] == 1


def test_a_process_outside_of_every_pod_is_left_out(rig: Rig) -> None:
    rig.proc.is_now(20, "sh", cgroup="0::/system.slice\n")
    rig.calls_execve(20)

    assert rig.wait(0.1) == []
    assert rig.correlator.tally.filtered["not-recorded"] == 1


def test_a_process_that_is_gone_leaves_an_exit_of_which_only_the_fact_is_sure(rig: Rig) -> None:
    rig.requested()
    rig.proc.is_now(20, *TAGGED)
    rig.calls_execve(20)
    rig.wait(0.001)
    del rig.proc.alive[20]
    rig.tracker.maintain(5.0)

    line, end = rig.wait(5.0)

    assert (line.kind, line.exit, line.user) == ("exit", None, "alice")
    assert "exit" in (line.weak or ())
    assert end.phase == "end"


def origins(records: list[Record]) -> list[tuple[str, str | None]]:
    return [(" ".join(record.argv), record.origin) for record in records if record.argv]


def test_of_a_new_container_the_first_program_is_its_init_and_the_next_to_come_in_is_not(rig: Rig) -> None:
    del rig.proc.alive[10]
    rig.tracker.maintain(0.0)
    rig.proc.is_now(20, "nginx", ns_pid=1)
    rig.calls_execve(20)
    rig.proc.is_now(30, "sh")
    rig.calls_execve(30)

    assert origins(rig.wait(0.5)) == [("nginx", "container"), ("sh", "untracked")]


def test_a_child_of_what_was_there_before_is_known_by_its_parent(rig: Rig) -> None:
    rig.proc.is_now(20, "id", parent=10)
    rig.calls_execve(20)

    assert [(kind, argv) for kind, argv, _ in reported(rig.wait(0.5))] == [("clone", None), ("exec", ["id"])]
    assert rig.correlator.tree.get(Process(20, 200)) is not None


def test_a_process_that_a_restart_has_restored_leaves_its_exit_even_if_it_was_gone_at_once(rig: Rig) -> None:
    shell = Process(20, 200)
    rig.correlator.tree.backfill(Node(shell, Process(1, 1), ID, 0, Entry(shell, "untracked"), argv=b"sh\0"))
    rig.tracker.resume({ID}, [])

    rig.tracker.maintain(5.0)

    assert [record.kind for record in rig.wait(6.0)] == ["exit"]
