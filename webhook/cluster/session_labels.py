"""Labels an AuditSession with its node, so that only that node's agent and a few others watch it.

Asked just before it is written, which is after the answer; where a namespace requires it before the answer, the API
server has a moment. Whatever is in doubt stays without these labels and reaches all agents: a session that its own
node's agent never saw would have no process, and its process no name.
"""

import logging
from datetime import UTC, datetime, timedelta

import msgspec

from exectrail.contracts import node_label
from exectrail.contracts.session import AuditSession, SessionSpec
from exectrail.k8s.client import ApiError
from webhook import metrics
from webhook.cluster.places import Places
from webhook.sparse_log import SparseLog

_SECONDS = 2.0
_SECONDS_BEFORE_ANSWER = 0.2
_OLDER = timedelta(seconds=5)
"""How much older than its request a pod is at least. A younger one may have replaced the one that was meant, which was
on another node; clocks differ, and the API server's tells whole seconds."""

log = logging.getLogger(__name__)
sparse = SparseLog(log)


class SessionLabels:
    """Finds the labels.

    Args:
        places: Knows where pods are.

    """

    def __init__(self, places: Places) -> None:
        self._places = places

    def added(self, body: bytes, most_seconds: float | None = None) -> bytes:
        """An AuditSession with its labels, both as JSON.

        Args:
            body: The session.
            most_seconds: How long its write may take, where a request waits for it.

        """
        session = msgspec.json.decode(body, type=AuditSession)
        seconds = _SECONDS if most_seconds is None else min(_SECONDS_BEFORE_ANSWER, most_seconds / 4)
        try:
            labels = self._of(session.spec, seconds)
        except Exception:  # it is to be written all the same
            log.exception("fault while looking for a session's node", extra={"uid": session.metadata.name})
            labels = {}
        metrics.SESSIONS_LABELLED.labels(_kind(labels)).inc()
        if not labels:
            return body
        metadata = msgspec.structs.replace(session.metadata, labels=labels)
        return msgspec.json.encode(msgspec.structs.replace(session, metadata=metadata))

    def _of(self, spec: SessionSpec, seconds: float) -> dict[str, str]:
        resource, _, sub_resource = spec.resource.partition("/")
        if resource == "nodes" and spec.target.name:
            return node_label.labels(spec.target.name)
        if resource != "pods":
            return {node_label.SHARD_LABEL: node_label.NO_SHARD}
        if not sub_resource:
            return {}  # a pod that is being made: what admits it after us may place it elsewhere
        try:
            # An exec needs a pod that runs, which takes a while. A container can be added to one that was just made.
            place = self._places.ask(spec.target.namespace, spec.target.pod, seconds, anew=spec.verb == "debug")
        except ApiError as error:
            sparse.warning("node", f"cannot ask for a session's node, so all agents watch it: {error}")
            return {}
        was_meant = place.node and _before(place.created, spec.time)
        return node_label.labels(place.node) if was_meant else {}


def _before(created: str, asked: str) -> bool:
    try:
        first, then = datetime.fromisoformat(created), datetime.fromisoformat(asked)
    except ValueError:
        return False
    return first.replace(tzinfo=first.tzinfo or UTC) + _OLDER <= then.replace(tzinfo=then.tzinfo or UTC)


def _kind(labels: dict[str, str]) -> str:
    if node_label.NODE_LABEL in labels:
        return "node"
    return "none" if labels else "all"
