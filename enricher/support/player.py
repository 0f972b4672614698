"""Plays a recording to a pipeline. Time is the recording's: nothing sleeps, and nothing here looks at a clock."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from enricher.audit import parser
from enricher.clock import Clock
from enricher.containers.containers import CgroupRef, Containers
from enricher.containers.pods import Namespace, Pod
from enricher.correlate.correlator import Correlator
from enricher.correlate.pending_event import Correlated
from enricher.correlate.process_tree import Entry, Node, Tree
from enricher.correlate.request_index import RequestIndex
from enricher.correlate.sessions import Sessions
from enricher.emit.emitter import Emitter
from enricher.emit.quota import Quota
from enricher.emit.record_builder import RecordBuilder
from enricher.events import Exec, ExecFailed, Exit, Fork, ProcessEvent, Seccomp
from enricher.support import recording
from enricher.support.recording import (
    Audit,
    Backfilled,
    Gone,
    Header,
    Item,
    Located,
    Lost,
    NamespaceSeen,
    Offset,
    PodSeen,
)
from enricher.support.recording import SessionSeen as RequestSeen
from enricher.tally import Tally
from exectrail.contracts.record import Record
from exectrail.contracts.session import AuditSession

T = TypeVar("T")

_SECOND_US = 1_000_000
_REMEMBER_PIDS_NS = 2_000_000_000
_NO_QUOTA = 1e12


class RecordedClock(Clock):
    """The clock of the node at the time of the recording."""

    def __init__(self, offset: int) -> None:
        self.recorded = offset
        super().__init__()

    def adjust(self) -> None:
        """Take over the recorded offset."""
        self._offset = self.recorded


class RecordedNode:
    """What the node and the API said at the time of the recording; also resolves cgroups."""

    def __init__(self, offset: int) -> None:
        self.clock = RecordedClock(offset)
        self.containers = Containers()
        self.requests: dict[str, AuditSession] = {}
        self.asked = RequestIndex()
        self._cgroups: dict[int, CgroupRef] = {}
        self._pods: dict[str, Pod] = {}
        self._namespaces: dict[str, Namespace] = {}

    def of(self, event: ProcessEvent) -> CgroupRef:
        """The place of an event's process."""
        return self._cgroups.get(event.cgroup) or CgroupRef("unknown")

    def again(self, event: ProcessEvent) -> CgroupRef:
        """As far as it is known by now."""
        return self.of(event)

    def learn(self, item: Located | PodSeen | NamespaceSeen | RequestSeen | Offset) -> None:
        """Something changed."""
        match item:
            case Located():
                self._cgroups[item.cgroup] = item.place
            case PodSeen():
                self.containers.pod_changed(*_set(self._pods, item.key, item.object))
            case NamespaceSeen():
                self.containers.namespace_changed(*_set(self._namespaces, item.key, item.object))
            case RequestSeen():
                self.asked.changed(*_set(self.requests, item.key.rpartition("/")[2], item.object))
            case Offset():
                self.clock.recorded = item.offset
                self.clock.adjust()


class Player:
    """Feeds a pipeline what a recording holds.

    Args:
        header: The recording's.
        write: Takes the records.
        hold: How long a record may wait, in seconds.
        random_bits: For `auditID`.

    """

    def __init__(
        self, header: Header, write: Callable[[Record], bool], hold: float, random_bits: Callable[[int], int]
    ) -> None:
        self._boot = header.boot
        self._node = node = RecordedNode(header.offset)
        self._lost, self._told = Counter[str](), Counter[str]()
        self._at = self._next_second = 0
        sessions = Sessions(node.requests.get, node.asked, node.clock.wall_ms)
        record_builder = RecordBuilder(header.node, header.boot_id, node.clock, header.sensor, random_bits)
        quota = Quota(_NO_QUOTA, _NO_QUOTA)
        tally = Tally()
        self.emitter = Emitter(
            node.containers, sessions, record_builder, write, quota, tally, losses=lambda: self._lost
        )
        self.correlator = Correlator(
            node,
            node.containers,
            sessions,
            node.clock,
            tally,
            hold,
            reports_failed_execs=header.reports_failed_execs,
            has_audit_source=header.audit_source != "none",
        )

    def take(self, line: bytes) -> None:
        """Play one line.

        Raises:
            Broken: It cannot be read.

        """
        self.play(*recording.decode(line))

    def play(self, at: int, item: Item, seccomp: bytes = b"") -> None:
        """Let time go by until `at`, in microseconds since the recording began; then feed one thing."""
        if at > self._at:
            self._pass_time(at)
        match item:
            case Fork() | Exec() | ExecFailed() | Exit():
                self.correlator.take(item, at / _SECOND_US, self._parse(seccomp) if seccomp else None)
            case Audit():
                if record := self._parse(recording.raw(item.text)):
                    self.correlator.take_seccomp(record, at / _SECOND_US)
            case Backfilled():
                _backfill(self.correlator.tree, item)
            case Gone():
                self.correlator.forget_container(item.container_id)
            case Lost():
                self._lost.update(item.lost)
            case _:
                self._node.learn(item)

    def close(self) -> None:
        """Let go of all that waits."""
        self._pass_time(max(self._at, self._next_second))
        self._emit(self.correlator.flush(), math.inf)

    def _pass_time(self, at: int) -> None:
        """What was read together is looked at together, as in the agent's rounds."""
        self._advance()
        self._at = at
        self._advance()
        if at >= self._next_second:
            self._next_second = at + _SECOND_US
            self._each_second()

    def _advance(self) -> None:
        now = self._at / _SECOND_US
        self._emit(self.correlator.advance(now), now)

    def _emit(self, events: Iterable[Correlated], now: float) -> None:
        for known in events:
            self.emitter.emit(known, now)

    def _each_second(self) -> None:
        boot = self._boot + self._at * 1000
        wall_ms = self._node.clock.wall_ms(boot)
        self.correlator.tree.forget_gone(boot - _REMEMBER_PIDS_NS)
        self.emitter.tick(self._at / _SECOND_US, wall_ms)
        if fresh := self._lost - self._told:
            self._told = self._lost.copy()
            self.emitter.losses_since(dict(fresh), wall_ms)

    def _parse(self, text: bytes) -> Seccomp | None:
        try:
            return parser.parse(text)
        except parser.Unparsable:
            self._lost["unparsable"] += 1
            return None


def _set(objects: dict[str, T], key: str, new: T | None) -> tuple[T | None, T | None]:
    """Put an object into its table, or take it out; returns what was there and what is."""
    old = objects.pop(key, None)
    if new is not None:
        objects[key] = new
    return old, new


def _backfill(tree: Tree, item: Backfilled) -> None:
    root = tree.get(item.entry)
    entry = root.entry if root and root.entry else Entry(item.entry, item.origin)
    tree.backfill(Node(item.process, item.parent, item.container_id, item.born, entry, argv=recording.raw(item.argv)))
