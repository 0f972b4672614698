"""Takes up the sessions that were open over a restart, as soon as the API tells what is recorded and was asked.

Those whose processes are alive go on. Those that ended meanwhile, or that cannot be found any more, are closed as
`lost`. Entries that came in meanwhile have no tag to go by any more: they are found by their command, like those of
requests without a tag, or stay unexplained. Of a container that a request made, the spec still tells.
"""

import itertools
import logging
from collections.abc import Callable, Iterable

from msgspec import Struct

from enricher.argv import words_of
from enricher.clock import Clock
from enricher.containers.containers import Container
from enricher.correlate.correlator import Correlator
from enricher.correlate.pending_event import Owner
from enricher.correlate.process_tree import Entry, Node
from enricher.correlate.sessions import WEAK, WEAK_UNSEEN, Session, Sessions
from enricher.emit.emitter import Emitter
from enricher.emit.gap import Gap
from enricher.events import Process
from exectrail.contracts.record import Record, Resource, decode
from exectrail.contracts.session import AuditSession
from exectrail.contracts.unreadable import UNREADABLE

_PATIENCE = 30.0
"""How long the API is waited for, in seconds: as long as records wait for it."""
_LOOK_FOR = 10.0
"""How long requests are looked for: the webhook writes them after its answer."""
_EVERY = 1.0
_MOST_LINES = 200_000

log = logging.getLogger(__name__)


class Requests(Struct, frozen=True):
    """What the API knows."""

    ready: Callable[[], bool]
    """Whether it has been read."""
    running: Callable[[], list[AuditSession]]
    """The sessions that run on this node, as far as it knows."""
    closed: Callable[[Session, Record], None]
    """Tells it that one has ended."""


class Resumption:
    """What is to be settled after a start; done once `settle` says so.

    Args:
        gap: What was not seen.
        open_before: The sessions that were open when the enricher before ended.
        lines: The trail's lines, the newest first.
        sessions, emitter, correlator, clock: At work.
        requests: The API.

    """

    def __init__(
        self,
        gap: Gap,
        open_before: list[Session],
        lines: Callable[[], Iterable[bytes]],
        sessions: Sessions,
        emitter: Emitter,
        correlator: Correlator,
        clock: Clock,
        requests: Requests,
    ) -> None:
        self._gap, self._open_before, self._lines, self._sessions = gap, open_before, lines, sessions
        self._emitter, self._correlator, self._clock, self._requests = emitter, correlator, clock, requests
        self._began: float | None = None
        self._ready_at: float | None = None
        self._next = 0.0

    @property
    def taken_up(self) -> bool:
        """Whether the sessions that were open are: before, no record may leave that tells of one of them."""
        return self._ready_at is not None

    def waiting(self) -> list[Session]:
        """The sessions that were open and are not taken up yet: another restart is not to forget them."""
        return [] if self.taken_up or self._gap.boot_id else self._open_before

    def settle(self, now: float) -> bool:
        """Do what can be done by now; true when nothing is left to do."""
        if self._ready_at is None:
            self._began = now if self._began is None else self._began
            if not self._requests.ready() and now < self._began + _PATIENCE:
                return False
            self._ready_at = now
            self._take_up(now)
        if now < self._next:
            return False
        self._next = now + _EVERY
        for node in self._correlator.tree.unexplained():
            self._explain(node, now)
        for init, container in self._correlator.inits().items():
            self._explain_made(init, container, now)
        if now < self._ready_at + _LOOK_FOR or not self._requests.ready():
            return False
        self._close_unknown()
        return True

    # ---- what was open ----

    def _take_up(self, now: float) -> None:
        for session in self._open_before:
            self._sessions.settle(session)
            entry = self._entry_of(session.entry)
            container_id = session.container.id if session.container else ""
            owner = Owner(session.container, container_id, entry or Entry(session.entry, "session", session))
            if entry or session.start_seq is None:
                self._emitter.resume(session, owner, now)
            if entry is None:
                self._emitter.lose(session, owner, self._gap)

    def _entry_of(self, process: Process) -> Entry | None:
        """The entry of a process that is alive, or whose end is seen."""
        if self._gap.boot_id:  # of another boot: a process with its pid and start is another one
            return None
        node = self._correlator.tree.get(process)
        # While the API is waited for, an end is read, and written only after what comes of this.
        return node.entry if node else self._correlator.ending(process)

    # ---- what came in meanwhile ----

    def _explain(self, node: Node, now: float) -> None:
        container = self._correlator.container(node.container_id)
        if container is None or node.entry is None or node.argv is None:
            return
        if origin := container.kubelet_commands.get(words_of(node.argv)):
            node.entry.origin = origin
            return
        meant = self._sessions.match(container, node.argv, self._clock.wall_ms(node.born), tagged=True)
        if len(meant) > 1:
            node.entry.origin, node.entry.candidates = "session", sorted(meant)
            self._emitter.ambiguous(node.entry.candidates, node.born)
        elif meant:
            session = self._sessions.bind(node.process, meant[0], node.born, weak=WEAK_UNSEEN)
            session.container = container
            self._begin(session, node.entry, container, now)

    def _explain_made(self, init: Process, container: Container, now: float) -> None:
        """Find whose a container is that a request made: unlike arguments, its spec is there still."""
        node = self._correlator.tree.get(init)
        if node is None or node.entry is None or not (container.tag or container.ephemeral):
            return
        entry = node.entry
        is_known = entry.settled or entry.session or entry.candidates or entry.origin != "container"
        if is_known or self._clock.wall_ms(node.born) > self._gap.at_ms:  # or it is about to be
            return
        claim = None
        if container.tag:
            claim = self._sessions.bind(init, container.tag, node.born, "spec")
            claim.container = container
            if not self._sessions.settle(claim):
                return
            if not claim.forged:
                self._begin(claim, entry, container, now)
                return
        meant = self._sessions.makers(container, claim) if container.ephemeral else []
        if len(meant) > 1:
            entry.origin, entry.candidates = "session", meant
            self._emitter.ambiguous(meant, node.born)
        elif meant:
            session = self._sessions.bind(init, meant[0], node.born, weak=WEAK)
            session.container = container
            self._begin(session, entry, container, now)

    def _begin(self, session: Session, entry: Entry, container: Container, now: float) -> None:
        session.interrupted = True
        self._sessions.settle(session)
        entry.origin, entry.session = "session", session
        self._emitter.resume(session, Owner(container, container.id, entry), now)

    # ---- what only the API remembers ----

    def _close_unknown(self) -> None:
        """Close the sessions that the API holds for running, and nothing here is one of."""
        alive = {
            node.entry.session.request_uid
            for node in self._correlator.tree.nodes()
            if node.entry and node.entry.session and node.entry.session.entry == node.process
        }
        stale = {each.metadata.name: each for each in self._requests.running() if each.metadata.name not in alive}
        stale = {uid: each for uid, each in stale.items() if self._is_older(each)}
        if stale:
            # Taken as far as it takes: the trail may be long, and its older files compressed.
            for record in self._ends(set(stale)):
                audit = stale.pop(record.request_uid or "", None)
                if audit:  # it was written here, and the enricher was killed before it reported that to the API
                    self._requests.closed(_session(audit), record)
                if not stale:
                    break
        for audit in stale.values():
            session, target = _session(audit), audit.spec.target
            resource = Resource(target.namespace, target.pod, target.container)
            container = Container("", resource, "", "") if target.container else None
            self._emitter.lose(session, Owner(container, "", Entry(session.entry, "session", session)), self._gap)

    def _is_older(self, audit: AuditSession) -> bool:
        """Whether it began before the gap ended: others are this enricher's own."""
        started = audit.status.start_time
        return started is None or started <= self._clock.stamp(self._gap.at_ms)

    def _ends(self, uids: set[str]) -> Iterable[Record]:
        """The records in the trail that tell of these sessions' ends."""
        needles = [uid.encode() for uid in uids]
        for line in itertools.islice(self._lines(), _MOST_LINES):
            if b'"phase":"end"' in line and any(needle in line for needle in needles):
                try:
                    record = decode(line)
                except UNREADABLE:
                    continue
                if record.kind == "session" and record.request_uid in uids:
                    yield record


def _session(audit: AuditSession) -> Session:
    """A session of which only the request is known."""
    return Session(audit.metadata.name, Process(0, 0), audit=audit, checked=True)
