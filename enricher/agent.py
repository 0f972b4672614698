"""The agent: one thread that reads what the kernel says, feeds the pipeline and writes the trail.

Nothing in this thread waits on the network or on another thread. The API's side of things lives in the mirrors' and
the reporter's threads.
"""

import logging
import math
import selectors
import time
from collections.abc import Iterable

from enricher.audit.source import Source
from enricher.clock import Clock
from enricher.correlate.attaches import Attached
from enricher.correlate.correlator import Correlator
from enricher.correlate.pending_event import Correlated
from enricher.correlate.tracker import ContainerTracker
from enricher.emit.emitter import Emitter
from enricher.emit.gap import Gap
from enricher.state.restart import Memory
from enricher.status.losses import Losses
from enricher.status.node_status import NodeStatus
from enricher.trail.writer import Writer
from exectrail.filter.file import FilterFile

_HELD, _HALVES, _IDLE = 0.05, 0.25, 1.0
"""How long to wait for the kernel, in seconds: while events are held, for which the API may explain something at any
moment; while only SECCOMP records are, whose events would wake us; and else."""
_TIDY = 5.0
_DRAIN = 2.0
_UNREAD_NS = 50_000_000
"""How long, at most, what happened takes to come where it is read, while there is no backlog."""
_REMEMBER_PIDS_NS = 2_000_000_000

log = logging.getLogger(__name__)


class Agent:
    """Reads, joins and writes until stopped.

    Args:
        tracker: Has the sensor, and feeds the correlator with what that reports.
        source: The SECCOMP records; None where there are none.
        correlator: Joins the two.
        emitter: Takes what this node lost.
        writer: Where records go.
        losses: Written to the trail.
        status: Reported to the API.
        clock: Kept right here.
        memory: Outlives a restart; None where nothing does.
        filters: Followed when their file changes.
        attached: Who attached to a container.

    """

    def __init__(
        self,
        tracker: ContainerTracker,
        source: Source | None,
        correlator: Correlator,
        emitter: Emitter,
        writer: Writer,
        losses: Losses,
        status: NodeStatus,
        clock: Clock,
        memory: Memory | None = None,
        filters: FilterFile | None = None,
        attached: Attached | None = None,
    ) -> None:
        self.sensor, self.source, self.correlator, self.writer = tracker.sensor, source, correlator, writer
        self._tracker = tracker
        self.losses, self.status, self.filters = losses, status, filters
        self.unwritten = 0
        """Once it has ended: the records that could not be written."""
        self._emitter, self._clock, self._memory, self._attached = emitter, clock, memory, attached
        self._complete = self._watching_since = self._read_until = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._selector = selectors.DefaultSelector()
        self._stopped = False
        self._next_second = self._next_tidy = 0.0

    def run(self) -> None:
        """Work until `stop`; then write what is held and hand everything to the disk."""
        self.sensor.register(self._selector)
        if self.source:
            self.source.register(self._selector)
        while not self._stopped:
            if self._selector.select(self._patience()) and self.sensor.batch_delay:
                time.sleep(self.sensor.batch_delay)
            self._round(time.monotonic())
        self._drain()
        before, undecided = self._complete_until(), self.correlator.tally.lost["undecided"]
        self._emit(self.correlator.flush(), math.inf)
        self.losses.write()
        # Ended before the API told what is recorded, it gives up what it holds: that is in the gap, too.
        given_up = self.correlator.tally.lost["undecided"] > undecided
        at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        complete = before if given_up else self._complete_until()
        self.unwritten = self.writer.close()
        if self._memory:
            self._memory.close(at, complete)
        if self.source:
            self.source.close(clean=not self.unwritten)
        self.sensor.close()
        self._selector.close()

    def _drain(self) -> None:
        """Read what is there already; in a storm there is always more, so not for ever."""
        until = time.monotonic() + _DRAIN
        self._round(time.monotonic())
        while self._behind() and time.monotonic() < until:
            self._round(time.monotonic())

    def stop(self) -> None:
        """End the loop after its present round."""
        self._stopped = True

    def _patience(self) -> float:
        held, events = self.correlator.held, self.correlator.held_events
        poll_timeout = min(_HELD if events else _HALVES if held else _IDLE, self.sensor.poll_timeout())
        return min(poll_timeout, self.source.poll_timeout()) if self.source else poll_timeout

    def _round(self, now: float) -> None:
        began = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._clock.adjust()  # before each look: audit records carry the wall clock, which may be set at any moment
        # The records before the events: a record is made before its event, so its half is mostly there in time.
        for record in self.source.read(now) if self.source else ():
            if record.via == "auditlog" and self._clock.boot_ns(record.time) < self._watching_since:
                self.correlator.take_earlier_seccomp(record)
            else:
                self._tracker.take(record, now)
        self._tracker.advance(now)
        if not self._behind():
            self._read_until = began
        settled = self._memory is None or self._memory.settle(now)
        self._emit(self.correlator.advance(now) if settled else self.correlator.take_done(), now)
        self.writer.commit()
        if now >= self._next_second:
            self._next_second = now + 1.0
            self._each_second(now)

    def _emit(self, events: Iterable[Correlated], now: float) -> None:
        for known in events:
            self._emitter.emit(known, now)

    def _each_second(self, now: float) -> None:
        self.correlator.tree.forget_gone(time.clock_gettime_ns(time.CLOCK_BOOTTIME) - _REMEMBER_PIDS_NS)
        if now >= self._next_tidy:
            self._next_tidy = now + _TIDY
            self._tracker.maintain(now)
            self.status.find_uncovered()
        self._follow_filters()
        self._emitter.tick(now, time.time_ns() // 1_000_000)
        self._report_attaches(now)
        self.losses.write()
        self.losses.ask(now)
        self._keep_source()
        for gone in self.writer.removed():
            self._emitter.losses_since({gone.reason: gone.records}, time.time_ns() // 1_000_000, gone.reason)
        if self._memory:
            self._memory.note(time.clock_gettime_ns(time.CLOCK_BOOTTIME), self._complete_until())
        self.status.publish(now)

    def _report_attaches(self, now: float) -> None:
        if self._attached:
            for attach in self._attached.found(self.correlator.inits, now):
                self._emitter.attached(attach, self._clock.boot_ns(attach.admitted_ms))

    def _keep_source(self) -> None:
        if self.source:
            for reason in self.source.gaps():
                self._emitter.gap(Gap(reason, time.time_ns() // 1_000_000))
            self.source.keep()

    def _behind(self) -> bool:
        """Whether there was more to read than the last round has."""
        return self.sensor.behind or (self.source is not None and self.source.behind)

    def _complete_until(self) -> int:
        """Up to when everything that happened is sealed: nanoseconds since boot.

        Whether there is something to read now does not matter: another pod may be logged all the time.
        """
        self._complete = max(self._complete, self.correlator.complete_until(self._read_until - _UNREAD_NS))
        return self._complete

    def _follow_filters(self) -> None:
        if self.filters and self.filters.refresh():
            if self.filters.problem:
                log.error(
                    "the filters changed to ones that cannot be used, so the old ones stay: %s", self.filters.problem
                )
            else:
                log.info("the filters changed: the new ones are in use")
