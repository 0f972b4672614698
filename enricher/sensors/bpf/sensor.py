"""Processes as eBPF reports them: every fork, exec and exit of recorded containers, complete.

The kernel passes on what is recorded or not decided yet; the decisions go back to it from here.
"""

import logging
import selectors
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from enricher.containers.cgroup_resolver import CgroupfsResolver
from enricher.containers.cgroupfs import find_kubepods
from enricher.containers.containers import CgroupRef, Containers
from enricher.correlate.backfill import backfill
from enricher.correlate.pipeline import Pipeline
from enricher.events import Process, Seccomp
from enricher.netlink import SocketCounters
from enricher.procfs import Proc
from enricher.sensors.bpf.program import BATCH, BpfProgram
from enricher.sensors.entered_from import entered_from, is_entering

_GATHER = 0.05
"""The socket has room for many times as many records as come in that time, and so has the ring."""

log = logging.getLogger(__name__)


class BpfSensor:
    """The sensor of first choice.

    Args:
        cgroup_root: The node's `/sys/fs/cgroup`.
        containers: What is recorded.

    Raises:
        SensorUnavailable: With what is missing.

    """

    name = "bpf"
    weak: tuple[str, ...] = ()

    def __init__(self, cgroup_root: Path, containers: Containers) -> None:
        kubepods = find_kubepods(cgroup_root)
        self.cgroups = CgroupfsResolver(kubepods)
        self._program = BpfProgram.open(kubepods)
        self.reports_failed_execs = "errno" not in self._program.missing
        if self._program.missing:
            log.warning("the eBPF sensor lacks %s on this node", ", ".join(self._program.missing))
        self._attached = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._containers = containers
        containers.is_there = self.cgroups.is_there
        self.behind = False
        self._decided: dict[int, bool] = {}
        self._backfilled = False
        self._seen = (-1, -1)
        self._proc = Proc()

    @property
    def batch_delay(self) -> float:
        """The kernel has read everything already, and the ring keeps it; where much waits there, no time is lost."""
        return 0.0 if self.behind else _GATHER

    def register(self, selector: selectors.BaseSelector) -> None:
        """Wake the loop when there are events."""
        selector.register(self._program, selectors.EVENT_READ)

    def poll_timeout(self) -> float:
        """Nothing but the ring is waited for."""
        return float("inf")

    def resume(self, pipeline: Pipeline, containers: set[str], outside: Iterable[tuple[Process, str]]) -> None:
        """Go on with containers that were recorded, until the API says otherwise, and with who has left them."""
        self.cgroups.scan()
        cgroups = {place.container_id: cgroup for cgroup, place in self.cgroups.known.items() if not place.on_node}
        for container_id in containers & cgroups.keys():
            self._decided[cgroups[container_id]] = True
            self._program.decide(cgroups[container_id], record=True)
        for process, container_id in outside:
            if container_id in cgroups:
                self._program.mark(process, cgroups[container_id])
        self._backfill_all(pipeline)

    def seccomp(self, pipeline: Pipeline, record: Seccomp, now: float) -> None:
        """A SECCOMP record is the other half of an event."""
        pipeline.seccomp_record(record, now)

    def advance(self, pipeline: Pipeline, now: float) -> None:
        """Feed what happened, then tell the kernel what has been decided since."""
        if not self._backfilled:
            self._backfill_all(pipeline)
        events = self._program.events()
        self.behind = len(events) >= BATCH
        for event in events:
            if event.entered_by_namespace and is_entering(event, pipeline.tree):
                event = replace(event, entered_from=entered_from(event))  # noqa: PLW2901 - the same, and more
            pipeline.process_event(event, now)
        news = (self._containers.version, len(self.cgroups.known))
        if news != self._seen:
            self._seen = news
            self._decide(pipeline)

    def maintain(self, pipeline: Pipeline, now: float) -> None:  # noqa: ARG002 - the other sensor needs it
        """Look for containers that came before us or are gone; to be called every few seconds."""
        self.cgroups.scan()
        for cgroup in self._decided.keys() - self.cgroups.known.keys():
            del self._decided[cgroup]
            self._program.forget(cgroup)
        for place in self.cgroups.forget_gone():
            pipeline.forget_container(place.container_id)
            self._containers.forget(place.container_id)

    def lost(self) -> dict[str, int]:
        """Events for which the ring buffer had no room, and those that were not understood."""
        return {"ring-full": self._program.lost(), "undecodable": self._program.undecodable}

    def socket(self) -> SocketCounters:
        """It has none: nobody else can write into the ring."""
        return SocketCounters()

    def lost_per_cpu(self) -> list[int]:
        """Events that found the ring full, by the CPU they happened on."""
        return self._program.lost_per_cpu()

    def unmarked(self) -> int:
        """Processes for whose mark there was no room."""
        return self._program.unmarked()

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._program.close()

    def _decide(self, pipeline: Pipeline) -> None:
        for cgroup, place in list(self.cgroups.known.items()):
            recorded = self._containers.look(place).recorded
            if recorded is None or self._decided.get(cgroup) is recorded:
                continue
            was_ignored = self._decided.get(cgroup) is False
            self._decided[cgroup] = recorded
            if place.on_node:
                self._program.tell_node(told=recorded)
            else:
                self._program.decide(cgroup, record=recorded)
            if not recorded:
                pipeline.forget_container(place.container_id)
            elif was_ignored:  # the others' processes came before us, or were seen to be born
                self._backfill(pipeline, cgroup, place)

    def _backfill_all(self, pipeline: Pipeline) -> None:
        # Before any event: the first exec that is seen in a container would be taken for its init.
        self._backfilled = True
        self.cgroups.scan()
        for cgroup, place in self.cgroups.known.items():
            self._backfill(pipeline, cgroup, place, before=self._attached)

    def _backfill(self, pipeline: Pipeline, cgroup: int, place: CgroupRef, before: int | None = None) -> None:
        """Take in who is there; who was born later than `before` is told of by the kernel, with how it came in."""
        found = filter(None, map(self._proc.process, self.cgroups.pids(cgroup)))
        older = (info for info in found if before is None or info.process.born < before)
        backfill(pipeline.tree, place.container_id, older)
