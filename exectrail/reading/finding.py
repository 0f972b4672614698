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
from exectrail.reading.report import Report
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
    unread: bool = False
    """Whether nothing is known of its processes because the trail that may have them could not be read."""


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

    def __init__(self, uid: str, report: Report) -> None:
        self._uid = uid
        self._needles = (uid.encode(errors="surrogateescape"), trail.SESSION)
        self._report = report
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
        for record in trail.read(source, self._needles, self._report):
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

    def read_if_it_can_be(self, source: trail.Source) -> Exception | None:
        """The same, but a failure goes into the report: one source's trouble must not hide what another has."""
        try:
            self.read(source)
        except (KubectlError, trail.Unreadable) as error:
            self._report.problems.append(f"{source.name}: {error}" if isinstance(error, KubectlError) else str(error))
            return error
        self._report.sources += 1
        return None

    def found(self) -> Found:
        """The session.

        Raises:
            UnknownSession: None or several were found.

        """
        uid = resolve(self._uid, [*self._records, *self._ambiguous, *self._others])
        records = self._records[uid]
        return Found(from_records(uid, records), records, self._ambiguous[uid])

    def _is_new(self, record: Record) -> bool:
        """Whether a record was not read before: a trail and a copy of it may both be given."""
        place = (record.node.name, record.seq, record.audit_id)
        new = place not in self._seen
        self._seen.add(place)
        return new


def find_in_cluster(uid: str, kubectl: Kubectl, report: Report) -> Found:
    """The session from its node's trail and its AuditSession; from all trails where no AuditSession names a node.

    What could not be read is in the report.

    Raises:
        UnknownSession: None or several were found.
        Unreadable: A trail cannot be read and no other has the session.
        KubectlError: The same, for what kubectl could not bring.

    """
    summary, names = _look_up(uid, kubectl, report)
    if summary and summary.node is None and summary.outcome in ("never-started", "not-recorded"):
        report.sources += 1
        return Found(summary)
    search = Search(summary.request_uid if summary else uid, report)
    failure = _read_all(search, kubectl, summary.node if summary else None, report)
    try:
        found = search.found()
    except UnknownSession:
        if summary:
            return Found(summary, unread=failure is not None)
        if failure:
            raise
        resolve(uid, names)
        raise
    if summary:
        found.summary = found.summary.filled(summary)
    return found


def _look_up(uid: str, kubectl: Kubectl, report: Report) -> tuple[Summary | None, list[str]]:
    """The session's AuditSession, and the names of all if it has none; neither without the right to list them."""
    try:
        exact = next(audit_sessions(kubectl, report, uid), None)
        if exact:
            return exact, []
        names = audit_session_names(kubectl)
        matches = [name for name in names if _may_mean(uid, name)]
        if len(matches) == 1:
            return next(audit_sessions(kubectl, report, matches[0]), None), names
    except Forbidden as error:
        report.notes.append(str(error))
        return None, []
    return None, names


def _read_all(search: Search, kubectl: Kubectl, node: str | None, report: Report) -> Exception | None:
    """Search what can be read; the first failure, if any."""
    try:
        sources = trails(kubectl, node)
    except KubectlError as error:
        report.problems.append(str(error))
        return error
    failures = [search.read_if_it_can_be(source) for source in sources]
    return next(filter(None, failures), None)
