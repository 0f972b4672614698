"""What becomes of sessions that were open over a restart, and of what came in meanwhile."""

from collections.abc import Iterable, Iterator
from typing import Literal

import pytest
from msgspec.structs import replace

from enricher.containers.containers import Container as RunningContainer
from enricher.containers.pods import Container, ContainerStatus, EnvVar, PodSpec, PodStatus
from enricher.correlate.process_tree import Entry, Node
from enricher.correlate.sessions import Session
from enricher.emit.gap import Gap
from enricher.events import Process
from enricher.state.resumption import Requests, Resumption
from exectrail.contracts.record import Record, Resource, encode
from exectrail.contracts.session import AuditSession, SessionStatus
from tests.unit.enricher.rig import (
    APP,
    ENTRY,
    INIT,
    OTHER_UID,
    REQUESTED_MS,
    SECOND,
    UID,
    Rig,
    ask,
    debug_request,
    end,
    execute,
    matched_request,
    pod,
    probed,
    request,
)

GAP = Gap("restart", at_ms=REQUESTED_MS + 60_000, since_ms=REQUESTED_MS)


class Restart:
    """A start after a restart."""

    def __init__(self, rig: Rig, gap: Gap = GAP) -> None:
        self.rig = rig
        self.ready = True
        self.running: list[AuditSession] = []
        self.closed: list[tuple[str, str | None]] = []
        self.trail: list[bytes] = []
        self.before: list[Session] = []
        self.gap = gap

    def resumption(self) -> Resumption:
        requests = Requests(
            lambda: self.ready,
            lambda: self.running,
            lambda session, record: self.closed.append((session.request_uid, record.outcome)),
        )
        rig = self.rig
        return Resumption(
            self.gap,
            self.before,
            self.newest_first,
            rig.sessions,
            rig.emitter,
            rig.correlator,
            rig.clock,
            requests,
        )

    def newest_first(self) -> Iterable[bytes]:
        return self.trail[::-1]

    def settles(self) -> list[Record]:
        """The records that come of it."""
        rig, before, resumption = self.rig, len(self.rig.records), self.resumption()
        assert [resumption.settle(now) for now in (0.0, 10.0)] == [False, True]
        rig.check_equation()
        return rig.records[before:]


def session(uid: str = UID, entry: Process = ENTRY, start_seq: int | None = 3) -> Session:
    container = RunningContainer(APP, Resource("shop", "web", "app"), "shop:1", "pod-1")
    return Session(uid, entry, container, started=10 * SECOND, start_seq=start_seq, interrupted=True)


def is_there(rig: Rig, process: Process, entry: Entry, argv: bytes = b"sh\0-c\0id\0") -> None:
    rig.correlator.tree.backfill(Node(process, Process(1, 0), APP, 10 * SECOND, entry, argv=argv))


def runs(uid: str, started: str = "2026-11-23T12:00:01.000Z") -> AuditSession:
    return replace(request(uid), status=SessionStatus("Running", node="node1", start_time=started))


def test_a_session_that_is_alive_goes_on_and_its_processes_are_a_lower_bound(rig: Rig) -> None:
    ask(rig, request())
    restart = Restart(rig)
    restart.before = [session()]
    is_there(rig, ENTRY, Entry(ENTRY, "session", restart.before[0], processes=4))

    assert restart.settles() == []
    _, last = rig.happen(end(ENTRY))

    assert (last.phase, last.outcome, last.user, last.processes) == ("end", "completed", "alice", 4)
    assert last.weak == ["processes"]


def test_a_start_that_was_never_written_is_reported(rig: Rig) -> None:
    ask(rig, request())
    restart = Restart(rig)
    restart.before = [session(start_seq=None)]

    reported = restart.settles()

    assert [(each.phase, each.user, each.outcome) for each in reported] == [
        ("start", "alice", None),
        ("end", "alice", "lost"),
    ]


def test_a_session_that_ends_while_the_api_is_waited_for_has_completed(rig: Rig) -> None:
    ask(rig, request())
    restart = Restart(rig)
    restart.ready = False
    restart.before = [session()]
    is_there(rig, ENTRY, Entry(ENTRY, "session", restart.before[0]))
    resumption = restart.resumption()
    resumption.settle(0.0)
    rig.correlator.take(end(ENTRY), 0.0)
    before = resumption.taken_up, len(resumption.waiting())
    restart.ready = True
    resumption.settle(1.0)
    reported = rig.wait(1.0)

    assert before == (False, 1)
    assert (resumption.taken_up, len(resumption.waiting())) == (True, 0)
    assert [(each.kind, each.outcome, each.user) for each in reported] == [
        ("exit", None, "alice"),
        ("session", "completed", "alice"),
    ]


def test_a_session_of_another_boot_is_lost_though_somebody_has_its_pid_and_start(rig: Rig) -> None:
    restart = Restart(rig, replace(GAP, reason="reboot", boot_id="fedcba98-7654"))
    restart.before = [session()]
    is_there(rig, ENTRY, Entry(ENTRY, "container"))

    (lost,) = restart.settles()

    assert (lost.outcome, lost.reason, lost.process_key) == ("lost", "reboot", f"fedcba98-{ENTRY.pid}-{ENTRY.start}")
    assert (lost.since, lost.timestamp) == ("2026-11-23T12:00:00.000Z", "2026-11-23T12:01:00.000Z")


def test_the_api_is_waited_for_and_what_only_it_knows_for_ever(rig: Rig) -> None:
    restart = Restart(rig)
    restart.ready = False
    restart.before = [session()]
    restart.running = [runs(OTHER_UID)]
    reported: list[int] = []
    resumption = restart.resumption()
    for now in (0.0, 29.0, 30.0, 400.0):
        assert not resumption.settle(now)
        reported.append(len(rig.records))
    restart.ready = True

    assert resumption.settle(401.0)
    assert reported == [0, 0, 1, 1]
    assert [each.request_uid for each in rig.records] == [UID, OTHER_UID]


def test_what_only_the_api_holds_for_running_is_closed(rig: Rig) -> None:
    restart = Restart(rig)
    restart.running = [runs(UID)]

    (lost,) = restart.settles()

    assert (lost.request_uid, lost.user, lost.outcome, lost.reason) == (UID, "alice", "lost", "restart")
    assert lost.resource and lost.resource.container == "app"
    assert (lost.process_key, lost.entry_key, lost.pid) == (None, None, None)
    assert rig.reported == [("end", UID)]


def test_an_end_that_is_in_the_trail_and_not_in_the_api_is_reported_to_the_api_alone(rig: Rig) -> None:
    restart = Restart(rig)
    ask(rig, request())
    rig.happen(execute(ENTRY, "env", f"SPO_EXEC_REQUEST_UID={UID}", "sh", "-c", "id"), end(ENTRY))
    restart.trail = [encode(each).rstrip(b"\n") for each in rig.records]
    restart.running = [runs(UID)]

    assert restart.settles() == []
    assert restart.closed == [(UID, "completed")]


def test_the_trail_is_read_no_further_than_to_the_last_end_that_is_looked_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart = Restart(rig)
    ask(rig, request())
    rig.happen(execute(ENTRY, "env", f"SPO_EXEC_REQUEST_UID={UID}", "sh", "-c", "id"), end(ENTRY))
    restart.running = [runs(UID)]

    def newest_first() -> Iterator[bytes]:
        yield encode(rig.records[-1]).rstrip(b"\n")
        raise AssertionError("read on")

    monkeypatch.setattr(restart, "newest_first", newest_first)
    assert restart.settles() == []
    assert restart.closed == [(UID, "completed")]


@pytest.mark.parametrize("started", ["2026-11-23T12:01:00.001Z", "2026-11-23T13:00:00.000Z"])
def test_sessions_that_began_after_the_restart_are_none_of_its_business(rig: Rig, started: str) -> None:
    restart = Restart(rig)
    restart.running = [runs(UID, started)]

    assert restart.settles() == []


def test_who_came_in_unseen_is_found_by_command_and_nothing_is_vouched_for(rig: Rig) -> None:
    ask(rig, request(), matched_request(OTHER_UID, "bob", command=("bash",)))
    restart = Restart(rig)
    at = (REQUESTED_MS + 500 - rig.wall_ms(0)) * 1_000_000
    entry = Entry(ENTRY, None)
    rig.correlator.tree.backfill(Node(ENTRY, Process(1, 0), APP, at, entry, argv=b"sh\0-c\0id\0"))
    rig.happen(execute(INIT, "sleep", "inf"))

    (start,) = restart.settles()

    assert (start.phase, start.request_uid, start.user) == ("start", UID, "alice")
    assert start.weak == ["requestUID", "user", "origin"]
    assert entry.origin == "session"


def test_who_came_in_unseen_and_may_be_of_two_requests_has_both_for_candidates(rig: Rig) -> None:
    ask(rig, request(), request(OTHER_UID))
    restart = Restart(rig)
    at = (REQUESTED_MS + 500 - rig.wall_ms(0)) * 1_000_000
    entry = Entry(ENTRY, None)
    rig.correlator.tree.backfill(Node(ENTRY, Process(1, 0), APP, at, entry, argv=b"sh\0-c\0id\0"))
    rig.happen(execute(INIT, "sleep", "inf"))

    assert restart.settles() == []
    assert (entry.origin, entry.session, entry.candidates) == ("session", None, sorted([UID, OTHER_UID]))


def test_who_came_in_unseen_and_nobody_asked_for_stays_without_an_origin(rig: Rig) -> None:
    entry = Entry(ENTRY, None)
    is_there(rig, ENTRY, entry)
    rig.happen(execute(INIT, "sleep", "inf"))

    assert Restart(rig).settles() == []
    assert entry.origin is None
    (record,) = rig.happen(execute(ENTRY, "id"))
    assert (record.origin, record.weak) == (None, ["origin"])


def made_meanwhile(variable: str | None, name: str = "debugger") -> Rig:
    """An ephemeral container, or another one, that started while no enricher ran."""
    env = [EnvVar("SPO_EXEC_REQUEST_UID", variable)] if variable else []
    spec = PodSpec([Container("app", "shop:1")], ephemeral_containers=[Container("debugger", "tools", env)])
    reported = [ContainerStatus(name, f"containerd://{APP}")]
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=spec, status=PodStatus(ephemeral_container_statuses=reported)))
    at = (REQUESTED_MS + 500 - rig.wall_ms(0)) * 1_000_000
    rig.correlator.tree.backfill(Node(INIT, Process(1, 0), APP, at, Entry(INIT, "container"), argv=b"sh\0"))
    return rig


@pytest.mark.parametrize(
    ("variable", "tag", "weak"), [(UID, "env", None), (None, "match", ["requestUID", "user"])], ids=["env", "match"]
)
def test_a_container_that_a_request_made_unseen_is_found_by_its_spec(
    variable: str | None, tag: Literal["env", "match"], weak: list[str] | None
) -> None:
    rig = made_meanwhile(variable)
    ask(rig, debug_request("debugger", tag=tag))

    (start,) = Restart(rig).settles()
    (ran,) = rig.happen(execute(INIT, "id"))

    assert (start.phase, start.request_uid, start.user, start.weak) == ("start", UID, "alice", weak)
    assert (ran.user, ran.origin) == ("alice", "session")


def test_one_with_a_borrowed_uid_is_found_without_it_or_not_at_all() -> None:
    rig = made_meanwhile(UID)
    ask(rig, request(), debug_request("debugger", OTHER_UID, "mallory", "match"))

    (start,) = Restart(rig).settles()

    assert (start.request_uid, start.user) == (OTHER_UID, "mallory")


def test_one_that_two_users_asked_for_has_both_for_candidates() -> None:
    rig = made_meanwhile(None)
    ask(rig, debug_request("debugger", tag="match"), debug_request("debugger", OTHER_UID, "mallory", "match"))

    assert Restart(rig).settles() == []
    (ran,) = rig.happen(execute(INIT, "id"))
    assert (ran.user, ran.candidates) == (None, sorted([UID, OTHER_UID]))


def test_an_ordinary_container_that_started_unseen_is_nobodys() -> None:
    rig = made_meanwhile(None, "app")
    ask(rig, debug_request("app", tag="match"))

    assert Restart(rig).settles() == []


def test_a_probe_that_came_in_unseen_is_recognised_by_the_pods_spec() -> None:
    rig = probed()
    entry = Entry(ENTRY, None)
    is_there(rig, ENTRY, entry, argv=b"cat\0/ready\0")

    assert Restart(rig).settles() == []
    assert entry.origin == "probe"


def test_an_entry_that_was_looked_at_before_its_exec_was_reported_is_bound_by_its_tag(rig: Rig) -> None:
    ask(rig, request())
    is_there(rig, ENTRY, Entry(ENTRY, None), argv=b"env\0")

    records = rig.happen(execute(ENTRY, "env", f"SPO_EXEC_REQUEST_UID={UID}", "sh", "-c", "id"))

    assert [(each.kind, each.request_uid, each.origin) for each in records] == [
        ("session", UID, "session"),
        ("exec", UID, "session"),
    ]
