"""What this node lost, from the kernel to the trail."""

from enricher.audit.kernel_lost import KernelLost
from enricher.audit.source import Source
from enricher.sensors.sensor import Sensor
from enricher.tally import Tally


class Losses:
    """Sums up losses by cause.

    Args:
        sensor: The sensor.
        source: The audit source; None where there is none.
        kernel: The kernel's own count of lost audit records; None where it may not be asked.
        tally: The pipeline's.

    """

    def __init__(self, sensor: Sensor, source: Source | None, kernel: KernelLost | None, tally: Tally) -> None:
        self._sensor, self._source, self._kernel, self._tally = sensor, source, kernel, tally

    @property
    def exact(self) -> bool:
        """Whether the kernel's own losses are counted, too."""
        return self._kernel is not None

    def by_cause(self) -> dict[str, int]:
        """All losses since the start: before the agent read, and in it."""
        lost = self.before_reading() | self._tally.lost
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
