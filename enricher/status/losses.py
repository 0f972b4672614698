"""What this node lost, from the kernel to the trail, and how the trail itself tells it."""

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
        source: The SECCOMP records; None where there are none.
        kernel: The kernel's own count of lost audit records; None where it may not be asked.
        emitter: Has the pipeline's tally, and takes the gaps.
        writer: Says whether there is room.

    """

    def __init__(
        self, sensor: Sensor, source: Source | None, kernel: KernelLost | None, emitter: Emitter, writer: Writer
    ) -> None:
        self._sensor, self._source, self._kernel = sensor, source, kernel
        self._emitter, self._writer = emitter, writer
        self._told: dict[str, int] = {}
        emitter.losses = self.by_cause

    @property
    def exact(self) -> bool:
        """Whether the kernel's own losses are counted, too."""
        return self._kernel is not None

    def by_cause(self) -> dict[str, int]:
        """Everything since the start: on the way here, and here."""
        lost = self.before_reading() | self._emitter.tally.lost
        return {cause: count for cause, count in lost.items() if count}

    def before_reading(self) -> dict[str, int]:
        """What the kernel had no room for, and what could not be read."""
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

    def tell(self) -> None:
        """Have what is new stand in the trail itself, as soon as there is room for a record."""
        lost = self.by_cause()
        fresh = {cause: count - self._told.get(cause, 0) for cause, count in lost.items()}
        fresh = {cause: count for cause, count in fresh.items() if count > 0}
        if fresh and not self._writer.full:
            self._told = lost
            self._emitter.gap(fresh, time.time_ns() // 1_000_000)
            self._writer.commit()
