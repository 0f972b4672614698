"""The summary of a session: user, request, target, and how it ended.

It comes from the session's records in a trail, from the AuditSession in the cluster, or from both: the trail is the
durable record, the AuditSession knows requests that no process ever came of.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct, field

from exectrail.contracts.record import Exit, Outcome, Record, State
from exectrail.contracts.session import AuditSession


class Summary(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """One session. A field is absent where no record has it."""

    request_uid: str = field(name="requestUID")
    user: str | None = None
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    verb: str | None = None
    resource: str | None = None
    command: list[str] | None = None
    tty: bool | None = None
    namespace: str | None = None
    pod: str | None = None
    container: str | None = None
    image: str | None = None
    pod_uid: str | None = field(name="podUID", default=None)
    node: str | None = None
    cluster_uid: str | None = field(name="clusterUID", default=None)
    start_time: str | None = None
    end_time: str | None = None
    duration_ms: int | None = None
    state: State | None = None
    outcome: Outcome | None = None
    exit: Exit | None = None
    processes: int | None = None
    weak: list[str] = []
    lost: dict[str, int] = {}
    reason: str | None = None

    def filled(self, other: "Summary") -> "Summary":
        """This, and from the other the fields that are absent here."""
        missing = {name: getattr(other, name) for name in self.__struct_fields__ if getattr(self, name) in _ABSENT}
        return msgspec.structs.replace(self, **missing)


LATE = "late"
"""The reason of a second start, which corrects an `unconfirmed` one."""

_ABSENT: tuple[object, ...] = (None, [], {})


def from_records(uid: str, records: Iterable[Record]) -> Summary:
    """The session of this UID from its records, in any order; what later records say corrects earlier ones."""
    summary = Summary(request_uid=uid)
    # `session` records come last, as they are made for this.
    for record in sorted(genuine(records), key=_weight):
        _add(summary, record)
    if summary.start_time is None:
        summary.start_time = _start(summary)
    return summary


def genuine(records: Iterable[Record]) -> list[Record]:
    """Those of a session's records that do not only claim its UID: their user is the one who asked. All, if all do.

    Records from before an entry was found out say `unconfirmed`.
    """
    every = list(records)
    forgers = claims(every)
    if not forgers:  # as in nearly all of a million
        return every
    return [record for record in every if _entry(record) not in forgers]


def claims(records: Collection[Record]) -> dict[str, str | None]:
    """The entries that only claim the session's UID, and why that is not theirs; none, if there are no others."""
    found: dict[str, str | None] = {}
    for record in records:
        if record.state == "forged":
            why = record.reason if record.kind == "session" and record.phase != "end" else None
            found[_entry(record)] = why or found.get(_entry(record))
    return found if found and any(_entry(record) not in found for record in records) else {}


def _entry(record: Record) -> str:
    """The process that came in, by its key; of a record without one, itself."""
    return record.entry_key or record.process_key or record.audit_id


def _start(summary: Summary) -> str | None:
    """When a session began whose start was not read: its end says how long it took."""
    end = moment(summary.end_time)
    if end is None or summary.duration_ms is None:
        return None
    try:
        began = end - timedelta(milliseconds=summary.duration_ms)
    except OverflowError:  # a damaged or forged record
        return None
    return began.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _weight(record: Record) -> tuple[bool, int]:
    return record.kind == "session", record.seq


def in_time(summaries: Iterable[Summary]) -> list[Summary]:
    """Sorted by start; those without one first."""
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(summaries, key=lambda summary: moment(summary.start_time) or never)


def moment(time: str | None) -> datetime | None:
    """A point in time from RFC 3339, in UTC; None if it is none."""
    try:
        parsed = datetime.fromisoformat(time or "")
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _add(summary: Summary, record: Record) -> None:
    """Set what this record says; written out, since a list of a million records does this for each session."""
    summary.user = record.user or summary.user
    summary.node = record.node.name
    summary.state = record.state or summary.state
    summary.image = record.image or summary.image
    summary.pod_uid = record.pod_uid or summary.pod_uid
    summary.cluster_uid = record.cluster_uid or summary.cluster_uid
    if place := record.resource:
        summary.namespace, summary.pod = place.namespace, place.pod
        summary.container = place.container
    if request := record.request:
        summary.verb, summary.resource, summary.tty = request.verb, request.resource, request.tty
        summary.command = request.command or summary.command
    if info := record.user_info:
        summary.groups, summary.extra = info.groups or summary.groups, info.extra or summary.extra
    if record.kind == "session":
        _add_course(summary, record)


def _add_course(summary: Summary, record: Record) -> None:
    """What only `session` records say of the session; in others these keys are about a process."""
    summary.weak = record.weak or summary.weak
    summary.lost = record.lost or summary.lost
    summary.reason = record.reason or summary.reason
    if record.phase == "end":
        summary.end_time = record.timestamp
        summary.outcome, summary.exit = record.outcome or summary.outcome, record.exit or summary.exit
        if record.duration_ms is not None:
            summary.duration_ms = record.duration_ms
        if record.processes is not None:
            summary.processes = record.processes
    elif summary.start_time is None or (record.phase == "start" and record.reason != LATE):
        summary.start_time = record.timestamp


def from_audit_session(it: AuditSession) -> Summary:
    """The session of an AuditSession."""
    return Summary(
        request_uid=it.metadata.name,
        user=it.spec.user.username,
        groups=it.spec.user.groups,
        extra=it.spec.user.extra,
        verb=it.spec.verb,
        resource=it.spec.resource or None,
        command=it.spec.command or None,
        tty=it.spec.tty,
        namespace=it.spec.target.namespace,
        pod=it.spec.target.pod or it.spec.target.name,
        container=it.spec.target.container or None,
        node=it.status.node or None,
        start_time=it.status.start_time or it.spec.time,
        end_time=it.status.end_time,
        duration_ms=it.status.duration_ms,
        outcome=it.status.outcome,
        exit=it.status.exit,
        processes=it.status.processes,
    )
