"""What the agent asks of a sensor, whichever it is."""

import selectors
from collections.abc import Iterable
from typing import Protocol

from enricher.containers.cgroup_resolver import CgroupResolver
from enricher.correlate.pipeline import Pipeline
from enricher.events import Process, Seccomp
from enricher.netlink import SocketCounters


class Sensor(Protocol):
    """A sensor at work: `provider_bpf`, else `provider_procconn`, else `provider_proc`."""

    name: str
    weak: tuple[str, ...]
    reports_failed_execs: bool
    """Whether it tells of failed execs."""

    @property
    def batch_delay(self) -> float:
        """How long to let events gather once there are some, in seconds: being woken costs several times more than an
        event. 0 where what happened can be seen only for a moment."""

    @property
    def behind(self) -> bool:
        """Whether more may wait than the last `advance` took."""

    @property
    def cgroups(self) -> CgroupResolver:
        """Where its events' processes are."""

    def register(self, selector: selectors.BaseSelector) -> None:
        """Have the loop woken when there is something."""

    def resume(self, pipeline: Pipeline, containers: set[str], outside: Iterable[tuple[Process, str]]) -> None:
        """Go on, before anything else, with what an enricher before us knew.

        Args:
            pipeline: Has it in its tree by now.
            containers: Those that were recorded, by id.
            outside: Their processes that have left their cgroup, with the container.

        """

    def poll_timeout(self) -> float:
        """How long the loop may wait for the kernel before it comes round, in seconds."""

    def seccomp(self, pipeline: Pipeline, record: Seccomp, now: float) -> None:
        """Do with a SECCOMP record what this sensor does with them."""

    def advance(self, pipeline: Pipeline, now: float) -> None:
        """Feed what happened."""

    def maintain(self, pipeline: Pipeline, now: float) -> None:
        """Look after what came before or is gone."""

    def lost(self) -> dict[str, int]:
        """What was lost on the way to us since the start, by cause."""

    def lost_per_cpu(self) -> list[int]:
        """Of those, what found the way to us full, by CPU; empty where that cannot be told."""

    def socket(self) -> SocketCounters:
        """What befell its socket; nothing where it has none."""

    def unmarked(self) -> int:
        """Processes that would be lost from sight if they left their container's cgroup."""

    def close(self) -> None:
        """Give everything back."""
