"""What the enricher makes of a `kubectl exec`, of what surrounds it, and of what it does not know."""

from collections.abc import Callable

import pytest

from enricher.clock import Clock
from enricher.compose import Composer
from enricher.containers import Containers, Place
from enricher.events import Exec, Exit, Fork, Process, ProcessEvent, Seccomp
from enricher.pipeline import Pipeline
from enricher.pods import (
    Container,
    ContainerStatus,
    EnvVar,
    Namespace,
    Pod,
    PodSpec,
    PodStatus,
    SeccompProfile,
    SecurityContext,
)
from enricher.sessions import Sessions
from exectrail.meta import ObjectMeta
from exectrail.record import Record, Resource
from exectrail.session import AuditSession, SessionSpec, Target, User

UID = "de193172-188c-4596-a2a0-b64f75a1b8e4"
OTHER_UID = "00000000-188c-4596-a2a0-b64f75a1b8e4"
APP = "a" * 64
CGROUP = 4711
INIT = Process(100, 1000)
STAGE_0, STAGE_1, ENTRY = Process(200, 2000), Process(201, 2001), Process(202, 2001)
SECOND = 1_000_000_000
X86_64, EXECVE, CLONE = 0xC000003E, 59, 56


class OnePlace:
    """All processes are in the same container."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def of(self, event: ProcessEvent) -> Place:
        return self.place


class Rig:
    """A pipeline with a container, a ledger of requests and a clock to turn by hand."""

    def __init__(self, labels: dict[str, str], pod: Pod) -> None:
        self.containers = Containers()
        self.containers.namespace_changed(None, Namespace(ObjectMeta(name="kube-system", uid="cluster-1")))
        self.containers.namespace_changed(None, Namespace(ObjectMeta(name="shop", labels=labels)))
        self.containers.pod_changed(None, pod)
        self.requests: dict[str, AuditSession] = {}
        self.records: list[Record] = []
        self.room = True
        self.told: list[tuple[str, str]] = []
        clock = Clock()
        self.wall_ms: Callable[[int], int] = clock.wall_ms
        self.pipeline = Pipeline(
            OnePlace(Place(APP, pod.metadata.uid)),
            self.containers,
            Sessions(self.requests.get),
            Composer("node1", "0123456789abcdef", clock, "bpf"),
            clock,
            self.take,
            hold=0.5,
            on_start=lambda session, _: self.told.append(("start", session.request_uid)),
            on_end=lambda session, _: self.told.append(("end", session.request_uid)),
        )

    def take(self, record: Record) -> bool:
        if self.room:
            self.records.append(record)
        return self.room

    def happen(self, *events: ProcessEvent, now: float = 0.0) -> list[Record]:
        """Feed events; returns the records that came of them at once."""
        before = len(self.records)
        for event in events:
            self.pipeline.process_event(event, now)
        self.pipeline.advance(now)
        self.check_equation()
        return self.records[before:]

    def wait(self, until: float) -> list[Record]:
        """Let time go by; returns the records that this let go."""
        before = len(self.records)
        self.pipeline.advance(until)
        self.check_equation()
        return self.records[before:]

    def check_equation(self) -> None:
        assert self.pipeline.tally.difference(self.pipeline.held) == 0


def pod(*, ids: bool = True, spec: PodSpec | None = None, status: PodStatus | None = None) -> Pod:
    spec = spec or PodSpec(containers=[Container("app", "shop:1")])
    status = status or PodStatus(container_statuses=[ContainerStatus("app", f"containerd://{APP}")] if ids else [])
    return Pod(ObjectMeta(name="web", namespace="shop", uid="pod-1"), spec, status)


def request(uid: str = UID, container: str = "app", name: str = "web") -> AuditSession:
    spec = SessionSpec(
        user=User("alice", groups=["dev"], extra={"key": ["value"]}),
        verb="exec",
        resource="pods/exec",
        target=Target("shop", name, container),
        time="2026-11-23T12:00:00.000000Z",
        command=["sh", "-c", "id"],
        tag="env",
        recorded=True,
    )
    return AuditSession(ObjectMeta(name=uid), spec)


def fork(parent: Process, child: Process, time: int = 10 * SECOND) -> Fork:
    return Fork(time, CGROUP, "", parent, child, 0, 0)


def execute(process: Process, *argv: str, parent: Process = STAGE_1, time: int = 10 * SECOND, ns_pid: int = 7) -> Exec:
    joined = b"".join(word.encode() + b"\0" for word in argv)
    return Exec(time, CGROUP, "", process, parent, 0, 0, ns_pid, False, b"/bin/" + argv[0].encode(), joined, False)


def end(process: Process, code: int = 0, time: int = 12 * SECOND) -> Exit:
    return Exit(time, CGROUP, process, code, None)


def container_starts(rig: Rig) -> None:
    """The runtime makes the container: its init comes in from outside."""
    rig.happen(execute(INIT, "sleep", "inf", parent=Process(1, 1), ns_pid=1))
    rig.records.clear()


def entering(uid: str = UID, entry: Process = ENTRY) -> list[ProcessEvent]:
    """What the runtime does for an exec: two helpers of its own, then the tagged command."""
    return [
        fork(STAGE_0, STAGE_1),
        fork(STAGE_1, entry),
        end(STAGE_1, time=10 * SECOND),
        execute(entry, "env", f"SPO_EXEC_REQUEST_UID={uid}", "sh", "-c", "id"),
    ]


@pytest.fixture
def rig() -> Rig:
    made = Rig({"exectrail.io/record": "true"}, pod())
    container_starts(made)
    return made


def test_an_exec_becomes_a_session_with_the_user_on_every_line(rig: Rig) -> None:
    rig.requests[UID] = request()
    child = Process(300, 3000)

    records = rig.happen(
        *entering(),
        execute(ENTRY, "sh", "-c", "id"),
        fork(ENTRY, child, time=11 * SECOND),
        execute(child, "id", parent=ENTRY),
        end(child, time=11 * SECOND + 20_000_000),
        end(ENTRY, code=3),
    )

    assert [(r.kind, r.phase) for r in records] == [
        ("session", "start"),
        ("exec", None),
        ("exec", None),
        ("clone", None),
        ("exec", None),
        ("exit", None),
        ("exit", None),
        ("session", "end"),
    ]
    assert {(r.request_uid, r.user, r.origin, r.state, r.entry_key) for r in records} == {
        (UID, "alice", "session", "confirmed", "01234567-202-2001")
    }
    assert {r.resource for r in records} == {Resource("shop", "web", "app")}


def test_a_session_says_who_asked_for_what_once_and_how_it_ended(rig: Rig) -> None:
    rig.requests[UID] = request()

    start, *_, last = rig.happen(*entering(), fork(ENTRY, Process(300, 3000)), end(ENTRY, code=3))

    assert start.request and start.request.command == ["sh", "-c", "id"]
    assert start.user_info and (start.user_info.groups, start.user_info.extra) == (["dev"], {"key": ["value"]})
    assert (start.image, start.pod_uid, start.cluster_uid) == ("shop:1", "pod-1", "cluster-1")
    assert last.exit and (last.exit.code, last.outcome, last.duration_ms, last.processes) == (3, "completed", 2000, 2)
    assert rig.told == [("start", UID), ("end", UID)]


def test_the_runtimes_own_helpers_leave_no_records(rig: Rig) -> None:
    records = rig.happen(fork(STAGE_0, STAGE_1), fork(STAGE_1, ENTRY), end(STAGE_1))

    assert records == []
    assert rig.pipeline.tally.filtered["runtime"] == 3


def test_whoever_a_session_forks_stays_in_it(rig: Rig) -> None:
    rig.requests[UID] = request()
    child, grandchild = Process(300, 3000), Process(301, 3001)

    records = rig.happen(
        *entering(),
        fork(ENTRY, child),
        execute(child, "env", "-i", "setsid", "sh", parent=ENTRY),
        fork(child, grandchild),
        end(child),
        end(ENTRY),
        execute(grandchild, "sleep", "9", parent=Process(1, 1)),
    )

    assert records[-1].argv == ["sleep", "9"]
    assert (records[-1].request_uid, records[-1].user) == (UID, "alice")


def test_the_containers_own_processes_are_not_a_session(rig: Rig) -> None:
    (record,) = rig.happen(execute(INIT, "nginx"))

    assert (record.origin, record.request_uid, record.user) == ("container", None, None)


def test_an_entry_without_a_request_is_untracked(rig: Rig) -> None:
    (record,) = rig.happen(execute(ENTRY, "sh"))

    assert record.origin == "untracked"


def test_a_record_waits_for_its_request_and_is_unconfirmed_if_that_never_shows(rig: Rig) -> None:
    assert rig.happen(*entering(), now=0.0) == []
    assert rig.wait(0.49) == []

    start, entry = rig.wait(0.5)

    assert (start.state, start.user, entry.state, entry.request_uid) == ("unconfirmed", None, "unconfirmed", UID)


def test_a_request_that_shows_late_but_in_time_confirms_all_that_waited(rig: Rig) -> None:
    rig.happen(*entering(), now=0.0)
    rig.requests[UID] = request()

    assert [(r.state, r.user) for r in rig.wait(0.1)] == [("confirmed", "alice")] * 2


def test_the_same_uid_a_second_time_is_forged(rig: Rig) -> None:
    rig.requests[UID] = request()
    rig.happen(*entering())

    forged = rig.happen(execute(Process(400, 4000), "env", f"SPO_EXEC_REQUEST_UID={UID}", "sh"))

    assert [(r.state, r.user) for r in forged] == [("forged", None)] * 2


@pytest.mark.parametrize("meant", [request(container="sidecar"), request(name="db")])
def test_a_uid_that_was_meant_for_another_container_is_forged(rig: Rig, meant: AuditSession) -> None:
    rig.requests[UID] = meant

    assert {r.state for r in rig.happen(*entering())} == {"forged"}


def test_a_request_without_a_container_name_binds_in_any_container_of_its_pod(rig: Rig) -> None:
    rig.requests[UID] = request(container="")

    assert {r.state for r in rig.happen(*entering())} == {"confirmed"}


def test_a_namespace_that_did_not_opt_in_leaves_no_records() -> None:
    rig = Rig({}, pod())

    assert rig.happen(*entering()) == []
    assert rig.pipeline.tally.filtered["not-recorded"] == 4


def test_what_is_never_decided_is_counted_as_lost() -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod())
    rig.containers.pod_changed(pod(), None)

    assert rig.happen(execute(INIT, "sh"), now=0.0) == []
    assert rig.wait(1.0) == []
    assert rig.pipeline.tally.lost["undecided"] == 1


def test_a_container_that_cannot_be_told_leaves_with_a_null_resource_and_a_reason() -> None:
    two = PodSpec(containers=[Container("a", "x"), Container("b", "y")])
    rig = Rig({"exectrail.io/record": "true"}, pod(ids=False, spec=two))

    rig.happen(execute(INIT, "sh", ns_pid=1), now=0.0)
    (record,) = rig.wait(0.5)

    assert (record.resource, record.reason) == (None, "container-unknown")


def test_the_only_container_of_a_pod_is_told_before_the_kubelet_reports_it() -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod(ids=False))

    (record,) = rig.happen(execute(INIT, "sh", ns_pid=1))

    assert record.resource == Resource("shop", "web", "app")


def test_an_ephemeral_container_is_the_session_that_its_spec_names() -> None:
    spec = PodSpec(
        containers=[Container("app", "shop:1")],
        ephemeral_containers=[Container("debugger", "tools", [EnvVar("SPO_EXEC_REQUEST_UID", UID)])],
    )
    status = PodStatus(container_statuses=[ContainerStatus("app", "containerd://other")])
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=spec, status=status))
    rig.requests[UID] = request(container="debugger")

    records = rig.happen(execute(INIT, "sh", ns_pid=1), end(INIT))

    assert [(r.kind, r.origin, r.user) for r in records] == [
        ("session", "session", "alice"),
        ("exec", "session", "alice"),
        ("exit", "session", "alice"),
        ("session", "session", "alice"),
    ]


def test_the_tag_in_an_ordinary_containers_spec_is_not_believed() -> None:
    spec = PodSpec(containers=[Container("app", "shop:1", [EnvVar("SPO_EXEC_REQUEST_UID", UID)])])
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=spec))
    rig.requests[UID] = request()

    (record,) = rig.happen(execute(INIT, "sh", ns_pid=1))

    assert (record.origin, record.request_uid) == ("container", None)


LOGGED = PodSpec(
    containers=[Container("app", "shop:1")],
    security_context=SecurityContext(SeccompProfile("Localhost", "exectrail/process-audit.json")),
)


def seccomp(rig: Rig, pid: int, syscall: int = EXECVE, comm: bytes = b"runc:[2:INIT]", exe: bytes = b"/") -> Seccomp:
    at = rig.wall_ms(10 * SECOND)
    return Seccomp(at, 1, pid, 0, 0, None, None, comm, exe, 0, X86_64, syscall, 0x7FFC0000)


@pytest.fixture
def logged() -> Rig:
    made = Rig({"exectrail.io/profile": "process-audit"}, pod(spec=LOGGED))
    made.happen(execute(INIT, "sleep", "inf", parent=Process(1, 1), ns_pid=1))
    made.wait(1.0)
    made.records.clear()
    made.requests[UID] = request()
    return made


@pytest.mark.parametrize("first", ["record", "event"])
def test_an_exec_and_its_seccomp_record_become_one_line_in_either_order(logged: Rig, first: str) -> None:
    record, event = seccomp(logged, ENTRY.pid), entering()[-1]
    if first == "record":
        logged.pipeline.seccomp_record(record, 2.0)
        logged.pipeline.process_event(event, 2.0)
    else:
        logged.pipeline.process_event(event, 2.0)
        logged.pipeline.seccomp_record(record, 2.1)

    _, line = logged.wait(2.1)

    assert (line.executable, line.syscalls, line.source) == ("/", ["execve"], "bpf+netlink")
    assert logged.pipeline.tally.merged["seccomp"] == 1


def test_a_fork_and_its_seccomp_record_become_one_line(logged: Rig) -> None:
    child = Process(300, 3000)
    logged.pipeline.seccomp_record(seccomp(logged, INIT.pid, CLONE, b"sleep", b"/bin/sleep"), 2.0)

    (line,) = logged.happen(fork(INIT, child), now=2.0)

    assert (line.kind, line.syscalls, line.process_key) == ("clone", ["clone"], "01234567-300-3000")


def test_tries_along_the_path_are_told_from_the_exec_that_succeeded(logged: Rig) -> None:
    logged.pipeline.seccomp_record(seccomp(logged, ENTRY.pid), 2.0)
    for _ in range(3):
        logged.pipeline.seccomp_record(seccomp(logged, ENTRY.pid, comm=b"env", exe=b"/usr/bin/env"), 2.0)

    _, entry, shell = logged.happen(entering()[-1], execute(ENTRY, "sh", "-c", "id"), now=2.0)
    failed = logged.wait(3.1)

    assert (entry.executable, shell.executable) == ("/", "/usr/bin/env")
    assert [(r.kind, r.executable, r.request_uid) for r in failed] == [("syscall", "/usr/bin/env", UID)] * 2


def test_another_logged_system_call_stands_for_itself(logged: Rig) -> None:
    logged.pipeline.seccomp_record(seccomp(logged, INIT.pid, 39, b"sleep", b"/bin/sleep"), 2.0)

    (line,) = logged.wait(3.1)

    assert (line.kind, line.syscalls, line.origin) == ("syscall", ["getpid"], "container")


def test_seccomp_records_of_processes_that_are_not_recorded_are_left_out(logged: Rig) -> None:
    logged.pipeline.seccomp_record(seccomp(logged, 9999), 2.0)

    assert logged.wait(3.1) == []
    assert logged.pipeline.tally.filtered["not-recorded"] == 1


def test_what_never_gets_its_other_half_leaves_when_its_time_is_over(logged: Rig) -> None:
    assert logged.happen(*entering(), now=2.0) == []

    _, line = logged.wait(2.5)

    assert (line.source, line.syscalls) == ("bpf", None)


def test_flush_lets_go_of_everything(rig: Rig) -> None:
    rig.happen(*entering(), now=0.0)

    rig.pipeline.flush()

    assert len(rig.records) == 2
    assert rig.pipeline.held == 0


def test_arguments_that_are_not_utf_8_are_kept_readable(rig: Rig) -> None:
    event = execute(ENTRY, "printf")
    raw = Exec(
        event.time, CGROUP, "", ENTRY, STAGE_1, 0, 0, 7, False, b"/bin/printf", b"printf\0\xff\n\0\0", truncated=True
    )

    (record,) = rig.happen(raw)

    assert record.argv == ["printf", "\\xff\n", ""]
    assert record.truncated == ["argv", "cmdLine"]


def test_before_the_api_was_read_nothing_is_given_up_for_half_a_minute(rig: Rig) -> None:
    rig.containers.pod_changed(pod(), None)
    rig.containers.ready = lambda: False
    rig.happen(execute(INIT, "sh"), now=0.0)

    assert rig.wait(20.0) == []
    rig.containers.pod_changed(None, pod())
    assert [r.argv for r in rig.wait(20.1)] == [["sh"]]


def test_what_the_storage_has_no_room_for_is_counted_as_lost(rig: Rig) -> None:
    rig.room = False

    assert rig.happen(execute(INIT, "nginx")) == []
    assert rig.pipeline.tally.lost["storage"] == 1
