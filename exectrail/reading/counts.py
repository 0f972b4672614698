"""How often: sessions and programs by user, target, program, failure and hour."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from exectrail.contracts.record import Origin, Record
from exectrail.reading import words
from exectrail.reading.choice import Choice
from exectrail.reading.summary import LATE

UNKNOWN = "(no user)"
"""For programs that no request led to, and sessions whose request was not seen."""
MOST_HELD = 100_000
"""So much waits for a user who may show late; what has waited longest then counts as it is."""
_MOST_LATE = 100_000
"""Entries that are remembered as late: a trail may be given before the one that it goes on from."""

_Entry = tuple[str, str]
"""The node, and the key of the process that came in."""
_Run = tuple[str, str, str, str | None, Origin | None]
"""Target, hour, program, error and origin of an exec."""
_Start = tuple[str, str, Origin | None]
"""Target, hour and origin of a session."""


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


def count(records: Iterable[Record], chosen: Choice | None = None) -> Counts:
    """Count the chosen `session` and `exec` records; others do not matter.

    What an entry ran before its request showed late counts for the user of that request.
    """
    counting = _Counting(chosen or Choice())
    for record in records:
        if record.kind == "session" and record.phase == "start":
            counting.start(record)
        elif record.kind == "exec":
            counting.run(record)
    counting.close()
    return counting.counts


@dataclass
class _Held:
    """What an entry did of which it is not known yet for whom."""

    runs: Counter[_Run] = field(default_factory=Counter)
    start: _Start | None = None
    request_uid: str | None = None


class _Counting:
    """Counts at once what has a user or can have none, and the rest once its user has shown, or at the end."""

    def __init__(self, chosen: Choice) -> None:
        self.counts = Counts()
        self._chosen = chosen
        self._held: dict[_Entry, _Held] = {}
        self._size = 0
        self._late: dict[_Entry, tuple[str | None, Origin | None]] = {}
        """Whose the late entries are, and their origin."""

    def start(self, record: Record) -> None:
        """Count the start of a session. Who only claims the UID is none; what it ran counts as of no user."""
        entry, known = _entry(record), record.state in ("confirmed", None)
        held = self._held.get(entry)
        if record.reason == LATE and known:
            self._late[entry] = record.user, record.origin
            if len(self._late) > _MOST_LATE:
                del self._late[next(iter(self._late))]
            self._release(entry)
        elif held and held.request_uid == record.request_uid:
            held.start = None  # this one says more
        if record.state == "forged" or not self._keeps(record):
            return
        said = _target(record), record.timestamp[:13], record.origin
        if known:
            self._add_session(said, record.user)
        elif entry not in self._late:
            waiting = self._waiting(entry)
            waiting.start, waiting.request_uid = said, record.request_uid
        self._bound()

    def run(self, record: Record) -> None:
        """Count an exec."""
        if not self._keeps(record):
            return
        program = record.program or (record.argv or ["?"])[0]
        said = _target(record), record.timestamp[:13], program, record.errno, record.origin
        entry = _entry(record)
        if record.user or not entry[1] or not _may_be_late(record):
            self._add_runs(said, 1, record.user, record.origin)
        elif entry in self._late:
            self._add_runs(said, 1, *self._late[entry])
        else:
            waiting = self._waiting(entry)
            self._size += said not in waiting.runs
            waiting.runs[said] += 1
            self._bound()

    def close(self) -> None:
        """Count what still waits as of no user."""
        for entry in list(self._held):
            self._release(entry)

    def _keeps(self, record: Record) -> bool:
        """Whether it is of interest whose it is."""
        return self._chosen.keeps_place(record) and self._chosen.in_time(record.timestamp)

    def _waiting(self, entry: _Entry) -> _Held:
        if entry not in self._held:
            self._held[entry] = _Held()
            self._size += 1
        return self._held[entry]

    def _bound(self) -> None:
        while self._size > MOST_HELD:
            self._release(next(iter(self._held)))

    def _release(self, entry: _Entry) -> None:
        """Count what waits of an entry: for its user, if a request showed late; else as it is."""
        held = self._held.pop(entry, None)
        if held is None:
            return
        self._size -= 1 + len(held.runs)
        late = self._late.get(entry)
        if held.start and not late:  # else the late start counts
            self._add_session(held.start, None)
        for said, times in held.runs.items():
            self._add_runs(said, times, *(late or (None, said[-1])))

    def _add_session(self, start: _Start, user: str | None) -> None:
        target, hour, origin = start
        if not self._chosen.keeps_owner(user, origin):
            return
        self.counts.sessions += 1
        self.counts.sessions_by_user[user or UNKNOWN] += 1
        self.counts.sessions_by_target[target] += 1
        self.counts.sessions_by_hour[hour] += 1

    def _add_runs(self, run: _Run, times: int, user: str | None, origin: Origin | None) -> None:
        target, hour, program, errno, _ = run
        if not self._chosen.keeps_owner(user, origin):
            return
        self.counts.execs += times
        self.counts.execs_by_user[user or UNKNOWN] += times
        self.counts.execs_by_target[target] += times
        self.counts.execs_by_hour[hour] += times
        if errno:
            self.counts.failed_execs += times
            self.counts.failed[program, errno] += times
        else:
            self.counts.programs[program] += times


def _entry(record: Record) -> _Entry:
    return record.node.name, record.entry_key or record.process_key or ""


def _target(record: Record) -> str:
    return words.names(record.resource) if record.resource else record.node.name


def _may_be_late(record: Record) -> bool:
    """Whether a request may show later that is this record's."""
    return record.origin in ("session", "untracked") or record.state is not None
