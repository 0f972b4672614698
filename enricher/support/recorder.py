"""Taps on the enricher's inputs: they pass everything on, and write it into a recording."""

import socket
import threading
import time
from typing import Any, BinaryIO

import msgspec

from enricher.audit.netlink_socket import AuditSource
from enricher.clock import boot_to_wall_ns
from enricher.containers.containers import CgroupRef, Containers
from enricher.containers.lean_pod import lean_meta, lean_pod
from enricher.containers.pods import Namespace, Pod
from enricher.correlate.correlator import Correlator
from enricher.correlate.pending_event import Correlated
from enricher.correlate.process_tree import Node, Tree
from enricher.events import ProcessEvent, SeccompEvent
from enricher.procfs import Proc
from enricher.support import recording
from enricher.support.recording import NamespaceSeen, PodSeen, SessionSeen
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import AuditSession

_NLMSG_HEADER = 16
_MOST_TEXTS = 4096
_CLOCK_STEP_NS = 1_000_000
_MOST_UNSETTLED = 1000


class Recorder:
    """Writes the lines of a recording, from any thread."""

    def __init__(self, file: BinaryIO) -> None:
        self.lines = 0
        self._file = file
        self._lock = threading.Lock()
        self._began = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._at = 0
        self._offset = boot_to_wall_ns()
        self._lost: dict[str, int] = {}

    def begin(self, node: str, sensor: str, source: str, *, reports_failed_execs: bool) -> None:
        """Write the header."""
        boot_id = Proc().boot_id()
        began, offset = self._began, self._offset
        header = recording.Header(recording.VERSION, node, boot_id, sensor, source, began, offset, reports_failed_execs)
        self._file.write(msgspec.json.encode(header) + b"\n")

    def turn(self) -> None:
        """Another round begins: what it reads was there together."""
        self._at = (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - self._began) // 1000

    def put(self, item: recording.Item, seccomp: bytes = b"") -> None:
        """Write one line."""
        with self._lock:
            self._file.write(recording.encode(self._at, item, seccomp))
            self.lines += 1

    def clock(self) -> None:
        """Look at the wall clock; small differences come of measuring it."""
        offset = boot_to_wall_ns()
        if abs(offset - self._offset) > _CLOCK_STEP_NS:
            self._offset = offset
            self.put(recording.Offset(offset))

    def lost(self, lost: dict[str, int]) -> None:
        """What was lost in the kernel since the start, by cause."""
        fresh = {cause: more for cause, count in lost.items() if (more := count - self._lost.get(cause, 0))}
        if fresh:
            self._lost = lost
            self.put(recording.Lost(fresh))

    def flush(self) -> None:
        """Hand over what was written."""
        with self._lock:
            self._file.flush()


class Tables:
    """Takes the mirrors' changes for the container table, and writes down the part of them that a pipeline uses."""

    def __init__(self, recorder: Recorder, containers: Containers) -> None:
        self._recorder, self._containers = recorder, containers
        self._written: dict[tuple[type[Any], str], PodSeen | NamespaceSeen | SessionSeen] = {}

    def pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """A pod came, changed or went."""
        self._containers.pod_changed(old, new)
        self._put(PodSeen(_key(new or old), lean_pod(new, debugs=self._containers.debugs_node(new)) if new else None))

    def namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        """A namespace came, changed or went."""
        self._containers.namespace_changed(old, new)
        self._put(
            NamespaceSeen(_key(new or old), Namespace(lean_meta(new.metadata, new.metadata.labels)) if new else None)
        )

    def session_changed(self, old: AuditSession | None, new: AuditSession | None) -> None:
        """A request came or went; one that was closed before has no more processes to come."""
        if old or new is None or new.status.phase != "Closed":
            self._put(SessionSeen(_key(new or old), AuditSession(lean_meta(new.metadata), new.spec) if new else None))

    def _put(self, seen: PodSeen | NamespaceSeen | SessionSeen) -> None:
        slot = (type(seen), seen.key)
        if self._written.get(slot) != seen:  # most changes are of fields that are not read here
            self._written[slot] = seen
            self._recorder.put(seen)


class TappedSource(AuditSource):
    """SECCOMP records whose text is kept until the pipeline has them; an unreadable one is written down at once."""

    recorder: Recorder

    def __init__(self, audit: socket.socket) -> None:
        super().__init__(audit)
        self._texts: dict[int, bytes] = {}

    def text(self, record: SeccompEvent) -> bytes:
        """What the kernel sent for a record."""
        return self._texts.pop(record.serial, b"")

    def _event(self, message: bytes, port: int) -> SeccompEvent | None:
        unparsable = self.unparsable
        record = super()._event(message, port)
        if record:
            self._texts[record.serial] = message[_NLMSG_HEADER:]
            if len(self._texts) > _MOST_TEXTS:
                del self._texts[next(iter(self._texts))]
        elif self.unparsable > unparsable:
            self.recorder.put(recording.Audit(recording.text(message[_NLMSG_HEADER:])))
        return record


class TappedTree(Tree):
    """Writes down the processes that were there before."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def backfill(self, node: Node) -> None:
        """Take in a process that was there before."""
        super().backfill(node)
        if node.entry:
            argv = recording.text(node.argv or b"")
            entry = node.entry
            self._recorder.put(
                recording.Backfilled(
                    node.container_id, node.process, node.parent, node.born, entry.process, argv, entry.origin
                )
            )


class TappedCorrelator(Correlator):
    """Writes down what it is given, unless that is known to be of a container that is not recorded."""

    def record_into(self, recorder: Recorder, source: TappedSource | None) -> None:
        """Begin, before anything is given; `source` still has the text of records."""
        self._recorder, self._source = recorder, source
        self._located: dict[int, CgroupRef] = {}
        self._unsettled: dict[int, ProcessEvent] = {}
        """An event of each cgroup whose pod is not known yet."""

    def take(self, event: ProcessEvent, now: float, seccomp: SeccompEvent | None = None) -> None:
        """Take an event of the sensor."""
        ref = self._locate(event)
        if self._containers.look(ref).recorded is not False:
            self._recorder.put(event, self._text(seccomp) if seccomp else b"")
        super().take(event, now, seccomp)

    def take_seccomp(self, record: SeccompEvent, now: float) -> None:
        """Take a SECCOMP record."""
        self._recorder.put(recording.Audit(recording.text(self._text(record))))
        super().take_seccomp(record, now)

    def advance(self, now: float) -> list[Correlated]:
        """Let time go by."""
        for event in list(self._unsettled.values()):
            self._locate(event)
        return super().advance(now)

    def forget_container(self, container_id: str) -> None:
        """A container is gone, or no longer recorded."""
        if container_id in {ref.container_id for ref in self._located.values()}:
            self._recorder.put(recording.Gone(container_id))
        super().forget_container(container_id)

    def _locate(self, event: ProcessEvent) -> CgroupRef:
        ref = self._cgroups.of(event)
        if self._located.get(event.cgroup) != ref:
            self._located[event.cgroup] = ref
            self._recorder.put(recording.Located(event.cgroup, ref))
            self._unsettled.pop(event.cgroup, None)
            if ref.pod_uid is None and len(self._unsettled) < _MOST_UNSETTLED:
                self._unsettled[event.cgroup] = event
        return ref

    def _text(self, record: SeccompEvent) -> bytes:
        return self._source.text(record) if self._source else b""


def _key(thing: Pod | Namespace | AuditSession | None) -> str:
    meta = thing.metadata if thing else ObjectMeta()
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
