"""The agent: one thread that reads what the kernel says, feeds the pipeline and writes the trail.

Nothing in this thread waits on the network or on another thread. The API's side of things lives in the mirrors' and
the reporter's threads.
"""

import logging
import selectors
import time
from typing import Protocol

from enricher.attribute.env_binary import EnvReport
from enricher.clock import Clock
from enricher.events import Seccomp
from enricher.ledgers.places import Places
from enricher.outlet import Outlet
from enricher.pipeline import Pipeline
from enricher.report import Reporter
from enricher.sources.netlink import AuditSource
from enricher.trail.writer import Writer
from exectrail.filter_file import FilterFile
from exectrail.nodetrail import MOST_ENV, NodeTrailStatus

_HELD, _IDLE = 0.05, 1.0
"""How long to wait for the kernel, in seconds: while records are held, and else."""
_TIDY, _HEARTBEAT = 5.0, 30.0
_REMEMBER_PIDS_NS = 2_000_000_000

log = logging.getLogger(__name__)


class Provider(Protocol):
    """A process ledger at work: `provider_bpf`, else `provider_procconn`, else `provider_proc`."""

    name: str
    weak: tuple[str, ...]
    gather: float
    """How long to let events gather once there are some, in seconds: being woken costs several times more than an
    event. 0 where what happened can be seen only for a moment."""
    loss: str
    """The cause that its losses have."""
    failures_told: bool
    """Whether it tells of failed execs."""

    @property
    def places(self) -> Places:
        """Where its events' processes are."""

    def register(self, selector: selectors.BaseSelector) -> None:
        """Have the loop woken when there is something."""

    def patience(self) -> float:
        """How long the loop may wait for the kernel before it comes round, in seconds."""

    def seccomp(self, pipeline: Pipeline, record: Seccomp, now: float) -> None:
        """Do with a SECCOMP record what this ledger does with them."""

    def advance(self, pipeline: Pipeline, now: float) -> None:
        """Feed what happened."""

    def tidy(self, pipeline: Pipeline, now: float) -> None:
        """Look after what came before or is gone."""

    def lost(self) -> int:
        """Events that the kernel had no room for."""

    def close(self) -> None:
        """Give everything back."""


class Agent:
    """Reads, joins and writes until stopped.

    Args:
        provider: The process ledger.
        source: The SECCOMP records; None where they cannot be read.
        pipeline: Joins the two.
        outlet: Takes what this node lost.
        writer: Where records go.
        reporter: Whom to tell about this node; None without an API.
        env: Looks for `env` programs; None where it may not.
        filters: Followed when their file changes.
        clock: Kept right here.

    """

    def __init__(
        self,
        provider: Provider,
        source: AuditSource | None,
        pipeline: Pipeline,
        outlet: Outlet,
        writer: Writer,
        reporter: Reporter | None,
        clock: Clock,
        env: EnvReport | None = None,
        filters: FilterFile | None = None,
    ) -> None:
        self.pipeline, self.provider, self.source, self.writer = pipeline, provider, source, writer
        self.progress = time.monotonic()
        """When the loop last came round, for the health check."""
        self._outlet, self._reporter, self._clock = outlet, reporter, clock
        outlet.losses = self.lost
        self._env, self._env_told = env, dict[str, bool]()
        self.filters = filters
        self._selector = selectors.DefaultSelector()
        self._stopped = False
        self._next_second = self._next_tidy = self._next_heartbeat = 0.0
        self._lost_told: dict[str, int] = {}

    def run(self) -> None:
        """Work until `stop`; then write what is held and hand everything to the disk."""
        self.provider.register(self._selector)
        if self.source:
            self._selector.register(self.source, selectors.EVENT_READ)
        while not self._stopped:
            patience = min(_HELD if self.pipeline.held else _IDLE, self.provider.patience())
            if self._selector.select(patience) and self.provider.gather:
                time.sleep(self.provider.gather)
            self._round(time.monotonic())
        self._round(time.monotonic())
        self.pipeline.flush()
        self._tell_losses()
        self.writer.close()
        self.provider.close()
        self._selector.close()

    def stop(self) -> None:
        """End the loop after its present round."""
        self._stopped = True

    def lost(self) -> dict[str, int]:
        """Everything lost since the start, by cause: on the way here, and here."""
        lost = self.lost_before_reading() | self.pipeline.tally.lost
        return {cause: count for cause, count in lost.items() if count}

    def lost_before_reading(self) -> dict[str, int]:
        """What the kernel had no room for, and what could not be read, by cause."""
        lost = {self.provider.loss: self.provider.lost()}
        if self.source:
            lost |= {"netlink-overrun": self.source.dropped(), "unparsable": self.source.unparsable}
        return lost

    def _round(self, now: float) -> None:
        # The records before the events: a record is made before its event, so its half is mostly there in time.
        for record in self.source.read() if self.source else ():
            self.provider.seccomp(self.pipeline, record, now)
        self.provider.advance(self.pipeline, now)
        self.pipeline.advance(now)
        self.writer.commit()
        if now >= self._next_second:
            self._next_second = now + 1.0
            self._each_second(now)
        self.progress = now

    def _each_second(self, now: float) -> None:
        self._clock.adjust()
        self.pipeline.tree.forget_gone(time.clock_gettime_ns(time.CLOCK_BOOTTIME) - _REMEMBER_PIDS_NS)
        if now >= self._next_tidy:
            self._next_tidy = now + _TIDY
            self.provider.tidy(self.pipeline, now)
        self._follow_filters()
        self._outlet.tick(now, time.time_ns() // 1_000_000)
        self._tell_losses()
        for gone in self.writer.removed():
            self._outlet.gap({gone.reason: gone.records}, time.time_ns() // 1_000_000, gone.reason)
        if self._reporter and (self._env_changed() or now >= self._next_heartbeat):
            self._next_heartbeat = now + _HEARTBEAT
            self._reporter.node(self.status())

    def _follow_filters(self) -> None:
        if self.filters and self.filters.refresh():
            if self.filters.problem:
                log.error(
                    "the filters changed to ones that cannot be used, so the old ones stay: %s", self.filters.problem
                )
            else:
                log.info("the filters changed: the new ones are in use")

    def _env_changed(self) -> bool:
        """Have new containers looked into; whether something was found since it was last told."""
        if self._env is None:
            return False
        inits = self.pipeline.tree.inits()
        for container_id, process in inits.items():
            if container := self.pipeline.container(container_id):
                self._env.want(container, process.pid)
        self._env.keep(set(inits))
        before, self._env_told = self._env_told, self._env.known()
        return before != self._env_told

    def _tell_losses(self) -> None:
        """Losses stand in the trail itself, as soon as there is room for a record."""
        lost = self.lost()
        fresh = {cause: count - self._lost_told.get(cause, 0) for cause, count in lost.items()}
        fresh = {cause: count for cause, count in fresh.items() if count > 0}
        if fresh and not self.writer.full:
            self._lost_told = lost
            self._outlet.gap(fresh, time.time_ns() // 1_000_000)
            self.writer.commit()

    def status(self) -> NodeTrailStatus:
        """How this node does now."""
        return NodeTrailStatus(
            source="netlink" if self.source else "none",
            ledger=self.provider.name,
            weak=list(self.provider.weak),
            lost=sum(self.lost().values()),
            seq=self.writer.seq,
            lag_ms=self.pipeline.lag_ms(time.monotonic()),
            env=dict(list(self._env_told.items())[:MOST_ENV]),
            heartbeat=self._clock.stamp(time.time_ns() // 1_000_000),
        )
