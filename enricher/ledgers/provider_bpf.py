"""Processes as eBPF reports them: every fork, exec and exit of recorded containers, complete.

The kernel passes on what is recorded or not decided yet; the decisions go back to it from here.
"""

import logging
import selectors
from pathlib import Path

from enricher.attribute.containers import Containers, Place
from enricher.bpf.ledger import BpfLedger
from enricher.events import Seccomp
from enricher.ledgers.adopt import adopt
from enricher.ledgers.cgroupfs import find_kubepods
from enricher.ledgers.places import CgroupPlaces
from enricher.ledgers.proc import Proc
from enricher.pipeline import Pipeline

log = logging.getLogger(__name__)


class BpfProvider:
    """The ledger of first choice.

    Args:
        cgroup_root: The node's `/sys/fs/cgroup`.
        containers: What is recorded.

    Raises:
        LedgerUnavailable: With what is missing.

    """

    name = "bpf"
    weak: tuple[str, ...] = ()
    gather = 0.01
    """The kernel has read everything already: the ring keeps it."""
    loss = "ring-full"

    def __init__(self, cgroup_root: Path, containers: Containers) -> None:
        kubepods = find_kubepods(cgroup_root)
        self.places = CgroupPlaces(kubepods)
        self._ledger = BpfLedger.open(kubepods)
        self.failures_told = "errno" not in self._ledger.missing
        if self._ledger.missing:
            log.warning("the eBPF ledger lacks %s on this node", ", ".join(self._ledger.missing))
        self._containers = containers
        self._decided: dict[int, bool] = {}
        self._adopted = False
        self._seen = (-1, -1)
        self._proc = Proc()

    def register(self, selector: selectors.BaseSelector) -> None:
        """Wake the loop when there are events."""
        selector.register(self._ledger, selectors.EVENT_READ)

    def patience(self) -> float:
        """Nothing but the ring is waited for."""
        return float("inf")

    def seccomp(self, pipeline: Pipeline, record: Seccomp, now: float) -> None:
        """A SECCOMP record is the other half of an event."""
        pipeline.seccomp_record(record, now)

    def advance(self, pipeline: Pipeline, now: float) -> None:
        """Feed what happened, then tell the kernel what has been decided since."""
        if not self._adopted:
            # Before any event: the first exec that is seen in a container would be taken for its init.
            self._adopted = True
            self.places.scan()
            for cgroup, place in self.places.known.items():
                self._adopt(pipeline, cgroup, place)
        for event in self._ledger.events():
            pipeline.process_event(event, now)
        news = (self._containers.version, len(self.places.known))
        if news != self._seen:
            self._seen = news
            self._decide(pipeline)

    def tidy(self, pipeline: Pipeline, now: float) -> None:  # noqa: ARG002 - the other provider needs it
        """Look for containers that came before us or are gone; to be called every few seconds."""
        self.places.scan()
        for cgroup in self._decided.keys() - self.places.known.keys():
            del self._decided[cgroup]
            self._ledger.forget(cgroup)
        for place in self.places.forget_gone():
            pipeline.forget_container(place.container_id)
            self._containers.forget(place.container_id)

    def lost(self) -> int:
        """Events for which the ring buffer had no room."""
        return self._ledger.lost()

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._ledger.close()

    def _decide(self, pipeline: Pipeline) -> None:
        for cgroup, place in list(self.places.known.items()):
            recorded = self._containers.look(place).recorded
            if recorded is None or self._decided.get(cgroup) is recorded:
                continue
            was_ignored = self._decided.get(cgroup) is False
            self._decided[cgroup] = recorded
            self._ledger.decide(cgroup, record=recorded)
            if not recorded:
                pipeline.forget_container(place.container_id)
            elif was_ignored:  # the others' processes came before us, or were seen to be born
                self._adopt(pipeline, cgroup, place)

    def _adopt(self, pipeline: Pipeline, cgroup: int, place: Place) -> None:
        adopt(pipeline.tree, place.container_id, filter(None, map(self._proc.process, self.places.pids(cgroup))))
