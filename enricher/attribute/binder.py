"""Binds entries to requests: by the tag in argv, by the pod's spec, or by what was asked of the container.

The last way has no tag to go by (`exectrail.io/tag: match`, or a ledger that saw the arguments too late). It waits
until the hold time is over, so that every request that may be meant is known; then there is one, or it is left open.
"""

from enricher.attribute.containers import Container
from enricher.attribute.sessions import Session, Sessions
from enricher.clock import Clock
from enricher.compose import words_of
from enricher.events import Exec
from enricher.held import Held

_LATE_ARGV = ("requestUID", "user", "origin")
_NO_TAG = ("requestUID", "user")


class Binder:
    """Finds the session of what an entry runs.

    Args:
        sessions: What is known of requests.
        clock: When an entry was, by the wall clock that requests are stamped with.

    """

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions, self._clock = sessions, clock

    def session(self, held: Held, container: Container | None) -> Session | None:
        """The session that is known by a tag; a container that a request made is found once it is known itself."""
        entry = held.entry
        if held.opens and entry.session is None and container and entry.origin == "container":
            uid = container.tag or (self._sessions.made(container) if container.ephemeral else None)
            if uid:
                entry.session = self._sessions.bind(entry.process, uid, held.event.time)
        if entry.session and container and entry.session.container is None:
            entry.session.container = container
        return entry.session

    def may_match(self, held: Held, container: Container) -> bool:
        """Whether it is an entry that a request without a tag may have made."""
        if not held.opens or held.entry.session or held.entry.origin != "untracked":
            return False
        if held.event.entered_by_namespace:  # no runtime did that
            return False
        return not any(words_of(argv) in container.doors for argv in _seen(held))

    def match(self, held: Held, container: Container | None) -> Session | None:
        """The session of such an entry if one request alone can be meant; else all that can be are its candidates."""
        if container is None or not self.may_match(held, container):
            return None
        late = isinstance(held.event, Exec) and "argv" in held.event.weak
        at = self._clock.wall_ms(held.event.time)
        meant = {uid for argv in _seen(held) for uid in self._sessions.match(container, argv, at, tagged=late)}
        if len(meant) > 1:
            held.entry.origin, held.entry.candidates = "session", sorted(meant)
            self._sessions.on_ambiguous(held.entry.candidates, held.event.time)
        if len(meant) != 1:
            return None
        session = self._sessions.bind(held.entry.process, meant.pop(), held.event.time)
        session.container, session.weak = container, _LATE_ARGV if late else _NO_TAG
        held.entry.session = session
        return session


def _seen(held: Held) -> set[bytes]:
    """What the entry was seen to run: where the ledger was late, also what came of it since."""
    if not isinstance(held.event, Exec):
        return set()
    seen = {held.event.argv}
    if "argv" in held.event.weak and held.node.argv:
        seen.add(held.node.argv)
    return seen
