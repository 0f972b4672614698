"""Sessions: which request an entry belongs to, and how sure that is.

A request's UID binds once, to the first entry that carries it in the container that the request named, and only where
the request was tagged and its own command runs. An entry that carries a UID in any other way is `forged`; one whose
request the API has not shown yet is `unconfirmed`.
"""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Literal
from weakref import ReferenceType, WeakValueDictionary, ref

from msgspec import Struct

from enricher.containers.containers import Container
from enricher.correlate.command import same_command
from enricher.correlate.made_containers import has_rival, is_timely, may_have_made, misfit
from enricher.correlate.request_expiry import EXPIRED
from enricher.correlate.request_index import (
    RequestIndex,
    aims_at,
    in_time,
    is_of_earlier_pod,
)
from enricher.events import Process
from exectrail.contracts.record import State
from exectrail.contracts.session import AuditSession

_REMEMBERED = 10_000
"""How many UIDs are remembered after their session ended, so that a late user of one is still found out."""

FoundBy = Literal["argv", "spec", "request"]
"""Where a UID was found: in the entry's arguments, in its pod's spec, or by looking for what was asked for."""

Rejection = Literal[
    "uid-used",
    "uid-contested",
    "request-over",
    "not-tagged",
    "other-command",
    "other-container",
    "other-pod",
    "other-request",
    "container-init",
    "too-late",
]
"""Why an entry's UID does not hold: it was bound before, perhaps by who had borrowed it; its request is over, was not
tagged in this way, or asked for another command, container or pod; another request may have made the container; a
container's own init is no exec; or the request was too long ago."""

WEAK = ("requestUID", "user")
"""The fields that nothing proves where no tag tells that it is this request."""
WEAK_UNSEEN = (*WEAK, "origin")
"""The same where it was not seen either how the entry came in."""


class Command(Struct, frozen=True):
    """What an entry runs after its tag: arguments, each terminated by NUL."""

    argv: bytes
    truncated: bool = False


class Session(Struct, weakref=True):
    """A request that a process of this node answers to."""

    request_uid: str
    entry: Process
    container: Container | None = None
    started: int = 0
    """Nanoseconds since boot."""
    audit: AuditSession | None = None
    rejected: Rejection | None = None
    """Why the UID does not hold, once that is known."""
    found_by: FoundBy = "request"
    command: Command | None = None
    """With `found_by="argv"`; None after a restart that forgot it."""
    checked: bool = False
    """Whether request and container are known and were compared: once, not for each of its processes."""
    weak: tuple[str, ...] = ()
    """The fields that nothing proves, where no tag shows that it is this request."""
    start_seq: int | None = None
    """`seq` of the record of its start, once that is sealed."""
    ended: bool = False
    """Whether its end is written as well."""
    interrupted: bool = False
    """Whether the enricher restarted meanwhile: what it did then is not known."""

    @property
    def is_decided(self) -> bool:
        """Whether it is known by now whose it is, or not."""
        return self.checked or self.forged

    @property
    def forged(self) -> bool:
        """Whether the UID is not this entry's."""
        return self.rejected is not None

    @property
    def user(self) -> str | None:
        """Name of the user; None for a forged tag, and where the container is not known that it was for."""
        return self.audit.spec.user.username if self.audit and self.checked and not self.forged else None

    @property
    def state(self) -> State:
        """How sure the binding is."""
        if self.forged:
            return "forged"
        return "confirmed" if self.audit and self.checked else "unconfirmed"


class Sessions:
    """The sessions of this node.

    Args:
        requests: Looks a request up by its UID in what is known of the requests now.
        asked: The requests by pod, for entries whose tag was not seen; None finds none.
        wall_ms: Turns nanoseconds since boot into milliseconds since the epoch; None lets requests be of any age.

    """

    def __init__(
        self,
        requests: Callable[[str], AuditSession | None],
        asked: RequestIndex | None = None,
        wall_ms: Callable[[int], int] | None = None,
    ) -> None:
        self._requests, self._asked, self._wall_ms = requests, asked, wall_ms
        self._taken: OrderedDict[str, Process] = OrderedDict()
        """The entries that UIDs are bound to."""
        self._holders: WeakValueDictionary[str, Session] = WeakValueDictionary()
        """The sessions of those entries, while something is to be written of them."""
        self._claims: OrderedDict[str, list[ReferenceType[Session]]] = OrderedDict()
        """The tagged entries of each UID whose request has not shown yet, the first one first."""

    def bind(
        self,
        entry: Process,
        request_uid: str,
        time: int,
        found_by: FoundBy = "request",
        command: Command | None = None,
        weak: tuple[str, ...] = (),
    ) -> Session:
        """Make the session of an entry with a UID; `time` in nanoseconds since boot.

        By a request that is known, it is bound to it at once. By a tag it is bound once the request is known to fit.
        """
        session = Session(request_uid, entry, started=time, found_by=found_by, command=command, weak=weak)
        if found_by == "request":
            if self._is_used(session):
                session.rejected = "uid-used"
            else:
                self._take(session)
        else:
            self._claims.setdefault(request_uid, []).append(ref(session))
            if len(self._claims) > _REMEMBERED:
                self._claims.popitem(last=False)
        return session

    def bound(self) -> dict[str, Process]:
        """The UIDs that are taken, and by which entry."""
        return self._taken.copy()

    def restore(self, bound: Mapping[str, Process], sessions: Iterable[Session] = ()) -> None:
        """Take UIDs as taken that were so before a restart, with the sessions that go on."""
        self._taken.update(bound)
        self._holders.update({each.request_uid: each for each in sessions if bound.get(each.request_uid) == each.entry})

    def match(
        self, container: Container, argv: bytes, wall_ms: int, *, tagged: bool, truncated: bool = False
    ) -> list[str]:
        """UIDs that an entry without a tag may belong to: the same container and command, a short time ago.

        Those that are bound already are not among them; those that were tagged only where `tagged` says so, for an
        entry whose tag may have been missed.
        """
        asked = self._asked.by_command(container, argv, wall_ms, truncated=truncated) if self._asked else []
        return [
            each.metadata.name
            for each in asked
            if each.metadata.name not in self._taken and (tagged or each.spec.tag == "match")
        ]

    def makers(self, container: Container, claim: Session | None = None) -> list[str]:
        """UIDs of the requests that may have made an ephemeral container without a tag; of one user's, the last.

        Args:
            container: The container.
            claim: The session whose UID is in its spec, where that does not hold.

        """
        if not self._asked:
            return []
        free = [each for each in self._asked.debugging(container) if each.metadata.name not in self._taken]
        claimed = claim.request_uid if claim else None
        return may_have_made(free, container, claimed, contests=claim is not None and claim.rejected == "other-request")

    def settle(self, session: Session) -> bool:
        """Look the request up; true once nothing more is to be waited for."""
        if session.checked:
            return True
        for first in self._earlier_claims(session):
            self._settle(first)
        self._settle(session)
        return session.is_decided

    def reject(self, session: Session, why: Rejection) -> None:
        """The UID is not this entry's. The process that it is meant for may come yet."""
        session.rejected = why
        if self._taken.get(session.request_uid) == session.entry:
            del self._taken[session.request_uid]
            self._holders.pop(session.request_uid, None)

    def _settle(self, session: Session) -> None:
        if session.audit is None:
            session.audit = self._requests(session.request_uid)
            if session.audit is EXPIRED and not session.forged:
                session.rejected = "request-over"
        if session.audit and session.container:
            self._check(session, session.audit, session.container)
            session.checked = True
        elif not session.audit and not session.forged and self._is_used(session):
            session.rejected = "uid-used"

    def _earlier_claims(self, session: Session) -> list[Session]:
        """Undecided entries that came with the same UID before this one: they go first."""
        known = [each for claim in self._claims.get(session.request_uid, ()) if (each := claim())]
        undecided = [each for each in known if each is session or not each.is_decided]
        if undecided:
            self._claims[session.request_uid] = [ref(each) for each in undecided]
        else:
            self._claims.pop(session.request_uid, None)
        return list(itertools.takewhile(lambda each: each is not session, undecided))

    def _is_used(self, session: Session) -> bool:
        """Whether the UID is bound to another entry."""
        return self._taken.get(session.request_uid, session.entry) != session.entry

    def _take(self, session: Session) -> None:
        self._taken[session.request_uid] = session.entry
        self._holders[session.request_uid] = session
        if len(self._taken) > _REMEMBERED:
            self._taken.popitem(last=False)

    def _check(self, session: Session, audit: AuditSession, container: Container) -> None:
        """Whether the request can have made this entry."""
        if session.forged:
            return
        why = self._misfit(session, audit, container)
        if self._is_used(session):
            session.rejected = "uid-used"
            if why is None and session.found_by == "argv":
                # One of the two has borrowed the UID, and nothing tells which.
                session.rejected = "uid-contested"
                if holder := self._holders.get(session.request_uid):
                    holder.weak = _both(holder.weak, WEAK)
        elif why:
            self.reject(session, why)
        else:
            self._take(session)

    def _misfit(self, session: Session, audit: AuditSession, container: Container) -> Rejection | None:
        """Why the request cannot have made this entry; None where it can."""
        if session.found_by == "spec":
            return self._not_made_by(session, audit, container)
        if not aims_at(audit, container):
            return "other-container"
        if is_of_earlier_pod(audit, container):
            return "other-pod"
        # Images are pulled and pods scheduled before what they are asked for runs; an exec runs at once, or never.
        if audit.spec.verb == "exec" and self._wall_ms and not in_time(audit, self._wall_ms(session.started)):
            return "too-late"
        return self._not_run_by(session, audit) if session.found_by == "argv" else None

    def _not_run_by(self, session: Session, audit: AuditSession) -> Rejection | None:
        """Why the request is not that of the exec whose arguments have its UID."""
        if audit.spec.tag != "env" or audit.spec.verb != "exec":
            return "not-tagged"
        return self._other_command(session, audit)

    def _not_made_by(self, session: Session, audit: AuditSession, container: Container) -> Rejection | None:
        """Why the request cannot have made the container whose spec has its UID."""
        if audit.spec.tag != "env" or audit.spec.verb != "debug":
            return "not-tagged"
        if why := misfit(audit, container):
            return why
        if has_rival(self._asked.debugging(container) if self._asked else [], audit, container):
            return "other-request"
        if not is_timely(audit, container):
            session.weak = _both(session.weak, WEAK)
        return None

    def _other_command(self, session: Session, audit: AuditSession) -> Rejection | None:
        if session.command is None:
            match = "beginning"
        else:
            key = self._asked.key if self._asked else None
            command = session.command
            match = same_command(audit.spec, command.argv, key, truncated=command.truncated)
        if match == "other":
            return "other-command"
        if match == "beginning":
            session.weak = _both(session.weak, WEAK)
        return None


def _both(some: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*some, *more)))
