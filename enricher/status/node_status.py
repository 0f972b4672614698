"""What this node reports of itself in its NodeTrail, and when."""

import time
from collections.abc import Callable

from enricher.audit.choice import Choice
from enricher.clock import Clock
from enricher.containers.env_binary import EnvReport
from enricher.correlate.correlator import Correlator
from enricher.sensors.sensor import Sensor
from enricher.status.losses import Losses
from enricher.status.reporter import Reporter
from enricher.trail.writer import Writer
from exectrail.contracts.nodetrail import MOST_ENV, MOST_REASON, MOST_UNCOVERED, NodeTrailStatus, UncoveredPod


class NodeStatus:
    """Looks at the parts of the agent, and reports to the API at each heartbeat and when something changed.

    Args:
        sensor: The sensor.
        chosen: The audit source, and why that one.
        correlator, writer, losses, clock: At work.
        reporter: Writes to the API; None without one.
        env: Looks for `env` programs; None where it may not.
        uncovered: Finds the pods that are to be recorded and cannot be.
        heartbeat: How often to report, in seconds.

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
        env: EnvReport | None = None,
        uncovered: Callable[[], list[UncoveredPod]] = list,
        heartbeat: float = 30.0,
    ) -> None:
        self._sensor, self._chosen, self._correlator, self._writer = sensor, chosen, correlator, writer
        self._losses, self._clock, self._reporter = losses, clock, reporter
        self._env, self._find_uncovered, self._heartbeat = env, uncovered, heartbeat
        self._known_env: dict[str, bool] = {}
        self._uncovered: list[UncoveredPod] = []
        self._found = False
        self._next = 0.0
        self._since = clock.stamp(time.time_ns() // 1_000_000)

    def look(self) -> None:
        """Look for pods that cannot be recorded."""
        before, self._uncovered = self._uncovered, self._find_uncovered()
        self._found |= before != self._uncovered

    def report(self, now: float) -> None:
        """Report to the API, if it is time or something changed; `now` in seconds of the monotonic clock."""
        if self._reporter and (self._env_found() or self._found or now >= self._next):
            self._found = False
            self._next = now + self._heartbeat
            self._reporter.node(self.now())

    def now(self) -> NodeTrailStatus:
        """How this node does."""
        lost = self._losses.by_cause()
        return NodeTrailStatus(
            audit_source=self._chosen.name,
            audit_source_reason=self._chosen.reason[:MOST_REASON],
            sensor=self._sensor.name,
            weak=[*self._sensor.weak, *(() if self._losses.exact else ("lost",))],
            lost=sum(lost.values()),
            lost_by_cause=lost,
            seq=self._writer.seq,
            lag_ms=self._correlator.lag_ms(time.monotonic()),
            env=dict(list(self._known_env.items())[:MOST_ENV]),
            uncovered=self._uncovered[:MOST_UNCOVERED],
            uncovered_pods=len(self._uncovered),
            since=self._since,
            heartbeat=self._clock.stamp(time.time_ns() // 1_000_000),
        )

    def _env_found(self) -> bool:
        """Look for `env` in new containers; whether something changed since the last report."""
        if self._env is None:
            return False
        for process, container in self._correlator.inits().items():
            self._env.want(container, process.pid)
        self._env.keep(set(self._correlator.tree.inits()))
        before, self._known_env = self._known_env, self._env.known()
        return before != self._known_env
