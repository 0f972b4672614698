"""Which node a pod is on: asked for pod by pod, and never while a request waits for its answer.

To watch all pods of a cluster for it cost each replica an event for every change of every pod. Two want to know: the
writer of AuditSessions, which asks after the answer, and the reports of `env`, which count only from a pod's own node.
For these, a thread asks for each pod that a NodeTrail newly names; what the writer learns counts there as well.
"""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from msgspec import Struct

from exectrail.contracts.nodetrail import NodeTrail
from exectrail.k8s.client import ApiError, Client
from exectrail.service.backoff import Backoff
from exectrail.service.worker import Worker
from webhook.cluster.env_reports import EnvReports
from webhook.sparse_log import SparseLog

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?")
"""Of namespaces and pods. Callers and nodes can say anything, and what is no name would make another path."""
_FRESH_SECONDS = 1.0
"""How long an answer is used again. No pod is deleted, made anew under its name and started elsewhere in that time."""
_MOST_FRESH = 1024
_PAUSE_SECONDS = 0.01
"""Between two pods that NodeTrails name: at a start there may be as many as the cluster has pods."""
_BACKOFF_FIRST, _BACKOFF_MOST = 0.5, 30.0
_STOP_SECONDS = 5.0

log = logging.getLogger(__name__)
sparse = SparseLog(log)


class _Spec(Struct, frozen=True, rename="camel"):
    node_name: str = ""


class _Meta(Struct, frozen=True, rename="camel"):
    creation_timestamp: str = ""


class _Pod(Struct, frozen=True):
    """core/v1 Pod, as far as it says where it is."""

    metadata: _Meta = _Meta()
    spec: _Spec = _Spec()


class Place(Struct, frozen=True):
    """Where a pod of that name is now."""

    node: str = ""
    """Empty before it is scheduled, and where there is no such pod."""
    created: str = ""
    """RFC 3339, in whole seconds, by the API server's clock."""


class Places:
    """The places of pods.

    Args:
        client: Where to ask.
        reports: What the nodes report of their pods.
        clock: Seconds, monotonic.

    """

    def __init__(self, client: Client, reports: EnvReports, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._reports, self._clock = client, reports, clock
        self._lock = threading.Lock()
        self._fresh: OrderedDict[tuple[str, str], tuple[float, Place]] = OrderedDict()
        self._nodes: dict[str, str] = {}
        """Of each pod that its own node names, `namespace/name`, that node."""
        self._queue: OrderedDict[str, dict[str, None]] = OrderedDict()
        """The pods to ask for, by the node that names them: nodes take turns, so that one cannot hold up the others."""
        self._worker = Worker("places of pods", self._run)

    def start(self) -> None:
        """Begin to ask for what NodeTrails name."""
        self._worker.start()

    def stop(self) -> None:
        """Ask no more."""
        self._worker.close(_STOP_SECONDS)

    def node(self, namespace: str, pod: str) -> str:
        """The node that may report on a pod, as far as known; empty where it is not. Returns at once."""
        return self._nodes.get(f"{namespace}/{pod}", "")

    def ask(self, namespace: str, pod: str, seconds: float, *, anew: bool = False) -> Place:
        """Where a pod is, by the API server's word of now or of a second ago; waits for at most so long.

        Args:
            namespace: The pod's.
            pod: Its name.
            seconds: How long the API server may take.
            anew: Whether a word of a second ago is too old.

        Raises:
            ApiError: It is not known.

        """
        key = (namespace, pod)
        if not anew and (place := self._recent(key)):
            return place
        place = self._get(namespace, pod, seconds)
        with self._lock:
            self._fresh.pop(key, None)
            self._fresh[key] = (self._clock(), place)
            if len(self._fresh) > _MOST_FRESH:
                self._fresh.popitem(last=False)
        self._settle(f"{namespace}/{pod}", place.node)
        return place

    def changed(self, old: NodeTrail | None, new: NodeTrail | None) -> None:
        """Take over a change of a NodeTrail, after `reports`; either side is `None` where it came or went."""
        node = (new or old).metadata.name  # type: ignore[union-attr] # one of them is there
        before, after = _pods(old), _pods(new)
        for pod in before - after:
            if self._nodes.get(pod) == node:
                self._nodes.pop(pod, None)
        self._put(node, after - before, gone=before - after)

    def _put(self, node: str, pods: Iterable[str], gone: Iterable[str] = ()) -> None:
        with self._worker.changing():
            waiting = self._queue.setdefault(node, {})
            for pod in gone:
                waiting.pop(pod, None)
            waiting.update(dict.fromkeys(pods))
            if not waiting:
                del self._queue[node]

    def _recent(self, key: tuple[str, str]) -> Place | None:
        with self._lock:
            at, place = self._fresh.get(key, (0.0, None))
        return place if self._clock() - at < _FRESH_SECONDS else None

    def _get(self, namespace: str, pod: str, seconds: float) -> Place:
        if not _NAME.fullmatch(namespace) or not _NAME.fullmatch(pod):
            return Place()
        try:
            found = self._client.get(f"/api/v1/namespaces/{namespace}/pods/{pod}", _Pod, seconds)
        except ApiError as error:
            if error.status != 404:
                raise
            return Place()
        return Place(found.spec.node_name, found.metadata.creation_timestamp)

    def _settle(self, pod: str, node: str) -> None:
        """Note the node of a pod, if that one names it: no others are kept, for they would be all of the cluster."""
        if self._reports.names(node, pod):
            self._nodes[pod] = node
        else:
            self._nodes.pop(pod, None)

    def _run(self) -> None:
        backoff = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST)
        pause = 0.0
        while not self._worker.closing:
            with self._worker.when(lambda: False, pause):
                pass
            with self._worker.when(lambda: self._queue):
                if not self._queue:
                    return
                node, waiting = self._queue.popitem(last=False)
                pod, _ = waiting.popitem()
                if waiting:
                    self._queue[node] = waiting
            pause = _PAUSE_SECONDS
            namespace, _, name = pod.partition("/")
            try:
                self.ask(namespace, name, 30.0, anew=True)
                backoff.reset()
            except ApiError as error:
                if error.status in {0, 401, 429} or error.status >= 500:
                    self._put(node, [pod])
                    pause = backoff.next()
                sparse.warning("places", f"cannot ask which nodes pods are on that NodeTrails name: {error}")
            except Exception:  # the thread must outlive any surprise
                log.exception("fault while asking which node a pod is on")


def _pods(trail: NodeTrail | None) -> set[str]:
    return {key.rpartition("/")[0] for key in trail.status.env} if trail else set()
