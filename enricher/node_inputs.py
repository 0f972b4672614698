"""What the node's kernel reports: the audit source's events, and the sensor's by way of the container tracker."""

from collections.abc import Callable, Iterable

from enricher.clock import Clock
from enricher.correlate.correlator import Correlator
from enricher.correlate.tracker import ContainerTracker
from enricher.events import SeccompEvent


class NodeInputs:
    """Feeds a correlator with what happens on this node.

    Args:
        tracker: Has the sensor.
        correlator: Takes SECCOMP events of a time that the sensor did not watch.
        clock: To tell that time.
        read: Takes what has come from the audit source.

    """

    def __init__(
        self,
        tracker: ContainerTracker,
        correlator: Correlator,
        clock: Clock,
        read: Callable[[float], Iterable[SeccompEvent]],
    ) -> None:
        self._tracker, self._correlator, self._clock, self._read = tracker, correlator, clock, read
        self._watching_since = clock.now_ns()

    def feed(self, now: float) -> None:
        """Hand over what has come since the last call."""
        # SECCOMP events first: one is made before its process event, so it is mostly there in time.
        for event in self._read(now):
            if event.via == "auditlog" and self._clock.boot_ns(event.time) < self._watching_since:
                self._correlator.take_earlier_seccomp(event)
            else:
                self._tracker.take(event, now)
        self._tracker.advance(now)

    def maintain(self, now: float) -> None:
        """Look for containers that came unnoticed or are gone."""
        self._tracker.maintain(now)
