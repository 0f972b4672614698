"""Processes whose end the sensor lost: without it they would stay alive here, and their sessions open, for ever.

Only where something was lost is /proc asked: at that time and once more after it, as a process is there for a moment
after its end was reported. Who is missing at two looks is gone for certain: what was on its way has been read by then.
"""

from collections.abc import Callable
from itertools import islice
from typing import Final

from enricher.correlate.process_tree import Node, Tree
from enricher.events import Process
from enricher.sensors.sensor import Sensor

_MOST_LOOKS: Final = 1_000
"""Processes that are looked up at once: each takes some 50 microseconds, in which no event is read."""


class LostEnds:
    """Finds them.

    Args:
        sensor: Says what was lost, and whether events wait.
        tree: The processes.
        is_alive: Whether one goes on, by /proc.

    """

    def __init__(self, sensor: Sensor, tree: Tree, is_alive: Callable[[Process], bool]) -> None:
        self._sensor, self._tree, self._is_alive = sensor, tree, is_alive
        self._lost = 0
        self._once_more = False
        self._doubted: dict[Process, None] = {}
        """Those that are still to be looked up, in this order."""
        self._missing: list[Process] = []
        """Those that were gone at one look."""

    def found(self) -> list[Node]:
        """Those that are gone by now; to be called every few seconds."""
        found = self._certain()
        lost = sum(self._sensor.lost().values())
        has_grown, self._lost = lost != self._lost, lost
        if has_grown or self._once_more:
            self._doubted |= dict.fromkeys(self._tree.processes())
        self._once_more = has_grown
        for process in list(islice(self._doubted, _MOST_LOOKS)):
            del self._doubted[process]
            if self._is_gone(process):
                self._missing.append(process)
        return found

    def _certain(self) -> list[Node]:
        if self._sensor.behind:  # their ends may be among what waits
            return []
        missing, self._missing = self._missing, []
        nodes = map(self._tree.get, dict.fromkeys(missing))
        return [node for node in nodes if node and self._is_gone(node.process)]

    def _is_gone(self, process: Process) -> bool:
        return self._tree.get(process) is not None and not self._is_alive(process)
