"""Sessions: which request an entry belongs to, and how sure that is.

A request's UID binds once, to the first entry that carries it in the container that the request named. Whoever
comes with it later, or elsewhere, is `forged`; an entry whose request the ledger has not shown yet is `unconfirmed`.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping

from msgspec import Struct

from enricher.attribute.asked import Asked, aims_at, in_time
from enricher.attribute.containers import Container
from enricher.attribute.over import OVER
from enricher.events import Process
from exectrail.record import State
from exectrail.session import AuditSession

_REMEMBERED = 10_000
"""How many UIDs are remembered after their session ended, so that a late user of one is still found out."""


class Session(Struct):
    """A request that a process of this node answers to."""

    request_uid: str
    entry: Process
    container: Container | None = None
    started: int = 0
    """Nanoseconds since boot."""
    audit: AuditSession | None = None
    forged: bool = False
    checked: bool = False
    """Whether it is known what its request aimed at: asked once, not for each of its processes."""
    weak: tuple[str, ...] = ()
    """The fields that cannot be vouched for, where no tag tells that it is this request."""
    told: int | None = None
    """`seq` of the record of its start, once that is sealed."""
    ended: bool = False
    """Whether its end is told as well."""
    interrupted: bool = False
    """Whether the enricher restarted meanwhile: what it did then is not known."""

    @property
    def user(self) -> str | None:
        """The name of who asked; nobody's for a forged tag."""
        return self.audit.spec.user.username if self.audit and not self.forged else None

    @property
    def state(self) -> State:
        """How sure the binding is."""
        if self.forged:
            return "forged"
        return "confirmed" if self.audit else "unconfirmed"


class Sessions:
    """The sessions of this node.

    Args:
        ledger: Looks a request up by its UID in what is known of the ledger now.
        asked: The requests by pod, for entries whose tag was not seen; None finds none.
        wall_ms: Turns nanoseconds since boot into milliseconds since the epoch; None lets requests be of any age.

    """

    def __init__(
        self,
        ledger: Callable[[str], AuditSession | None],
        asked: Asked | None = None,
        wall_ms: Callable[[int], int] | None = None,
    ) -> None:
        self.on_ambiguous: Callable[[list[str], int], None] = lambda _uids, _time: None
        """Told of requests of which each can be meant by an entry, and of when that was (nanoseconds since boot)."""
        self._ledger, self._asked, self._wall_ms = ledger, asked, wall_ms
        self._first_entry: OrderedDict[str, Process] = OrderedDict()

    def bind(self, entry: Process, request_uid: str, time: int) -> Session:
        """An entry came in with this tag."""
        first = self._first_entry.setdefault(request_uid, entry)
        if len(self._first_entry) > _REMEMBERED:
            self._first_entry.popitem(last=False)
        return Session(request_uid, entry, started=time, forged=first != entry)

    def bound(self) -> dict[str, Process]:
        """The UIDs that are taken, and by which entry."""
        return self._first_entry.copy()

    def restore(self, bound: Mapping[str, Process]) -> None:
        """Take UIDs as taken that were so before a restart."""
        self._first_entry.update(bound)

    def match(self, container: Container, argv: bytes, wall_ms: int, *, tagged: bool) -> list[str]:
        """UIDs that an entry without a tag may belong to: the same container and command, a short time ago.

        Those that are bound already are not among them; those that were tagged only where `tagged` says so, for an
        entry whose tag may have been missed.
        """
        asked = self._asked.by_command(container, argv, wall_ms) if self._asked else []
        return [
            each.metadata.name
            for each in asked
            if each.metadata.name not in self._first_entry and (tagged or each.spec.tag == "match")
        ]

    def made(self, container: Container) -> str | None:
        """The UID of the request that made an ephemeral container: its name is its pod's for ever."""
        return self._asked.maker(container) if self._asked else None

    def settle(self, session: Session) -> bool:
        """Look the request up; true once nothing more is to be waited for."""
        if session.checked:
            return True
        if session.audit is None and not session.forged:
            session.audit = self._ledger(session.request_uid)
            session.forged = session.audit is OVER
        if session.audit and session.container:
            if not session.forged and not self._meant(session, session.audit, session.container):
                session.forged = True
                self._give_back(session)
            session.checked = True
        return session.audit is not None or session.forged

    def _give_back(self, session: Session) -> None:
        """Whom the UID is meant for may come yet."""
        if self._first_entry.get(session.request_uid) == session.entry:
            del self._first_entry[session.request_uid]

    def _meant(self, session: Session, audit: AuditSession, container: Container) -> bool:
        """Whether the request aimed at this container, and at this time."""
        # Images are pulled and pods scheduled before what they are asked for runs; an exec runs at once, or never.
        if audit.spec.verb == "exec" and self._wall_ms and not in_time(audit, self._wall_ms(session.started)):
            return False
        return aims_at(audit.spec.target, container.resource)
