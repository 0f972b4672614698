"""The life of containers, whichever sensor reports their processes: found, decided on, taken in, forgotten.

The sensor reports events by cgroup. Here is known which container that is, and what was decided about it; from here a
container's processes that were there before are taken into the process tree, and all that is gone is forgotten.
"""

import time
from collections.abc import Callable, Collection, Iterable

from enricher.containers.cgroup_resolver import NodeCgroups
from enricher.containers.containers import Containers
from enricher.correlate.backfill import backfill
from enricher.correlate.correlator import Correlator
from enricher.correlate.lost_ends import LostEnds
from enricher.events import UNSEEN_END, ExitEvent, Process, ProcessEvent, SeccompEvent
from enricher.procfs import Proc
from enricher.sensors.sensor import KnownProcess, Sensed, Sensor


class ContainerTracker:
    """Feeds the correlator with what a sensor reports, and keeps both up with the node's containers.

    Args:
        sensor: The sensor.
        cgroups: Knows which container each of the sensor's cgroups is.
        containers: What is recorded; learns here which containers are there still.
        correlator: Takes the events, and has the process tree.
        is_alive: Whether a process goes on, by /proc.

    """

    def __init__(
        self,
        sensor: Sensor,
        cgroups: NodeCgroups,
        containers: Containers,
        correlator: Correlator,
        is_alive: Callable[[Process], bool] | None = None,
    ) -> None:
        self.sensor = sensor
        self._is_alive = is_alive or Proc().is_alive
        self._cgroups, self._containers, self._correlator = cgroups, containers, correlator
        self._lost_ends = LostEnds(sensor, correlator.tree, self._is_alive)
        containers.is_there = cgroups.is_there
        self._decided: dict[int, bool] = {}
        self._seen = (-1, -1)
        self._has_begun = False
        self._unfound: set[str] = set()
        """Containers without a known cgroup and without live processes, as of the last look."""

    def resume(self, containers: set[str], outside: Iterable[tuple[Process, str]]) -> None:
        """Go on, before anything else, with what an agent before this one knew; the correlator's tree has it by now.

        Args:
            containers: Those that were recorded, by id: they are, until the API says otherwise.
            outside: Their processes that have left their cgroup, with the container.

        """
        self._look_around(time.monotonic())
        cgroups = self._own_cgroups()
        for container_id in containers & cgroups.keys():
            self._decided[cgroups[container_id]] = True
            self.sensor.decide(cgroups[container_id], record=True)
        left = {process for process, _ in outside}
        self.sensor.resume(
            KnownProcess(node.process, cgroups.get(node.container_id, 0), node.argv or b"", node.process in left)
            for node in self._correlator.tree.nodes()
        )
        self._begin()

    def take(self, seccomp: SeccompEvent, now: float) -> None:
        """Take a SECCOMP event: for the sensor, or to be joined with the event of the same call."""
        if not self.sensor.take(seccomp, now):
            self._correlator.take_seccomp(seccomp, now)

    def advance(self, now: float) -> None:
        """Feed what happened, then act on what has been decided since."""
        sensed = self.sensor.poll(now)
        if not self._has_begun:
            self._look_around(now)
            self._begin()
        self._feed(sensed, now)
        self._count_dropped()
        news = (self._containers.version, len(self._cgroups.known))
        if news != self._seen:
            self._seen = news
            self._backfill(self._decide())

    def maintain(self, now: float) -> None:
        """Look for containers that came unnoticed or are gone; to be called every few seconds."""
        self._look_around(now)
        if self.sensor.reports_forks_and_exits:
            self._report_lost_ends(now)
        else:
            refs = self._cgroups.known.items()
            self._backfill({cgroup for cgroup, ref in refs if self._containers.look(ref).recorded})
        for cgroup in self._decided.keys() - self._cgroups.known.keys():
            del self._decided[cgroup]
            self.sensor.forget(cgroup)
        populated = self.sensor.populated()
        for ref in self._cgroups.forget_gone(lambda cgroup: cgroup in populated or self._is_outlived(cgroup)):
            self._seen = (-1, -1)
            if not ref.inner:
                self._correlator.forget_container(ref.container_id)
                self._containers.forget(ref.container_id)
        self._forget_unfound()

    def _forget_unfound(self) -> None:
        """Forget the containers that had gone before their cgroup was found, once their events have been read."""
        tree, known = self._correlator.tree, {ref.container_id for ref in self._cgroups.known.values()}
        unfound = tree.containers() - known
        over = {each for each in unfound if not any(map(self._is_alive, tree.of_container(each)))}
        if not self.sensor.behind:
            for container_id in over & self._unfound:
                self._correlator.forget_container(container_id)
        self._unfound = over

    def _is_outlived(self, cgroup: int) -> bool:
        """Whether a process goes on that has left the cgroup: it is followed to its end."""
        ref = self._cgroups.known[cgroup]
        return not ref.inner and any(map(self._is_alive, self._correlator.tree.of_container(ref.container_id)))

    def _own_cgroups(self) -> dict[str, int]:
        """The containers' own cgroups, by the containers' ids."""
        known = self._cgroups.known.items()
        return {ref.container_id: cgroup for cgroup, ref in known if not (ref.on_node or ref.inner)}

    def _report_lost_ends(self, now: float) -> None:
        if found := self._lost_ends.found():
            at, cgroups = time.clock_gettime_ns(time.CLOCK_BOOTTIME), self._own_cgroups()
            ends = (
                ExitEvent(at, cgroups[node.container_id], node.process, None, None, UNSEEN_END)
                for node in found
                if node.container_id in cgroups
            )
            self._feed([(end, None) for end in ends], now)

    def _look_around(self, now: float) -> None:
        self._feed(self.sensor.maintain(), now)
        self._cgroups.scan()

    def _begin(self) -> None:
        """Take in all that was there, before any event: else a container's first exec would be taken for its init's."""
        self._has_begun = True
        self._decide()
        refs = self._cgroups.known.items()
        ignored = {ref.container_id for cgroup, ref in refs if self._decided.get(cgroup) is False}
        self._backfill({cgroup for cgroup, ref in refs if not (ref.on_node or ref.container_id in ignored)})

    def _feed(self, sensed: Iterable[Sensed], now: float) -> None:
        correlator, looks_up = self._correlator, not self.sensor.reports_forks_and_exits
        for event, seccomp in sensed:
            if event is None:
                if seccomp is not None:
                    correlator.take_seccomp(seccomp, now)
                continue
            if seccomp is not None:
                correlator.tally.read["seccomp"] += 1
                correlator.tally.merged["seccomp"] += 1
            if looks_up:
                self._backfill_unseen(event)
            correlator.take(event, now, seccomp)

    def _backfill_unseen(self, event: ProcessEvent) -> None:
        """Take in a container that came unnoticed, before the first event there."""
        ref = self._cgroups.known.get(event.cgroup)
        if ref is None or isinstance(event, ExitEvent) or self._decided.get(event.cgroup) is False:
            return
        if not self._correlator.tree.has_init(ref.container_id):
            self._backfill({event.cgroup})

    def _count_dropped(self) -> None:
        tally = self._correlator.tally
        for kind, reason in self.sensor.dropped():
            tally.read[kind] += 1
            counter = tally.lost if reason == "vanished" else tally.filtered
            counter[reason] += 1

    def _decide(self) -> set[int]:
        """Hand new decisions to the sensor; the cgroups where it has not reported all that is there."""
        unseen: set[int] = set()
        for cgroup, ref in list(self._cgroups.known.items()):
            if ref.inner:  # goes by its container's: it may be gone while processes that have left it go on
                continue
            recorded = self._containers.look(ref).recorded
            if recorded is None or self._decided.get(cgroup) is recorded:
                continue
            self._decided[cgroup] = recorded
            if self.sensor.decide(cgroup, record=recorded):
                unseen.add(cgroup)
            if not recorded:
                self._correlator.forget_container(ref.container_id)
        whole = {self._cgroups.known[cgroup].container_id for cgroup in unseen}
        return unseen | {cgroup for cgroup, ref in self._cgroups.known.items() if ref.container_id in whole}

    def _backfill(self, cgroups: Collection[int]) -> None:
        if not cgroups:
            return
        for cgroup, infos in self.sensor.processes(cgroups).items():
            if ref := self._cgroups.known.get(cgroup):
                backfill(self._correlator.tree, ref.container_id, infos)
