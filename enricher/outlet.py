"""The outlet: what leaves the pipeline becomes lines of the trail here, or is counted as something else.

A session's start goes before its first process, its end after its last word; what the kubelet repeats is suppressed;
a container over its quota is throttled; a request that shows late corrects what was written without it.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from enricher.attribute.containers import Container, Containers
from enricher.attribute.sessions import Session, Sessions
from enricher.attribute.tree import Entry, Node
from enricher.compose import Composer, Facts, words_of
from enricher.events import Exec, Exit, ProcessEvent, Seccomp
from enricher.held import Held
from enricher.quota import Quota
from enricher.repeats import Repeats
from enricher.tally import Tally
from enricher.unconfirmed import Unconfirmed
from exectrail.filter import Filters
from exectrail.record import Record

_KUBELET = ("probe", "hook")

Tell = Callable[[Session, Record], None]


def _tell_nobody(_session: Session, _record: Record) -> None:
    pass


class HasFilters(Protocol):
    """Holds the set of filters in use; a reload replaces it."""

    @property
    def filters(self) -> Filters:
        """The set."""


class Outlet:
    """Writes records.

    Args:
        containers: For the cluster's UID.
        sessions: What is known of requests.
        composer: Makes the records.
        write: Takes each finished record; false where there is no room for it.
        quota: How much a container may leave.
        losses: Everything lost on this node since the start, by cause.
        on_start, on_end: Told of each session that begins and ends, with its record.

    """

    def __init__(
        self,
        containers: Containers,
        sessions: Sessions,
        composer: Composer,
        write: Callable[[Record], bool],
        quota: Quota,
        losses: Callable[[], Mapping[str, int]] = dict,
        on_start: Tell = _tell_nobody,
        on_end: Tell = _tell_nobody,
    ) -> None:
        self.tally = Tally()
        self.losses = losses
        self.filters: HasFilters | None = None
        """What the trail is not to have; None keeps everything."""
        self._containers, self._sessions, self._composer = containers, sessions, composer
        self._write, self._quota = write, quota
        self._on_start, self._on_end = on_start, on_end
        self._repeats = Repeats()
        self._unconfirmed = Unconfirmed(sessions)
        self._lost_before: dict[str, Mapping[str, int]] = {}

    def release(self, held: Held, container: Container | None, session: Session | None, now: float) -> None:
        """Write what became of an event."""
        if held.opens and container:
            _recognise(held.entry, held.event, container)
        container_id = held.place.container_id
        if held.entry.origin in _KUBELET and self._repeats.is_repeat(container_id, held.event, held.argv):
            self.tally.suppressed[held.entry.origin] += 1
            return
        facts = Facts(container, container_id, held.entry, held.half, held.caller, held.node.born)
        if session and held.opens:
            self._start(session, facts, now)
        self._leave(self._composer.process(held.event, facts), facts, now, reserved=held.opens)
        if session and isinstance(held.event, Exit) and held.event.process == session.entry:
            self._end(held.event, session, facts)

    def unmatched(self, record: Seccomp, node: Node, container: Container | None, now: float) -> None:
        """Write a logged call that no event of the ledger belongs to."""
        facts = Facts(container, node.container_id, node.entry)
        self._leave(self._composer.syscall(record, node, facts), facts, now)

    def tick(self, now: float, wall_ms: int) -> None:
        """Write what time alone brings: late requests, and the end of throttling."""
        for session, facts in self._unconfirmed.settled(now):
            record = self._composer.session_start(session, facts, self._containers.cluster_uid)
            record.reason = "late"
            self._made(record)
            self._on_start(session, record)
        for container_id, refused in self._quota.ended(now):
            facts = Facts(None, container_id, None)
            self._made(self._composer.gap({"throttled": refused}, wall_ms, "throttle-stop", facts))

    def gap(self, lost: dict[str, int], wall_ms: int, reason: str | None = None) -> None:
        """Write what was lost since the last gap, by cause; `reason` where one thing brought it all about."""
        self._made(self._composer.gap(lost, wall_ms, reason))

    def forget_container(self, container_id: str) -> None:
        """A container is gone."""
        self._repeats.forget(container_id)
        self._quota.forget(container_id)

    def _start(self, session: Session, facts: Facts, now: float) -> None:
        record = self._composer.session_start(session, facts, self._containers.cluster_uid)
        self._made(record)
        self._on_start(session, record)
        self._lost_before[session.request_uid] = dict(self.losses())
        if session.state == "unconfirmed":
            self._unconfirmed.add(session, facts, now)

    def _end(self, event: Exit, session: Session, facts: Facts) -> None:
        record = self._composer.session_end(event, session, facts, self._containers.cluster_uid)
        before = self._lost_before.pop(session.request_uid, {})
        lost = {cause: count - before.get(cause, 0) for cause, count in self.losses().items()}
        record.lost = {cause: count for cause, count in lost.items() if count > 0} or None
        self._made(record)
        self._on_end(session, record)

    def _leave(self, record: Record, facts: Facts, now: float, *, reserved: bool = False) -> None:
        """Write within the container's quota; what opens a session or is untracked keeps its room."""
        if self.filters and not self.filters.filters.decide(record).keep:
            self.tally.filtered["filters"] += 1
            return
        if reserved or record.origin == "untracked" or self._quota.take(facts.container_id, now):
            self._emit(record)
            return
        self.tally.lost["throttled"] += 1
        if self._quota.began(facts.container_id):
            gap = self._composer.gap({"throttled": 1}, 0, "throttle-start", facts)
            gap.timestamp = record.timestamp
            self._made(gap)

    def _made(self, record: Record) -> None:
        self.tally.made[record.kind] += 1
        self._emit(record)

    def _emit(self, record: Record) -> None:
        if self._write(record):
            self.tally.written[record.kind] += 1
        else:
            self.tally.lost["storage"] += 1


def _recognise(entry: Entry, event: ProcessEvent, container: Container) -> None:
    """Tell the kubelet's own entries, by the pod's spec: it comes in by the same door as an intruder would."""
    if entry.origin == "untracked" and isinstance(event, Exec):
        entry.origin = container.doors.get(words_of(event.argv), "untracked")
