"""How often: sessions and programs by user, target, program, failure and hour."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from exectrail.contracts.record import Record
from exectrail.reading import words

UNKNOWN = "(no user)"
"""For programs that no request led to, and sessions whose request was not seen."""


@dataclass
class Counts:
    """What was counted. Keys are names as they stand in records."""

    sessions: int = 0
    execs: int = 0
    failed_execs: int = 0
    sessions_by_user: Counter[str] = field(default_factory=Counter)
    execs_by_user: Counter[str] = field(default_factory=Counter)
    sessions_by_target: Counter[str] = field(default_factory=Counter)
    execs_by_target: Counter[str] = field(default_factory=Counter)
    programs: Counter[str] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By program and error."""
    sessions_by_hour: Counter[str] = field(default_factory=Counter)
    """By the hour's beginning in UTC, `2026-11-23T14`."""
    execs_by_hour: Counter[str] = field(default_factory=Counter)


def count(records: Iterable[Record]) -> Counts:
    """Count `session` and `exec` records; others do not matter."""
    counts = Counts()
    unconfirmed: dict[tuple[str | None, str | None], tuple[str, str, str]] = {}
    """Starts that another start may correct, once their request shows."""
    for record in records:
        target = words.names(record.resource) if record.resource else record.node.name
        hour = record.timestamp[:13]
        if record.kind == "session":
            if record.phase != "start":
                continue
            session = record.request_uid, record.process_key
            if before := unconfirmed.pop(session, None):
                _add_session(counts, *before, -1)
            if record.state != "forged":  # who only claims the UID is no session; what it ran counts as of no user
                said = record.user or UNKNOWN, target, hour
                _add_session(counts, *said, 1)
                if record.state == "unconfirmed":
                    unconfirmed[session] = said
        elif record.kind == "exec":
            counts.execs += 1
            counts.execs_by_user[record.user or UNKNOWN] += 1
            counts.execs_by_target[target] += 1
            counts.execs_by_hour[hour] += 1
            program = record.program or (record.argv or ["?"])[0]
            if record.errno:
                counts.failed_execs += 1
                counts.failed[program, record.errno] += 1
            else:
                counts.programs[program] += 1
    return counts


def _add_session(counts: Counts, user: str, target: str, hour: str, number: int) -> None:
    counts.sessions += number
    by = (counts.sessions_by_user, user), (counts.sessions_by_target, target), (counts.sessions_by_hour, hour)
    for counter, key in by:
        counter[key] += number
        if not counter[key]:
            del counter[key]
