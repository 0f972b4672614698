"""The controller's rounds against a cluster that conflicts, refuses and goes away."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.nodetrail import NodeTrail, NodeTrailStatus
from exectrail.contracts.session import Target
from exectrail.k8s.client import ApiError
from profiles.controller import metrics, rounds
from profiles.controller.lease import NotLeadingError
from profiles.controller.retention import Asked, Close, Pod, PodSpec, Policy, Session
from profiles.controller.rounds import Rounds

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class Cluster:
    """A fake of `rounds.Api`: holds sessions, and fails on demand."""

    def __init__(self, *sessions: Session) -> None:
        self.held = {session.metadata.name: session for session in sessions}
        self.closed: dict[str, str] = {}
        self.failures: dict[str, list[ApiError]] = {}
        self.looks = 0
        self.trails_read: list[str] = []

    def fail(self, name: str, status: int) -> None:
        self.failures.setdefault(name, []).append(ApiError(status, "", "fails on demand"))

    def sessions(self) -> Iterator[Session]:
        self.looks += 1
        self._fail_if_asked("sessions")
        return iter([session for name, session in self.held.items() if name not in self.closed])

    def trail(self, node: str) -> NodeTrail | None:
        self.trails_read.append(node)
        beat = NOW.isoformat()
        meta = ObjectMeta(name=node, creation_timestamp=(NOW - timedelta(days=1)).isoformat())
        return NodeTrail(meta, NodeTrailStatus(sensor="bpf", since=meta.creation_timestamp, heartbeat=beat))

    def pod(self, namespace: str, name: str) -> Pod | None:
        self._fail_if_asked(f"pod {namespace}/{name}")
        return Pod(ObjectMeta(creation_timestamp=(NOW - timedelta(days=1)).isoformat()), PodSpec("node1"))

    def close(self, closing: Close, now: datetime) -> None:
        self._fail_if_asked(closing.name)
        assert now.tzinfo is UTC
        self.closed[closing.name] = closing.outcome

    def delete(self, name: str) -> bool:
        self._fail_if_asked(name)
        return self.held.pop(name, None) is not None

    def _fail_if_asked(self, name: str) -> None:
        if self.failures.get(name):
            raise self.failures[name].pop(0)


def opened(name: str, verb: str = "exec", ago: float = 300) -> Session:
    time = (NOW - timedelta(seconds=ago)).isoformat()
    return Session(
        ObjectMeta(name=name, creation_timestamp=time),
        Asked(verb, Target("shop", name), time, recorded=True, tag="env"),
    )


def always() -> bool:
    return True


def test_a_round_closes_what_is_due_and_deletes_what_is_old() -> None:
    cluster = Cluster(opened("lost"), opened("attached", "attach"), opened("fresh", ago=5), opened("old", ago=1e7))
    assert not Rounds(cluster, Policy(), always).round(NOW)
    assert cluster.closed == {"lost": "never-started", "attached": "not-recorded"}
    assert cluster.held.keys() == {"lost", "attached", "fresh"}


def test_a_round_reads_the_trail_of_each_node_once() -> None:
    cluster = Cluster(opened("a"), opened("b"), opened("c"))
    Rounds(cluster, Policy(), always).round(NOW)
    assert (len(cluster.closed), cluster.trails_read) == (3, ["node1"])


def test_a_session_that_the_mirror_shows_after_its_deletion_is_counted_once() -> None:
    cluster = Cluster(opened("old", ago=1e7))
    stale = list(cluster.sessions())
    cluster.sessions = lambda: iter(stale)  # type: ignore[method-assign]
    deleted = metrics.DELETED.labels("age")
    before = deleted._value.get()
    for _ in range(2):
        Rounds(cluster, Policy(), always).round(NOW)
    assert deleted._value.get() - before == 1


@pytest.mark.parametrize("status", [404, 409, 400, 422])
def test_one_session_that_cannot_be_closed_does_not_stop_the_others(status: int) -> None:
    cluster = Cluster(opened("a"), opened("b"), opened("c"))
    cluster.fail("b", status)
    work = Rounds(cluster, Policy(), always)
    work.round(NOW)
    assert cluster.closed.keys() == {"a", "c"}
    work.round(NOW)
    assert cluster.closed.keys() == {"a", "b", "c"}


@pytest.mark.parametrize("status", [0, 401, 403, 429, 500, 503])
def test_a_cluster_that_fails_us_altogether_ends_the_round(status: int) -> None:
    cluster = Cluster(opened("a"), opened("b"))
    cluster.fail("pod shop/a", status)
    with pytest.raises(ApiError):
        Rounds(cluster, Policy(), always).round(NOW)
    assert cluster.closed == {}


def test_a_replica_that_lost_the_lead_takes_no_further_action() -> None:
    cluster = Cluster(opened("a"), opened("b"), opened("c"))
    leads = iter([True, False])
    with pytest.raises(NotLeadingError):
        Rounds(cluster, Policy(), lambda: next(leads)).round(NOW)
    assert cluster.closed.keys() == {"a"}


@pytest.mark.parametrize("verb", ["exec", "attach"])
def test_a_round_is_bounded_and_says_that_there_is_more(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MOST_ACTIONS", 2)
    cluster = Cluster(*(opened(name, verb) for name in "abc"), *(opened(name, ago=1e7) for name in "xyz"))
    work = Rounds(cluster, Policy(), always)
    assert work.round(NOW)
    assert (len(cluster.closed), len(cluster.held)) == (2, 4)
    assert not work.round(NOW)
    assert (len(cluster.closed), len(cluster.held)) == (3, 3)


def run_until(cluster: Cluster, looks: int, work: Rounds, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Run until the cluster was looked at so often, without really waiting; the waits asked for."""
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return cluster.looks >= looks

    monkeypatch.setattr("random.uniform", lambda *bounds: max(bounds))
    work.run(15.0, Stop())
    return waits


def test_while_the_cluster_is_away_it_tries_again_ever_later_and_then_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    for _ in range(8):
        cluster.fail("sessions", 0)
    waits = run_until(cluster, 10, Rounds(cluster, Policy(), always), monkeypatch)
    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 15.0, 15.0]


def test_a_replica_that_does_not_lead_looks_at_nothing_but_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, beats = Cluster(opened("a")), []
    leads = iter([False] * 5 + [True] * 9)
    work = Rounds(cluster, Policy(), lambda: next(leads), lambda: beats.append(cluster.looks))
    run_until(cluster, 1, work, monkeypatch)
    assert beats[:6] == [0] * 6
    assert cluster.looks == 1


def test_a_session_whose_node_has_yet_to_report_is_left_for_a_later_round() -> None:
    cluster = Cluster(opened("early"), opened("late", ago=200))
    at = NOW - timedelta(seconds=250)
    said = cluster.trail("node1")
    assert said
    status = msgspec.structs.replace(said.status, heartbeat=at.isoformat(), heartbeat_seconds=100)
    cluster.trail = lambda _node: msgspec.structs.replace(said, status=status)  # type: ignore[method-assign, assignment]

    Rounds(cluster, Policy(), always).round(NOW)
    assert cluster.closed == {"early": "never-started"}

    Rounds(cluster, Policy(), always).round(NOW + timedelta(seconds=150))
    assert cluster.closed == {"early": "never-started", "late": "not-recorded"}  # it did not report any more
