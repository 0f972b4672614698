"""The emitter: what leaves the correlator becomes records of the trail here, or is counted as something else.

A session's start is written before its first process, its end after its last; what the kubelet repeats is suppressed;
a container over its quota is throttled; a request that shows late corrects what was written without it.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from enricher.containers.containers import Containers
from enricher.correlate.attaches import Attach
from enricher.correlate.binder import assign
from enricher.correlate.pending_event import Correlated, Owner
from enricher.correlate.process_tree import Entry
from enricher.correlate.sessions import Session, Sessions
from enricher.emit.gap import Gap
from enricher.emit.late_matches import Found, LateMatches
from enricher.emit.late_requests import LateRequests
from enricher.emit.quota import Quota, Throttled
from enricher.emit.record_builder import RecordBuilder
from enricher.emit.repeats import Repeats
from enricher.events import ExitEvent, Process
from enricher.tally import Tally
from exectrail.contracts.record import Record
from exectrail.filter.filters import Filters

_KUBELET = ("probe", "hook")

Report = Callable[[Session, Record], None]


def _report_nothing(_session: Session, _record: Record) -> None:
    pass


def _is_confirmed(entry: Entry) -> bool:
    return entry.session is not None and entry.session.state == "confirmed"


class HasFilters(Protocol):
    """Holds the set of filters in use; a reload replaces it."""

    @property
    def filters(self) -> Filters | None:
        """The set; None keeps everything."""


class _Open(Struct, frozen=True):
    """A session whose start is written and whose end is not."""

    session: Session
    container_id: str
    lost_before: Mapping[str, int]
    """What was lost on this node before it began."""


class Emitter:
    """Writes records.

    Args:
        containers: For the cluster's UID.
        sessions: What is known of requests.
        builder: Makes the records.
        write: Takes each finished record; false where there is no room for it.
        quota: How much a container may leave.
        tally: Counts what becomes of events.
        losses: Everything lost on this node since the start, by cause.
        on_start, on_end: Called for each session that begins and ends, with its record; only once it is confirmed,
            since a tag alone proves nothing and may be another user's.
        on_ambiguous: Called with the UIDs of requests that an entry may have come of, and its time (ns since boot).
        has_room: Whether the trail takes a record about losses now.
        filters: Records that these drop are not written; None keeps everything.

    """

    def __init__(
        self,
        containers: Containers,
        sessions: Sessions,
        builder: RecordBuilder,
        write: Callable[[Record], bool],
        quota: Quota,
        tally: Tally,
        losses: Callable[[], Mapping[str, int]] = dict,
        on_start: Report = _report_nothing,
        on_end: Report = _report_nothing,
        on_ambiguous: Callable[[list[str], int], None] = lambda _uids, _time: None,
        has_room: Callable[[], bool] = lambda: True,
        filters: HasFilters | None = None,
    ) -> None:
        self.tally, self.losses, self.ambiguous, self.filters = tally, losses, on_ambiguous, filters
        self._containers, self._sessions, self._builder = containers, sessions, builder
        self._write, self._has_room, self._quota = write, has_room, quota
        self._on_start, self._on_end = on_start, on_end
        self._repeats = Repeats()
        self._late_requests = LateRequests(sessions)
        self._late_matches = LateMatches(sessions)
        self._open: dict[tuple[str, Process], _Open] = {}
        self._lost_before: Mapping[str, int] = {}
        """What the gaps in the trail say already."""

    def emit(self, known: Correlated, now: float) -> None:
        """Write what became of an event; `now` in seconds of the monotonic clock."""
        entry, session, event = known.entry, known.session, known.event
        if entry and entry.origin in _KUBELET and self._repeats.is_repeat(known.container_id, event, known.argv):
            self.tally.suppressed[entry.origin] += 1
            return
        if known.opens and entry:
            self._open_entry(entry, known, now)
        record = self._builder.build(known)
        filters = self.filters.filters if self.filters else None
        if filters and not filters.decide(record).keep:
            self.tally.filtered["filters"] += 1
        elif known.opens or self._quota.take(known.container_id, now, untracked=record.origin == "untracked"):
            self._emit(record)  # the first process of an entry keeps its room
        else:
            self._throttle(record, known)
        if type(event) is ExitEvent and entry and event.process == entry.process:
            if session and not session.ended and event.process == session.entry:
                self._end(event, session, known)
            self._late_matches.ended(entry, event)

    def _open_entry(self, entry: Entry, known: Correlated, now: float) -> None:
        """Write what precedes an entry's first exec."""
        entry.settled = True
        if entry.candidates:
            self.ambiguous(entry.candidates, known.event.time)
        if entry.claim:
            self._made(self._builder.claim(entry.claim, known, self._containers.cluster_uid))
        if known.session:
            self._start(known.session, known, now)
        if known.unmatched and entry.origin not in _KUBELET and not _is_confirmed(entry):
            of_entry = Owner(known.container, known.container_id, entry)
            self._late_matches.add(of_entry, entry, known.unmatched, known.event.time, now)

    def tick(self, now: float, wall_ms: int) -> None:
        """Write what time alone brings: late requests, the end of throttling, and what was lost meanwhile."""
        for session, owner, end in self._late_requests.settled(now):
            record = self._builder.session_start(session, owner, self._containers.cluster_uid)
            record.reason = session.rejected or "late"
            self._made(record)
            self._report_start(session, record)
            if end:
                self._report_end(session, end)
        for found in self._late_matches.found(now):
            self._match_late(found, now)
        self._unthrottled(self._quota.ended(now), wall_ms)
        self.write_losses(wall_ms)

    def close(self, wall_ms: int) -> None:
        """Write what is still open when nothing comes any more: throttling, and what was lost."""
        self._unthrottled(self._quota.close(), wall_ms)
        self.write_losses(wall_ms)

    def _match_late(self, found: Found, now: float) -> None:
        """Write what is known of an entry only now; what comes of it from here on has it as well."""
        entry = found.entry
        if _is_confirmed(entry):
            return
        if claim := entry.session:  # it carries a UID that is not its own
            self._open.pop((claim.request_uid, claim.entry), None)
            if not claim.forged:
                self._sessions.reject(claim, "other-command")
        entry.origin, entry.session = "session", None
        if not found.alone:
            entry.candidates = found.meant
            self.ambiguous(found.meant, found.time)
            return
        session = assign(self._sessions, entry, found.by, found.meant[0], found.time)
        self._sessions.settle(session)
        self._start(session, found.owner, now, reason="late")
        if found.end:
            self._end(found.end, session, found.owner)

    def write_losses(self, wall_ms: int) -> None:
        """Write a gap with the losses that are new, as soon as the trail has room for a record."""
        lost = dict(self.losses())
        fresh = {cause: count - self._lost_before.get(cause, 0) for cause, count in lost.items()}
        fresh = {cause: count for cause, count in fresh.items() if count > 0}
        if fresh and self._has_room():
            self._lost_before = lost
            self.losses_since(fresh, wall_ms)

    def losses_since(self, lost: dict[str, int], wall_ms: int, reason: str | None = None) -> None:
        """Write what was lost since the last gap, by cause; `reason` where one thing brought it all about."""
        self._made(self._builder.losses(lost, wall_ms, reason))

    def gap(self, gap: Gap) -> None:
        """Write that something may be missing, and how much at most where that is known."""
        self._made(self._builder.unseen(gap))

    def open_sessions(self) -> list[Session]:
        """Those whose start is written and whose end is not."""
        return [each.session for each in self._open.values()]

    def attached(self, attach: Attach, at: int) -> None:
        """A user has attached to a container; `at` in nanoseconds since boot. Its end cannot be seen."""
        session = Session(attach.audit.metadata.name, attach.init, attach.container, at, attach.audit, checked=True)
        owner = Owner(attach.container, attach.container.id, Entry(attach.init, "session", session))
        self._made(self._builder.session_start(session, owner, self._containers.cluster_uid))

    def resume(self, session: Session, owner: Owner, now: float) -> None:
        """A session goes on after a restart; what is written of it is written once."""
        if session.start_seq is None:
            self._start(session, owner, now)
        else:
            self._opened(session, owner, now)

    def lose(self, session: Session, owner: Owner, gap: Gap) -> None:
        """A session ended, or went out of sight, while no enricher ran."""
        self._lost(session, self._builder.session_lost(session, owner, self._containers.cluster_uid, gap))

    def forget_container(self, container_id: str, wall_ms: int, follows: Callable[[Session], bool]) -> None:
        """A container is gone, or no longer recorded: nothing comes from there any more, and no session's end."""
        self._repeats.forget(container_id)
        self._unthrottled(self._quota.forget(container_id), wall_ms)
        for opened in [each for each in self._open.values() if each.container_id == container_id]:
            session = opened.session
            if follows(session):
                continue
            owner = Owner(session.container, container_id, Entry(session.entry, "session", session))
            self._lost(session, self._builder.session_unwatched(session, owner, self._containers.cluster_uid, wall_ms))

    def _lost(self, session: Session, end: Record) -> None:
        self._open.pop((session.request_uid, session.entry), None)
        session.ended = True
        self._made(end)
        self._report_end(session, end)

    def _start(self, session: Session, owner: Owner, now: float, reason: str | None = None) -> None:
        record = self._builder.session_start(session, owner, self._containers.cluster_uid)
        record.reason = record.reason or reason
        if self._made(record):
            session.start_seq = record.seq
        self._report_start(session, record)
        self._opened(session, owner, now)

    def _opened(self, session: Session, owner: Owner, now: float) -> None:
        self._open[session.request_uid, session.entry] = _Open(session, owner.container_id, dict(self.losses()))
        if session.state == "unconfirmed":
            of_session = Owner(owner.container, owner.container_id, owner.entry)  # not the event, for minutes
            self._late_requests.add(session, of_session, now)

    def _end(self, event: ExitEvent, session: Session, owner: Owner) -> None:
        record = self._builder.session_end(event, session, owner, self._containers.cluster_uid)
        opened = self._open.pop((session.request_uid, session.entry), None)
        before = opened.lost_before if opened else {}
        session.ended = True
        lost = {cause: count - before.get(cause, 0) for cause, count in self.losses().items()}
        record.lost = {cause: count for cause, count in lost.items() if count > 0} or None
        self._made(record)
        self._report_end(session, record)

    def _report_start(self, session: Session, record: Record) -> None:
        if session.state == "confirmed":
            self._on_start(session, record)

    def _report_end(self, session: Session, record: Record) -> None:
        if session.state == "confirmed":
            self._on_end(session, record)
        else:
            self._late_requests.ended(session, record)

    def _throttle(self, record: Record, known: Correlated) -> None:
        self.tally.lost["throttled"] += 1
        if self._quota.began(known.container_id, untracked=record.origin == "untracked"):
            gap = self._builder.losses({"throttled": 1}, 0, "throttle-start", known)
            gap.timestamp = record.timestamp
            self._made(gap)

    def _unthrottled(self, over: list[Throttled], wall_ms: int) -> None:
        for each in over:
            owner = Owner(container_id=each.container_id)
            gap = self._builder.losses({"throttled": each.refused}, wall_ms, "throttle-stop", owner)
            gap.origin = "untracked" if each.untracked else None
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
