"""Reports to the API how sessions go, and how well this node records.

A thread of its own does it, so that the pipeline never waits for the network. Only the latest state of each object is
kept, so that a long absence of the API server costs no more memory than the sessions of that time.
"""

import logging
import random
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from enricher.correlate.sessions import Session
from enricher.status.heartbeat import jittered
from exectrail.contracts import nodetrail
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.nodetrail import NodeTrail, NodeTrailStatus
from exectrail.contracts.record import Record
from exectrail.contracts.session import GROUP_VERSION, PLURAL
from exectrail.k8s.client import ApiError, Client
from exectrail.k8s.passing import is_passing
from exectrail.service.backoff import Backoff
from exectrail.service.worker import Worker

_MOST = 10_000
_BACKOFF_FIRST, _BACKOFF_MOST = 0.2, 10.0
_COUNT_EVERY = 600.0
"""How often to ask how many nodes report."""
_UNSEEN_FOR = 60.0
"""How long to wait for a session that the API does not know yet: the webhook writes it after its answer."""

log = logging.getLogger(__name__)


class _Waiting(Struct):
    """A session's status that waits to be written."""

    status: dict[str, Any]
    since: float
    retry_at: float = 0.0


class Reporter:
    """Writes statuses of AuditSessions and this node's NodeTrail.

    Args:
        client: Where to.
        node: This node's name.
        namespace: Where AuditSessions are.

    """

    def __init__(self, client: Client, node: str, namespace: str) -> None:
        self.dropped = 0
        """Statuses that were dropped: too many waited, or the API refused them."""
        self._client, self._node = client, node
        self._sessions_path = f"/apis/{GROUP_VERSION}/namespaces/{namespace}/{PLURAL}"
        self._trails_path = f"/apis/{nodetrail.GROUP_VERSION}/{nodetrail.PLURAL}"
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._trail: NodeTrailStatus | None = None
        self._worker = Worker("report", self._run)
        self.nodes = 1
        """How many nodes report, by the API's last word."""
        self._count_at = time.monotonic() + random.uniform(0, _COUNT_EVERY / 10)  # noqa: S311 - spreads load
        self._env_written: dict[str, bool] | None = None
        """None where it is not known what the API has."""
        self._all_of_env = False

    @property
    def waiting(self) -> int:
        """Number of sessions whose status waits to be written."""
        return len(self._waiting)

    def start(self) -> None:
        """Report in a thread of its own, which ends with the process."""
        self._worker.start()

    def _session(self, request_uid: str, status: dict[str, Any]) -> None:
        with self._worker.changing():
            before = self._waiting.pop(request_uid, None)
            self._waiting[request_uid] = _Waiting((before.status if before else {}) | status, time.monotonic())
            if len(self._waiting) > _MOST:
                self._waiting.popitem(last=False)
                self.dropped += 1

    def started(self, session: Session, record: Record) -> None:
        """Report that a session's first process started."""
        # The controller may have closed it as never started: null takes that back.
        status: dict[str, Any] = {"phase": "Running", "node": self._node, "startTime": record.timestamp}
        status |= dict.fromkeys(("outcome", "endTime"))
        self._session(session.request_uid, status)

    def ended(self, session: Session, record: Record) -> None:
        """Report that a session's entry ended."""
        status: dict[str, Any] = {
            "phase": "Closed",
            "outcome": record.outcome,
            "node": self._node,
            "exit": msgspec.to_builtins(record.exit),
            "endTime": record.timestamp,
            "durationMs": record.duration_ms,
            "processes": record.processes,
        }
        self._session(session.request_uid, {key: value for key, value in status.items() if value is not None})

    def ambiguous(self, request_uids: list[str], time: str) -> None:
        """Report that a process started which each of these requests may have asked for."""
        for uid in request_uids:
            self._session(uid, {"phase": "Closed", "outcome": "ambiguous", "node": self._node, "startTime": time})

    def node(self, status: NodeTrailStatus) -> None:
        """Report this node's status."""
        with self._worker.changing():
            self._trail = status

    def drain(self, seconds: float) -> None:
        """Wait until all is written, at most so long."""
        with self._worker.lock:
            self._worker.lock.wait_for(lambda: not self._waiting and self._trail is None, seconds)

    def _run(self) -> None:
        backoff = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST)
        while True:
            try:
                self._step()
                backoff.reset()
            except ApiError as error:
                log.warning("cannot report to the API: %s; next try in at most %.1f s", error, backoff.bound)
                time.sleep(backoff.next())

    def _step(self) -> None:
        """Write one status; it is forgotten only once written, and if nothing newer came meanwhile."""
        with self._worker.when(lambda: self._trail or self._due(), 1.0 if self._waiting else None):
            trail, uid = self._trail, self._due()
            status = self._waiting[uid] if uid else None
        if trail:
            self._write_node_or_say(trail)
            self._count()
        done = bool(uid and status and self._write_session(uid, status))
        with self._worker.changing():
            if self._trail is trail:
                self._trail = None
            if uid and done and self._waiting.get(uid) is status:
                del self._waiting[uid]

    def _due(self) -> str | None:
        now = time.monotonic()
        return next((uid for uid, each in self._waiting.items() if each.retry_at <= now), None)

    def _write_session(self, uid: str, waiting: _Waiting) -> bool:
        """Whether it is settled: written, or refused for good."""
        try:
            self._client.patch(f"{self._sessions_path}/{uid}/status", {"status": waiting.status})
        except ApiError as error:
            if error.status == 404 and time.monotonic() - waiting.since < _UNSEEN_FOR:
                waiting.retry_at = time.monotonic() + 1.0
                return False
            if is_passing(error):
                raise
            with self._worker.lock:  # too many that wait are counted by the agent's thread
                self.dropped += 1
            log.warning("the API refused the status of session %s: %s", uid, error)
        return True

    def _write_node_or_say(self, status: NodeTrailStatus) -> None:
        """Write it; one that is refused for good holds up no session's status."""
        try:
            self._write_node(status)
        except ApiError as error:
            if is_passing(error):
                raise
            log.error("the API refused this node's NodeTrail: %s", error)

    def _write_node(self, status: NodeTrailStatus) -> None:
        whole, before = msgspec.to_builtins(status), self._env_written
        self._env_written = None  # until all is written
        known = dict.fromkeys(before or {}) if self._all_of_env else before or {}
        body = {"status": {**whole, "env": _changed(known, status.env)}}
        path = f"{self._trails_path}/{self._node}/status"
        try:
            if before is None:  # what an enricher before this one wrote
                self._client.patch(path, {"status": {"env": None, "lostByCause": None}})
            self._client.patch(path, body)
        except ApiError as error:
            if error.status != 404:
                raise
            self._client.create(self._trails_path, NodeTrail(ObjectMeta(name=self._node)))
            self._client.patch(path, {"status": whole})
        self._env_written, self._all_of_env = status.env, False

    def _count(self) -> None:
        if time.monotonic() >= self._count_at:
            self._count_at = time.monotonic() + jittered(_COUNT_EVERY)
            self._all_of_env = True  # the API may have been restored from a backup
            try:
                self.nodes = self._client.count(self._trails_path)
            except ApiError as error:
                log.warning("cannot ask how many nodes report: %s", error)


def _changed(before: Mapping[str, bool | None], now: dict[str, bool]) -> dict[str, bool | None]:
    """What to say of the containers in a merge patch, which keeps what it does not name: null takes one out."""
    return {
        **dict.fromkeys(before.keys() - now.keys()),
        **{key: has for key, has in now.items() if before.get(key) is not has},
    }
