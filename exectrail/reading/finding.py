"""Finding one session by its UID, or by the beginning of it, in trails or in a cluster."""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from heapq import nlargest

from exectrail.contracts.record import Record, decode
from exectrail.reading import trail
from exectrail.reading.cluster import Cluster, audit_session_names, audit_sessions, trails
from exectrail.reading.gaps import Gaps
from exectrail.reading.kubectl import Forbidden, KubectlError
from exectrail.reading.late import earlier, settled
from exectrail.reading.process_tree import build, walk
from exectrail.reading.report import Report, missing_records
from exectrail.reading.shell import visible
from exectrail.reading.summary import LATE, Summary, from_records, genuine

SHORTEST_PREFIX = 6
_REMEMBERED = 2000
"""Other sessions' UIDs that are kept for naming the nearest ones: the last of a trail."""


class UnknownSession(Exception):
    """No session, or more than one, goes by this UID; the message names those that come near."""


@dataclass
class Found:
    """A session: its summary, its records, and why some of them may be missing."""

    summary: Summary
    lines: list[bytes] = field(default_factory=list)
    """Its records, as they were read."""
    ambiguous_lines: list[bytes] = field(default_factory=list)
    """Those of processes that this request or another one started; none of the records says which."""
    gaps: list[Record] = field(default_factory=list)
    """What was lost on its node, or in its container, while it ran."""
    gaps_dropped: bool = False
    """Whether there are more of them than are kept."""
    completed: bool = False
    """Whether the API says that it ended, so that the trail must have its end. (One of an attach has none.)"""
    unread: bool = False
    """Whether nothing is known of its processes because the trail that may have them could not be read."""

    @property
    def records(self) -> list[Record]:
        """Its records, decoded, with what later ones say of them."""
        return settled(map(decode, self.lines))

    @property
    def ambiguous(self) -> list[Record]:
        """Those that may be another session's, decoded."""
        return list(map(decode, self.ambiguous_lines))


def ended(found: Found) -> bool:
    """Whether the session is over, by its records or by the API."""
    return found.summary.end_time is not None or found.summary.outcome is not None


def doubts(found: Found, report: Report) -> list[str]:
    """Why what was read of a session is not provably all of it, a sentence each."""
    records = found.records
    if not records:
        return []
    said: list[str] = []
    about = [r for r in genuine(records) if r.kind == "session"]
    begun = {r.process_key for r in records if r.kind == "exec" and r.process_key == r.entry_key}
    starts = [r for r in about if r.phase == "start" and (r.reason != LATE or r.entry_key in begun)]
    ends = [r for r in about if r.phase == "end"]
    if not starts:
        said.append("the session's beginning is not in what was read")
    if found.completed and not ends:
        said.append("the session has ended, but its end is not in what was read")
    if found.gaps_dropped:
        said.append("there are more gaps of its time than are kept: only the last ones are shown")
    last = max((r.seq for r in ends), default=None)
    if last is not None and any(process.exit is None for _, process in walk(build(records))):
        last = None  # what it left behind may go on after its end
    chains = report.by_chain(records)  # more than one, where its node lost its state meanwhile
    first = min(record.seq for record in chains[0][1])
    missing = [
        (begin, end)
        for at, (numbers, _) in enumerate(chains, 1)
        for begin, end in numbers.missing()
        if (at > 1 or end > first) and (at < len(chains) or last is None or begin < last)
    ]
    own = len(found.lines) + len(found.ambiguous_lines) + len(found.gaps)
    if any(numbers.scattered for numbers, _ in chains):
        said.append("most records are missing: what was read is a selection of a trail")
    elif missing and report.records <= own:
        said.append("only this session's records were read: whether some of them are missing cannot be seen")
    elif missing:
        said.append(missing_records(records[0].node.name, missing))
    return said


def resolve(uid: str, known: Iterable[str]) -> str:
    """The one known UID that is meant: itself, or the only one that begins so.

    Raises:
        UnknownSession: There is none, or there are several.

    """
    names = list(dict.fromkeys(known))
    if uid in names:
        return uid
    matches = [name for name in names if _may_mean(uid, name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UnknownSession(f"{len(matches)} sessions begin with {visible(uid)}: {_listed(matches[:5])}")
    short = f" (the beginning of a UID needs {SHORTEST_PREFIX} characters)" if len(uid) < SHORTEST_PREFIX else ""
    near = nlargest(3, names, key=lambda name: SequenceMatcher(None, name[: len(uid)], uid).ratio())
    nearest = f"; the nearest are {_listed(near)}" if near else ", nor any other"
    raise UnknownSession(f"no session {visible(uid)}{short}{nearest}")


def _may_mean(given: str, uid: str) -> bool:
    """Whether this UID, or the beginning of one, stands for that session."""
    return uid == given or (len(given) >= SHORTEST_PREFIX and uid.startswith(given))


def _listed(uids: Iterable[str]) -> str:
    return ", ".join(map(visible, uids))


class Search:
    """Collects, from one trail after the other, the records of the sessions whose UID begins as given.

    Holds those, and the latest gaps of each container: never a trail.
    """

    def __init__(self, uid: str, report: Report) -> None:
        self._uid = uid
        self._needle = uid.encode(errors="surrogateescape")
        self._report = report
        self._lines: dict[str, list[bytes]] = defaultdict(list)
        self._ambiguous: dict[str, list[bytes]] = defaultdict(list)
        self._gaps = Gaps()
        self._seen: set[tuple[str, int, str]] = set()
        self._sources: list[trail.Source] = []

    def read(self, source: trail.Source) -> Exception | None:
        """Search one trail; what is wrong with it goes into the report, as one's trouble must not hide another's."""
        self._sources.append(source)
        try:
            for line in trail.lines(source, (self._needle, trail.GAP), self._report):
                self._take(line)
        except (KubectlError, trail.Unreadable) as error:
            self._report.problems.append(f"{source.name}: {error}" if isinstance(error, KubectlError) else str(error))
            return error
        self._report.sources += 1
        return None

    def _take(self, line: bytes) -> None:
        record = trail.understood(line, self._report)
        if record is None:
            return
        if record.kind == "gap":
            if self._is_new(record):
                self._gaps.add(record)
        elif _may_mean(self._uid, uid := record.request_uid or ""):
            if self._is_new(record):
                self._lines[uid].append(line)
        elif record.origin == "session" and self._is_new(record):
            for candidate in record.candidates or ():
                if _may_mean(self._uid, candidate):
                    self._ambiguous[candidate].append(line)

    def found(self) -> Found:
        """The session.

        Raises:
            UnknownSession: None or several were found.

        """
        known = [*self._lines, *self._ambiguous]
        uid = resolve(self._uid, known or self._others())
        found = Found(Summary(request_uid=uid), self._lines[uid], self._ambiguous[uid])
        records = found.records
        found.summary = from_records(uid, records)
        found.gaps, found.gaps_dropped = self._gaps.during(records), self._gaps.dropped_during(records)
        return found

    def _others(self) -> Iterable[str]:
        """The UIDs of the last sessions, for a UID that was not found: read only then, where that can be read again."""
        others: deque[str] = deque(maxlen=_REMEMBERED)
        for source in self._sources:
            if not source.again:
                continue
            with suppress(trail.Unreadable):  # which was said when it was searched
                for record in trail.read(source, (trail.SESSION,), Report()):
                    others.append(record.request_uid or "")
        return others

    def _is_new(self, record: Record) -> bool:
        """Whether a record was not read before: a trail and a copy of it may both be given."""
        place = (record.node.name, record.seq, record.audit_id)
        new = place not in self._seen
        self._seen.add(place)
        return new


def add_earlier(found: Found, entries: Collection[tuple[str, str]], sources: Iterable[trail.Source]) -> list[str]:
    """Add what entries did before their request showed (`late.unseen`); what could not be read, a sentence each."""
    report = Report()  # the trails were read before
    seen: set[tuple[str, int, str]] = set()
    for record, line in earlier(entries, sources, report):
        place = (record.node.name, record.seq, record.audit_id)
        found.lines += [] if place in seen else [line]
        seen.add(place)
    return report.problems


def find_in_cluster(uid: str, cluster: Cluster, report: Report) -> Found:
    """The session from its node's trail and its AuditSession; from all trails where no AuditSession names a node.

    What could not be read is in the report.

    Raises:
        UnknownSession: None or several were found.
        KubectlError: The API could not be asked.

    """
    summary, names = _look_up(uid, cluster, report)
    if summary and summary.node is None and summary.outcome in ("never-started", "not-recorded"):
        report.sources += 1
        return Found(summary)
    search = Search(summary.request_uid if summary else uid, report)
    failure = _read_all(search, cluster, summary, uid, report)
    try:
        found = search.found()
    except UnknownSession:
        if summary:
            return Found(summary, unread=failure is not None)
        if not failure:
            resolve(uid, names)
        raise
    if summary:
        found.summary = found.summary.filled(summary)
        found.completed = summary.outcome == "completed"
    return found


def _look_up(uid: str, cluster: Cluster, report: Report) -> tuple[Summary | None, list[str]]:
    """The session's AuditSession, and the names of all if it has none; neither without the right to list them."""
    try:
        exact = next(audit_sessions(cluster, report, uid), None)
        if exact:
            return exact, []
        names = audit_session_names(cluster)
        matches = [name for name in names if _may_mean(uid, name)]
        if len(matches) == 1:
            return next(audit_sessions(cluster, report, matches[0]), None), names
    except Forbidden as error:
        report.notes.append(str(error))
        return None, []
    return None, names


def _read_all(search: Search, cluster: Cluster, summary: Summary | None, uid: str, report: Report) -> Exception | None:
    """Search what can be read; the first failure, if any."""
    try:
        about = summary.request_uid if summary else uid
        sources = trails(cluster, summary.node if summary else None, f"--about={about}")
    except KubectlError as error:
        report.problems.append(str(error))
        return error
    failures = [search.read(source) for source in sources]
    return next(filter(None, failures), None)
