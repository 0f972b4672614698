"""Pods whose containers run, as the kubelet says, while no process of theirs is found: never to be passed over.

Their cgroups are looked for everywhere; what is found and not understood, or not found at all, is said.
"""

import logging
import re
import time
from collections.abc import Callable, Iterable

from enricher.containers.cgroup_resolver import NodeCgroups
from enricher.containers.pod_roots import EXPECTED
from enricher.containers.pods import Pod, running_in
from exectrail.contracts.nodetrail import MOST_DETAIL, UncoveredPod

GRACE = 10.0
"""Seconds that a container may be missing: the kubelet reports its end later than the node shows it."""
_SEARCH_AGAIN = 30.0
_is_id = re.compile(r"[0-9a-f]{64}").fullmatch

log = logging.getLogger(__name__)


class Unfound:
    """Looks for the containers of pods.

    Args:
        cgroups: Those of this node.
        clock: Seconds that never go back.

    """

    def __init__(self, cgroups: NodeCgroups, clock: Callable[[], float] = time.monotonic) -> None:
        self._cgroups, self._clock = cgroups, clock
        self._missing: dict[str, float] = {}
        """Since when, by container id."""
        self._strange: dict[str, str] = {}
        self._next_search = 0.0
        self._reported: dict[str, UncoveredPod] = {}

    def among(self, pods: Iterable[Pod]) -> list[UncoveredPod]:
        """Those of these pods whose processes are not found, by name; to be asked every few seconds."""
        now = self._clock()
        running = {each: (pod, runtime) for pod in pods for each, runtime in running_in(pod).items()}
        found = {ref.container_id for ref in self._cgroups.known.values()}
        before, missing = self._missing, running.keys() - found
        self._missing = {each: before.get(each, now) for each in missing}
        if missing and (missing - before.keys() or now >= self._next_search):
            self._next_search = now + _SEARCH_AGAIN
            self._strange = self._cgroups.search(missing)
        late = [each for each in sorted(missing) if now - self._missing[each] >= GRACE]
        return self._report({(said := self._uncovered(*running[each], each)).pod: said for each in late})

    def _uncovered(self, pod: Pod, runtime: str, container: str) -> UncoveredPod:
        name = f"{pod.metadata.namespace}/{pod.metadata.name}"
        if not _is_id(container):
            found = f"its container has the id {container!r}, expected 64 hex digits"
        elif where := self._strange.get(container):
            found = f"its container has the cgroup {where}, expected {EXPECTED}"
        else:
            found = f"its container {container[:12]} has no cgroup that this node shows, expected {EXPECTED}"
        return UncoveredPod(name, "cgroup-unknown", runtime, found[:MOST_DETAIL])

    def _report(self, found: dict[str, UncoveredPod]) -> list[UncoveredPod]:
        for name, each in found.items():
            if name not in self._reported:
                log.error("%s is to be recorded and is not: %s", name, each.detail)
        for name in self._reported.keys() - found.keys():
            log.info("%s has been found, or is gone", name)
        self._reported = found
        return [found[name] for name in sorted(found)]
