"""Plays a recording to the core. Time is the recording's: nothing sleeps, and nothing here looks at a clock."""

import math
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from enricher.audit import parser
from enricher.clock import Clock
from enricher.containers.containers import CgroupRef, Containers
from enricher.containers.pods import Namespace, Pod
from enricher.core import Core
from enricher.correlate.correlator import Correlator
from enricher.correlate.process_tree import Entry, Node, Tree
from enricher.correlate.request_index import RequestIndex
from enricher.correlate.sessions import Sessions
from enricher.emit.emitter import Emitter
from enricher.emit.quota import Quota
from enricher.emit.record_builder import RecordBuilder
from enricher.events import ProcessEvent, SeccompEvent
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
_NO_QUOTA = 1e12


class RecordedClock(Clock):
    """The clock of the node at the time of the recording.

    Args:
        boot_ns: When the recording began, in nanoseconds since boot.
        offset: What to add to get nanoseconds since the epoch.

    """

    def __init__(self, boot_ns: int, offset: int) -> None:
        self.at = 0
        """Microseconds since the recording began."""
        self.recorded, self._began = offset, boot_ns
        super().__init__()

    def adjust(self) -> None:
        """Take over the recorded offset."""
        self._offset = self.recorded

    def now_ns(self) -> int:
        """Then, in nanoseconds since boot."""
        return self._began + self.at * 1000


class RecordedNode:
    """What the node and the API said at the time of the recording; also resolves cgroups."""

    def __init__(self, boot_ns: int, offset: int) -> None:
        self.clock = RecordedClock(boot_ns, offset)
        self.containers = Containers()
        self.containers.now_ms = self.clock.now_ms
        self.requests: dict[str, AuditSession] = {}
        self.asked = RequestIndex()
        self._cgroups: dict[int, CgroupRef] = {}
        self._pods: dict[str, Pod] = {}
        self._namespaces: dict[str, Namespace] = {}

    def of(self, event: ProcessEvent) -> CgroupRef:
        """Where an event's process is."""
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
    """Drives the core over what a recording holds.

    Args:
        header: The recording's.
        write: Takes the records.
        hold: How long a record may wait, in seconds.
        random_bits: For `auditID`.

    """

    def __init__(
        self, header: Header, write: Callable[[Record], bool], hold: float, random_bits: Callable[[int], int]
    ) -> None:
        self._node = node = RecordedNode(header.boot, header.offset)
        self._lost = Counter[str]()
        self._come: list[tuple[Item, bytes]] = []
        """What was read together, and is looked at together."""
        tally, sessions = Tally(), Sessions(node.requests.get, node.asked, node.clock.wall_ms)
        record_builder = RecordBuilder(header.node, header.boot_id, node.clock, header.sensor, random_bits)
        quota = Quota(_NO_QUOTA, _NO_QUOTA)
        emitter = Emitter(node.containers, sessions, record_builder, write, quota, tally, losses=lambda: self._lost)
        correlator = Correlator(
            node,
            node.containers,
            sessions,
            node.clock,
            tally,
            hold,
            reports_failed_execs=header.reports_failed_execs,
            has_audit_source=header.audit_source != "none",
        )
        self.core = Core(self, correlator, emitter, node.clock)

    def take(self, line: bytes) -> None:
        """Play one line.

        Raises:
            Broken: It cannot be read.

        """
        self.play(*recording.decode(line))

    def play(self, at: int, item: Item, seccomp: bytes = b"") -> None:
        """Let time go by until `at`, in microseconds since the recording began; then one thing comes."""
        if at > self._node.clock.at:
            self._pass_time(at)
        self._come.append((item, seccomp))

    def close(self) -> None:
        """Let go of all that waits."""
        self._pass_time(max(self._node.clock.at, math.ceil(self.core.next_second * _SECOND_US)))
        self.core.flush()

    def feed(self, now: float) -> None:
        """Hand over what came since the last round."""
        come, self._come = self._come, []
        correlator = self.core.correlator
        for item, seccomp in come:
            if isinstance(item, ProcessEvent):
                correlator.take(item, now, self._parse(seccomp) if seccomp else None)
                continue
            match item:
                case Audit():
                    if event := self._parse(recording.raw(item.text)):
                        correlator.take_seccomp(event, now)
                case Backfilled():
                    _backfill(correlator.tree, item)
                case Gone():
                    correlator.forget_container(item.container_id)
                case Lost():
                    self._lost.update(item.lost)
                case _:
                    self._node.learn(item)

    def maintain(self, now: float) -> None:
        """What was found or gone at that time is in the recording."""

    def _pass_time(self, at: int) -> None:
        clock = self._node.clock
        self.core.step(clock.at / _SECOND_US)
        clock.at = at
        self.core.step(at / _SECOND_US)

    def _parse(self, text: bytes) -> SeccompEvent | None:
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
