"""The life of a container, whichever sensor reports its processes: found, decided on, taken in, forgotten."""

import selectors
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import pytest
from msgspec.structs import replace

from enricher.containers.containers import CgroupRef
from enricher.containers.pods import Namespace
from enricher.correlate.process_tree import Entry, Node
from enricher.correlate.tracker import ContainerTracker
from enricher.events import Process, ProcessEvent, SeccompEvent
from enricher.netlink import SocketCounters
from enricher.procfs import ProcessInfo
from enricher.sensors.sensor import Dropped, KnownProcess, Sensed
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Record
from tests.unit.enricher.rig import (
    APP,
    CGROUP,
    ENTRY,
    INIT,
    SECOND,
    UID,
    Rig,
    end,
    entering,
    execute,
    fork,
    pod,
    request,
)

RECORD, IGNORE = {"exectrail.io/record": "true"}, dict[str, str]()
SHELL, CHILD = Process(300, 3000), Process(301, 3100)


class FakeSensor:
    """Reports what a test says."""

    name, reports_failed_execs = "fake", False
    weak: tuple[str, ...] = ()
    batch_delay, behind = 0.0, False

    def __init__(self, *, reports_forks_and_exits: bool = True) -> None:
        self.reports_forks_and_exits = reports_forks_and_exits
        self.events: list[Sensed] = []
        self.ends: list[Sensed] = []
        self.gave_up: list[Dropped] = []
        self.there: dict[int, list[ProcessInfo]] = {}
        self.decisions: list[tuple[int, bool]] = []
        self.has_unseen = False
        self.asked: list[set[int]] = []
        self.forgotten: list[int] = []
        self.resumed: list[KnownProcess] = []
        self.wants_seccomp = False
        self.losses: dict[str, int] = {}

    def report(self, *events: ProcessEvent) -> None:
        self.events += [(event, None) for event in events]

    def register(self, selector: selectors.BaseSelector) -> None: ...

    def poll_timeout(self) -> float:
        return float("inf")

    def take(self, seccomp: SeccompEvent, now: float) -> bool:
        return self.wants_seccomp

    def poll(self, now: float) -> Sequence[Sensed]:
        events, self.events = self.events, []
        return events

    def maintain(self) -> Sequence[Sensed]:
        ends, self.ends = self.ends, []
        return ends

    def dropped(self) -> Sequence[Dropped]:
        gave_up, self.gave_up = self.gave_up, []
        return gave_up

    def decide(self, cgroup: int, *, record: bool) -> bool:
        self.decisions.append((cgroup, record))
        return self.has_unseen

    def forget(self, cgroup: int) -> None:
        self.forgotten.append(cgroup)

    def processes(self, cgroups: Collection[int]) -> Mapping[int, Sequence[ProcessInfo]]:
        self.asked.append(set(cgroups))
        return {cgroup: self.there.get(cgroup, []) for cgroup in cgroups}

    def populated(self) -> Collection[int]:
        return self.there

    def resume(self, known: Iterable[KnownProcess]) -> None:
        self.resumed = list(known)

    def lost(self) -> dict[str, int]:
        return self.losses

    def lost_per_cpu(self) -> list[int]:
        return []

    def socket(self) -> SocketCounters:
        return SocketCounters()

    def unmarked(self) -> int:
        return 0

    def close(self) -> None: ...


class FakeCgroups:
    """The one container of the rig, as long as it is there."""

    def __init__(self, ref: CgroupRef) -> None:
        self.known = {CGROUP: ref}
        self.gone = False

    def of(self, event: ProcessEvent) -> CgroupRef:
        return self.known.get(event.cgroup, CgroupRef("unknown"))

    again = of

    def is_there(self, container_id: str) -> bool:
        return not self.gone and container_id == APP

    def scan(self) -> None: ...

    def search(self, containers: Collection[str]) -> dict[str, str]:
        return {}

    def forget_gone(self, is_populated: Callable[[int], bool]) -> list[CgroupRef]:
        gone = self.gone and CGROUP in self.known and not is_populated(CGROUP)
        return [self.known.pop(CGROUP)] if gone else []


class Tracked:
    """A tracker at work on a rig."""

    def __init__(
        self,
        sensor: FakeSensor,
        labels: dict[str, str] = RECORD,
        is_alive: Callable[[Process], bool] = lambda _process: False,
    ) -> None:
        self.rig, self.sensor = Rig(labels, pod()), sensor
        self.cgroups = FakeCgroups(CgroupRef(APP, "pod-1"))
        self.rig.correlator._cgroups = self.cgroups
        self.tracker = ContainerTracker(sensor, self.cgroups, self.rig.containers, self.rig.correlator, is_alive)

    def opt(self, labels: dict[str, str]) -> None:
        self.rig.containers.namespace_changed(None, Namespace(ObjectMeta(name="shop", labels=labels)))

    def origins(self) -> dict[int, str | None]:
        nodes = self.rig.correlator.tree.nodes()
        return {node.process.pid: node.entry.origin for node in nodes if node.entry}


def there(process: Process, argv: bytes = b"sleep\0", ns_pid: int = 1) -> ProcessInfo:
    return ProcessInfo(process, 1, 0, 0, ns_pid, False, argv, False, "", leader=process.pid)


@pytest.fixture(params=[True, False], ids=["all reported", "looked up"])
def sensor(request: pytest.FixtureRequest) -> FakeSensor:
    return FakeSensor(reports_forks_and_exits=request.param)


def test_what_was_there_is_known_before_the_first_event(sensor: FakeSensor) -> None:
    tracked = Tracked(sensor)
    sensor.there[CGROUP] = [there(INIT)]
    sensor.report(execute(SHELL, "sh", parent=Process(1, 1)))

    tracked.tracker.advance(0.0)

    assert tracked.origins() == {INIT.pid: "container", SHELL.pid: "untracked"}


def test_what_is_not_recorded_is_not_looked_at(sensor: FakeSensor) -> None:
    tracked = Tracked(sensor, IGNORE)
    sensor.there[CGROUP] = [there(INIT)]
    sensor.report(execute(SHELL, "sh"))
    tracked.tracker.advance(0.0)
    tracked.tracker.maintain(5.0)

    assert (sensor.asked, tracked.origins()) == ([], {})
    assert tracked.rig.correlator.tally.filtered == {"not-recorded": 1}


def test_the_containers_that_are_there_are_known_to_the_table(sensor: FakeSensor) -> None:
    tracked = Tracked(sensor)

    assert tracked.rig.containers.is_there(APP)
    tracked.cgroups.gone = True
    assert not tracked.rig.containers.is_there(APP)


def test_each_decision_is_handed_down_once(sensor: FakeSensor) -> None:
    tracked = Tracked(sensor, IGNORE)
    tracked.tracker.advance(0.0)
    tracked.tracker.advance(0.1)
    tracked.opt(RECORD)
    tracked.tracker.advance(0.2)

    assert sensor.decisions == [(CGROUP, False), (CGROUP, True)]


def test_a_container_that_was_ignored_and_opts_in_is_taken_in_where_the_sensor_missed_some(sensor: FakeSensor) -> None:
    tracked = Tracked(sensor, IGNORE)
    tracked.tracker.advance(0.0)
    sensor.there[CGROUP] = [there(INIT)]
    sensor.has_unseen = True
    tracked.opt(RECORD)
    tracked.tracker.advance(0.1)

    assert tracked.origins() == {INIT.pid: "container"}


def test_a_container_that_opts_out_is_forgotten(sensor: FakeSensor) -> None:
    tracked = Tracked(sensor)
    sensor.there[CGROUP] = [there(INIT)]
    tracked.tracker.advance(0.0)
    tracked.opt(IGNORE)
    tracked.tracker.advance(0.1)

    assert tracked.origins() == {}


def test_a_container_that_is_gone_is_forgotten_after_the_ends_of_its_processes(sensor: FakeSensor) -> None:
    tracked = Tracked(sensor)
    sensor.there[CGROUP] = [there(INIT)]
    tracked.tracker.advance(0.0)
    tracked.cgroups.gone = True
    sensor.ends, sensor.there = [(end(INIT), None)], {}
    tracked.tracker.maintain(5.0)
    tracked.tracker.maintain(10.0)

    assert tracked.origins() == {}
    assert [record.kind for record in tracked.rig.wait(10.0)] == ["exit"]
    assert sensor.forgotten == [CGROUP]


def test_containers_that_were_gone_before_their_cgroup_was_found_leave_nothing() -> None:
    tracked = Tracked(FakeSensor())
    tracked.tracker.advance(0.0)
    short = [Process(1000 + number, 5000) for number in range(3)]
    tracked.sensor.report(*(replace(execute(each, "true"), cgroup=each.pid) for each in short))
    tracked.tracker.advance(1.0)

    tracked.tracker.maintain(5.0)
    tracked.sensor.report(*(replace(end(each), cgroup=each.pid) for each in short))
    tracked.tracker.advance(6.0)
    tracked.tracker.maintain(10.0)

    assert tracked.rig.correlator.tree.containers() == set()
    assert tracked.rig.wait(20.0) == []
    assert tracked.rig.correlator.tally.lost == {"undecided": 6}


def test_one_whose_processes_go_on_is_kept_while_its_cgroup_is_not_found() -> None:
    alive = {SHELL}
    tracked = Tracked(FakeSensor(), is_alive=alive.__contains__)
    tracked.tracker.advance(0.0)
    tracked.sensor.report(replace(execute(SHELL, "sh"), cgroup=99))
    tracked.tracker.advance(1.0)

    for now in (5.0, 10.0, 15.0):
        tracked.tracker.maintain(now)
        assert tracked.rig.correlator.tree.get(SHELL)
    alive.clear()
    for now in (20.0, 25.0):
        tracked.tracker.maintain(now)

    assert tracked.rig.correlator.tree.containers() == set()


def test_a_process_that_has_left_its_cgroup_is_followed_to_its_end_also_without_its_container() -> None:
    moved = Process(400, 4000)
    alive = {moved}
    tracked = Tracked(FakeSensor(), is_alive=alive.__contains__)
    tracked.tracker.advance(0.0)
    tracked.sensor.report(execute(INIT, "sleep", parent=Process(1, 1)), *entering(), fork(ENTRY, moved))
    tracked.sensor.report(end(ENTRY), end(INIT))
    tracked.tracker.advance(1.0)
    tracked.rig.advance(2.0)
    tracked.cgroups.gone = True

    tracked.tracker.maintain(5.0)
    tracked.tracker.maintain(10.0)
    assert tracked.sensor.forgotten == []
    tracked.sensor.report(execute(moved, "backdoor", parent=ENTRY))
    tracked.tracker.advance(11.0)
    (record,) = [each for each in tracked.rig.wait(12.0) if each.argv == ["backdoor"]]
    assert record.request_uid == UID

    alive.clear()
    tracked.tracker.maintain(15.0)
    tracked.tracker.maintain(20.0)
    assert tracked.sensor.forgotten == [CGROUP]


def test_processes_that_come_unreported_are_looked_up_now_and_then() -> None:
    tracked = Tracked(FakeSensor(reports_forks_and_exits=False))
    tracked.tracker.advance(0.0)
    tracked.sensor.there[CGROUP] = [there(INIT), there(SHELL, b"sh\0", ns_pid=9)]
    tracked.tracker.maintain(5.0)

    assert tracked.origins() == {INIT.pid: "container", SHELL.pid: None}


def test_processes_that_are_reported_are_not_looked_up_again() -> None:
    tracked = Tracked(FakeSensor())
    tracked.tracker.advance(0.0)
    before = list(tracked.sensor.asked)
    tracked.tracker.maintain(5.0)
    tracked.sensor.report(execute(INIT, "sleep"))
    tracked.tracker.advance(5.1)

    assert tracked.sensor.asked == before == [{CGROUP}]


class LosesEnds:
    """Alice's shell and its child; then the sensor loses something."""

    def __init__(self, *alive: Process) -> None:
        self.alive, self.looked_up = {INIT, *alive}, list[Process]()
        self.tracked = Tracked(FakeSensor(), is_alive=self._is_alive)
        self.sensor, self.rig, self.tracker = self.tracked.sensor, self.tracked.rig, self.tracked.tracker
        self.rig.requests[UID] = request()
        self.sensor.there[CGROUP] = [there(INIT)]
        self.tracker.advance(0.0)
        self.reports(*entering(), fork(ENTRY, CHILD))
        self.rig.records.clear()

    def reports(self, *events: ProcessEvent) -> None:
        self.sensor.report(*events)
        self.tracker.advance(1.0)
        self.rig.wait(2.0)

    def maintains(self) -> list[Record]:
        self.tracker.maintain(5.0)
        return self.rig.wait(5.0)

    def _is_alive(self, process: Process) -> bool:
        self.looked_up.append(process)
        return process in self.alive


def test_a_process_whose_end_was_lost_ends_once_it_is_missing_at_two_looks() -> None:
    loses = LosesEnds()
    loses.sensor.losses = {"ring-full": 2}

    assert loses.maintains() == []
    ends = loses.maintains()

    assert [(each.kind, each.user, each.exit) for each in ends] == [
        ("exit", "alice", None), ("session", "alice", None), ("exit", "alice", None),
    ]  # fmt: skip
    assert {tuple(each.weak or ()) for each in ends} == {("exit", "durationMs", "timestamp")}
    assert loses.rig.reported[-1] == ("end", UID)
    assert loses.tracked.origins() == {INIT.pid: "container"}
    assert loses.maintains() == []


def test_of_who_has_its_pid_later_nothing_is_its_users() -> None:
    loses = LosesEnds()
    loses.sensor.losses = {"ring-full": 2}
    loses.maintains()
    loses.maintains()
    loses.rig.correlator.tree.forget_gone(loses.rig.clock.now_ns() + 1)

    loses.tracker.take(seccomp(ENTRY.pid), 6.0)

    assert loses.rig.wait(20.0) == []


def test_who_ends_just_after_something_was_lost_is_looked_up_once_more() -> None:
    loses = LosesEnds(ENTRY, CHILD)
    loses.sensor.losses = {"ring-full": 1}
    loses.maintains()
    loses.alive.discard(CHILD)

    assert loses.maintains() == []
    assert [(each.kind, each.pid) for each in loses.maintains()] == [("exit", CHILD.pid)]


def test_an_end_that_is_on_its_way_is_waited_for() -> None:
    loses = LosesEnds(ENTRY)
    loses.sensor.losses = {"ring-full": 1}
    loses.maintains()
    loses.sensor.behind = True
    assert loses.maintains() == []

    loses.reports(end(CHILD, code=3))
    loses.sensor.behind = False
    loses.maintains()

    assert [(each.kind, each.exit and each.exit.code) for each in loses.rig.records] == [("exit", 3)]


def test_where_nothing_was_lost_nobody_is_looked_up() -> None:
    loses = LosesEnds()
    loses.maintains()
    loses.maintains()

    assert loses.looked_up == []


def test_of_many_processes_so_many_are_looked_up_at_once_and_each_in_the_end() -> None:
    many = [Process(1000 + number, 5000) for number in range(2500)]
    loses = LosesEnds(ENTRY, CHILD)
    loses.reports(*(fork(ENTRY, each) for each in many))
    loses.sensor.losses = {"ring-full": 1}

    for round_ in range(1, 9):
        before = len(loses.looked_up)
        loses.sensor.losses = {"ring-full": round_}
        loses.maintains()
        assert len(loses.looked_up) - before <= 2000

    assert len(loses.rig.correlator.tree) == len(loses.alive)


def test_what_a_sensor_drops_is_in_the_equation(sensor: FakeSensor) -> None:
    tracked = Tracked(sensor)
    sensor.gave_up = [
        Dropped("process", "vanished"),
        Dropped("seccomp", "vanished"),
        Dropped("seccomp", "not-recorded"),
    ]
    tracked.tracker.advance(0.0)

    tally = tracked.rig.correlator.tally
    assert (tally.read, tally.lost) == ({"process": 1, "seccomp": 2}, {"vanished": 2})
    assert tally.filtered == {"not-recorded": 1}
    tracked.rig.check_equation()


def test_an_event_and_the_seccomp_event_that_it_was_made_from_are_one_record(sensor: FakeSensor) -> None:
    tracked = Tracked(sensor)
    sensor.there[CGROUP] = [there(INIT)]
    sensor.events = [(execute(SHELL, "sh"), seccomp(SHELL.pid))]
    tracked.tracker.advance(0.0)

    (record,) = tracked.rig.wait(2.0)
    assert (record.kind, record.syscalls) == ("exec", ["execve"])
    assert tracked.rig.correlator.tally.read == {"process": 1, "seccomp": 1}


@pytest.mark.parametrize("given_back", [False, True])
def test_a_seccomp_event_that_the_sensor_has_no_use_for_stands_for_itself(sensor: FakeSensor, given_back: bool) -> None:
    tracked = Tracked(sensor)
    sensor.there[CGROUP] = [there(INIT)]
    sensor.wants_seccomp = given_back
    tracked.tracker.advance(0.0)
    tracked.tracker.take(seccomp(INIT.pid), 0.0)
    sensor.events = [(None, seccomp(INIT.pid))] if given_back else []
    tracked.tracker.advance(0.1)

    assert [record.kind for record in tracked.rig.wait(2.0)] == ["syscall"]


def test_after_a_restart_it_goes_on_with_what_was_known(sensor: FakeSensor) -> None:
    tracked = Tracked(sensor)
    tree, entry = tracked.rig.correlator.tree, Entry(SHELL, "session")
    tree.backfill(Node(SHELL, Process(1, 1), APP, 10 * SECOND, entry, argv=b"sh\0"))
    tree.backfill(Node(CHILD, SHELL, APP, 10 * SECOND, entry, argv=b"id\0"))
    sensor.there[CGROUP] = [there(INIT)]

    tracked.tracker.resume({APP, "gone"}, [(CHILD, APP)])

    assert sensor.decisions == [(CGROUP, True)]
    assert sensor.resumed == [
        KnownProcess(SHELL, CGROUP, b"sh\0", outside=False),
        KnownProcess(CHILD, CGROUP, b"id\0", outside=True),
    ]
    assert tracked.origins() == {SHELL.pid: "session", CHILD.pid: "session", INIT.pid: "container"}


def seccomp(pid: int) -> SeccompEvent:
    return SeccompEvent(0, 1, pid, 0, 0, None, None, b"sh", b"/bin/sh", 0, 0xC000003E, 59, 0x7FFC0000)
