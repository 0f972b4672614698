"""What this node reports of itself, and when: a snapshot each second, and its NodeTrail."""

import copy
import math
import time
from collections.abc import Callable

from enricher.audit.choice import Choice
from enricher.clock import Clock
from enricher.containers.env_binary import EnvReport
from enricher.correlate.correlator import Correlator
from enricher.sensors.sensor import Sensor
from enricher.status.heartbeat import interval, jittered
from enricher.status.losses import Losses
from enricher.status.reporter import Reporter
from enricher.status.snapshot import Snapshot
from enricher.trail.writer import Writer
from exectrail.contracts.nodetrail import MOST_ENV, MOST_REASON, MOST_UNCOVERED, NodeTrailStatus, UncoveredPod
from exectrail.filter.file import FilterFile
from exectrail.filter.filters import Filters

_SEARCH_EVERY = 5.0


class NodeStatus:
    """Looks at the parts of the agent, and reports to the API at each heartbeat and when something changed.

    Args:
        sensor: The sensor.
        chosen: The audit source, and why that one.
        correlator, writer, losses, clock: At work.
        reporter: Writes to the API; None without one.
        filters: The filters; None without any.
        checkpoint_failures: How often the checkpoint could not be written.
        env: Looks for `env` programs; None where it may not.
        uncovered: Finds the pods that are to be recorded and cannot be.
        heartbeat: How often to report, in seconds; less often in a large cluster.

    """

    def __init__(
        self,
        sensor: Sensor,
        chosen: Choice,
        correlator: Correlator,
        writer: Writer,
        losses: Losses,
        clock: Clock,
        reporter: Reporter | None = None,
        filters: FilterFile | None = None,
        checkpoint_failures: Callable[[], int] = int,
        env: EnvReport | None = None,
        uncovered: Callable[[], list[UncoveredPod]] = list,
        heartbeat: float = 30.0,
    ) -> None:
        self._sensor, self._chosen, self._correlator, self._writer = sensor, chosen, correlator, writer
        self._losses, self._clock, self._reporter, self._filters = losses, clock, reporter, filters
        self._checkpoint_failures = checkpoint_failures
        self._env, self._find_uncovered, self._heartbeat = env, uncovered, heartbeat
        self._known_env: dict[str, bool] = {}
        self._uncovered: list[UncoveredPod] = []
        self._next = self._next_search = 0.0
        self._since = clock.stamp(time.time_ns() // 1_000_000)
        self.snapshot = self._look(time.monotonic())
        """The latest; other threads read nothing else."""

    def publish(self, now: float) -> None:
        """Make a new snapshot, and report to the API if it is time or something changed; `now` in monotonic seconds."""
        found = (self._found_env(), self._found_uncovered(now))
        self.snapshot = self._look(now)
        if self._reporter and (any(found) or now >= self._next):
            self._next = now + jittered(self._interval)
            self._reporter.node(self.snapshot.trail)

    @property
    def _interval(self) -> float:
        return interval(self._heartbeat, self._reporter.nodes if self._reporter else 1)

    def _look(self, now: float) -> Snapshot:
        sensor, filters, tree = self._sensor, self._filters, self._correlator.tree
        return Snapshot(
            at=now,
            trail=self._trail(now),
            tally=copy.deepcopy(self._correlator.tally),
            lost_before_reading=self._losses.before_reading(),
            ring_full=sensor.lost_per_cpu(),
            unmarked=sensor.unmarked(),
            sockets={each.name: each.socket() for each in (self._chosen.source, sensor) if each},
            filter_hits=_by_rule(filters.filters) if filters and filters.filters else None,
            filter_reloads_refused=filters.failures if filters else 0,
            write_failures=self._writer.failures,
            unwritten_bytes=self._writer.waiting_bytes,
            checkpoint_failures=self._checkpoint_failures(),
            held=self._correlator.held,
            processes=len(tree),
            processes_evicted=tree.evicted,
        )

    def _trail(self, now: float) -> NodeTrailStatus:
        lost = self._losses.by_cause()
        return NodeTrailStatus(
            audit_source=self._chosen.name,
            audit_source_reason=self._chosen.reason[:MOST_REASON],
            sensor=self._sensor.name,
            weak=[*self._sensor.weak, *(() if self._losses.exact else ("lost",))],
            lost=sum(lost.values()),
            lost_by_cause=lost,
            seq=self._writer.written,
            lag_ms=self._correlator.lag_ms(now),
            env=dict(list(self._known_env.items())[:MOST_ENV]),
            uncovered=self._uncovered[:MOST_UNCOVERED],
            uncovered_pods=len(self._uncovered),
            since=self._since,
            heartbeat=self._clock.stamp(time.time_ns() // 1_000_000),
            heartbeat_seconds=math.ceil(self._interval),
        )

    def _found_uncovered(self, now: float) -> bool:
        """Look for pods that cannot be recorded, every few seconds; whether something changed."""
        if now < self._next_search:
            return False
        self._next_search = now + _SEARCH_EVERY
        before, self._uncovered = self._uncovered, self._find_uncovered()
        return before != self._uncovered

    def _found_env(self) -> bool:
        """Look for `env` in new containers; whether something changed."""
        if self._env is None:
            return False
        for process, container in self._correlator.inits().items():
            self._env.want(container, process.pid)
        self._env.keep(set(self._correlator.tree.inits()))
        before, self._known_env = self._known_env, self._env.known()
        return before != self._known_env


def _by_rule(filters: Filters) -> dict[str, int]:
    return {"none" if rule is None else str(rule): count for rule, count in filters.hits.items()}
