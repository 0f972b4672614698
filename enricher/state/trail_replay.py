"""The end of the trail as a journal: what was recorded after the last checkpoint and before the kill.

A record names its process, its entry and its request, so that the trail itself completes the checkpoint. Its lines are
applied to one in their order; to apply what the checkpoint has already changes nothing.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Final, get_args

import msgspec
from msgspec import Struct, field

from enricher.correlate.sessions import Rejection
from enricher.events import Process
from enricher.state.checkpoint import Checkpoint, KeptEntry, KeptProcess, KeptSession
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Kind, Origin, Request, Resource, State, UserInfo
from exectrail.contracts.session import VERBS, AuditSession, SessionSpec, Target, User
from exectrail.contracts.unreadable import UNREADABLE

_MOST = 200_000
"""Lines that are looked at; more than a node writes between two checkpoints."""
_NEAR = 64
_DIGITS = 19
"""Of a number that 64 bits hold."""
_LATEST_MS = 2**63 // 1_000_000
"""No clock of nanoseconds in 64 bits has a later time."""
_OF_PROCESSES: Final = ("exec", "clone")
_KEYS = 4096
"""How many processes are remembered as alive or not: to ask costs several reads of /proc."""


class Line(Struct, rename="camel"):
    """Those fields of a record that tell of processes and sessions."""

    kind: Kind
    seq: int
    timestamp: str
    process_key: str | None = None
    parent_key: str | None = None
    entry_key: str | None = None
    container_id: str | None = field(name="containerID", default=None)
    origin: Origin | None = None
    request_uid: str | None = field(name="requestUID", default=None)
    state: State | None = None
    candidates: list[str] = []
    phase: str | None = None
    weak: tuple[str, ...] = ()
    reason: str | None = None
    resource: Resource | None = None
    user: str | None = None
    user_info: UserInfo | None = None
    request: Request | None = None

    @property
    def wall_ms(self) -> int:
        """When it was: milliseconds since the epoch.

        Raises:
            ValueError: There is no such time.

        """
        return round(datetime.fromisoformat(self.timestamp).replace(tzinfo=UTC).timestamp() * 1000)


_decode = msgspec.json.Decoder(Line).decode


def since(seq: int, newest_first: Iterable[bytes], is_alive: Callable[[Process], bool]) -> list[Line]:
    """The records after this one that can still matter, in their order.

    Those are all of sessions; of processes, the newest and the oldest of each that lives, and the newest of what
    descends from it. They tell when it was born, and what its entry is by now. The rest is of the dead, and far more:
    where no checkpoint could be written for a while, it would not fit into memory.
    """
    lives = lru_cache(_KEYS)(partial(_lives, is_alive))
    kept: list[Line] = []
    seen: set[str] = set()
    oldest: dict[str, Line] = {}
    for line in itertools.takewhile(lambda line: line.seq > seq, _readable(itertools.islice(newest_first, _MOST))):
        if line.kind == "session":
            kept.append(line)
        elif line.kind in _OF_PROCESSES:
            alive = {key for key in (line.process_key, line.entry_key) if key and lives(key)}
            if not alive <= seen:
                seen |= alive
                kept.append(line)
            elif line.process_key in alive:
                oldest[line.process_key] = line
    return sorted((*kept, *oldest.values()), key=lambda line: line.seq)


def newest(newest_first: Iterable[bytes]) -> Line | None:
    """The last record, if one is near the end."""
    return next(_readable(itertools.islice(newest_first, _NEAR)), None)


def _readable(lines: Iterable[bytes]) -> Iterator[Line]:
    """A line that is no record, as one that a crash cut or a disk damaged, is passed over."""
    for line in lines:
        try:
            record = _decode(line)
            is_possible = 0 <= record.wall_ms <= _LATEST_MS
        except UNREADABLE:
            continue
        if is_possible:
            yield record


def _lives(is_alive: Callable[[Process], bool], key: str) -> bool:
    process = _process(key)
    return process is not None and is_alive(process)


def apply(lines: Iterable[Line], to: Checkpoint, boot_ns: Callable[[int], int]) -> None:
    """Complete a checkpoint by what was recorded later.

    Args:
        lines: From `since`.
        to: Is changed.
        boot_ns: Turns milliseconds since the epoch into nanoseconds since boot.

    """
    tables = _Tables(to, boot_ns)
    for line in itertools.takewhile(lambda line: _is_of(line, to.boot_id), lines):
        tables.take(line)


def _is_of(line: Line, boot_id: str) -> bool:
    return line.process_key is None or line.process_key.startswith(f"{boot_id[:8]}-")


class _Tables:
    """A checkpoint, with its lists looked up by what they are of."""

    def __init__(self, to: Checkpoint, boot_ns: Callable[[int], int]) -> None:
        self._to, self._boot_ns = to, boot_ns
        self._sessions = {(each.request_uid, each.entry): at for at, each in enumerate(to.sessions)}
        self._entries = {each.process: at for at, each in enumerate(to.entries)}
        self._containers = {each: at for at, each in enumerate(to.containers)}
        self._processes = {Process(each.pid, each.start) for each in to.processes}

    def take(self, line: Line) -> None:
        process, entry = _process(line.process_key), _process(line.entry_key)
        if process is None or entry is None or (line.request and line.request.verb == "attach"):
            return  # an attach has no process of its own, so that there is nothing to go on with
        if line.kind == "session" and line.phase and line.request_uid:
            session = self._session(line, line.request_uid, process)
            if line.state == "forged":
                session.rejected, session.audit = session.rejected or _rejection(line), None
            session.start_seq = session.start_seq if line.phase == "end" else line.seq
            session.ended = session.ended or line.phase == "end"
            session.audit = session.audit or _asked(line, line.request_uid)
            if line.phase == "start" and process in self._entries:  # its request showed late
                known = self._to.entries[self._entries[process]]
                known.origin, known.candidates = "session", []
                known.session = self._sessions[line.request_uid, process]
        elif line.kind in _OF_PROCESSES and line.container_id is not None:
            self._processes_of(line, process, entry, line.container_id)

    def _session(self, line: Line, uid: str, entry: Process) -> KeptSession:
        key = uid, entry
        if line.state == "confirmed":  # until then, another entry may be it
            self._to.bound.setdefault(uid, entry)
        if key not in self._sessions:
            self._sessions[key] = len(self._to.sessions)
            self._to.sessions.append(_kept(line, uid, entry, self._time(line)))
        return self._to.sessions[self._sessions[key]]

    def _processes_of(self, line: Line, process: Process, entry: Process, container: str) -> None:
        at = self._entries.setdefault(entry, len(self._to.entries))
        if at == len(self._to.entries):
            self._to.entries.append(KeptEntry(entry))
        known = self._to.entries[at]
        if line.origin:
            known.origin, known.candidates = line.origin, line.candidates
        if line.request_uid:
            self._session(line, line.request_uid, entry)
            known.session = self._sessions[line.request_uid, entry]
        if process not in self._processes:
            self._processes.add(process)
            place = self._containers.setdefault(container, len(self._to.containers))
            if place == len(self._to.containers):
                self._to.containers.append(container)
            parent = _process(line.parent_key) or Process(0, 0)
            self._to.processes.append(
                KeptProcess(process.pid, process.start, parent.pid, parent.start, self._time(line), place, at)
            )

    def _time(self, line: Line) -> int:
        return self._boot_ns(line.wall_ms)


def _kept(line: Line, uid: str, entry: Process, started: int) -> KeptSession:
    """What a line tells of a session. Which command carried the UID is not in it."""
    return KeptSession(
        uid,
        entry,
        started,
        rejected=_rejection(line) if line.state == "forged" else None,
        found_by="argv" if line.state == "unconfirmed" else "request",
        weak=line.weak if line.kind == "session" else (),
    )


def _rejection(line: Line) -> Rejection:
    """Why the UID does not hold, by a record that says so."""
    return next((each for each in get_args(Rejection) if each == line.reason), "uid-used")


def _process(key: str | None) -> Process | None:
    """The process of a key; None for what is none."""
    _, _, rest = (key or "").partition("-")
    pid, _, start = rest.partition("-")
    is_one = all(each.isdecimal() and len(each) <= _DIGITS for each in (pid, start))
    return Process(int(pid), int(start)) if is_one else None


def _asked(line: Line, uid: str) -> AuditSession | None:
    """The request, as a session's start tells it: the API may be out of reach when it is needed next."""
    if line.state != "confirmed" or not (line.user and line.request and line.resource):
        return None
    info, request, resource = line.user_info or UserInfo(), line.request, line.resource
    verb = next((each for each in VERBS if each == request.verb), None)
    if verb is None:
        return None
    user = User(line.user, groups=info.groups, extra=info.extra)
    target = Target(resource.namespace, resource.pod, resource.container)
    spec = SessionSpec(user, verb, request.resource, target, line.timestamp, request.command or [], request.tty)
    return AuditSession(ObjectMeta(name=uid), spec)
