"""How often: sessions and programs by user, target, program, failure and hour."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from exectrail.contracts.record import Record
from exectrail.reading import words
from exectrail.reading.summary import LATE

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
    for record in records:
        target = words.names(record.resource) if record.resource else record.node.name
        hour = record.timestamp[:13]
        if record.kind == "session":
            # A process that only claims the UID is no session; what it ran counts as of no user.
            if record.phase == "start" and record.reason != LATE and record.state != "forged":
                counts.sessions += 1
                counts.sessions_by_user[record.user or UNKNOWN] += 1
                counts.sessions_by_target[target] += 1
                counts.sessions_by_hour[hour] += 1
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
