"""What this node lost, from the kernel to the trail, and the gaps in the trail that say so."""

import time

from enricher.audit.kernel_lost import KernelLost
from enricher.audit.source import Source
from enricher.emit.emitter import Emitter
from enricher.sensors.sensor import Sensor
from enricher.trail.writer import Writer


class Losses:
    """Sums up losses by cause.

    Args:
        sensor: The sensor.
        source: The audit source; None where there is none.
        kernel: The kernel's own count of lost audit records; None where it may not be asked.
        emitter: Has the pipeline's tally, and writes the gaps.
        writer: Says whether there is room.

    """

    def __init__(
        self, sensor: Sensor, source: Source | None, kernel: KernelLost | None, emitter: Emitter, writer: Writer
    ) -> None:
        self._sensor, self._source, self._kernel = sensor, source, kernel
        self._emitter, self._writer = emitter, writer
        self._written: dict[str, int] = {}
        emitter.losses = self.by_cause

    @property
    def exact(self) -> bool:
        """Whether the kernel's own losses are counted, too."""
        return self._kernel is not None

    def by_cause(self) -> dict[str, int]:
        """All losses since the start: before the agent read, and in it."""
        lost = self.before_reading() | self._emitter.tally.lost
        return {cause: count for cause, count in lost.items() if count}

    def before_reading(self) -> dict[str, int]:
        """Losses in the kernel, and what could not be parsed."""
        lost = self._sensor.lost()
        if self._source:
            lost |= self._source.lost()
        if self._kernel:
            lost["kernel-audit"] = self._kernel.lost
        return lost

    def ask(self, now: float) -> None:
        """Ask the kernel, when it is time to."""
        if self._kernel:
            self._kernel.tick(now)

    def write(self) -> None:
        """Write a gap with the losses that are new, as soon as the trail has room for a record."""
        lost = self.by_cause()
        fresh = {cause: count - self._written.get(cause, 0) for cause, count in lost.items()}
        fresh = {cause: count for cause, count in fresh.items() if count > 0}
        if fresh and not self._writer.full:
            self._written = lost
            self._emitter.losses_since(fresh, time.time_ns() // 1_000_000)
            self._writer.commit()
