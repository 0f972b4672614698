"""Which AuditSessions are closed, as what, and which are deleted."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from exectrail.contracts import session
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.nodetrail import NodeTrail, NodeTrailStatus, UncoveredPod
from exectrail.contracts.session import Target
from profiles.controller.retention import (
    Asked,
    Close,
    Delete,
    Pod,
    PodSpec,
    Policy,
    Requester,
    Session,
    Status,
    needed,
    survey,
    verdict,
)

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
POLICY = Policy()


def at(ago: float) -> str:
    """RFC 3339, so many seconds before NOW."""
    return (NOW - timedelta(seconds=ago)).isoformat().replace("+00:00", "Z")


def asked(
    verb: str = "exec",
    *,
    ago: float = 300,
    recorded: bool = True,
    phase: str = "Open",
    name: str = "s",
    tag: str = "env",
) -> Session:
    meta = ObjectMeta(name=name, resource_version="7", creation_timestamp=at(ago))
    return Session(meta, Asked(verb, Target("shop", "web-0"), at(ago), recorded, tag=tag), Status(phase))


def pod(node: str = "node1", ago: float = 3600, runtime: str = "") -> Pod:
    return Pod(ObjectMeta(name="web-0", namespace="shop", creation_timestamp=at(ago)), PodSpec(node, runtime))


def trail(
    beat: float = 10,
    since: float = 3600,
    sensor: str = "bpf",
    uncovered: tuple[str, ...] = (),
    count: int | None = None,
) -> NodeTrail:
    pods = [UncoveredPod(name, "sandboxed", "runsc") for name in uncovered]
    status = NodeTrailStatus(audit_source="netlink", sensor=sensor, since=at(since), heartbeat=at(beat), uncovered=pods)
    status = msgspec.structs.replace(status, uncovered_pods=len(pods) if count is None else count)
    return NodeTrail(ObjectMeta(name="node1", creation_timestamp=at(86400)), status)


@pytest.mark.parametrize(
    ("what", "open_session"),
    [
        ("attach starts no process", asked("attach", ago=1)),
        ("port-forward starts no process", asked("portforward", ago=1)),
        ("breaking the glass is for no pod", asked("break-glass", ago=1, recorded=False)),
        ("a console starts no process of a pod", asked("console", ago=1)),
        ("exec where nothing is recorded", asked("exec", ago=1, recorded=False)),
        ("debug where nothing is recorded", asked("debug", ago=1, recorded=False)),
        ("an exec whose process nothing would tie to it", asked("exec", ago=1, tag="none")),
        ("a debug whose container nothing would tie to it", asked("debug", ago=1, tag="none")),
    ],
)
def test_what_nothing_could_record_is_closed_at_once(what: str, open_session: Session) -> None:
    assert survey([open_session], POLICY, NOW).close == [Close("s", "7", "not-recorded")]


@pytest.mark.parametrize(
    ("what", "seen", "overdue"),
    [
        ("an exec within its grace", asked(ago=119), False),
        ("an exec beyond its grace", asked(ago=121), True),
        ("a debug whose image may still be pulled", asked("debug", ago=599), False),
        ("a debug beyond its grace", asked("debug", ago=601), True),
        ("an exec that runs", asked(ago=86400, phase="Running"), False),
        ("an attach to a pod that a node has bound", asked("attach", phase="Running"), False),
        ("an exec that has ended", asked(ago=86400, phase="Closed"), False),
    ],
)
def test_an_open_session_is_overdue_after_the_grace_of_its_verb(what: str, seen: Session, overdue: bool) -> None:
    found = survey([seen], POLICY, NOW)
    assert (found.overdue, found.close, found.delete) == ([seen] if overdue else [], [], [])


@pytest.mark.parametrize(
    ("what", "target", "trails", "outcome", "node"),
    [
        ("a node that would have seen it saw nothing", pod(), [trail()], "never-started", "node1"),
        ("the pod is gone", None, [trail()], "not-recorded", None),
        ("the pod never got a node", pod(node=""), [trail()], "not-recorded", None),
        ("the pod is a later one of the same name", pod(ago=200), [trail()], "not-recorded", None),
        ("the node has no NodeTrail", pod(), [], "not-recorded", "node1"),
        ("the NodeTrail is another node's", pod("node2"), [trail()], "not-recorded", "node2"),
        ("the node is silent", pod(), [trail(beat=121)], "not-recorded", "node1"),
        ("the node never spoke", pod(), [NodeTrail(trail().metadata)], "not-recorded", "node1"),
        ("its agent started after the request", pod(), [trail(since=299)], "not-recorded", "node1"),
        ("the sensor misses processes that end quickly", pod(), [trail(sensor="proc")], "not-recorded", "node1"),
        ("the sensor reads /proc too late", pod(), [trail(sensor="procconn")], "not-recorded", "node1"),
        ("the pod is sandboxed", pod(runtime="gvisor"), [trail(uncovered=("shop/web-0",))], "not-recorded", "node1"),
        ("another pod is sandboxed", pod(runtime="gvisor"), [trail(uncovered=("a/web-0",))], "never-started", "node1"),
        ("the pod's processes are not found", pod(), [trail(uncovered=("shop/web-0",))], "not-recorded", "node1"),
        ("it may be one of many more", pod(runtime="x"), [trail(uncovered=("a/b",), count=2)], "not-recorded", "node1"),
        ("the pod has the node's own runtime", pod(), [trail(uncovered=("a/b",), count=2)], "never-started", "node1"),
        ("the node has no sensor", pod(), [trail(sensor="")], "not-recorded", "node1"),
        ("the node's clock is a little ahead", pod(), [trail(beat=-5)], "never-started", "node1"),
    ],
)
def test_never_started_is_claimed_only_where_a_process_would_have_been_seen(
    what: str, target: Pod | None, trails: list[NodeTrail], outcome: str, node: str | None
) -> None:
    closing = verdict(asked(ago=300), target, {t.metadata.name: t for t in trails}.get, NOW)
    assert closing
    assert (closing.outcome, closing.node, closing.resource_version) == (outcome, node, "7")


@pytest.mark.parametrize(("minutes", "outcome"), [(8, "never-started"), (10, "not-recorded")])
def test_of_a_request_that_was_stored_late_its_node_would_report_nothing(minutes: int, outcome: str) -> None:
    """A node waits ten minutes for the request of a process."""
    late = asked(ago=300 + 60 * minutes)
    late = replace(late, metadata=replace(late.metadata, creation_timestamp=at(300)))

    closing = verdict(late, pod(ago=7200), {"node1": trail(since=7200)}.get, NOW)
    assert closing and closing.outcome == outcome


def test_a_heartbeat_from_before_the_request_says_nothing_about_it() -> None:
    trails, later = {"node1": trail(beat=110)}, NOW + timedelta(seconds=11)
    assert verdict(asked(ago=100), pod(), trails.get, NOW) is None  # its node's next one may still come

    closing = verdict(asked(ago=100), pod(), trails.get, later)
    assert closing
    assert closing.outcome == "not-recorded"


@pytest.mark.parametrize("heartbeat", ["", "yesterday", "2026-11-23T12:00:00"])
def test_a_heartbeat_that_is_no_time_counts_as_none(heartbeat: str) -> None:
    silent = msgspec.structs.replace(trail(), status=NodeTrailStatus(sensor="bpf", heartbeat=heartbeat))
    closing = verdict(asked(), pod(), {"node1": silent}.get, NOW)
    assert closing
    assert closing.outcome == "not-recorded"


@pytest.mark.parametrize(("seconds", "fresh"), [(0, 120), (30, 120), (100, 400), (300, 1200), (10**9, 1200)])
def test_a_node_that_reports_more_rarely_is_believed_for_longer_within_a_bound(seconds: int, fresh: int) -> None:
    for beat, outcome in ((fresh - 1, "never-started"), (fresh, "not-recorded")):
        rare = msgspec.structs.replace(trail(beat=beat).status, heartbeat_seconds=seconds, since="2026-01-01T00:00:00Z")
        closing = verdict(asked(ago=2000), pod(ago=3000), {"node1": NodeTrail(trail().metadata, rare)}.get, NOW)
        assert closing
        assert closing.outcome == outcome


def test_sessions_older_than_the_retention_are_deleted_in_every_phase() -> None:
    month = 30 * 86400
    sessions = [
        asked(ago=month + 3, phase="Closed", name="closed"),
        asked(ago=month + 2, phase="Running", name="running"),
        asked(ago=month + 1, phase="Open", name="open"),
        asked(ago=month - 1, phase="Closed", name="kept"),
    ]
    found = survey(sessions, POLICY, NOW)
    assert found.delete == [Delete(name, "age") for name in ("closed", "running", "open")]


def test_the_oldest_go_when_there_are_too_many_whatever_order_they_come_in() -> None:
    sessions = [asked(ago=ago, phase="Closed", name=str(ago)) for ago in (50, 90, 70, 60, 80)]
    found = survey(sessions, Policy(keep_most=3), NOW)
    assert found.delete == [Delete("90", "number"), Delete("80", "number")]


def test_of_sessions_stored_in_one_second_the_first_asked_for_goes() -> None:
    """The API server stamps objects to the second: a script's latest exec is not to go for its name."""
    stored = NOW.replace(microsecond=0) - timedelta(seconds=5)
    sessions = [
        needed(
            msgspec.structs.replace(
                asked(ago=5 - moment / 10, phase="Closed", name=name),
                metadata=ObjectMeta(name=name, uid=name, creation_timestamp=stored.isoformat()),
            )
        )
        for moment, name in enumerate(("z", "y", "x", "a"))
    ]
    assert survey(sessions, Policy(keep_most=3), NOW).delete == [Delete("z", "number")]


def test_newer_execs_of_one_user_delete_no_session_of_another() -> None:
    """Without opting in, AuditSessions are the only record of a request."""

    def by(user: str, ago: int) -> Session:
        written = asked(ago=ago, phase="Closed", name=f"{user}-{ago}")
        of_user = msgspec.structs.replace(written.spec, user=Requester(user))
        return needed(msgspec.structs.replace(written, spec=of_user, metadata=_stored(written)))

    sessions = [by("bob", ago) for ago in range(1000, 1100)] + [by("loop", ago) for ago in range(500)]
    found = survey(sessions, Policy(keep_most=500), NOW)
    assert [deletion.name for deletion in found.delete] == [f"loop-{ago}" for ago in range(499, 399, -1)]


def _stored(written: Session) -> ObjectMeta:
    return msgspec.structs.replace(written.metadata, uid=written.metadata.name)


def test_what_is_deleted_is_not_closed_first() -> None:
    found = survey([asked("attach", ago=31 * 86400)], POLICY, NOW)
    assert (found.close, found.overdue, len(found.delete)) == ([], [], 1)


def test_the_oldest_sessions_are_closed_first() -> None:
    found = survey([asked("attach", ago=ago, name=str(ago)) for ago in (10, 30, 20)], POLICY, NOW)
    assert [closing.name for closing in found.close] == ["30", "20", "10"]


def test_sessions_are_counted_by_phase() -> None:
    phases = survey([asked(phase=phase) for phase in ("Open", "Closed", "Closed")], POLICY, NOW).phases
    assert phases == {"Open": 1, "Closed": 2}


def test_it_reads_a_session_as_the_webhook_writes_it() -> None:
    written = session.AuditSession(
        ObjectMeta(name="uid", resource_version="7", creation_timestamp=at(300)),
        session.SessionSpec(
            session.User("alice"),
            "exec",
            "pods/exec",
            Target("shop", "web-0"),
            at(300),
            ["sh"],
            tag="match",
            recorded=True,
        ),
    )
    read = msgspec.json.decode(msgspec.json.encode(written), type=Session)
    asked = Asked("exec", Target("shop", "web-0"), at(300), recorded=True, tag="match", user=Requester("alice"))
    assert read == Session(written.metadata, asked)
