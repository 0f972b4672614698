"""The pipeline: takes events as the kernel gave them, waits a bounded time for what explains them, writes records.

Events update the process tree at once and in order. Their records then stand in one queue, in the same order, until
the container, the request and the other half of a system call are known, or until the hold time is over.
"""

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from enricher import halves, syscalls
from enricher.clock import Clock
from enricher.compose import Composer, Facts
from enricher.containers import Answer, Containers, Place
from enricher.events import Exec, Exit, Fork, ProcessEvent, Seccomp
from enricher.places import Places
from enricher.sessions import Session, Sessions
from enricher.tag import tag_of
from enricher.tally import Tally
from enricher.tree import Entry, Node, Tree
from exectrail.record import Record

_MAX_HELD = 50_000
_UNREADY_HOLD = 30.0
"""How much longer, in seconds, records wait at the start for the API to tell what is recorded at all."""


class Held(Struct):
    """A record in the making."""

    event: ProcessEvent
    place: Place
    node: Node
    entry: Entry
    deadline: float
    opens: bool = False
    """Whether it is an entry's first exec."""
    half: Seccomp | None = None
    caller: bytes | None = None


class Pipeline:
    """Joins process events, SECCOMP records, containers and requests.

    Args:
        places: Tells where an event's process is.
        containers: What is known of the node's containers.
        sessions: What is known of requests.
        composer: Makes the records.
        clock: For matching the two clocks.
        write: Takes each finished record; false where there is no room for it.
        hold: How long a record may wait, in seconds.
        on_start, on_end: Told of each session that begins and ends, with its record.

    """

    def __init__(
        self,
        places: Places,
        containers: Containers,
        sessions: Sessions,
        composer: Composer,
        clock: Clock,
        write: Callable[[Record], bool],
        hold: float,
        on_start: Callable[[Session, Record], None] = lambda _session, _record: None,
        on_end: Callable[[Session, Record], None] = lambda _session, _record: None,
    ) -> None:
        self.tree = Tree()
        self.tally = Tally()
        self._places, self._containers, self._sessions = places, containers, sessions
        self._composer, self._clock = composer, clock
        self._write, self._hold = write, hold
        self._on_start, self._on_end = on_start, on_end
        self._held: deque[Held] = deque()
        self._halves = halves.Halves()

    @property
    def held(self) -> int:
        """How many events are neither written nor given up yet."""
        return len(self._held) + len(self._halves)

    def process_event(self, event: ProcessEvent, now: float, half: Seccomp | None = None) -> None:
        """Take an event of the process ledger; `half` is its SECCOMP record where the ledger already has it."""
        self.tally.read["process"] += 1
        place = self._places.of(event)
        if self._containers.look(place).recorded is False:
            self.tally.filtered["not-recorded"] += 1
            return
        held = self._follow(event, place, now + self._hold)
        if held is None:
            self.tally.filtered["runtime"] += 1
            return
        held.half = half
        self._held.append(held)
        if len(self._held) > _MAX_HELD:
            self._release(self._held.popleft())

    def seccomp_record(self, record: Seccomp, now: float) -> None:
        """Take a SECCOMP record of the audit stream."""
        self.tally.read["seccomp"] += 1
        syscall = syscalls.name(record.arch, record.syscall)
        self._halves.add(halves.key_of_record(record, syscall), record, syscall, now + 2 * self._hold)

    def advance(self, now: float) -> None:
        """Let go of every record that is complete or has waited long enough."""
        while self._held and (self._complete(self._held[0]) or self._overdue(self._held[0], now)):
            self._release(self._held.popleft())
        for record, _ in self._halves.expired(now):
            self._unmatched(record)

    def make_gap(self, record: Record) -> None:
        """Put a gap into the trail."""
        self.tally.made["gap"] += 1
        self._emit(record)

    def lag_ms(self, now: float) -> int:
        """How long the oldest record that is held has waited."""
        return int((now - self._held[0].deadline + self._hold) * 1000) if self._held else 0

    def forget_container(self, container_id: str) -> None:
        """A container is gone, or no longer recorded."""
        self.tree.forget_container(container_id)

    def flush(self) -> None:
        """Let go of everything, with what is known."""
        self.advance(float("inf"))

    def _follow(self, event: ProcessEvent, place: Place, deadline: float) -> Held | None:
        """Keep the tree; None for what the container runtime does on its way into the container."""
        match event:
            case Fork():
                node = self.tree.fork(event, place.container_id)
                return Held(event, place, node, node.entry, deadline) if node.entry else None
            case Exec():
                return self._exec(event, place, deadline)
            case Exit():
                gone = self.tree.exit(event)
                return Held(event, place, gone, gone.entry, deadline) if gone and gone.entry else None

    def _exec(self, event: Exec, place: Place, deadline: float) -> Held:
        before = self.tree.get(event.process)
        caller = before.program if before else None
        node, is_init = self.tree.exec(event, place.container_id)
        opens = node.entry is None
        if node.entry is None:
            node.entry = self._entry(event, is_init)
            node.born = event.time
            caller = None  # the runtime's
        return Held(event, place, node, node.entry, deadline, opens, caller=caller)

    def _entry(self, event: Exec, is_init: bool) -> Entry:
        if tag := tag_of(event.argv):
            return Entry(event.process, "session", self._sessions.bind(event.process, tag, event.time))
        return Entry(event.process, "container" if is_init else "untracked")

    def _complete(self, held: Held) -> bool:
        if held.place.pod_uid is None:  # its folder may be found by now
            held.place = self._places.of(held.event)
        answer = self._containers.look(held.place)
        if answer.recorded is False:
            return True
        if answer.recorded is None or answer.container is None:
            return False
        if answer.container.logged and held.half is None and not isinstance(held.event, Exit):
            held.half = self._take_half(held.event, held.caller)
            if held.half is None:
                return False
        session = self._session(held, answer)
        return session is None or self._sessions.settle(session)

    def _overdue(self, held: Held, now: float) -> bool:
        patience = 0.0 if self._containers.ready() else _UNREADY_HOLD
        return held.deadline + patience <= now

    def _session(self, held: Held, answer: Answer) -> Session | None:
        """The session, bound late where the tag is in the pod's spec and the container had to be found first."""
        entry, container = held.entry, answer.container
        if held.opens and entry.session is None and container and container.tag and entry.origin == "container":
            entry.session = self._sessions.bind(entry.process, container.tag, held.event.time)
        if entry.session and container and entry.session.container is None:
            entry.session.container = container
        return entry.session

    def _take_half(self, event: Fork | Exec, caller: bytes | None) -> Seccomp | None:
        comm = caller.rpartition(b"/")[2][:15] if caller and isinstance(event, Exec) else None
        found = self._halves.take(halves.key_of_event(event), self._clock.wall_ms(event.time), comm)
        if found is None:
            return None
        self.tally.merged["seccomp"] += 1
        return found[0]

    def _release(self, held: Held) -> None:
        answer = self._containers.look(held.place)
        if answer.recorded is not True:
            cause = self.tally.lost if answer.recorded is None else self.tally.filtered
            cause["undecided" if answer.recorded is None else "not-recorded"] += 1
            return
        session = self._session(held, answer)
        if session:
            self._sessions.settle(session)
        facts = Facts(answer.container, held.place.container_id, held.entry, held.half, held.caller, held.node.born)
        if session and held.opens:
            self._made(self._on_start, session, self._composer.session_start(session, facts, self._cluster()))
        self._emit(self._composer.process(held.event, facts))
        if session and isinstance(held.event, Exit) and held.event.process == session.entry:
            end = self._composer.session_end(held.event, session, facts, self._cluster())
            self._made(self._on_end, session, end)

    def _unmatched(self, record: Seccomp) -> None:
        """A logged call without an event: an exec that failed, a call of another kind, or another container's."""
        node = self.tree.by_pid(record.pid)
        if node is None or node.entry is None:
            self.tally.filtered["not-recorded"] += 1
            return
        answer = self._containers.look(Place(node.container_id))
        facts = Facts(answer.container, node.container_id, node.entry)
        self._emit(self._composer.syscall(record, node, facts))

    def _made(self, tell: Callable[[Session, Record], None], session: Session, record: Record) -> None:
        self.tally.made["session"] += 1
        self._emit(record)
        tell(session, record)

    def _emit(self, record: Record) -> None:
        if self._write(record):
            self.tally.written[record.kind] += 1
        else:
            self.tally.lost["storage"] += 1

    def _cluster(self) -> str | None:
        return self._containers.cluster_uid
