"""The agent: one thread that reads what the kernel says, feeds the pipeline and writes the trail.

Nothing in this thread waits on the network or on another thread. The API's side of things lives in the mirrors' and
the reporter's threads.
"""

import logging
import selectors
import time
from typing import Protocol

from enricher.clock import Clock
from enricher.compose import Composer
from enricher.events import Seccomp
from enricher.netlink import AuditSource
from enricher.pipeline import Pipeline
from enricher.report import Reporter
from enricher.writer import Writer
from exectrail.nodetrail import NodeTrailStatus

_HELD, _IDLE = 0.05, 1.0
"""How long to wait for the kernel, in seconds: while records are held, and else."""
_GATHER = 0.01
"""How long to let events gather once there are some: being woken costs several times more than an event."""
_TIDY, _HEARTBEAT = 5.0, 30.0
_REMEMBER_PIDS_NS = 2_000_000_000

log = logging.getLogger(__name__)


class Provider(Protocol):
    """A process ledger at work: `provider_bpf`, or `provider_proc` where that cannot be had."""

    name: str
    weak: tuple[str, ...]

    def register(self, selector: selectors.BaseSelector) -> None:
        """Have the loop woken when there is something."""

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
        composer: Makes gap records.
        writer: Where records go.
        reporter: Whom to tell about this node; None without an API.
        clock: Kept right here.

    """

    def __init__(
        self,
        provider: Provider,
        source: AuditSource | None,
        pipeline: Pipeline,
        composer: Composer,
        writer: Writer,
        reporter: Reporter | None,
        clock: Clock,
    ) -> None:
        self.pipeline, self.provider, self.source, self.writer = pipeline, provider, source, writer
        self.progress = time.monotonic()
        """When the loop last came round, for the health check."""
        self._composer, self._reporter, self._clock = composer, reporter, clock
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
            if self._selector.select(_HELD if self.pipeline.held else _IDLE):
                time.sleep(_GATHER)
            self._round(time.monotonic())
        self._round(time.monotonic())
        self.pipeline.flush()
        self._tell_losses()
        self.writer.close()
        self.provider.close()
        self._selector.close()

    def stop(self) -> None:
        """End the loop after its present round; a signal's arrival wakes it."""
        self._stopped = True

    def lost(self) -> dict[str, int]:
        """Everything lost since the start, by cause: in the kernel, and here."""
        lost = dict(self.pipeline.tally.lost)
        lost["ring-full"] = self.provider.lost()
        if self.source:
            lost["netlink-overrun"] = self.source.dropped()
            lost["unparsable"] = self.source.unparsable
        return {cause: count for cause, count in lost.items() if count}

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
        self._tell_losses()
        self.writer.follow()
        if self._reporter and now >= self._next_heartbeat:
            self._next_heartbeat = now + _HEARTBEAT
            self._reporter.node(self.status())

    def _tell_losses(self) -> None:
        """Losses stand in the trail itself, as soon as there is room for a record."""
        lost = self.lost()
        fresh = {cause: count - self._lost_told.get(cause, 0) for cause, count in lost.items()}
        fresh = {cause: count for cause, count in fresh.items() if count > 0}
        if fresh and not self.writer.full:
            self._lost_told = lost
            self.pipeline.make_gap(self._composer.gap(fresh, time.time_ns() // 1_000_000))
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
            heartbeat=self._clock.stamp(time.time_ns() // 1_000_000),
        )
