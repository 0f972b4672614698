"""The summary of a session: user, request, target, and how it ended.

It comes from the session's records in a trail, from the AuditSession in the cluster, or from both: the trail is the
durable record, the AuditSession knows requests that no process ever came of.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

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


_ABSENT: tuple[object, ...] = (None, [], {})


def from_records(uid: str, records: Iterable[Record]) -> Summary:
    """The session of this UID from its records, in any order; what later records say corrects earlier ones."""
    summary = Summary(request_uid=uid)
    # A forged record only claims the UID: its user is not the one who asked. `session` records come last, as they are
    # made for this.
    every = list(records)
    genuine = [record for record in every if record.state != "forged"]
    for record in sorted(genuine or every, key=lambda r: (r.kind == "session", r.seq)):
        _add(summary, record)
    return summary


def sessions(records: Iterable[Record]) -> list[Summary]:
    """The sessions that a trail's records are about, oldest first."""
    by_uid: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.kind == "session" and record.request_uid:
            by_uid[record.request_uid].append(record)
    return in_time(from_records(uid, found) for uid, found in by_uid.items())


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
    fields: dict[str, object] = {"user": record.user, "node": record.node.name, "state": record.state}
    fields |= {"image": record.image, "pod_uid": record.pod_uid, "cluster_uid": record.cluster_uid}
    if record.resource:
        fields |= msgspec.structs.asdict(record.resource)
    if record.request:
        fields |= msgspec.structs.asdict(record.request)
    if record.user_info:
        fields |= msgspec.structs.asdict(record.user_info)
    if record.kind == "session":
        fields |= _course(record)
    for name, value in fields.items():
        if value not in _ABSENT:
            setattr(summary, name, value)


def _course(record: Record) -> dict[str, object]:
    """What only `session` records say of the session; in others these keys are about a process."""
    fields: dict[str, object] = {"weak": record.weak, "lost": record.lost, "reason": record.reason}
    time: Literal["end_time", "start_time"] = "end_time" if record.phase == "end" else "start_time"
    fields |= {time: record.timestamp}
    if record.phase == "end":
        fields |= {"outcome": record.outcome, "exit": record.exit}
        fields |= {"duration_ms": record.duration_ms, "processes": record.processes}
    return fields


_audit_session = msgspec.json.Decoder(AuditSession)


def from_audit_session(document: bytes | msgspec.Raw) -> Summary:
    """The session of an AuditSession, given as JSON.

    Raises:
        msgspec.ValidationError: It is not one; the message names the field.

    """
    it = _audit_session.decode(document)
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
        pod=it.spec.target.pod,
        container=it.spec.target.container or None,
        node=it.status.node or None,
        start_time=it.status.start_time or it.spec.time,
        end_time=it.status.end_time,
        duration_ms=it.status.duration_ms,
        outcome=it.status.outcome,
        exit=it.status.exit,
        processes=it.status.processes,
    )
