"""The controller's work, round by round: look at all AuditSessions, close and delete what is due.

A round holds no state for the next one, so nothing has to be recovered after a failure or a change of leader.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import ParamSpec, Protocol

from exectrail.contracts.nodetrail import NodeTrail
from exectrail.k8s.client import ApiError
from exectrail.service.backoff import Backoff
from profiles.controller import metrics, retention
from profiles.controller.lease import NotLeadingError
from profiles.controller.retention import Close, Delete, Pod, Policy, Session

MOST_ACTIONS = 500
"""Of a kind, in one round: what is left makes the next round come soon."""
_SOON = 1.0
_BACKOFF_FIRST, _BACKOFF_MOST = 1.0, 60.0

_OVERTAKEN = {404, 409}  # written or deleted by others since it was read
_ABOUT_THE_OBJECT = {400, 422} | _OVERTAKEN

Act = ParamSpec("Act")

log = logging.getLogger(__name__)


class Api(Protocol):
    """What a round asks of the API; every failure is an `ApiError`."""

    def sessions(self) -> Iterable[Session]:
        """All AuditSessions, as far as they are known."""

    def trail(self, node: str) -> NodeTrail | None:
        """A node's own word on how it records, now; `None` where it has given none."""

    def pod(self, namespace: str, name: str) -> Pod | None:
        """A pod, or `None` where there is none of that name."""

    def close(self, closing: Close, now: datetime) -> None:
        """Write a session's end; 409 where it was written first by others, 404 where it is gone."""

    def delete(self, name: str) -> bool:
        """Delete a session; whether it was still there."""


class Rounds:
    """Makes rounds for as long as this replica leads.

    Args:
        api: The cluster.
        policy: What to keep, and how long to wait.
        leading: Whether this replica may act; asked before every action.
        alive: Called at every step, for the liveness probe.

    """

    def __init__(
        self, api: Api, policy: Policy, leading: Callable[[], bool], alive: Callable[[], None] = lambda: None
    ) -> None:
        self._api, self._policy = api, policy
        self._leading, self._alive = leading, alive

    def run(self, interval: float, stop: threading.Event) -> None:
        """Make rounds until stopped; a failed one is tried again, later each time it fails in a row."""
        backoff = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST)
        wait = 0.0
        led = False
        while not stop.wait(wait):
            self._alive()
            led = _announced(led, self._leading())
            wait = min(interval, _SOON)
            if not led:
                continue
            try:
                wait = _SOON if self.round(datetime.now(UTC)) else interval
                backoff.reset()
            except NotLeadingError:
                continue
            except ApiError as error:
                metrics.ROUNDS_FAILED.inc()
                wait = backoff.next()
                log.warning("cannot make a round: %s; next try in %.1f s", error, wait)

    def round(self, now: datetime) -> bool:
        """One look at all sessions and what follows from it; whether there is more to do.

        Raises:
            ApiError: The API is away, overloaded or refuses us altogether.
            NotLeadingError: Leadership was lost.

        """
        found = retention.survey(self._api.sessions(), self._policy, now)
        metrics.count_phases(found.phases)
        for deletion in found.delete[:MOST_ACTIONS]:
            self._act(self._delete, deletion)
        for closing in found.close[:MOST_ACTIONS]:
            self._act(self._close, closing, now)
        trail = cache(self._api.trail)  # each node is asked once
        for session in found.overdue[:MOST_ACTIONS]:
            self._act(self._settle, session, trail, now)
        metrics.LAST_ROUND.set_to_current_time()
        return max(len(found.delete), len(found.close), len(found.overdue)) > MOST_ACTIONS

    def _act(self, action: Callable[Act, None], *arguments: Act.args, **options: Act.kwargs) -> None:
        """Take one action, if still leading.

        What the API has against one object must not stop the others; what it has against us ends the round.
        """
        if not self._leading():
            raise NotLeadingError
        self._alive()
        try:
            action(*arguments, **options)
        except ApiError as error:
            if error.status not in _ABOUT_THE_OBJECT:
                raise
            metrics.REFUSED.inc()
            log.log(logging.DEBUG if error.status in _OVERTAKEN else logging.WARNING, "left for later: %s", error)

    def _delete(self, deletion: Delete) -> None:
        if self._api.delete(deletion.name):  # the mirror may still show what an earlier round deleted
            metrics.DELETED.labels(deletion.reason).inc()

    def _close(self, closing: Close, now: datetime) -> None:
        self._api.close(closing, now)
        metrics.CLOSED.labels(closing.outcome).inc()

    def _settle(self, session: Session, trail: Callable[[str], NodeTrail | None], now: datetime) -> None:
        pod = self._api.pod(session.spec.target.namespace, session.spec.target.pod)
        if closing := retention.verdict(session, pod, trail, now):
            self._close(closing, now)


def _announced(before: bool, now: bool) -> bool:
    if before != now:
        log.info("leading" if now else "no longer leading")
    metrics.LEADING.set(now)
    return now
