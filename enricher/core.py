"""The core of an enricher, the same for all that drive it: the agent, `capture`, and `replay` over a recording.

A step takes in what has come, correlates it, and emits what waits no longer. Once a second comes what time alone
brings.
"""

import math
from collections.abc import Callable, Iterable
from typing import Protocol

from enricher.clock import Clock
from enricher.correlate.correlator import Correlator
from enricher.correlate.pending_event import Correlated
from enricher.emit.emitter import Emitter

_SECOND, _MAINTAIN_EVERY = 1.0, 5.0
_REMEMBER_PIDS_NS = 2_000_000_000


class Inputs(Protocol):
    """What the correlator is fed with."""

    def feed(self, now: float) -> None:
        """Hand over what has come, in a bounded time and without waiting; `now` in seconds of the monotonic clock."""

    def maintain(self, now: float) -> None:
        """Look for what came unnoticed or is gone; called every few seconds."""


class Core:
    """Does the rounds of an enricher.

    Args:
        inputs: Feed the correlator.
        correlator: Joins what belongs together.
        emitter: Writes what becomes of it.
        clock: Kept right here.
        may_leave: Whether events may be written yet, as of a monotonic time in seconds; asked at each step.

    """

    def __init__(
        self,
        inputs: Inputs,
        correlator: Correlator,
        emitter: Emitter,
        clock: Clock,
        may_leave: Callable[[float], bool] = lambda _now: True,
    ) -> None:
        self.correlator, self.emitter = correlator, emitter
        self._inputs, self._clock, self._may_leave = inputs, clock, may_leave
        self.next_second = 0.0
        """When the next second begins, by the monotonic clock."""
        self._next_maintenance = 0.0

    def step(self, now: float) -> bool:
        """Do one round; `now` in seconds of the monotonic clock. Returns whether it was the first one of a second."""
        self._clock.adjust()  # before each look: audit records carry the wall clock, which may be set at any moment
        self._inputs.feed(now)
        self._emit(self.correlator.advance(now) if self._may_leave(now) else self.correlator.take_done(), now)
        if now < self.next_second:
            return False
        self.next_second = now + _SECOND
        self.correlator.tree.forget_gone(self._clock.now_ns() - _REMEMBER_PIDS_NS)
        if now >= self._next_maintenance:
            self._next_maintenance = now + _MAINTAIN_EVERY
            self._inputs.maintain(now)
        for container_id in self.correlator.take_forgotten():
            self.emitter.forget_container(container_id, self._clock.now_ms(), self.correlator.follows)
        self.emitter.tick(now, self._clock.now_ms())
        return True

    def flush(self) -> None:
        """Write all that is held, with what is known of it."""
        self._emit(self.correlator.flush(), math.inf)
        self.emitter.close(self._clock.now_ms())

    def _emit(self, events: Iterable[Correlated], now: float) -> None:
        for known in events:
            self.emitter.emit(known, now)
