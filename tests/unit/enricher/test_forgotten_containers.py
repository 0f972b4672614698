"""A container that is gone, or no longer recorded, leaves nothing behind: no open session, no memory."""

import pytest

from enricher.core import Core
from enricher.events import Process
from exectrail.contracts.record import Record

from .rig import APP, ENTRY, INIT, UID, Rig, container_starts, end, entering, execute, fork, pod, probed
from .rig import request as asked_for


class Nothing:
    """Inputs that bring nothing."""

    def feed(self, now: float) -> None:
        pass

    def maintain(self, now: float) -> None:
        pass


class Forgetting:
    """The core over a rig with a session that is open."""

    def __init__(self) -> None:
        self.rig = Rig({"exectrail.io/record": "true"}, pod())
        self.rig.requests[UID] = asked_for()
        self.core = Core(Nothing(), self.rig.correlator, self.rig.emitter, self.rig.clock)
        container_starts(self.rig)
        self.rig.happen(*entering())
        assert [session.request_uid for session in self.rig.emitter.open_sessions()] == [UID]
        self.rig.records.clear()
        self._now = 1.0

    def seconds_later(self) -> list[Record]:
        self._now += 2.0
        self.core.step(self._now)
        return self.rig.records


@pytest.fixture
def forgetting() -> Forgetting:
    return Forgetting()


def test_a_session_whose_end_was_not_seen_is_closed_as_lost(forgetting: Forgetting) -> None:
    forgetting.rig.correlator.forget_container(APP)
    (record,) = forgetting.seconds_later()

    assert (record.kind, record.phase, record.outcome) == ("session", "end", "lost")
    assert (record.request_uid, record.user, record.reason) == (UID, "alice", "container-unwatched")
    assert record.since is not None
    assert record.since <= record.timestamp
    assert forgetting.rig.reported[-1] == ("end", UID)
    assert forgetting.rig.emitter.open_sessions() == []
    assert forgetting.seconds_later() == [record]


def throttled(core: Core, rig: Rig) -> None:
    """A container over its quota, by what is its own and by what came in without a request."""
    intruder = Process(400, 4000)
    rig.happen(execute(intruder, "sh"), now=1.0)
    rig.wait(1.5)
    for index in range(100):
        rig.happen(fork(INIT, Process(1000 + index, 1000)), fork(intruder, Process(2000 + index, 2000)), now=1.5)
    core.step(1.5)


def test_its_throttling_is_over_with_it(forgetting: Forgetting) -> None:
    throttled(forgetting.core, forgetting.rig)
    forgetting.rig.records.clear()
    forgetting.rig.correlator.forget_container(APP)
    forgetting.seconds_later()
    forgetting.seconds_later()

    stops = [each for each in forgetting.rig.records if each.reason == "throttle-stop"]
    assert [(each.origin, each.container_id) for each in stops] == [(None, APP), ("untracked", APP)]
    assert (
        sum(each.lost["throttled"] for each in stops if each.lost) == forgetting.rig.correlator.tally.lost["throttled"]
    )
    forgetting.rig.check_equation()


def test_all_throttling_is_over_when_the_enricher_ends(forgetting: Forgetting) -> None:
    throttled(forgetting.core, forgetting.rig)
    forgetting.rig.records.clear()
    forgetting.core.flush()
    forgetting.core.flush()

    stops = [each for each in forgetting.rig.records if each.reason == "throttle-stop"]
    assert (
        sum(each.lost["throttled"] for each in stops if each.lost) == forgetting.rig.correlator.tally.lost["throttled"]
    )
    assert [each.origin for each in stops] == [None, "untracked"]
    forgetting.rig.check_equation()


def test_an_end_that_is_on_its_way_goes_first(forgetting: Forgetting) -> None:
    # Events leave in their order, and the request of the first one is not known yet.
    for event in (*entering("other", Process(700, 7)), end(ENTRY, 3)):
        forgetting.rig.correlator.take(event, 3.0)
    forgetting.rig.correlator.forget_container(APP)
    assert forgetting.seconds_later() == []
    forgetting.seconds_later()

    (record,) = [record for record in forgetting.rig.records if record.phase == "end" and record.request_uid == UID]
    assert (record.outcome, record.exit and record.exit.code) == ("completed", 3)


def test_a_session_that_began_since_it_is_recorded_again_goes_on() -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod())
    rig.requests[UID] = asked_for()
    core = Core(Nothing(), rig.correlator, rig.emitter, rig.clock)
    container_starts(rig)
    core.step(1.0)
    rig.correlator.forget_container(APP)  # within the second, the label comes again
    for event in (execute(INIT, "sleep", "inf", parent=Process(1, 1)), *entering()):
        rig.correlator.take(event, 1.2)
    core.step(1.3)

    core.step(2.1)
    rig.correlator.take(end(ENTRY, 3), 9.0)
    core.step(9.1)

    (ended,) = [record for record in rig.records if record.phase == "end"]
    assert (ended.outcome, ended.exit and ended.exit.code) == ("completed", 3)


def test_other_containers_sessions_stay_open(forgetting: Forgetting) -> None:
    forgetting.rig.correlator.forget_container("b" * 64)

    assert forgetting.seconds_later() == []
    assert [session.request_uid for session in forgetting.rig.emitter.open_sessions()] == [UID]


def test_what_its_probes_repeat_is_new_in_the_next_container_of_this_id() -> None:
    rig = probed()
    core = Core(Nothing(), rig.correlator, rig.emitter, rig.clock)
    probe = (execute(Process(500, 1), "cat", "/ready"), end(Process(500, 1)))
    again = (execute(Process(501, 2), "cat", "/ready"), end(Process(501, 2)))
    assert rig.happen(*probe, now=1.0)
    assert rig.happen(*again, now=2.0) == []

    rig.correlator.forget_container(APP)
    core.step(3.0)
    rig.happen(execute(INIT, "sleep", "inf", parent=Process(1, 1)), now=4.0)

    assert rig.happen(execute(Process(502, 3), "cat", "/ready"), now=5.0)
