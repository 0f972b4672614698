"""The pipeline: takes events as the kernel gave them, waits a bounded time for what explains them.

Events update the process tree at once and in order. Their records then stand in one queue, in the same order, until
the container, the request and the other half of a system call are known, or until the hold time is over.
"""

import errno
from collections import deque

from enricher import syscalls
from enricher.clock import COARSE_MS, Clock
from enricher.containers.cgroup_resolver import CgroupResolver
from enricher.containers.containers import NODE, Answer, CgroupRef, Container, Containers
from enricher.correlate import seccomp_correlator
from enricher.correlate.binder import Binder
from enricher.correlate.expected_seccomp import LATE, Expected
from enricher.correlate.node_processes import OnNode
from enricher.correlate.pending_event import PendingEvent
from enricher.correlate.process_tree import Entry, Node, Tree
from enricher.correlate.sessions import Command, Session, Sessions
from enricher.correlate.tag import tag_of
from enricher.emit.emitter import Emitter
from enricher.events import Exec, ExecFailed, Exit, Fork, Process, ProcessEvent, Seccomp, process_of
from enricher.runtimes import is_runtime
from exectrail.contracts.record import Origin

_RUNS = (Exec, ExecFailed)
"""Made once: a union of types would be made anew for each event."""
_MAX_HELD = 50_000
_UNNAMED_HOLD = 5.0
"""How much longer, in seconds, events wait for the kubelet to tell which container it was, where that ended before it
was looked at: without an answer they have no name, and no request; without its pod they are lost."""
_UNREADY_HOLD = 30.0
"""How much longer, in seconds, records wait at the start for the API to tell what is recorded at all."""


class Pipeline:
    """Joins process events, SECCOMP records, containers and requests.

    Args:
        places: Tells where an event's process is.
        containers: What is known of the node's containers.
        sessions: What is known of requests.
        clock: For matching the two clocks.
        emitter: Takes what is complete or overdue.
        hold: How long a record may wait, in seconds.
        reports_failed_execs: Whether the sensor tells of failed execs.
        records_come: Whether there is a source of SECCOMP records.

    """

    def __init__(
        self,
        places: CgroupResolver,
        containers: Containers,
        sessions: Sessions,
        clock: Clock,
        emitter: Emitter,
        hold: float,
        *,
        reports_failed_execs: bool = False,
        records_come: bool = True,
    ) -> None:
        self.tree = Tree()
        self.tally = emitter.tally
        self._cgroups, self._containers, self._sessions = places, containers, sessions
        self._clock, self._emitter, self._hold = clock, emitter, hold
        self._binder = Binder(sessions, clock)
        self._on_node = OnNode(containers)
        self._held: deque[PendingEvent] = deque()
        self._halves = seccomp_correlator.SeccompCorrelator(reports_failed_execs=reports_failed_execs)
        self._expected = Expected(records_come=records_come)
        self._place_of: dict[str, CgroupRef] = {}
        self._tried: dict[Process, PendingEvent] = {}

    @property
    def held(self) -> int:
        """How many events are neither written nor given up yet."""
        return len(self._held) + len(self._halves)

    @property
    def held_events(self) -> int:
        """Those of them that are events of the sensor."""
        return len(self._held)

    def process_event(self, event: ProcessEvent, now: float, half: Seccomp | None = None) -> None:
        """Take an event of the sensor; `half` is its SECCOMP record where the sensor already has it."""
        self.tally.read["process"] += 1
        place = self._cgroups.of(event)
        if place.pod_uid:
            self._place_of[place.container_id] = place
        answer = self._containers.look(place)
        if answer.recorded is False:
            self.tally.filtered["not-recorded"] += 1
            return
        deadline = now + self._hold
        held = self._on_node.follow(event, deadline) if place.on_node else self._follow(event, place, deadline)
        if held is None:
            self.tally.filtered["runtime"] += 1
            return
        held.half, held.answer = half, answer
        if isinstance(event, _RUNS):
            self._search(held, event)
        self._held.append(held)
        if len(self._held) > _MAX_HELD:
            self._give_up(self._held.popleft(), now)

    def seccomp_record(self, record: Seccomp, now: float) -> None:
        """Take a SECCOMP record of the audit stream."""
        self.tally.read["seccomp"] += 1
        self._expected.newest_ms = max(self._expected.newest_ms, record.time)
        syscall = syscalls.name(record.arch, record.syscall)
        self._halves.add(seccomp_correlator.key_of_record(record, syscall), record, syscall, now + 2 * self._hold)
        if len(self._halves) > _MAX_HELD:
            self._unmatched(self._halves.oldest(), now)

    def earlier_record(self, record: Seccomp, now: float) -> None:
        """Take a SECCOMP record of a time in which this sensor did not watch: no event of it will come."""
        self.tally.read["seccomp"] += 1
        node = self.tree.by_pid(record.pid)
        # A pid alone may be another process's by now.
        if node is None or node.entry is None or self._clock.wall_ms(node.born) > record.time + COARSE_MS:
            self._emitter.lone(record, now)
        else:
            self._unmatched(record, now)

    def advance(self, now: float) -> None:
        """Let go of every record that is complete or has waited long enough."""
        overdue = now - self._patience()
        while self._held:
            held = self._held[0]
            if self._complete(held):
                self._release(self._held.popleft(), held.session, now)
            elif held.deadline > overdue:
                break
            elif held.deadline + self._extension(held) > overdue:
                overdue = held.deadline  # those behind it wait for their records, too
                break
            else:
                self._give_up(self._held.popleft(), now)
        for record, _ in self._halves.expired(overdue):  # their events wait as long
            self._unmatched(record, now)

    def ending(self, process: Process) -> Entry | None:
        """The entry of a process whose end has been read and not been told yet; None for any other."""
        held = (each for each in self._held if isinstance(each.event, Exit) and each.event.process == process)
        return next((each.entry for each in held), None)

    def lag_ms(self, now: float) -> int:
        """How long the oldest record that is held has waited."""
        try:
            oldest = self._held[0]
        except IndexError:  # also while another thread asks
            return 0
        return int((now - oldest.deadline + self._hold) * 1000)

    def complete_until(self, boot_ns: int) -> int:
        """Up to when everything has left that has come, where all has been read (nanoseconds since boot)."""
        oldest = min(boot_ns, self._held[0].event.time) if self._held else boot_ns
        return min(oldest, boot_ns - int(2e9 * self._hold)) if len(self._halves) else oldest

    def forget_container(self, container_id: str) -> None:
        """A container is gone, or no longer recorded; so is the node, under its empty id."""
        if container_id == NODE.container_id:
            self._on_node.forget()
        self.tree.forget_container(container_id)
        self._emitter.forget_container(container_id)
        self._expected.forget(container_id)
        self._place_of.pop(container_id, None)

    def flush(self) -> None:
        """Let go of everything, with what is known."""
        self.advance(float("inf"))

    def inits(self) -> dict[Process, Container]:
        """The recorded containers' own inits that are alive."""
        found = ((process, self.container(container_id)) for container_id, process in self.tree.inits().items())
        return {process: container for process, container in found if container}

    def _follow(self, event: ProcessEvent, place: CgroupRef, deadline: float) -> PendingEvent | None:
        """Keep the tree; None for what the container runtime does on its way into the container."""
        match event:
            case Fork():
                node = self.tree.fork(event, place.container_id)
                return PendingEvent(event, place, node, node.entry, deadline, argv=node.argv) if node.entry else None
            case Exec():
                return self._exec(event, place, deadline)
            case ExecFailed():
                return self._failed(event, place, deadline)
            case Exit():
                gone = self.tree.exit(event)
                if gone is None or gone.entry is None:
                    return None
                return PendingEvent(event, place, gone, gone.entry, deadline, argv=gone.argv)

    def _exec(self, event: Exec, place: CgroupRef, deadline: float) -> PendingEvent | None:
        before = self._caller(event, place)
        if (before is None or before.entry is None) and _is_on_its_way(event):
            return None
        caller = before.program if before else None
        node, is_init = self.tree.exec(event, place.container_id)
        opens = node.entry is None or self._is_explained(node.entry, event)
        if node.entry is None:
            node.entry = self._entry(event, is_init)
            node.born = event.time
            caller = None  # the runtime's
        return PendingEvent(event, place, node, node.entry, deadline, opens, caller=caller)

    def _failed(self, event: ExecFailed, place: CgroupRef, deadline: float) -> PendingEvent | None:
        caller = self._caller(event, place)
        if caller is None or caller.entry is None:
            return None
        return PendingEvent(event, place, caller, caller.entry, deadline, caller=caller.program, argv=caller.argv)

    def _caller(self, event: Exec | ExecFailed, place: CgroupRef) -> Node | None:
        known = self.tree.get(event.process)
        if known or event.entered_by_namespace:
            return known
        return self.tree.missed(event, place.container_id)

    def _entry(self, event: Exec, is_init: bool) -> Entry:
        # The runtimes put what the API asks for into the container's cgroup: who is not there was not sent by it.
        origin: Origin = "container" if is_init else "untracked"
        session = None if event.entered_by_namespace else self._tagged(event)
        return Entry(event.process, "session", session, otherwise=origin) if session else Entry(event.process, origin)

    def _is_explained(self, entry: Entry, event: Exec) -> bool:
        """Whether an entry that was found at the start tells only now by its tag where it comes from."""
        if entry.origin is not None or entry.process != event.process or event.entered_by_namespace:
            return False
        session = self._tagged(event)
        if session:
            entry.origin, entry.session = "session", session
        return session is not None

    def _tagged(self, event: Exec) -> Session | None:
        tag = tag_of(event.argv)
        if tag is None:
            return None
        uid, argv = tag
        return self._sessions.bind(event.process, uid, event.time, "argv", Command(argv, event.truncated))

    def _search(self, held: PendingEvent, event: Exec | ExecFailed) -> None:
        """Along PATH a program is tried in each folder: only what came of the search is worth a line."""
        before = self._tried.pop(event.process, None)
        if before and isinstance(before.event, ExecFailed) and before.event.argv == event.argv:
            before.superseded = True
        if isinstance(event, ExecFailed) and event.errno == errno.ENOENT:
            self._tried[event.process] = held

    def _complete(self, held: PendingEvent) -> bool:
        if self._tried and self._tried.get(process_of(held.event)) is held:  # it may go on in the next folder
            return False
        answer = self._look(held)
        if answer.container is None and answer.recorded is not False and not held.place.on_node:
            held.place = self._cgroups.again(held.event)
            answer = held.answer = self._containers.look(held.place)
            if held.place.name:
                self._place_of[held.place.container_id] = held.place
        if answer.recorded is False or held.place.on_node:
            return True
        if answer.recorded is None or answer.container is None:
            return False
        if not self._has_half(held) and self._expected.of(answer.container, _call(held.event)):
            return False
        return self._binder.is_settled(held, answer.container)

    def _look(self, held: PendingEvent) -> Answer:
        if held.answer.version != self._containers.version:
            held.answer = self._containers.look(held.place)
        return held.answer

    def _patience(self) -> float:
        return 0.0 if self._containers.ready() else _UNREADY_HOLD

    def _has_half(self, held: PendingEvent) -> bool:
        """Whether an event has its SECCOMP record by now, or none to wait for: ends, and execs without a filter."""
        event = held.event
        if held.half is not None or isinstance(event, Exit) or _is_unfiltered(event):
            return True
        if not self._halves:
            return False
        found = self._halves.take(seccomp_correlator.key_of_event(event), self._clock.wall_ms(event.time), held.caller)
        if found is None:
            return False
        held.half = found[0]
        if self._expected.missing:
            self._expected.missing.discard((held.place.container_id, _call(event)))
        self.tally.merged["seccomp"] += 1
        return True

    def _extension(self, held: PendingEvent) -> float:
        """How much longer than others an event may wait, in seconds; so much later is all behind it, at most."""
        if held.answer.container is None and held.answer.recorded is not False and held.place.container_id:
            return _UNNAMED_HOLD
        return LATE if self._may_be_late(held) else 0.0

    def _may_be_late(self, held: PendingEvent) -> bool:
        """Whether only its SECCOMP record is missing, and that may be on its way."""
        container, event = held.answer.container, held.event
        if container is None or held.half is not None or isinstance(event, Exit) or _is_unfiltered(event):
            return False
        return self._expected.may_be_late(container, _call(event), self._clock.wall_ms(event.time))

    def _give_up(self, held: PendingEvent, now: float) -> None:
        """Wait no longer for what is not known: it leaves with what is."""
        if self._tried and self._tried.get(process_of(held.event)) is held:
            del self._tried[process_of(held.event)]
        container = self._look(held).container
        if not self._has_half(held):
            self._expected.missed(held.place.container_id, _call(held.event), in_vain=self._may_be_late(held))
        self._release(held, self._binder.decide(held, container), now)

    def _release(self, held: PendingEvent, session: Session | None, now: float) -> None:
        recorded = held.answer.recorded
        if held.superseded:
            self.tally.suppressed["path-search"] += 1
        elif recorded is None:
            self.tally.lost["undecided"] += 1
        elif recorded is False:
            self.tally.filtered["not-recorded"] += 1
        else:
            self._emitter.release(held, held.answer.container, session, now)

    def _unmatched(self, record: Seccomp, now: float) -> None:
        """A logged call without an event: an exec that failed, a call of another kind, or another container's."""
        node = self.tree.by_pid(record.pid)
        if node is None or node.entry is None:
            self.tally.filtered["not-recorded"] += 1
            return
        self._expected.came(node.container_id, seccomp_correlator.call_of(syscalls.name(record.arch, record.syscall)))
        self._emitter.unmatched(record, node, self.container(node.container_id), now)

    def container(self, container_id: str) -> Container | None:
        """The container of this id, if its processes were seen."""
        return self._containers.look(self._place_of.get(container_id, CgroupRef(container_id))).container


def _is_on_its_way(event: Exec) -> bool:
    """Whether this is the runtime's own program, which joined the container's cgroup before its namespaces.

    runc executes itself once more on its way in, and mostly joins the cgroup only then; on a busy node it may be there
    already. Its arguments alone prove nothing: a program in a container can have the same.
    """
    return event.mounts_of_parent and event.argv != b"" and is_runtime(event.argv)


def _is_unfiltered(event: ProcessEvent) -> bool:
    """Whether no seccomp filter can have logged an exec: a record of the same process is another call's."""
    return isinstance(event, Exec) and event.seccomp is False


def _call(event: ProcessEvent) -> seccomp_correlator.Call:
    return "fork" if isinstance(event, Fork) else "exec"
