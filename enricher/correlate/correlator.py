"""The correlator: takes events in, holds each for a bounded time while it is resolved, and hands it on.

An event updates the process tree at once. Then it waits in one queue, in order, and each round takes it these steps:

    resolve   look up its container, its SECCOMP event and its session, as far as they are known by now
    decide    hand it on if nothing is missing or its deadline has passed; else it and all behind it wait
    hand on   as `Correlated`, with all that is known, or count it as suppressed, filtered or lost
"""

from collections import deque
from collections.abc import Callable

from enricher.argv import as_sent, words_of
from enricher.clock import COARSE_MS, Clock
from enricher.containers.cgroup_resolver import CgroupResolver
from enricher.containers.containers import NODE, Answer, CgroupRef, Container, Containers
from enricher.correlate.binder import WAITS, Binder, Resolved
from enricher.correlate.container_processes import ContainerProcesses
from enricher.correlate.expected_seccomp import LATE, ExpectedSeccomp
from enricher.correlate.node_processes import NodeProcesses
from enricher.correlate.path_search import PathSearches
from enricher.correlate.pending_event import Correlated, PendingEvent
from enricher.correlate.process_tree import Entry, Tree
from enricher.correlate.seccomp_correlator import (
    PROFILED,
    Call,
    SeccompCorrelator,
    called,
    key_of_event,
)
from enricher.correlate.sessions import Session, Sessions
from enricher.events import (
    ExecEvent,
    ExecFailedEvent,
    ExitEvent,
    ForkEvent,
    Process,
    ProcessEvent,
    SeccompEvent,
    size_of_strings,
)
from enricher.tally import Tally

_MAX_HELD = 50_000
_MAX_HELD_BYTES = 16 << 20
"""Of arguments and paths: one exec may have 76 KiB, and events of a container that just started wait for seconds."""
_UNNAMED_HOLD = 5.0
"""How much longer, in seconds, events wait for the kubelet to report which container it was, where that ended before
it was looked at: without an answer they have no name, and no request; without its pod they are lost."""
_UNREADY_HOLD = 30.0
"""How much longer, in seconds, events wait at the start for the API to say what is recorded at all."""


class Correlator:
    """Joins process events, SECCOMP events, containers and requests.

    Args:
        cgroups: Finds where an event's process is.
        containers: What is known of the node's containers.
        sessions: What is known of requests.
        clock: For matching the two clocks.
        tally: Counts what comes in, and what goes nowhere from here.
        hold: How long an event may wait, in seconds.
        reports_failed_execs: Whether the sensor reports failed execs.
        has_audit_source: Whether SECCOMP events come at all.
        is_ready: Whether the API has said what is recorded: before, not to know a pod means nothing.
        tree: The processes; None for one of its own.

    """

    def __init__(
        self,
        cgroups: CgroupResolver,
        containers: Containers,
        sessions: Sessions,
        clock: Clock,
        tally: Tally,
        hold: float,
        *,
        reports_failed_execs: bool = False,
        has_audit_source: bool = True,
        is_ready: Callable[[], bool] = lambda: True,
        tree: Tree | None = None,
    ) -> None:
        self.tree, self.tally = Tree() if tree is None else tree, tally
        self._cgroups, self._containers = cgroups, containers
        self._clock, self._hold, self._is_ready = clock, hold, is_ready
        self._binder = Binder(sessions, clock)
        self._in_containers = ContainerProcesses(self.tree, sessions)
        self._on_node = NodeProcesses(containers)
        self._pending: deque[PendingEvent] = deque()
        self._held_bytes = 0
        self._seccomp = SeccompCorrelator(reports_failed_execs=reports_failed_execs)
        self._expected = ExpectedSeccomp(has_audit_source=has_audit_source)
        self._searches = PathSearches()
        self._done: list[Correlated] = []
        self._cgroup_ref_of: dict[str, CgroupRef] = {}
        self._forgotten: set[str] = set()

    # ---- what comes in ----

    def take(self, event: ProcessEvent, now: float, seccomp: SeccompEvent | None = None) -> None:
        """Take an event of the sensor; `seccomp` is its SECCOMP event where the sensor has it already."""
        self.tally.read["process"] += 1
        ref = self._cgroups.of(event)
        if ref.pod_uid:
            self._cgroup_ref_of[ref.container_id] = ref
        answer = self._containers.look(ref)
        if answer.recorded is False:
            self.tally.filtered["not-recorded"] += 1
            return
        pending = self._on_node.follow(event) if ref.on_node else self._in_containers.follow(event, ref)
        if pending is None:
            self.tally.filtered["runtime"] += 1
            return
        pending.cgroup_ref, pending.answer, pending.seccomp, pending.deadline = ref, answer, seccomp, now + self._hold
        if self._searches.latest or type(event) is ExecFailedEvent:
            self._searches.add(pending)
        self._pending.append(pending)
        self._held_bytes += size_of_strings(event)
        while len(self._pending) > _MAX_HELD or self._held_bytes > _MAX_HELD_BYTES:
            self._give_up(self._next())

    def take_seccomp(self, event: SeccompEvent, now: float) -> None:
        """Take an event of the audit source."""
        self.tally.read["seccomp"] += 1
        self._expected.read(event.time)
        syscall, call = called(event.arch, event.syscall)
        self._seccomp.add((event.pid, call), event, syscall, now + 2 * self._hold)
        if len(self._seccomp) > _MAX_HELD:
            self._unmatched(self._seccomp.oldest())

    def take_earlier_seccomp(self, event: SeccompEvent) -> None:
        """Take a SECCOMP event of a time in which this sensor did not watch: no process event of it will come."""
        self.tally.read["seccomp"] += 1
        node = self.tree.by_pid(event.pid)
        # A pid alone may be another process's by now.
        if node is None or node.entry is None or self._clock.wall_ms(node.born) > event.time + COARSE_MS:
            self._done.append(Correlated(event=event))
        else:
            self._unmatched(event)

    # ---- what goes out ----

    def advance(self, now: float) -> list[Correlated]:
        """Hand on every event that is complete or has waited long enough, the oldest first."""
        overdue = now - (0.0 if self._is_ready() else _UNREADY_HOLD)
        while self._pending:
            pending = self._pending[0]
            session = self._step(pending)
            if session is not WAITS:
                self._hand_on(self._next(), session)
            elif pending.deadline > overdue:
                break
            elif pending.deadline + self._extension(pending) > overdue:
                overdue = pending.deadline  # SECCOMP events of those behind it wait, too
                break
            else:
                self._give_up(self._next())
        for event, _ in self._seccomp.expired(overdue):  # their events wait as long
            self._unmatched(event)
        return self.take_done()

    def take_done(self) -> list[Correlated]:
        """Hand on only what waits no longer: events beyond those that can be held."""
        done, self._done = self._done, []
        return done

    def flush(self) -> list[Correlated]:
        """Hand on everything, with what is known."""
        return self.advance(float("inf"))

    # ---- the steps of one event ----

    def _next(self) -> PendingEvent:
        """Take out the oldest event."""
        pending = self._pending.popleft()
        self._held_bytes -= size_of_strings(pending.event)
        return pending

    def _step(self, pending: PendingEvent) -> Resolved:
        """Resolve what can be known by now, and decide whether more is waited for."""
        if self._searches.latest and self._searches.may_go_on(pending):
            return WAITS
        answer = pending.answer
        if answer.container is None or answer.version != self._containers.version:
            answer = self._resolve_container(pending)
        container = answer.container
        if container is None or not answer.recorded:
            return None if answer.recorded is False or pending.cgroup_ref.on_node else WAITS
        if not self._resolve_seccomp(pending) and self._expected.of(container, _call(pending.event)):
            return WAITS
        return self._binder.resolve(pending, container)

    def _resolve_container(self, pending: PendingEvent) -> Answer:
        answer = self._look(pending)
        if answer.container is None and answer.recorded is not False and not pending.cgroup_ref.on_node:
            ref = pending.cgroup_ref = self._cgroups.again(pending.event)
            answer = pending.answer = self._containers.look(ref)
            if ref.name:
                self._cgroup_ref_of[ref.container_id] = ref
        return answer

    def _look(self, pending: PendingEvent) -> Answer:
        if pending.answer.version != self._containers.version:
            pending.answer = self._containers.look(pending.cgroup_ref)
        return pending.answer

    def _resolve_seccomp(self, pending: PendingEvent) -> bool:
        """Whether the event has its SECCOMP event by now, or can have none: exits, and execs without a filter."""
        event = pending.event
        if pending.seccomp is not None or type(event) is ExitEvent or _is_unfiltered(event):
            return True
        if not self._seccomp:
            return False
        key = key_of_event(event)
        found = self._seccomp.take(key, self._clock.wall_ms(event.time), pending.caller)
        if found is None:
            return False
        pending.seccomp = found
        self._expected.found(pending.cgroup_ref.container_id, key[1])
        self.tally.merged["seccomp"] += 1
        return True

    def _extension(self, pending: PendingEvent) -> float:
        """How much longer than others an event may wait, in seconds; so much later is all behind it, at most."""
        answer = pending.answer
        if answer.container is None and answer.recorded is not False and pending.cgroup_ref.container_id:
            return _UNNAMED_HOLD
        return LATE if self._may_be_late(pending) else 0.0

    def _may_be_late(self, pending: PendingEvent) -> bool:
        """Whether only its SECCOMP event is missing, and that may be on its way."""
        container, event = pending.answer.container, pending.event
        if container is None or pending.seccomp is not None or not isinstance(event, PROFILED) or _is_unfiltered(event):
            return False
        return self._expected.may_be_late(container, _call(event), self._clock.wall_ms(event.time))

    def _give_up(self, pending: PendingEvent) -> None:
        """Wait no longer for what is not known: it is handed on with what is."""
        self._searches.give_up(pending)
        container = self._look(pending).container
        if not self._resolve_seccomp(pending):
            in_vain = self._may_be_late(pending)
            self._expected.missed(pending.cgroup_ref.container_id, _call(pending.event), in_vain=in_vain)
        self._hand_on(pending, self._binder.decide(pending, container))

    def _hand_on(self, pending: PendingEvent, session: Session | None) -> None:
        recorded = pending.answer.recorded
        if pending.superseded:
            self.tally.suppressed["path-search"] += 1
        elif recorded:
            container = pending.container = pending.answer.container
            if pending.opens and container:
                _recognise_kubelet(pending, container)
            pending.container_id, pending.session = pending.cgroup_ref.container_id, session
            self._done.append(pending)
        elif recorded is None:
            self.tally.lost["undecided"] += 1
        else:
            self.tally.filtered["not-recorded"] += 1

    def _unmatched(self, event: SeccompEvent) -> None:
        """A logged call without a process event: an exec that failed, another call, or another container's."""
        node = self.tree.by_pid(event.pid)
        if node is None or node.entry is None:
            self.tally.filtered["not-recorded"] += 1
            return
        self._expected.came(node.container_id, called(event.arch, event.syscall)[1])
        container = self.container(node.container_id)
        self._done.append(Correlated(container, node.container_id, node.entry, event=event, node=node, argv=node.argv))

    # ---- what others ask ----

    @property
    def held(self) -> int:
        """How many events have not left yet."""
        return len(self._pending) + len(self._seccomp) + len(self._done)

    @property
    def held_events(self) -> int:
        """Those of them that are events of the sensor."""
        return len(self._pending)

    def ending(self, process: Process) -> Entry | None:
        """The entry of a process whose end has been read and not been written yet; None for any other."""
        pending = (
            each for each in self._pending if isinstance(each.event, ExitEvent) and each.event.process == process
        )
        return next((each.entry for each in pending), None)

    def lag_ms(self, now: float) -> int:
        """How long the oldest event that is held has waited."""
        return int((now - self._pending[0].deadline + self._hold) * 1000) if self._pending else 0

    def complete_until(self, boot_ns: int) -> int:
        """Up to when everything has left that has come, where all has been read (nanoseconds since boot)."""
        oldest = min(boot_ns, self._pending[0].event.time) if self._pending else boot_ns
        return min(oldest, boot_ns - int(2e9 * self._hold)) if len(self._seccomp) else oldest

    def forget_container(self, container_id: str) -> None:
        """A container is gone, or no longer recorded; so is the node, under its empty id."""
        if container_id == NODE.container_id:
            self._on_node.forget()
        else:
            self._forgotten.add(container_id)
        self.tree.forget_container(container_id)
        self._expected.forget(container_id)
        self._cgroup_ref_of.pop(container_id, None)

    def take_forgotten(self) -> set[str]:
        """The containers that were forgotten, by id, once nothing of them is on its way any more."""
        if not self._forgotten:
            return set()
        settled = self._forgotten - {each.node.container_id for each in self._pending}
        self._forgotten -= settled
        return settled

    def follows(self, session: Session) -> bool:
        """Whether a session's entry is followed: its container may be recorded again by now."""
        node = self.tree.get(session.entry)
        return node is not None and node.entry is not None and node.entry.session is session

    def inits(self) -> dict[Process, Container]:
        """The recorded containers' own inits that are alive."""
        found = ((process, self.container(container_id)) for container_id, process in self.tree.inits().items())
        return {process: container for process, container in found if container}

    def container(self, container_id: str) -> Container | None:
        """The container of this id, if its processes were seen."""
        return self._containers.look(self._cgroup_ref_of.get(container_id, CgroupRef(container_id))).container


def _is_unfiltered(event: ProcessEvent) -> bool:
    """Whether no seccomp filter can have logged an exec: a SECCOMP event of the same process is another call's."""
    return type(event) is ExecEvent and event.seccomp is False


def _call(event: ProcessEvent) -> Call:
    return "fork" if isinstance(event, ForkEvent) else "exec"


def _recognise_kubelet(pending: PendingEvent, container: Container) -> None:
    """Find out the kubelet's own entries by the pod's spec: it comes in by the same way as an intruder would."""
    entry, event = pending.entry, pending.event
    if entry.origin == "untracked" and isinstance(event, ExecEvent) and not event.entered_by_namespace:
        asked = map(words_of, as_sent(event.argv, event.filename, event.path, event.cwd))
        entry.origin = next(filter(None, map(container.kubelet_commands.get, asked)), "untracked")
