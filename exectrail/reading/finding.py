"""Finding one session by its UID, or by the beginning of it, in trails or in a cluster."""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from heapq import nlargest

from exectrail.contracts.record import Record
from exectrail.reading import trail
from exectrail.reading.cluster import audit_session_names, audit_sessions, trails
from exectrail.reading.kubectl import Forbidden, Kubectl, KubectlError
from exectrail.reading.shell import visible
from exectrail.reading.summary import Summary, from_records

SHORTEST_PREFIX = 6
_REMEMBERED = 2000
"""Other sessions' UIDs that are kept for naming the nearest ones: the last of a trail."""


class UnknownSession(Exception):
    """No session, or more than one, goes by this UID; the message names those that come near."""


@dataclass
class Found:
    """A session: its summary, its records, and why some of them may be missing."""

    summary: Summary
    records: list[Record] = field(default_factory=list)
    ambiguous: list[Record] = field(default_factory=list)
    """Those of processes that this request or another one started; none of the records says which."""
    problems: list[str] = field(default_factory=list)

    @property
    def unread(self) -> bool:
        """Whether nothing is known of its processes because no trail that may have them could be read."""
        return bool(self.problems) and not self.records and not self.ambiguous


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
    near = nlargest(3, names, key=lambda name: SequenceMatcher(None, name[: len(uid)], uid).ratio())
    nearest = f"; the nearest are {_listed(near)}" if near else ", nor any other"
    raise UnknownSession(f"no session {visible(uid)}{nearest}")


def _may_mean(given: str, uid: str) -> bool:
    """Whether this UID, or the beginning of one, stands for that session."""
    return uid == given or (len(given) >= SHORTEST_PREFIX and uid.startswith(given))


def _listed(uids: Iterable[str]) -> str:
    return ", ".join(map(visible, uids))


class Search:
    """Collects, from one trail after the other, the records of the sessions whose UID begins as given.

    Holds those, and the UIDs of some other sessions: never a trail.
    """

    def __init__(self, uid: str, damage: trail.Damage) -> None:
        self._uid = uid
        self._needle = uid.encode(errors="surrogateescape")
        self._damage = damage
        self._records: dict[str, list[Record]] = defaultdict(list)
        self._ambiguous: dict[str, list[Record]] = defaultdict(list)
        self._others: deque[str] = deque(maxlen=_REMEMBERED)
        self._seen: set[tuple[str, int, str]] = set()

    def read(self, source: trail.Source) -> None:
        """Search one trail.

        Raises:
            Unreadable: It cannot be read, or is none.
            KubectlError: kubectl could not bring it.

        """
        for record in trail.read(source, self._wanted, self._damage):
            uid = record.request_uid or ""
            if _may_mean(self._uid, uid):
                if self._is_new(record):
                    self._records[uid].append(record)
            elif record.kind == "session" and uid:
                self._others.append(uid)
            elif record.origin == "session" and self._is_new(record):
                for candidate in record.candidates or ():
                    if _may_mean(self._uid, candidate):
                        self._ambiguous[candidate].append(record)

    def found(self) -> Found:
        """The session.

        Raises:
            UnknownSession: None or several were found.

        """
        uid = resolve(self._uid, [*self._records, *self._ambiguous, *self._others])
        records = self._records[uid]
        return Found(from_records(uid, records), records, self._ambiguous[uid])

    def _wanted(self, line: bytes) -> object:
        return self._needle in line or trail.is_session(line)

    def _is_new(self, record: Record) -> bool:
        """Whether a record was not read before: a trail and a copy of it may both be given."""
        place = (record.node.name, record.seq, record.audit_id)
        new = place not in self._seen
        self._seen.add(place)
        return new


def find_in_cluster(uid: str, kubectl: Kubectl, damage: trail.Damage) -> Found:
    """The session from its node's trail and its AuditSession; from all trails where no AuditSession names a node.

    Raises:
        UnknownSession: None or several were found.
        Unreadable: A trail cannot be read and no other has the session.
        KubectlError: The same, for what kubectl could not bring.

    """
    problems: list[str] = []
    summary, names = _look_up(uid, kubectl, damage, problems)
    if summary and summary.node is None and summary.outcome in ("never-started", "not-recorded"):
        return Found(summary)
    search = Search(summary.request_uid if summary else uid, damage)
    failure = _read_all(search, kubectl, summary.node if summary else None, problems)
    try:
        found = search.found()
    except UnknownSession:
        if summary:
            return Found(summary, problems=problems)
        if failure:
            raise failure from None
        resolve(uid, names)
        raise
    if summary:
        found.summary = found.summary.filled(summary)
    found.problems = problems
    return found


def _look_up(uid: str, kubectl: Kubectl, damage: trail.Damage, problems: list[str]) -> tuple[Summary | None, list[str]]:
    """The session's AuditSession, and the names of all if it has none; neither without the right to list them."""
    try:
        exact = next(audit_sessions(kubectl, damage, uid), None)
        if exact:
            return exact, []
        names = audit_session_names(kubectl)
        matches = [name for name in names if _may_mean(uid, name)]
        if len(matches) == 1:
            return next(audit_sessions(kubectl, damage, matches[0]), None), names
    except Forbidden as error:
        problems.append(str(error))
        return None, []
    return None, names


def _read_all(search: Search, kubectl: Kubectl, node: str | None, problems: list[str]) -> Exception | None:
    """Search what can be read; the first failure, if any: one node's trouble must not hide another's trail."""
    try:
        sources = trails(kubectl, node)
    except KubectlError as error:
        problems.append(str(error))
        return error
    first: Exception | None = None
    for source in sources:
        try:
            search.read(source)
        except (KubectlError, trail.Unreadable) as error:
            first = first or error
            problems.append(f"{source.name}: {error}" if isinstance(error, KubectlError) else str(error))
    return first
