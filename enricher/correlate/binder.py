"""Binds entries to requests: by the tag in argv, by the pod's spec, or by what was asked of the container.

The last way has no tag to go by (`exectrail.io/tag: match`, or a sensor that saw the arguments too late). It waits
until the hold time is over, so that every request that may be meant is known; then there is one, or it is left open.

A tag that is not the entry's own is set aside as its claim, and the entry is looked for as if it had none. So a user
gets no other user's name by it, and keeps their own.
"""

from enum import Enum
from typing import Final, Literal

from enricher.argv import as_sent, words_of
from enricher.clock import Clock
from enricher.containers.containers import Container
from enricher.correlate.pending_event import PendingEvent
from enricher.correlate.process_tree import Entry
from enricher.correlate.sessions import WEAK, WEAK_UNSEEN, Session, Sessions
from enricher.correlate.unmatched import ByCommand, ByName, Unmatched
from enricher.events import ExecEvent


class Waits(Enum):
    """Stands for what may be found out yet."""

    WAITS = "waits"


WAITS: Final = Waits.WAITS
Resolved = Session | Literal[Waits.WAITS] | None
"""An event's session, or that it has none; `WAITS` as long as waiting may bring more."""


_START_IS_COARSE_MS = 2_000
"""How much younger than its container an exec has to be: the kubelet reports starts in whole seconds."""


class Binder:
    """Finds the session of what an entry runs.

    Args:
        sessions: What is known of requests.
        clock: When an entry was, by the wall clock that requests are stamped with.

    """

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions, self._clock = sessions, clock

    def resolve(self, pending: PendingEvent, container: Container) -> Resolved:
        """Bind the event's entry as far as that can be done by now."""
        session = pending.entry.session
        if not pending.opens and (session is None or (session.checked and session.container)):  # nearly always
            return session
        session = self._bound(pending, container)
        if session is None:
            # A claim is decided once every request that may be meant is known.
            waits = (pending.entry.claim and pending.opens) or self._may_match(pending, container)
            return WAITS if waits or _may_be_made(pending, container) else None
        if not self._sessions.settle(session):
            return WAITS
        if pending.opens:
            self._spare_init(pending, container)
        if session.forged and self._set_aside(pending):
            return self.resolve(pending, container)
        return session

    def decide(self, pending: PendingEvent, container: Container | None) -> Session | None:
        """The session of an event that waits no longer."""
        session = self._bound(pending, container)
        confirmed = session is not None and self._sessions.settle(session)
        self._spare_init(pending, container)
        if session and (session.forged or not confirmed) and self._set_aside(pending):
            session = self._bound(pending, container)
        session = session or self._made(pending, container) or self._match(pending, container)
        if session:
            self._sessions.settle(session)
        return self._judge_claim(pending, container) or session

    def _bound(self, pending: PendingEvent, container: Container | None) -> Session | None:
        """The session that is known by a tag: of a container which a request made, once this is known itself."""
        entry = pending.entry
        if pending.opens and entry.session is None and container and entry.origin == "container":
            entry.session = self._by_spec(entry, container, pending.event.time)
        if entry.session and container and entry.session.container is None:
            entry.session.container = container
        return entry.session

    def _by_spec(self, entry: Entry, container: Container, time: int) -> Session | None:
        """The session that the spec of a container names which a request made."""
        if container.tag is None or entry.claim is not None:
            return None
        entry.otherwise = entry.origin
        return self._sessions.bind(entry.process, container.tag, time, "spec")

    def _spare_init(self, pending: PendingEvent, container: Container | None) -> None:
        """Take no container's own init for an exec: the author of a pod can write a tag there."""
        session = pending.entry.session
        if session and session.found_by == "argv" and not session.forged and self._is_init(pending, container):
            self._sessions.reject(session, "container-init")

    def _is_init(self, pending: PendingEvent, container: Container | None) -> bool:
        """Whether it is a container's own init that carries a tag, and no exec that was taken for it.

        That happens where the init's own start was lost; the container is older than the process then.
        """
        if not pending.opens or pending.entry.otherwise != "container":
            return False
        started = container.started_ms if container else None
        return started is None or self._clock.wall_ms(pending.event.time) - started <= _START_IS_COARSE_MS

    def _set_aside(self, pending: PendingEvent) -> bool:
        """Take a session that is not the entry's for its claim; false where there is none, or was one before."""
        entry, session = pending.entry, pending.entry.session
        if not pending.opens or session is None or entry.claim or session.found_by == "request":
            return False
        entry.claim, entry.session, entry.origin = session, None, entry.otherwise
        return True

    def _judge_claim(self, pending: PendingEvent, container: Container | None) -> Session | None:
        """The claim, where nothing else explains the entry; what does proves an unconfirmed one wrong."""
        entry, claim = pending.entry, pending.entry.claim
        if claim is None or not pending.opens:
            return None
        is_init = claim.found_by == "argv" and self._is_init(pending, container)
        if entry.session or entry.candidates or is_init or _is_kubelets(pending, container):
            if not claim.forged:
                self._sessions.reject(claim, "container-init" if is_init else "other-command")
            return None
        entry.claim, entry.session, entry.origin = None, claim, "session"
        return claim

    def _may_match(self, pending: PendingEvent, container: Container) -> bool:
        """Whether it is an entry that a request without a tag may have made."""
        if not pending.opens or pending.entry.session or pending.entry.origin != "untracked":
            return False
        if pending.event.entered_by_namespace:  # no runtime did that
            return False
        return not _is_kubelets(pending, container)

    def _made(self, pending: PendingEvent, container: Container | None) -> Session | None:
        """The session of a container that has no tag, by its name, which its pod never gives to another one."""
        entry = pending.entry
        if container is None or not _may_be_made(pending, container):
            return None
        return self._only_one(pending, ByName(container, WEAK, entry.claim))

    def _match(self, pending: PendingEvent, container: Container | None) -> Session | None:
        """The session of such an entry if one request alone can be meant; else all that can be are its candidates."""
        if container is None or not self._may_match(pending, container):
            return None
        event = pending.event
        late = isinstance(event, ExecEvent) and event.argv_is_late
        cut = isinstance(event, ExecEvent) and event.truncated
        seen, at = frozenset(_seen(pending)), self._clock.wall_ms(event.time)
        weak = WEAK_UNSEEN if late else WEAK
        return self._only_one(pending, ByCommand(container, seen, at, weak, tagged=late, truncated=cut))

    def _only_one(self, pending: PendingEvent, by: Unmatched) -> Session | None:
        """The session of the one request that can be meant; several are candidates."""
        meant = by.meant(self._sessions)
        if len(meant) == 1:
            return assign(self._sessions, pending.entry, by, meant[0], pending.event.time)
        if meant:
            pending.entry.origin, pending.entry.candidates = "session", meant
        else:
            pending.unmatched = by
        return None


def assign(sessions: Sessions, entry: Entry, by: Unmatched, uid: str, time: int) -> Session:
    """Give an entry the session of the one request that it can have come of; `time` in nanoseconds since boot."""
    session = entry.session = sessions.bind(entry.process, uid, time, weak=by.weak)
    session.container = by.container
    return session


def _may_be_made(pending: PendingEvent, container: Container) -> bool:
    """Whether it is the init of an ephemeral container whose spec does not name its request."""
    entry = pending.entry
    return pending.opens and container.ephemeral and entry.origin == "container" and entry.session is None


def _is_kubelets(pending: PendingEvent, container: Container | None) -> bool:
    """Whether an entry runs the words of one of the pod's probes or hooks."""
    if container is None or pending.event.entered_by_namespace:
        return False
    return any(words_of(argv) in container.kubelet_commands for argv in _seen(pending))


def _seen(pending: PendingEvent) -> set[bytes]:
    """What the entry may have been asked to run: where the sensor was late, also what came of it since."""
    if not isinstance(pending.event, ExecEvent):
        return set()
    seen = {*as_sent(pending.event.argv, pending.event.filename, pending.event.path, pending.event.cwd)}
    if pending.event.argv_is_late and pending.node.argv:
        seen.add(pending.node.argv)
    return seen
