"""Sessions: which request an entry belongs to, and how sure that is.

A request's UID binds once, to the first entry that carries it in the container that the request named. Whoever
comes with it later, or elsewhere, is `forged`; an entry whose request the ledger has not shown yet is `unconfirmed`.
"""

from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from enricher.containers import Container
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

    """

    def __init__(self, ledger: Callable[[str], AuditSession | None]) -> None:
        self._ledger = ledger
        self._first_entry: OrderedDict[str, Process] = OrderedDict()

    def bind(self, entry: Process, request_uid: str, time: int) -> Session:
        """An entry came in with this tag."""
        first = self._first_entry.setdefault(request_uid, entry)
        if len(self._first_entry) > _REMEMBERED:
            self._first_entry.popitem(last=False)
        return Session(request_uid, entry, started=time, forged=first != entry)

    def settle(self, session: Session) -> bool:
        """Look the request up; true once nothing more is to be waited for."""
        if session.audit is None and not session.forged:
            session.audit = self._ledger(session.request_uid)
        if session.audit and session.container and not _meant(session.audit, session.container):
            session.forged = True
        return session.audit is not None or session.forged


def _meant(audit: AuditSession, container: Container) -> bool:
    """Whether the request aimed at this container; the client may have left the container to the kubelet."""
    target, resource = audit.spec.target, container.resource
    return (target.namespace, target.pod) == (resource.namespace, resource.pod) and target.container in (
        "",
        resource.container,
    )
