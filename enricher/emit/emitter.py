"""The emitter: what leaves the pipeline becomes lines of the trail here, or is counted as something else.

A session's start goes before its first process, its end after its last word; what the kubelet repeats is suppressed;
a container over its quota is throttled; a request that shows late corrects what was written without it.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from enricher.argv import words_of
from enricher.containers.containers import Container, Containers
from enricher.correlate.attaches import Attach
from enricher.correlate.pending_event import PendingEvent
from enricher.correlate.process_tree import Entry, Node
from enricher.correlate.sessions import Session, Sessions
from enricher.emit.gap import Hole
from enricher.emit.late_requests import LateRequests
from enricher.emit.quota import Quota
from enricher.emit.record_builder import Facts, RecordBuilder
from enricher.emit.repeats import Repeats
from enricher.emit.tally import Tally
from enricher.events import Exec, Exit, Process, ProcessEvent, Seccomp
from exectrail.contracts.record import Record
from exectrail.filter.filters import Filters

_KUBELET = ("probe", "hook")

Tell = Callable[[Session, Record], None]


def _tell_nobody(_session: Session, _record: Record) -> None:
    pass


class HasFilters(Protocol):
    """Holds the set of filters in use; a reload replaces it."""

    @property
    def filters(self) -> Filters:
        """The set."""


class _Open(Struct, frozen=True):
    """A session whose start is told and whose end is not."""

    session: Session
    lost_before: Mapping[str, int]
    """What was lost on this node before it began."""


class Emitter:
    """Writes records.

    Args:
        containers: For the cluster's UID.
        sessions: What is known of requests.
        record_builder: Makes the records.
        write: Takes each finished record; false where there is no room for it.
        quota: How much a container may leave.
        losses: Everything lost on this node since the start, by cause.
        on_start, on_end: Told of each session that begins and ends, with its record; only once it is confirmed, since
            a tag alone proves nothing and may be another user's.

    """

    def __init__(
        self,
        containers: Containers,
        sessions: Sessions,
        record_builder: RecordBuilder,
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
        self._containers, self._sessions, self._record_builder = containers, sessions, record_builder
        self._write, self._quota = write, quota
        self._on_start, self._on_end = on_start, on_end
        self._repeats = Repeats()
        self._unconfirmed = LateRequests(sessions)
        self._open: dict[tuple[str, Process], _Open] = {}

    def release(self, held: PendingEvent, container: Container | None, session: Session | None, now: float) -> None:
        """Write what became of an event."""
        if held.opens and container:
            _recognise(held.entry, held.event, container)
        container_id = held.place.container_id
        if held.entry.origin in _KUBELET and self._repeats.is_repeat(container_id, held.event, held.argv):
            self.tally.suppressed[held.entry.origin] += 1
            return
        facts = Facts(container, container_id, held.entry, held.half, held.caller, held.node.born)
        if held.opens:
            held.entry.settled = True
            if claim := held.entry.claim:
                self._report_claim(claim, facts)
            if session:
                self._start(session, facts, now)
        self._leave(self._record_builder.process(held.event, facts), facts, now, reserved=held.opens)
        if session and not session.ended and isinstance(held.event, Exit) and held.event.process == session.entry:
            self._end(held.event, session, facts)

    def unmatched(self, record: Seccomp, node: Node, container: Container | None, now: float) -> None:
        """Write a logged call that no event of the sensor belongs to."""
        entry = node.entry
        if entry and entry.origin in _KUBELET and self._repeats.is_repeat(node.container_id, record, node.argv):
            self.tally.suppressed[entry.origin] += 1
            return
        facts = Facts(container, node.container_id, entry)
        self._leave(self._record_builder.syscall(record, node, facts), facts, now)

    def lone(self, record: Seccomp, now: float) -> None:
        """Write a logged call of a process that no sensor saw."""
        self._leave(self._record_builder.lone(record), Facts(None, "", None), now)

    def tick(self, now: float, wall_ms: int) -> None:
        """Write what time alone brings: late requests, and the end of throttling."""
        for session, facts, end in self._unconfirmed.settled(now):
            record = self._record_builder.session_start(session, facts, self._containers.cluster_uid)
            record.reason = "late"
            self._made(record)
            self._tell_start(session, record)
            if end:
                self._tell_end(session, end)
        for over in self._quota.ended(now):
            facts = Facts(None, over.container_id, None)
            gap = self._record_builder.gap({"throttled": over.refused}, wall_ms, "throttle-stop", facts)
            gap.origin = "untracked" if over.untracked else None
            self._made(gap)

    def gap(self, lost: dict[str, int], wall_ms: int, reason: str | None = None) -> None:
        """Write what was lost since the last gap, by cause; `reason` where one thing brought it all about."""
        self._made(self._record_builder.gap(lost, wall_ms, reason))

    def hole(self, hole: Hole) -> None:
        """Write that something may be missing, of unknown amount."""
        self._made(self._record_builder.hole(hole))

    def open_sessions(self) -> list[Session]:
        """Those whose start is told and whose end is not."""
        return [each.session for each in self._open.values()]

    def attached(self, attach: Attach, at: int) -> None:
        """A user has attached to a container; `at` in nanoseconds since boot. Its end cannot be seen."""
        session = Session(attach.audit.metadata.name, attach.init, attach.container, at, attach.audit)
        facts = Facts(attach.container, attach.container.id, Entry(attach.init, "session", session))
        self._made(self._record_builder.session_start(session, facts, self._containers.cluster_uid))

    def resume(self, session: Session, facts: Facts, now: float) -> None:
        """A session goes on after a restart; what is told of it is told once."""
        if session.told is None:
            self._start(session, facts, now)
        else:
            self._opened(session, facts, now)

    def lose(self, session: Session, facts: Facts, hole: Hole) -> None:
        """A session ended, or went out of sight, while no enricher ran."""
        record = self._record_builder.session_lost(session, facts, self._containers.cluster_uid, hole)
        self._open.pop((session.request_uid, session.entry), None)
        session.ended = True
        self._made(record)
        self._tell_end(session, record)

    def forget_container(self, container_id: str) -> None:
        """A container is gone."""
        self._repeats.forget(container_id)
        self._quota.forget(container_id)

    def _report_claim(self, claim: Session, facts: Facts) -> None:
        self._made(self._record_builder.claim(claim, facts, self._containers.cluster_uid))

    def _start(self, session: Session, facts: Facts, now: float) -> None:
        record = self._record_builder.session_start(session, facts, self._containers.cluster_uid)
        if self._made(record):
            session.told = record.seq
        self._tell_start(session, record)
        self._opened(session, facts, now)

    def _opened(self, session: Session, facts: Facts, now: float) -> None:
        self._open[session.request_uid, session.entry] = _Open(session, dict(self.losses()))
        if session.state == "unconfirmed":
            self._unconfirmed.add(session, facts, now)

    def _end(self, event: Exit, session: Session, facts: Facts) -> None:
        record = self._record_builder.session_end(event, session, facts, self._containers.cluster_uid)
        opened = self._open.pop((session.request_uid, session.entry), None)
        before = opened.lost_before if opened else {}
        session.ended = True
        lost = {cause: count - before.get(cause, 0) for cause, count in self.losses().items()}
        record.lost = {cause: count for cause, count in lost.items() if count > 0} or None
        self._made(record)
        self._tell_end(session, record)

    def _tell_start(self, session: Session, record: Record) -> None:
        if session.state == "confirmed":
            self._on_start(session, record)

    def _tell_end(self, session: Session, record: Record) -> None:
        if session.state == "confirmed":
            self._on_end(session, record)
        else:
            self._unconfirmed.ended(session, record)

    def _leave(self, record: Record, facts: Facts, now: float, *, reserved: bool = False) -> None:
        """Write within the container's quota; the first process of an entry keeps its room."""
        if self.filters and not self.filters.filters.decide(record).keep:
            self.tally.filtered["filters"] += 1
            return
        untracked = record.origin == "untracked"
        if reserved or self._quota.take(facts.container_id, now, untracked=untracked):
            self._emit(record)
            return
        self.tally.lost["throttled"] += 1
        if self._quota.began(facts.container_id, untracked=untracked):
            gap = self._record_builder.gap({"throttled": 1}, 0, "throttle-start", facts)
            gap.timestamp = record.timestamp
            self._made(gap)

    def _made(self, record: Record) -> bool:
        self.tally.made[record.kind] += 1
        return self._emit(record)

    def _emit(self, record: Record) -> bool:
        """Whether there was room for it."""
        if self._write(record):
            self.tally.written[record.kind] += 1
            return True
        self.tally.lost["storage"] += 1
        return False


def _recognise(entry: Entry, event: ProcessEvent, container: Container) -> None:
    """Tell the kubelet's own entries, by the pod's spec: it comes in by the same door as an intruder would."""
    if entry.origin == "untracked" and isinstance(event, Exec) and not event.entered_by_namespace:
        entry.origin = container.kubelet_commands.get(words_of(event.argv), "untracked")
