"""Binds entries to requests: by the tag in argv, by the pod's spec, or by what was asked of the container.

The last way has no tag to go by (`exectrail.io/tag: match`, or a sensor that saw the arguments too late). It waits
until the hold time is over, so that every request that may be meant is known; then there is one, or it is left open.

A tag that is not the entry's own is set aside as its claim, and the entry is looked for as if it had none. So a user
gets no other user's name by it, and keeps their own.
"""

from enricher.argv import words_of
from enricher.clock import Clock
from enricher.containers.containers import Container
from enricher.correlate.pending_event import PendingEvent
from enricher.correlate.process_tree import Entry
from enricher.correlate.sessions import WEAK, WEAK_UNSEEN, Session, Sessions
from enricher.events import Exec


class Binder:
    """Finds the session of what an entry runs.

    Args:
        sessions: What is known of requests.
        clock: When an entry was, by the wall clock that requests are stamped with.

    """

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions, self._clock = sessions, clock

    def _session(self, held: PendingEvent, container: Container | None) -> Session | None:
        """The session that is known by a tag; a container that a request made is found once it is known itself."""
        entry = held.entry
        if held.opens and entry.session is None and container and entry.origin == "container":
            entry.session = self._by_spec(entry, container, held.event.time)
        if entry.session and container and entry.session.container is None:
            entry.session.container = container
        return entry.session

    def is_settled(self, held: PendingEvent, container: Container) -> bool:
        """Whether nothing more is to be found out about an event's session; puts it into the event."""
        session = self._session(held, container)
        if session:
            if not self._sessions.settle(session):
                return False
            if session.forged and self._set_aside(held):
                return self.is_settled(held, container)
        elif held.entry.claim and held.opens:
            return False  # decided once every request that may be meant is known
        held.session = session
        return session is not None or not self._may_match(held, container)

    def _by_spec(self, entry: Entry, container: Container, time: int) -> Session | None:
        """The session of a container that a request made."""
        if container.tag and entry.claim is None:
            entry.otherwise = entry.origin
            return self._sessions.bind(entry.process, container.tag, time, "spec")
        uid = self._sessions.made(container) if container.ephemeral else None
        return self._sessions.bind(entry.process, uid, time) if uid else None

    def _set_aside(self, held: PendingEvent) -> bool:
        """Take a session that is not the entry's for its claim; false where there is none, or was one before."""
        entry, session = held.entry, held.entry.session
        if not held.opens or session is None or entry.claim or session.found_by == "request":
            return False
        entry.claim, entry.session, entry.origin = session, None, entry.otherwise
        return True

    def decide(self, held: PendingEvent, container: Container | None) -> Session | None:
        """The session of an event for which nothing more is waited for."""
        session = self._session(held, container)
        confirmed = session is not None and self._sessions.settle(session) and not session.forged
        if not confirmed and self._set_aside(held):
            session = self._session(held, container)  # of an ephemeral container, by its name
        session = session or self._match(held, container)
        if session:
            self._sessions.settle(session)
        return self._judge_claim(held, container) or session

    def _judge_claim(self, held: PendingEvent, container: Container | None) -> Session | None:
        """The claim, where nothing else explains the entry; what does proves an unconfirmed one wrong."""
        entry, claim = held.entry, held.entry.claim
        if claim is None or not held.opens:
            return None
        # An exec may be taken for the container's init where that was not seen, so that proves nothing by itself.
        is_init = claim.forged and claim.found_by == "argv" and entry.otherwise == "container"
        if entry.session or entry.candidates or is_init or _is_kubelets(held, container):
            if not claim.forged:
                self._sessions.reject(claim, "other-command")
            return None
        entry.claim, entry.session, entry.origin = None, claim, "session"
        return claim

    def _may_match(self, held: PendingEvent, container: Container) -> bool:
        """Whether it is an entry that a request without a tag may have made."""
        if not held.opens or held.entry.session or held.entry.origin != "untracked":
            return False
        if held.event.entered_by_namespace:  # no runtime did that
            return False
        return not _is_kubelets(held, container)

    def _match(self, held: PendingEvent, container: Container | None) -> Session | None:
        """The session of such an entry if one request alone can be meant; else all that can be are its candidates."""
        if container is None or not self._may_match(held, container):
            return None
        event = held.event
        late = isinstance(event, Exec) and "argv" in event.weak
        cut = isinstance(event, Exec) and event.truncated
        at = self._clock.wall_ms(event.time)
        seen = _seen(held)
        meant = {uid for argv in seen for uid in self._sessions.match(container, argv, at, tagged=late, truncated=cut)}
        if len(meant) > 1:
            held.entry.origin, held.entry.candidates = "session", sorted(meant)
            self._sessions.on_ambiguous(held.entry.candidates, held.event.time)
        if len(meant) != 1:
            return None
        session = self._sessions.bind(held.entry.process, meant.pop(), held.event.time)
        session.container, session.weak = container, WEAK_UNSEEN if late else WEAK
        held.entry.session = session
        return session


def _is_kubelets(held: PendingEvent, container: Container | None) -> bool:
    """Whether an entry runs the words of one of the pod's probes or hooks."""
    if container is None or held.event.entered_by_namespace:
        return False
    return any(words_of(argv) in container.kubelet_commands for argv in _seen(held))


def _seen(held: PendingEvent) -> set[bytes]:
    """What the entry was seen to run: where the sensor was late, also what came of it since."""
    if not isinstance(held.event, Exec):
        return set()
    seen = {held.event.argv}
    if "argv" in held.event.weak and held.node.argv:
        seen.add(held.node.argv)
    return seen
