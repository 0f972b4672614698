"""What becomes of the AuditSessions that no node ends: which to close, as what, and which to delete.

A node closes the sessions whose process it saw. The rest stay open, for one of two reasons that must never be mixed
up: nothing could have seen a process (`not-recorded`), or a node that would have seen it saw none (`never-started`).
In doubt it is `not-recorded`: that claims nothing.

A session that is `Running` is left alone, even when its node is gone: the process was seen, and only that node's trail
can know how it ended. Retention deletes it in time.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct, field

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.nodetrail import NodeTrail
from exectrail.contracts.session import Target
from profiles.controller.shares import Aged, surplus

SUBSTANTIATED_SENSOR = "bpf"
"""The only sensor that sees every process. A look into /proc misses short ones: no proof that none was there."""
_SHOWN_WITHIN = timedelta(minutes=9)
"""A node waits ten minutes for the request of a process (`enricher.emit.late_requests`), and then reports nothing."""


class Requester(Struct, frozen=True):
    """The part of a `User` that decides: each has a share of what is kept."""

    username: str = ""


class Asked(Struct, frozen=True):
    """The part of a `SessionSpec` that decides; commands and groups can be large and are not even decoded."""

    verb: str
    target: Target
    time: str
    recorded: bool = False
    user: Requester = Requester()
    tag: str = "none"


class Status(Struct, frozen=True):
    """The part of a `SessionStatus` that decides."""

    phase: str = "Open"


class Session(Struct, frozen=True):
    """An AuditSession, as far as its end depends on it."""

    metadata: ObjectMeta
    spec: Asked
    status: Status = Status()


class PodSpec(Struct, frozen=True):
    """Where a pod was scheduled, and whether it has a runtime of its own."""

    node_name: str = field(default="", name="nodeName")
    """Empty before it was."""
    runtime_class_name: str = field(default="", name="runtimeClassName")


class Pod(Struct, frozen=True):
    """A session's target, as it is now."""

    metadata: ObjectMeta
    spec: PodSpec = PodSpec()


class Policy(Struct, frozen=True):
    """What the operator chose."""

    keep_for: timedelta = timedelta(days=30)
    keep_most: int = 10_000
    start_grace: timedelta = timedelta(seconds=120)
    """How long an exec may take to become a process, and its node to report it."""
    debug_grace: timedelta = timedelta(seconds=600)
    """The same for an ephemeral container, whose image may have to be pulled first."""


class Delete(Struct, frozen=True):
    """An AuditSession that retention lets go."""

    name: str
    reason: Literal["age", "number"]


class Close(Struct, frozen=True):
    """An open AuditSession to close, unless it was written since `resource_version`."""

    name: str
    resource_version: str
    outcome: Literal["never-started", "not-recorded"]
    node: str | None = None


class Survey(Struct):
    """What one look at all AuditSessions found, the oldest first."""

    phases: Counter[str]
    delete: list[Delete]
    close: list[Close]
    """Those that nothing could record."""
    overdue: list[Session]
    """Those that a node should have seen start by now: `verdict` decides, from their pods and nodes."""


def needed(session: Session) -> Session:
    """What is needed of a session to decide on its end and its age: little, once it is not open any more."""
    if not session.metadata.uid:  # it was asked before
        return session
    meta = ObjectMeta(
        name=session.metadata.name,
        namespace=session.metadata.namespace,
        resource_version=session.metadata.resource_version,
        creation_timestamp=session.metadata.creation_timestamp,
    )
    if session.status.phase == "Open":
        return Session(meta, session.spec, session.status)
    # Its time decides which of one second is the oldest; namespace and user have a share, and are few.
    target = Target(sys.intern(session.spec.target.namespace), "")
    user = Requester(sys.intern(session.spec.user.username))
    return Session(meta, Asked("", target, session.spec.time, user=user), session.status)


def survey(sessions: Iterable[Session], policy: Policy, now: datetime) -> Survey:
    """Sort all AuditSessions by what is to become of them. Holds few words of each: there may be very many."""
    found = Survey(Counter(), [], [], [])
    aged: list[Aged] = []
    open_ones: list[Session] = []
    for session in sessions:
        found.phases[session.status.phase] += 1
        age = (created(session.metadata), _requested(session), session.metadata.name)
        aged.append(Aged(age, session.spec.target.namespace, session.spec.user.username))
        if session.status.phase == "Open":
            open_ones.append(session)
    found.delete = _outdated(aged, policy, now)
    gone = {deletion.name for deletion in found.delete}
    for session in sorted(open_ones, key=lambda session: created(session.metadata)):
        if session.metadata.name not in gone:
            _sort_open(session, found, policy, now)
    return found


def verdict(
    session: Session, pod: Pod | None, trail_of: Callable[[str], NodeTrail | None], now: datetime
) -> Close | None:
    """How an overdue session ended; `None` where its node has yet to report, which it does more rarely among many.

    Args:
        session: One of `Survey.overdue`.
        pod: Its target, `None` where it is gone.
        trail_of: The NodeTrail of a node, `None` where it has none.
        now: The time of the decision, UTC.

    """
    node = _node_at_request(session, pod)
    if created(session.metadata) - _requested(session) > _SHOWN_WITHIN:
        return _close(session, "not-recorded", node)
    trail = trail_of(node) if node else None
    if trail and (beat := _sees_all_since(trail, _requested(session), now)) and _covers(trail, pod):
        return _close(session, "never-started", node) if _requested(session) <= beat else None
    return _close(session, "not-recorded", node)


def created(meta: ObjectMeta) -> datetime:
    """When the API server stored it: one clock for all objects, precise to the second."""
    return datetime.fromisoformat(meta.creation_timestamp)


def _outdated(aged: list[Aged], policy: Policy, now: datetime) -> list[Delete]:
    oldest_kept = now - policy.keep_for
    old = sorted(each.age for each in aged if each.age[0] < oldest_kept)
    left = (each for each in aged if each.age[0] >= oldest_kept)
    return [
        *(Delete(name, "age") for _, _, name in old),
        *(Delete(name, "number") for name in surplus(left, policy.keep_most)),
    ]


def _sort_open(session: Session, found: Survey, policy: Policy, now: datetime) -> None:
    if not _recordable(session.spec):
        found.close.append(_close(session, "not-recorded"))
        return
    grace = policy.debug_grace if session.spec.verb == "debug" else policy.start_grace
    if now - created(session.metadata) > grace:
        found.overdue.append(session)


def _recordable(asked: Asked) -> bool:
    """Whether a process of its own can come of the request, and be known for its own, where processes are recorded."""
    return asked.recorded and asked.verb in {"exec", "debug"} and asked.tag != "none"


def _node_at_request(session: Session, pod: Pod | None) -> str | None:
    """The node that the request went to: it says so itself where it makes a pod to debug one.

    A pod that is younger than the request only has its predecessor's name (a StatefulSet's), and its node knows
    nothing of the request.
    """
    if session.spec.target.node:
        return session.spec.target.node
    if pod is None or created(pod.metadata) > _requested(session):
        return None
    return pod.spec.node_name or None


def _sees_all_since(trail: NodeTrail, time: datetime, now: datetime) -> datetime | None:
    """Until when no process can have escaped this node since then; `None` where one can."""
    beat, since = _instant(trail.status.heartbeat), _instant(trail.status.since)
    sees = (
        trail.status.sensor == SUBSTANTIATED_SENSOR
        and beat is not None
        and since is not None
        and now - beat < trail.status.fresh_for
        and since <= time
    )
    return beat if sees else None


def _covers(trail: NodeTrail, pod: Pod | None) -> bool:
    """Whether the node sees the processes of this pod; of one with a runtime of its own only the whole list says so."""
    if pod is None:
        return True
    listed = {each.pod for each in trail.status.uncovered}
    if f"{pod.metadata.namespace}/{pod.metadata.name}" in listed:
        return False
    return not pod.spec.runtime_class_name or len(listed) == trail.status.uncovered_pods


def _requested(session: Session) -> datetime:
    return _instant(session.spec.time) or created(session.metadata)


def _instant(text: str) -> datetime | None:
    """RFC 3339; a time without a zone is none, for it compares to nothing."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else None


def _close(session: Session, outcome: Literal["never-started", "not-recorded"], node: str | None = None) -> Close:
    return Close(session.metadata.name, session.metadata.resource_version, outcome, node)
