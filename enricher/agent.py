"""The agent: one thread that reads what the kernel says, drives the core and has the trail written.

Nothing in this thread waits on the network or on another thread. The API's side of things lives in the mirrors' and
the reporter's threads.
"""

import logging
import selectors
import time

from enricher.audit.source import Source
from enricher.clock import Clock
from enricher.core import Core
from enricher.correlate.attaches import Attached
from enricher.emit.gap import Gap
from enricher.sensors.sensor import Sensor
from enricher.state.restart import Memory
from enricher.status.losses import Losses
from enricher.status.node_status import NodeStatus
from enricher.trail.writer import Writer
from exectrail.filter.file import FilterFile
from exectrail.service.logs import Level

_HELD, _SECCOMP, _IDLE = 0.05, 0.25, 1.0
"""How long to wait for the kernel, in seconds: while events are held, for which the API may explain something at any
moment; while only SECCOMP events are, whose process events would wake us; and else."""
_DRAIN = 2.0
_UNREAD_NS = 50_000_000
"""How long, at most, what happened takes to come where it is read, while there is no backlog."""

log = logging.getLogger(__name__)


class Agent:
    """Drives the core until stopped.

    Args:
        core: Does the rounds.
        sensor, source: Wake the agent; without a source of SECCOMP events, None.
        writer: Where records go.
        losses: Counts what was lost.
        status: Reported to the API.
        clock: Tells what is complete.
        memory: Outlives a restart; None where nothing does.
        filters: Followed when their file changes.
        attached: Who attached to a container.
        level: Followed when its file changes.

    """

    def __init__(
        self,
        core: Core,
        sensor: Sensor,
        source: Source | None,
        writer: Writer,
        losses: Losses,
        status: NodeStatus,
        clock: Clock,
        memory: Memory | None = None,
        filters: FilterFile | None = None,
        attached: Attached | None = None,
        level: Level | None = None,
    ) -> None:
        self.status, self.writer = status, writer
        self.unwritten = 0
        """Once it has ended: the records that could not be written."""
        self._core, self._correlator, self._emitter = core, core.correlator, core.emitter
        self._sensor, self._source, self._losses, self._clock = sensor, source, losses, clock
        self._memory, self._filters, self._attached, self._level = memory, filters, attached, level
        # What has happened since the sensor was attached waits to be read: nothing is complete before the first round.
        self._complete = self._read_until = 0
        self._stopped = False

    def run(self) -> None:
        """Work until `stop`; then write what is held and hand everything to the disk."""
        with selectors.DefaultSelector() as selector:
            for each in (self._sensor, self._source):
                if each:
                    each.register(selector)
            while not self._stopped:
                if selector.select(self._poll_timeout()) and self._sensor.batch_delay:
                    time.sleep(self._sensor.batch_delay)
                self.round(time.monotonic())
            self._drain()
        self._end()

    def stop(self) -> None:
        """End the loop after its present round."""
        self._stopped = True

    def round(self, now: float) -> None:
        """Do a round, and each second what comes beside it; `now` in seconds of the monotonic clock."""
        began = self._clock.now_ns()
        is_new_second = self._core.step(now)
        if not self._behind():
            self._read_until = began
        self.writer.commit()
        if is_new_second:
            self._each_second(now)

    def _drain(self) -> None:
        """Read what is there already; in a storm there is always more, so not for ever."""
        until = time.monotonic() + _DRAIN
        self.round(time.monotonic())
        while self._behind() and time.monotonic() < until:
            self.round(time.monotonic())

    def _end(self) -> None:
        before, undecided = self._complete_until(), self._correlator.tally.lost["undecided"]
        self._core.flush()
        # Ended before the API said what is recorded, it gives up what it holds: that is in the gap, too.
        given_up = self._correlator.tally.lost["undecided"] > undecided
        complete = before if given_up else self._complete_until()
        self.unwritten = self.writer.close()
        if self._memory:
            self._memory.close(complete)
        if self._source:
            self._source.close(clean=not self.unwritten)

    def _poll_timeout(self) -> float:
        held, events = self._correlator.held, self._correlator.held_events
        timeout = min(_HELD if events else _SECCOMP if held else _IDLE, self._sensor.poll_timeout())
        return min(timeout, self._source.poll_timeout()) if self._source else timeout

    def _each_second(self, now: float) -> None:
        self._follow_filters()
        if self._level:
            self._level.refresh()
        self._report_attaches(now)
        self._losses.ask(now)
        if self._source:
            for reason in self._source.gaps():
                self._emitter.gap(Gap(reason, self._clock.now_ms()))
            self._source.keep()
        for gone in self.writer.removed():
            self._emitter.losses_since({gone.reason: gone.records}, self._clock.now_ms(), gone.reason)
        self.writer.commit()
        if self._memory:
            self._memory.note(self._complete_until())
        self.status.publish(now)

    def _report_attaches(self, now: float) -> None:
        if self._attached:
            for attach in self._attached.found(self._correlator.inits, now):
                self._emitter.attached(attach, self._clock.boot_ns(attach.admitted_ms))

    def _behind(self) -> bool:
        """Whether there was more to read than the last round has."""
        return self._sensor.behind or (self._source is not None and self._source.behind)

    def _complete_until(self) -> int:
        """Up to when everything that happened is sealed: nanoseconds since boot.

        Whether there is something to read now does not matter: another pod may be logged all the time.
        """
        self._complete = max(self._complete, self._correlator.complete_until(self._read_until - _UNREAD_NS))
        return self._complete

    def _follow_filters(self) -> None:
        if self._filters and self._filters.refresh():
            if problem := self._filters.problem:
                log.error("the filters changed to ones that cannot be used, so the old ones stay: %s", problem)
            else:
                log.info("the filters changed: the new ones are in use")
