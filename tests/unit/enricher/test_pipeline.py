"""What the enricher makes of a `kubectl exec`, of what surrounds it, and of what it does not know."""

import msgspec
import pytest
from msgspec.structs import replace

from enricher.clock import boot_to_wall_ns
from enricher.containers.containers import CgroupRef
from enricher.containers.pods import (
    Container,
    ContainerStatus,
    EnvVar,
    PodSpec,
    PodStatus,
    SeccompProfile,
    SecurityContext,
)
from enricher.correlate.correlator import Correlator
from enricher.correlate.process_tree import Entry, Node
from enricher.events import ExecEvent, ExecFailedEvent, Process, SeccompEvent
from exectrail.contracts.record import Resource
from exectrail.contracts.session import AuditSession
from exectrail.filter.filters import Filters, load
from tests.unit.enricher.rig import (
    APP,
    CGROUP,
    ENTRY,
    INIT,
    SECOND,
    STAGE_0,
    STAGE_1,
    UID,
    Rig,
    by_namespace,
    container_starts,
    debug_request,
    end,
    entering,
    execute,
    failed,
    fork,
    pod,
    probed,
    request,
    script,
)

X86_64, EXECVE, CLONE = 0xC000003E, 59, 56


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
    assert rig.reported == [("start", UID), ("end", UID)]


def test_the_runtimes_own_helpers_leave_no_records(rig: Rig) -> None:
    records = rig.happen(fork(STAGE_0, STAGE_1), fork(STAGE_1, ENTRY), end(STAGE_1))

    assert records == []
    assert rig.correlator.tally.filtered["runtime"] == 3


def test_the_runtimes_own_program_that_joined_the_cgroup_early_is_not_taken_for_the_containers_init(rig: Rig) -> None:
    runc = replace(execute(STAGE_0, "runc", "init", parent=Process(1, 1)), mounts_of_parent=True)
    on_its_way = rig.happen(runc, fork(STAGE_0, STAGE_1), fork(STAGE_1, INIT), end(STAGE_1), end(STAGE_0))
    first = rig.happen(execute(INIT, "sleep", "inf", parent=STAGE_0))

    assert on_its_way == []
    assert rig.correlator.tally.filtered["runtime"] == 5
    assert [(each.kind, each.origin, each.argv) for each in first] == [("exec", "container", ["sleep", "inf"])]
    assert rig.correlator.tree.inits() == {APP: INIT}


def test_a_runtime_that_joins_the_cgroup_early_hides_no_request(rig: Rig) -> None:
    rig.requests[UID] = request()
    container_starts(rig)

    runc = replace(execute(STAGE_0, "runc", "init", parent=Process(1, 1)), mounts_of_parent=True)
    records = rig.happen(runc, *entering())

    assert [(each.kind, each.origin) for each in records] == [("session", "session"), ("exec", "session")]


@pytest.mark.parametrize(
    ("argv", "of_parent"),
    [(("runc", "init"), False), (("sh", "init"), True), (("", "init"), True)],
    ids=["in namespaces of its own", "another program", "no name"],
)
def test_who_only_looks_like_the_runtime_is_reported(rig: Rig, argv: tuple[str, ...], of_parent: bool) -> None:
    container_starts(rig)

    rig.happen(replace(execute(ENTRY, *argv), mounts_of_parent=of_parent))
    records = rig.wait(1.0)

    assert [(each.kind, each.origin) for each in records] == [("exec", "untracked")]


def test_a_containers_process_that_calls_itself_runc_init_is_reported(rig: Rig) -> None:
    container_starts(rig)
    child = Process(300, 3000)
    rig.happen(fork(INIT, child))

    records = rig.happen(replace(execute(child, "runc", "init", parent=INIT), mounts_of_parent=True))

    assert [(each.kind, each.argv) for each in records] == [("exec", ["runc", "init"])]


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
    assert rig.happen(execute(ENTRY, "sh"), now=0.0) == []  # a request without a tag may still show

    (record,) = rig.wait(0.5)

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


def test_of_a_session_that_ended_before_its_request_showed_the_api_learns_start_and_end(rig: Rig) -> None:
    rig.happen(*entering(), end(ENTRY, code=3), now=0.0)
    rig.wait(0.5)
    assert rig.reported == []

    rig.requests[UID] = request()
    rig.emitter.tick(20.0, 0)

    assert rig.reported == [("start", UID), ("end", UID)]
    assert [(r.phase, r.reason, r.user) for r in rig.records if r.phase] == [
        ("start", None, None),
        ("end", None, None),
        ("start", "late", "alice"),
    ]


def test_of_a_tag_that_turns_out_to_be_somebody_elses_the_api_learns_nothing(rig: Rig) -> None:
    rig.happen(*entering(), end(ENTRY, code=3), now=0.0)
    rig.wait(0.5)

    rig.requests[UID] = request(name="db")
    rig.emitter.tick(20.0, 0)

    assert rig.reported == []
    assert rig.records[-1].state == "forged"


def test_a_uid_that_somebody_used_elsewhere_is_still_there_for_whom_it_is_meant(rig: Rig) -> None:
    intruder = Process(400, 4000)
    rig.requests[UID] = request(name="db")
    rig.happen(execute(intruder, "env", f"SPO_EXEC_REQUEST_UID={UID}", "sh"))
    assert {record.state for record in rig.wait(0.5)} == {"forged"}

    rig.requests[UID] = request()

    assert {(r.state, r.user) for r in rig.happen(*entering())} == {("confirmed", "alice")}


def test_the_same_uid_a_second_time_is_forged(rig: Rig) -> None:
    rig.requests[UID] = request()
    rig.happen(*entering())

    rig.happen(execute(Process(400, 4000), "env", f"SPO_EXEC_REQUEST_UID={UID}", "sh"))

    assert [(r.state, r.user) for r in rig.wait(0.5)] == [("forged", None)] * 2


@pytest.mark.parametrize("meant", [request(container="sidecar"), request(name="db")])
def test_a_uid_that_was_meant_for_another_container_is_forged(rig: Rig, meant: AuditSession) -> None:
    rig.requests[UID] = meant
    rig.happen(*entering())

    assert {r.state for r in rig.wait(0.5)} == {"forged"}


@pytest.mark.parametrize(
    ("spec", "state"),
    [
        (PodSpec([Container("app")]), "confirmed"),
        (PodSpec([Container("app")], [Container("sidecar")], [Container("debugger")]), "confirmed"),
        (PodSpec([Container("app"), Container("other")]), "forged"),
        (PodSpec([Container("other")], [Container("app")]), "forged"),
        (PodSpec([Container("other")], [], [Container("app")]), "forged"),
    ],
    ids=["the only one", "a sidecar beside it", "one of two", "a sidecar", "an ephemeral one"],
)
def test_a_request_without_a_container_name_binds_in_its_pods_only_regular_one(spec: PodSpec, state: str) -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=spec))
    container_starts(rig)
    rig.requests[UID] = request(container="")

    assert {r.state for r in [*rig.happen(*entering()), *rig.wait(0.5)] if r.state} == {state}


def test_a_namespace_that_did_not_opt_in_leaves_no_records() -> None:
    rig = Rig({}, pod())

    assert rig.happen(*entering()) == []
    assert rig.correlator.tally.filtered["not-recorded"] == 4


def test_what_is_never_decided_is_counted_as_lost() -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod())
    rig.containers.pod_changed(pod(), None)

    assert rig.happen(execute(INIT, "sh"), now=0.0) == []
    assert rig.wait(5.6) == []
    assert rig.correlator.tally.lost["undecided"] == 1


def test_a_container_that_ends_within_a_moment_is_recorded_once_the_kubelet_has_reported_it() -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod(ids=False))
    rig.cgroups.place = CgroupRef(APP)  # its cgroup was gone before it was looked at
    assert rig.happen(execute(INIT, "sh"), end(INIT, time=10 * SECOND), now=0.0) == []
    assert rig.wait(2.0) == []

    rig.containers.pod_changed(pod(ids=False), pod())

    assert [(line.kind, line.resource) for line in rig.wait(2.1)] == [
        ("exec", Resource("shop", "web", "app")),
        ("exit", Resource("shop", "web", "app")),
    ]


def test_what_waits_for_the_kubelet_holds_up_others_for_so_long_at_most(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = execute(Process(300, 3000), "sh")
    known = rig.cgroups.place
    monkeypatch.setattr(rig.cgroups, "of", lambda each: CgroupRef("b" * 64) if each is event else known)
    monkeypatch.setattr(rig.cgroups, "again", lambda _: CgroupRef("b" * 64))
    rig.happen(event, now=0.0)
    assert rig.happen(execute(INIT, "id"), now=5.4) == []

    assert [line.argv for line in rig.wait(5.6)] == [["id"]]


def test_a_container_that_is_not_known_leaves_with_a_null_resource_and_a_reason() -> None:
    two = PodSpec(containers=[Container("a", "x"), Container("b", "y")])
    rig = Rig({"exectrail.io/record": "true"}, pod(ids=False, spec=two))

    rig.happen(execute(INIT, "sh"), now=0.0)
    (record,) = rig.wait(5.6)

    assert (record.resource, record.reason) == (None, "container-unknown")


def test_the_only_container_of_a_pod_is_known_before_the_kubelet_reports_it() -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod(ids=False))

    (record,) = rig.happen(execute(INIT, "sh"))

    assert record.resource == Resource("shop", "web", "app")


def test_an_ephemeral_container_is_the_session_that_its_spec_names() -> None:
    spec = PodSpec(
        containers=[Container("app", "shop:1")],
        ephemeral_containers=[Container("debugger", "tools", [EnvVar("SPO_EXEC_REQUEST_UID", UID)])],
    )
    status = PodStatus(container_statuses=[ContainerStatus("app", "containerd://other")])
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=spec, status=status))
    rig.requests[UID] = debug_request("debugger")

    records = rig.happen(execute(INIT, "sh"), end(INIT))

    assert [(r.kind, r.origin, r.user) for r in records] == [
        ("session", "session", "alice"),
        ("exec", "session", "alice"),
        ("exit", "session", "alice"),
        ("session", "session", "alice"),
    ]


def test_what_the_kubelet_reports_as_a_container_is_no_sandbox() -> None:
    reported = replace(pod(), status=PodStatus([ContainerStatus("app", f"containerd://{APP}")]))
    rig = Rig({"exectrail.io/record": "true"}, reported)
    rig.cgroups.place = replace(rig.cgroups.place, sandbox=True)

    (record,) = rig.happen(execute(INIT, "sh"))

    assert record.resource == Resource("shop", "web", "app")


def test_the_pods_sandbox_is_left_out() -> None:
    rig = Rig({"exectrail.io/record": "true"}, replace(pod(), status=PodStatus()))
    rig.cgroups.place = replace(rig.cgroups.place, sandbox=True)

    assert rig.happen(execute(INIT, "pause")) == []
    assert rig.correlator.tally.filtered["not-recorded"] == 1


def test_the_tag_in_an_ordinary_containers_spec_is_not_believed() -> None:
    spec = PodSpec(containers=[Container("app", "shop:1", [EnvVar("SPO_EXEC_REQUEST_UID", UID)])])
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=spec))
    rig.requests[UID] = request()

    (record,) = rig.happen(execute(INIT, "sh"))

    assert (record.origin, record.request_uid) == ("container", None)


LOGGED = PodSpec(
    containers=[Container("app", "shop:1")],
    security_context=SecurityContext(SeccompProfile("Localhost", "exectrail/process-audit.json")),
)


def seccomp(
    rig: Rig, pid: int, syscall: int = EXECVE, comm: bytes = b"runc:[2:INIT]", exe: bytes = b"/"
) -> SeccompEvent:
    at = rig.wall_ms(10 * SECOND)
    return SeccompEvent(at, 1, pid, 0, 0, None, None, comm, exe, 0, X86_64, syscall, 0x7FFC0000)


def test_a_record_that_came_by_auditds_log_says_so(logged: Rig) -> None:
    logged.correlator.take_seccomp(replace(seccomp(logged, ENTRY.pid), via="auditlog"), 2.0)
    _, exec_ = logged.happen(*entering(), now=2.0)
    assert exec_.source == "bpf+auditlog"


@pytest.mark.parametrize(
    ("pid", "later", "resource", "reason"),
    [
        (INIT.pid, False, Resource("shop", "web", "app"), None),
        (4242, False, None, "no-sensor"),
        (INIT.pid, True, None, "no-sensor"),
    ],
    ids=["its process still runs", "its process is gone", "its pid is somebody else's by now"],
)
def test_a_call_from_before_anybody_watched_stands_for_itself(
    logged: Rig, pid: int, later: bool, resource: Resource | None, reason: str | None
) -> None:
    born = logged.correlator.tree.by_pid(INIT.pid).born  # type: ignore[union-attr] # it is there
    at = logged.wall_ms(born) + (-1000 if later else 1000)
    logged.correlator.take_earlier_seccomp(replace(seccomp(logged, pid), via="auditlog", time=at))
    logged.advance(0.0)

    (line,) = logged.records

    assert (line.kind, line.pid, line.syscalls) == ("syscall", pid, ["execve"])
    assert (line.resource, line.reason) == (resource, reason)
    assert "auditlog" in (line.source or "")
    assert logged.correlator.tally.difference(logged.correlator.held) == 0


@pytest.fixture
def logged() -> Rig:
    made = Rig({"exectrail.io/profile": "process-audit"}, pod(spec=LOGGED))
    made.happen(replace(execute(INIT, "sleep", "inf", parent=Process(1, 1)), seccomp=False))
    made.records.clear()
    made.requests[UID] = request()
    return made


@pytest.mark.parametrize("first", ["record", "event"])
def test_an_exec_and_its_seccomp_record_become_one_line_in_either_order(logged: Rig, first: str) -> None:
    record, event = seccomp(logged, ENTRY.pid), entering()[-1]
    if first == "record":
        logged.correlator.take_seccomp(record, 2.0)
        logged.correlator.take(event, 2.0)
    else:
        logged.correlator.take(event, 2.0)
        logged.correlator.take_seccomp(record, 2.1)

    _, line = logged.wait(2.1)

    assert (line.executable, line.syscalls, line.source) == ("/", ["execve"], "bpf+netlink")
    assert logged.correlator.tally.merged["seccomp"] == 1


@pytest.mark.parametrize("hours", [1, -1], ids=["forward", "back"])
def test_a_step_of_the_wall_clock_leaves_the_halves_together(
    logged: Rig, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    before = boot_to_wall_ns()
    monkeypatch.setattr("enricher.clock.boot_to_wall_ns", lambda: before + hours * 3600 * SECOND)
    logged.clock.adjust()

    logged.correlator.take_seccomp(seccomp(logged, ENTRY.pid), 2.0)
    _, line = logged.happen(*entering(), now=2.0)

    assert line.source == "bpf+netlink"


def test_a_fork_and_its_seccomp_record_become_one_line(logged: Rig) -> None:
    child = Process(300, 3000)
    logged.correlator.take_seccomp(seccomp(logged, INIT.pid, CLONE, b"sleep", b"/bin/sleep"), 2.0)

    (line,) = logged.happen(fork(INIT, child), now=2.0)

    assert (line.kind, line.syscalls, line.process_key) == ("clone", ["clone"], "01234567-300-3000")


def test_tries_along_the_path_are_distinguished_from_the_exec_that_succeeded(logged: Rig) -> None:
    logged.correlator.take_seccomp(seccomp(logged, ENTRY.pid), 2.0)
    for _ in range(3):
        logged.correlator.take_seccomp(seccomp(logged, ENTRY.pid, comm=b"env", exe=b"/usr/bin/env"), 2.0)

    _, entry, shell = logged.happen(entering()[-1], execute(ENTRY, "sh", "-c", "id"), now=2.0)
    failed = logged.wait(3.1)

    assert (entry.executable, shell.executable) == ("/", "/usr/bin/env")
    assert [(r.kind, r.executable, r.request_uid) for r in failed] == [("syscall", "/usr/bin/env", UID)] * 2


def test_another_logged_system_call_stands_for_itself(logged: Rig) -> None:
    logged.correlator.take_seccomp(seccomp(logged, INIT.pid, 39, b"sleep", b"/bin/sleep"), 2.0)

    (line,) = logged.wait(3.1)

    assert (line.kind, line.syscalls, line.origin) == ("syscall", ["getpid"], "container")


def test_seccomp_records_of_processes_that_are_not_recorded_are_left_out(logged: Rig) -> None:
    logged.correlator.take_seccomp(seccomp(logged, 9999), 2.0)

    assert logged.wait(3.1) == []
    assert logged.correlator.tally.filtered["not-recorded"] == 1


def test_what_never_gets_its_seccomp_event_leaves_when_its_time_is_over(logged: Rig) -> None:
    assert logged.happen(*entering(), now=2.0) == []

    _, line = logged.wait(12.5)

    assert (line.source, line.syscalls) == ("bpf", None)


def test_where_no_record_comes_at_all_only_one_is_waited_for_as_late(logged: Rig) -> None:
    logged.happen(*entering(), now=2.0)
    logged.wait(12.5)

    logged.happen(fork(ENTRY, Process(300, 3000)), now=13.0)

    assert [line.source for line in logged.wait(13.5)] == ["bpf"]


def of_another_pod(rig: Rig, seconds: float) -> SeccompEvent:
    """A SECCOMP record of a process that is not recorded here, made so long after `entering`."""
    record = seccomp(rig, 4242, comm=b"sh", exe=b"/bin/sh")
    return replace(record, time=record.time + int(seconds * 1000))


def test_a_process_without_a_filter_has_no_record_to_wait_for(logged: Rig) -> None:
    event = entering()[-1]
    assert isinstance(event, ExecEvent)
    later = replace(event, argv=b"id\0", time=event.time + 8_000_000)
    logged.correlator.take_seccomp(seccomp(logged, ENTRY.pid), 2.0)

    lines = logged.happen(replace(event, seccomp=False), later, now=2.0)

    assert [(line.argv and line.argv[0], line.source) for line in lines if line.kind == "exec"] == [
        ("env", "bpf"),
        ("id", "bpf+netlink"),
    ]


def test_a_record_that_is_late_because_all_are_is_waited_for(logged: Rig) -> None:
    logged.correlator.take_seccomp(of_another_pod(logged, -5), 2.0)
    assert logged.happen(*entering(), now=2.0) == []
    assert logged.wait(7.0) == []
    logged.correlator.take_seccomp(of_another_pod(logged, -1), 7.0)
    assert logged.wait(9.0) == []

    logged.correlator.take_seccomp(seccomp(logged, ENTRY.pid), 9.0)
    _, line = logged.wait(9.0)

    assert line.source == "bpf+netlink"


def test_a_late_record_is_waited_for_also_after_the_clock_was_set_back(logged: Rig) -> None:
    an_hour = 3600
    logged.correlator.take_seccomp(of_another_pod(logged, an_hour), 1.0)

    logged.correlator.take_seccomp(of_another_pod(logged, -5), 2.0)
    logged.happen(*entering(), now=2.0)

    assert logged.wait(7.0) == []


def test_late_records_of_several_events_are_all_joined(logged: Rig) -> None:
    again = execute(ENTRY, "sh", "-c", "id", time=10 * SECOND + 20_000_000)
    logged.correlator.take_seccomp(of_another_pod(logged, -5), 2.0)
    logged.happen(*entering(), again, now=2.0)
    second = replace(seccomp(logged, ENTRY.pid, comm=b"env", exe=b"/bin/env"), serial=2)
    for record in (replace(second, time=second.time + 20), seccomp(logged, ENTRY.pid)):
        logged.correlator.take_seccomp(record, 6.0)

    lines = [each for each in logged.wait(8.0) if each.kind == "exec"]

    assert [line.source for line in lines] == ["bpf+netlink"] * 2


def test_a_record_is_waited_for_no_longer_once_later_ones_have_come(logged: Rig) -> None:
    logged.happen(*entering(), now=2.0)
    logged.correlator.take_seccomp(of_another_pod(logged, 1.0), 2.4)

    _, line = logged.wait(2.5)

    assert line.source == "bpf"


def test_a_record_that_does_not_come_is_waited_for_once(logged: Rig) -> None:
    logged.correlator.take_seccomp(of_another_pod(logged, -5), 2.0)
    logged.happen(*entering(), now=2.0)
    assert logged.wait(12.4) == []
    assert [line.source for line in logged.wait(12.5)][-1] == "bpf"

    logged.happen(execute(ENTRY, "id"), now=13.0)

    assert [line.source for line in logged.wait(13.5)] == ["bpf"]


def test_after_records_have_come_again_a_late_one_is_waited_for_again(logged: Rig) -> None:
    test_a_record_that_does_not_come_is_waited_for_once(logged)
    logged.happen(execute(ENTRY, "id"), now=20.0)
    logged.correlator.take_seccomp(seccomp(logged, ENTRY.pid, comm=b"id", exe=b"/bin/id"), 20.1)
    assert [line.source for line in logged.wait(20.1)] == ["bpf+netlink"]

    logged.happen(execute(ENTRY, "id"), now=30.0)

    assert logged.wait(35.0) == []


OWN_PROFILE = PodSpec(
    containers=[Container("app", "shop:1")],
    security_context=SecurityContext(SeccompProfile("Localhost", "operator/my-own.json")),
)


def test_with_a_profile_of_the_pods_own_records_are_waited_for_once_one_has_come_alone() -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=OWN_PROFILE))
    rig.happen(execute(INIT, "sleep"))
    assert [line.source for line in rig.happen(execute(INIT, "true", time=10 * SECOND), now=2.0)] == ["bpf"]
    rig.correlator.take_seccomp(seccomp(rig, INIT.pid, comm=b"sleep", exe=b"/bin/sleep"), 2.1)
    (alone,) = rig.wait(3.1)
    assert (alone.kind, alone.source) == ("syscall", "bpf+netlink")

    assert rig.happen(execute(INIT, "true", time=10 * SECOND), now=4.0) == []
    rig.correlator.take_seccomp(seccomp(rig, INIT.pid, comm=b"true", exe=b"/bin/true"), 4.1)
    (joined,) = rig.wait(4.1)

    assert (joined.kind, joined.source) == ("exec", "bpf+netlink")


def test_what_such_a_profile_does_not_log_every_time_is_waited_for_no_more() -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=OWN_PROFILE))
    rig.happen(execute(INIT, "sleep"))
    rig.correlator.take_seccomp(seccomp(rig, INIT.pid, comm=b"sleep", exe=b"/bin/sleep"), 0.0)
    rig.wait(1.0)

    assert rig.happen(execute(INIT, "true", time=10 * SECOND), now=2.0) == []
    assert len(rig.wait(2.5)) == 1
    assert len(rig.happen(execute(INIT, "true", time=10 * SECOND), now=3.0)) == 1


def test_without_a_source_of_seccomp_records_none_is_waited_for(logged: Rig) -> None:
    deaf = Correlator(
        logged.cgroups,
        logged.containers,
        logged.sessions,
        logged.clock,
        logged.emitter.tally,
        0.5,
        has_audit_source=False,
    )
    deaf.take(execute(INIT, "sleep"), 0.0)
    for known in deaf.advance(0.0):
        logged.emitter.emit(known, 0.0)
    assert [record.source for record in logged.records] == ["bpf"]


def test_what_the_filter_did_with_a_call_is_reported_where_it_is_more_than_to_log_it(logged: Rig) -> None:
    killed = replace(seccomp(logged, INIT.pid, 39), code=0x80000000, auid=1000, ses=3)
    refused = replace(seccomp(logged, INIT.pid, 40), code=0x00050001)
    for record in (seccomp(logged, INIT.pid, 38), killed, refused):
        logged.correlator.take_seccomp(record, 2.0)

    reported = [(line.action, line.auid, line.ses) for line in logged.wait(3.1)]

    assert reported == [(None, None, None), ("kill_process", 1000, 3), ("errno", None, None)]


def test_of_more_records_than_can_wait_the_oldest_leave(logged: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enricher.correlate.correlator._MAX_HELD", 3)
    for number in range(5):
        logged.correlator.take_seccomp(replace(seccomp(logged, INIT.pid, number), serial=number), 2.0)

    logged.advance(2.0)
    assert logged.correlator.held == 3
    assert [line.syscalls for line in logged.records[-2:]] == [["read"], ["write"]]


def test_of_more_events_than_can_wait_the_oldest_leave(logged: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enricher.correlate.correlator._MAX_HELD", 3)

    left = logged.happen(*[execute(INIT, "true", str(number), time=10 * SECOND) for number in range(5)], now=2.0)

    assert [line.argv for line in left] == [["true", "0"], ["true", "1"]]
    assert logged.correlator.held_events == 3


def test_of_longer_failed_execs_than_can_wait_the_oldest_leave(logged: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enricher.correlate.correlator._MAX_HELD_BYTES", 1000)
    logged.happen(execute(Process(700, 7), "sh", time=10 * SECOND), now=2.0)

    for number in range(50):
        program = b"/" + str(number).encode() * 300
        logged.correlator.take(
            ExecFailedEvent(10 * SECOND, CGROUP, "", INIT, INIT, 0, 0, 2, program, b"x\0", False), 2.0
        )

    assert logged.correlator.held_events < 5


def test_of_longer_arguments_than_can_wait_the_oldest_leave(logged: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enricher.correlate.correlator._MAX_HELD_BYTES", 1000)
    long = "x" * 300

    left = logged.happen(*[execute(INIT, str(number), long, time=10 * SECOND) for number in range(5)], now=2.0)

    assert [line.argv for line in left] == [["0", long], ["1", long]]
    assert logged.correlator.held_events == 3
    logged.wait(30.0)
    again = logged.happen(*[execute(INIT, str(number), long, time=40 * SECOND) for number in range(3)], now=31.0)
    assert again == []  # what has left takes no room


def test_flush_lets_go_of_everything(rig: Rig) -> None:
    rig.happen(*entering(), now=0.0)

    rig.flush()

    assert len(rig.records) == 2
    assert rig.correlator.held == 0


def test_arguments_that_are_not_utf_8_are_kept_readable(rig: Rig) -> None:
    event = execute(ENTRY, "printf")
    raw = ExecEvent(
        event.time, CGROUP, "", ENTRY, STAGE_1, 0, 0, False, b"/bin/printf", b"printf\0\xff\n\0\0", truncated=True
    )

    rig.happen(raw, now=0.0)
    (record,) = rig.wait(0.5)

    assert record.argv == ["printf", "\\xff\n", ""]
    assert record.truncated == ["argv", "cmdLine"]


def test_before_the_api_was_read_nothing_is_given_up_for_half_a_minute() -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod())
    rig.containers.pod_changed(pod(), None)
    rig.ready = False
    rig.happen(execute(INIT, "sh"), now=0.0)

    assert rig.wait(20.0) == []
    rig.containers.pod_changed(None, pod())
    assert [r.argv for r in rig.wait(20.1)] == [["sh"]]


def test_what_the_storage_has_no_room_for_is_counted_as_lost(rig: Rig) -> None:
    rig.room = False

    assert rig.happen(execute(INIT, "nginx")) == []
    assert rig.correlator.tally.lost["storage"] == 1


@pytest.mark.parametrize(
    ("argv", "origin"),
    [(("cat", "/ready"), "probe"), (("sh", "-c", "drain"), "hook"), (("cat", "/etc/passwd"), "untracked")],
)
def test_what_the_kubelet_runs_is_recognised_by_the_pods_spec(argv: tuple[str, ...], origin: str) -> None:
    rig = probed()
    rig.happen(execute(ENTRY, *argv), now=0.0)

    (record,) = rig.records or rig.wait(0.5)

    assert record.origin == origin


@pytest.mark.parametrize("asked", ["/usr/bin/check.sh", "check.sh"])
def test_a_probe_that_is_a_script_is_recognised_though_the_kernel_shows_its_interpreter_first(asked: str) -> None:
    rig = probed(probe=(asked, "-q"))
    rig.happen(script(ENTRY, "/usr/bin/check.sh", "-q"), now=0.0)
    rig.happen(script(Process(500, 5000), "/usr/bin/check.sh", "--wipe"), now=0.0)

    rig.wait(0.5)
    probe, other = rig.records

    assert (probe.origin, probe.argv) == ("probe", ["/bin/sh", "/usr/bin/check.sh", "-q"])
    assert other.origin == "untracked"


@pytest.mark.parametrize(("probe", "hook", "origin"), [("echo $$(id)", "", "probe"), ("", "echo $$(id)", "untracked")])
def test_of_probes_alone_the_kubelet_expands_variables(probe: str, hook: str, origin: str) -> None:
    rig = probed(("sh", "-c", probe), ("sh", "-c", hook))
    rig.happen(execute(ENTRY, "sh", "-c", "echo $(id)"), now=0.0)

    assert [record.origin for record in rig.records or rig.wait(0.5)] == [origin]


def test_a_hook_that_is_a_script_is_recognised() -> None:
    rig = probed(hook=("/drain.sh",))
    rig.happen(script(ENTRY, "/drain.sh"), now=0.0)

    assert [record.origin for record in rig.records or rig.wait(0.5)] == ["hook"]


def test_a_tagged_script_is_its_requests_own(rig: Rig) -> None:
    rig.requests[UID] = request(command=["/run.sh", "x"])
    rig.happen(
        execute(ENTRY, "env", f"SPO_EXEC_REQUEST_UID={UID}", "/run.sh", "x"),
        script(ENTRY, "/run.sh", "x"),
    )

    assert {(record.user, record.state) for record in rig.records} == {("alice", "confirmed")}


def test_a_probe_is_written_once_and_its_repetitions_are_counted() -> None:
    rig = probed()
    for start in range(5):
        entry = Process(500, 5000 + start)
        rig.happen(execute(entry, "cat", "/ready"), end(entry))

    assert [record.kind for record in rig.records] == ["exec", "exit"]
    assert rig.correlator.tally.suppressed["probe"] == 8


def test_the_logged_calls_of_a_probe_are_written_once_too() -> None:
    rig = probed()
    for number in range(3):
        probe = Process(400 + number, 4000 + number)
        rig.happen(execute(probe, "cat", "/ready"), now=number)
        rig.wait(number + 0.5)
        rig.correlator.take_seccomp(seccomp(rig, probe.pid, 2, b"cat", b"/bin/cat"), number + 0.5)
        rig.happen(end(probe), now=number + 0.6)

    rig.wait(9.0)

    assert [line.syscalls for line in rig.records if line.kind == "syscall"] == [["open"]]


def test_what_is_new_about_a_probe_is_written() -> None:
    rig = probed()
    first, second, child = Process(500, 5000), Process(501, 5001), Process(502, 5002)
    rig.happen(execute(first, "cat", "/ready"), end(first))

    records = rig.happen(
        execute(second, "cat", "/ready"),
        fork(second, child),
        execute(child, "nc", "-l", parent=second),
        end(child),
        end(second, code=1),
    )

    assert [(record.kind, record.origin) for record in records] == [
        ("clone", "probe"),
        ("exec", "probe"),
        ("exit", "probe"),
        ("exit", "probe"),
    ]


def test_a_request_that_shows_too_late_corrects_its_session(rig: Rig) -> None:
    rig.happen(*entering(), now=0.0)
    rig.wait(0.5)
    rig.requests[UID] = request()

    (record,) = rig.wait(60.0)

    assert (record.kind, record.phase, record.state, record.user, record.reason) == (
        "session",
        "start",
        "confirmed",
        "alice",
        "late",
    )
    assert rig.wait(61.0) == []


def test_a_container_over_its_quota_is_throttled_and_says_so(rig: Rig) -> None:
    for index in range(100):
        rig.happen(fork(INIT, Process(1000 + index, 1000)), now=1.0)

    clones = [record for record in rig.records if record.kind == "clone"]
    (gap,) = [record for record in rig.records if record.kind == "gap"]
    assert len(clones) == 20
    assert (gap.reason, gap.resource) == ("throttle-start", Resource("shop", "web", "app"))
    assert rig.correlator.tally.lost["throttled"] == 80
    (end_of_it,) = rig.wait(3.0)
    assert (end_of_it.reason, end_of_it.lost) == ("throttle-stop", {"throttled": 80})


def test_what_came_in_without_a_request_is_seen_also_where_its_container_is_throttled_but_has_a_quota_as_well(
    rig: Rig,
) -> None:
    intruder = Process(400, 4000)
    for index in range(100):
        rig.happen(fork(INIT, Process(1000 + index, 1000)), now=1.0)
    rig.happen(execute(intruder, "sh"), now=1.0)
    rig.wait(1.5)
    assert [record.argv for record in rig.records if record.origin == "untracked"] == [["sh"]]
    rig.records.clear()

    for index in range(100):
        rig.happen(fork(intruder, Process(2000 + index, 2000)), now=1.5)

    assert [record.origin for record in rig.records if record.kind == "clone"] == ["untracked"] * 20
    (gap,) = [record for record in rig.records if record.kind == "gap"]
    assert (gap.reason, gap.origin, gap.container_id) == ("throttle-start", "untracked", APP)
    rig.wait(60.0)
    stops = [(each.origin, each.lost) for each in rig.records if each.reason == "throttle-stop"]
    assert stops == [("untracked", {"throttled": 80})]


def test_a_session_is_seen_also_where_its_container_is_throttled(rig: Rig) -> None:
    rig.requests[UID] = request()
    for index in range(100):
        rig.happen(fork(INIT, Process(1000 + index, 1000)), now=1.0)
    rig.records.clear()

    rig.happen(*entering(), end(ENTRY, code=3), now=1.0)

    assert [(record.kind, record.phase) for record in rig.records] == [
        ("session", "start"),
        ("exec", None),
        ("session", "end"),
    ]


def test_a_session_says_what_was_lost_while_it_ran(rig: Rig) -> None:
    rig.requests[UID] = request()
    lost = {"ring-full": 5}
    rig.emitter.losses = lambda: lost
    rig.happen(*entering())
    lost = {"ring-full": 7, "unparsable": 1}

    *_, last = rig.happen(end(ENTRY))

    assert last.lost == {"ring-full": 2, "unparsable": 1}


def test_a_tag_that_comes_too_long_after_its_request_is_forged(rig: Rig) -> None:
    late = request()
    rig.requests[UID] = msgspec.structs.replace(
        late, spec=msgspec.structs.replace(late.spec, time="2026-11-23T11:59:00.000000Z")
    )
    rig.happen(*entering())

    assert {record.state for record in rig.wait(0.5)} == {"forged"}


def test_an_exec_that_fails_leaves_its_errno_and_changes_nothing_else(rig: Rig) -> None:
    rig.happen(failed(INIT, "/etc/shadow", "/etc/shadow", errno=13), now=0.0)
    (record,) = rig.records
    (after,) = rig.happen(fork(INIT, Process(300, 3000)))

    assert (record.kind, record.program, record.errno, record.origin) == ("exec", "/etc/shadow", "EACCES", "container")
    assert after.parent_key == "01234567-100-1000"


def test_of_a_search_along_the_path_only_what_came_of_it_is_written(rig: Rig) -> None:
    tries = [failed(INIT, f"{folder}/id", "id") for folder in ("/usr/local/bin", "/usr/sbin")]

    records = rig.happen(*tries, execute(INIT, "id", parent=Process(1, 1)), now=0.0)

    assert [(record.kind, record.errno) for record in records] == [("exec", None)]
    assert rig.correlator.tally.suppressed["path-search"] == 2


def test_a_search_that_finds_nothing_leaves_its_last_failure(rig: Rig) -> None:
    rig.happen(*[failed(INIT, f"{folder}/idd", "idd") for folder in ("/usr/bin", "/bin")], now=0.0)

    (record,) = rig.wait(0.5)

    assert (record.program, record.errno, record.argv) == ("/bin/idd", "ENOENT", ["idd"])


def test_a_search_that_finds_a_script_leaves_no_failure(rig: Rig) -> None:
    found = replace(script(INIT, "/usr/bin/run.sh", "x"), parent=Process(1, 1))

    records = rig.happen(failed(INIT, "/bin/run.sh", "run.sh", "x"), found, now=0.0)

    assert [(record.errno, record.argv) for record in records] == [(None, ["/bin/sh", "/usr/bin/run.sh", "x"])]


@pytest.mark.parametrize(
    "tries", [("/opt/exploit", "/srv/backdoor"), ("", "")], ids=["other programs", "before Linux 5.15"]
)
def test_tries_that_need_not_be_of_one_search_are_all_written(rig: Rig, tries: tuple[str, ...]) -> None:
    rig.happen(*[failed(INIT, path, "x") for path in tries], now=0.0)
    rig.wait(0.5)

    assert [record.program or "" for record in rig.records] == [*tries]
    assert rig.correlator.tally.suppressed["path-search"] == 0


def test_where_the_sensor_tells_of_failures_each_has_its_own_seccomp_record(logged: Rig) -> None:
    correlator = Correlator(
        logged.cgroups,
        logged.containers,
        logged.sessions,
        logged.clock,
        logged.emitter.tally,
        0.5,
        reports_failed_execs=True,
    )
    correlator.tree.backfill(Node(INIT, Process(1, 1), APP, 0, Entry(INIT, "container"), b"/bin/sleep"))
    for exe in (b"/bin/sleep", b"/bin/sleep"):
        correlator.take_seccomp(seccomp(logged, INIT.pid, comm=b"sleep", exe=exe), 2.0)

    for event in (failed(INIT, "/usr/bin/id", "id"), execute(INIT, "id", parent=Process(1, 1))):
        correlator.take(event, 2.0)
    for known in correlator.advance(2.0):
        logged.emitter.emit(known, 2.0)

    assert [(record.kind, record.source) for record in logged.records] == [("exec", "bpf+netlink")]
    assert (correlator.tally.merged["seccomp"], correlator.held) == (2, 0)


def test_what_the_filters_drop_is_counted_and_still_feeds_the_tree(rig: Rig) -> None:
    rules = '[{"level": "None", "matchKeys": ["kind"], "matchValues": ["clone"]}]'
    rig.emitter.filters = FixedFilters(load(rules))
    child = Process(300, 3000)

    records = rig.happen(fork(INIT, child), execute(child, "id", parent=INIT))

    assert [(record.kind, record.origin) for record in records] == [("exec", "container")]
    assert rig.correlator.tally.filtered["filters"] == 1


class FixedFilters:
    """A set of filters that no file changes."""

    def __init__(self, filters: Filters) -> None:
        self.filters = filters


# ---- born before anybody watched, and gone before anybody looked ----


def test_what_was_born_unseen_in_a_session_is_its_users(rig: Rig) -> None:
    rig.requests[UID] = request()
    rig.happen(*entering())
    child = Process(300, 3000)

    reported = rig.happen(
        failed(child, "/usr/local/bin/id", "id", parent=ENTRY),
        execute(child, "id", parent=ENTRY),
        end(child, time=31 * SECOND),
        end(ENTRY),
    )

    assert [each.kind for each in reported] == ["exec", "exit", "exit", "session"]
    assert {(each.user, each.weak and tuple(each.weak)) for each in reported} == {("alice", None)}
    assert reported[1].duration_ms == 1000
    assert reported[-1].processes == 2


def test_what_was_born_unseen_and_may_be_an_orphan_is_nobodys_and_no_alarm(rig: Rig) -> None:
    container_starts(rig)

    (record,) = rig.happen(execute(Process(300, 3000), "id", parent=INIT))

    assert (record.origin, record.user, record.weak) == (None, None, ["origin"])


def with_mounts_of_parent(event: ExecEvent) -> ExecEvent:
    return replace(event, mounts_of_parent=True)


def test_what_comes_of_a_process_that_was_never_seen_to_come_in_is_untracked(rig: Rig) -> None:
    """As of a shell of the node that joins the container's cgroup; or its birth was lost, which looks the same."""
    container_starts(rig)
    unseen, child = Process(300, 3000), Process(301, 3001)

    rig.happen(fork(unseen, child), with_mounts_of_parent(execute(child, "id", parent=unseen)), now=0.0)

    (record,) = rig.wait(0.6)
    assert (record.origin, record.user) == ("untracked", None)


def test_a_hook_of_the_runtimes_is_not_taken_for_the_containers_init() -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod())
    runtime, init, hook, worker = Process(80, 800), Process(90, 900), Process(91, 901), Process(92, 902)

    ran = rig.happen(
        fork(runtime, init),
        fork(init, hook),
        with_mounts_of_parent(execute(hook, "nvidia-cdi-hook", "update-ldcache", parent=init)),
        end(hook),
        execute(init, "nginx", parent=runtime),
        fork(init, worker),
        with_mounts_of_parent(execute(worker, "worker", parent=init)),
    )

    of_hook, own = ran[:2], ran[2:]
    assert [(each.kind, each.origin, each.weak) for each in of_hook] == [
        ("exec", None, ["origin"]), ("exit", None, ["origin"]),
    ]  # fmt: skip
    assert [(each.kind, each.origin) for each in own] == [
        ("exec", "container"), ("clone", "container"), ("exec", "container"),
    ]  # fmt: skip
    assert rig.correlator.tree.inits() == {APP: init}


def test_who_enters_by_namespaces_alone_is_reported_as_such_whoever_is_its_parent(rig: Rig) -> None:
    rig.requests[UID] = request()
    rig.happen(*entering())

    (record,) = rig.happen(by_namespace(execute(Process(300, 3000), "id", parent=ENTRY)))

    assert (record.origin, record.user, record.outside) == ("untracked", None, "namespace")
