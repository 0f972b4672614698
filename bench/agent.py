"""The enricher's process on the node: what it spends, and what it says of itself."""

import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster import equation
from tests.cluster.cluster import Cluster, Failed

_METRICS = "http://127.0.0.1:9464/metrics"


class Spent(Struct):
    """CPU of a process in a while, in seconds."""

    cpu: float = 0.0
    wall: float = 0.0

    @property
    def share(self) -> float:
        """Of a core, in per cent."""
        return self.cpu / self.wall * 100


class Agent:
    """The one enricher of the node."""

    def __init__(self, cluster: Cluster) -> None:
        labels = "app.kubernetes.io/component=enricher"
        (found,) = cluster.get("pods", "-n", "exectrail", "-l", labels)["items"]
        self.pid = _pid(found["status"]["containerStatuses"][0]["containerID"].partition("://")[2])

    def cpu(self) -> float:
        """Seconds of CPU of all its threads since their start (first number of schedstat, in nanoseconds)."""
        tasks = list(Path(f"/proc/{self.pid}/task").glob("*/schedstat"))
        if not tasks:  # else it would look as if it had cost nothing
            raise Failed(f"the enricher, process {self.pid}, ended while it was measured")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    @contextmanager
    def watched(self) -> Iterator[Spent]:
        """What it spends in the block stands in the result afterwards."""
        spent, cpu, wall = Spent(), self.cpu(), time.monotonic()
        yield spent
        spent.cpu, spent.wall = self.cpu() - cpu, time.monotonic() - wall


class Counters:
    """The enricher's metrics, as of now."""

    def __init__(self) -> None:
        with urllib.request.urlopen(_METRICS, timeout=10) as answer:
            text = answer.read().decode()
        self._samples = [each for family in text_string_to_metric_families(text) for each in family.samples]

    def total(self, stage: str) -> float:
        """A counter's sum over its labels, or a gauge."""
        names = (f"exectrail_enricher_{stage}_total", f"exectrail_enricher_{stage}")
        return sum(each.value for each in self._samples if each.name in names)

    def lost(self) -> float:
        """Everything lost since the start."""
        return self.total("lost")

    def unexplained(self) -> float:
        """What the equation of the loss accounting misses: 0."""
        return equation.missing(equation.sums(self._samples))


def _pid(container_id: str) -> int:
    for cgroup in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if container_id in cgroup.read_text():
                return int(cgroup.parent.name)
        except OSError:  # it ended meanwhile
            continue
    raise Failed(f"no process of container {container_id}")
