"""Watches whether requests still come to the webhook: looks now and then, and keeps what it saw.

A look holds no state for the next one but what is in the cluster, so a new leader goes on where the last one ended.
"""

import logging
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, field

from exectrail.contracts import webhook_configuration
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.webhook_configuration import Configuration
from exectrail.k8s.client import ApiError, Client
from profiles.controller import canary, metrics, outages
from profiles.controller.outages import Failure, History

_NOT_LEADING_SECONDS = 1.0
_COMPONENT = "exectrail-controller"
_OVERTAKEN = 409

log = logging.getLogger(__name__)


class WebhookNames(Struct, frozen=True):
    """Whose webhook it is."""

    namespace: str
    """Of the release."""
    configuration: str
    """The MutatingWebhookConfiguration."""
    outages: str
    """The ConfigMap that keeps the outages."""
    identity: str
    """This replica, for Events."""


class _ConfigMap(Struct, frozen=True):
    metadata: ObjectMeta
    data: dict[str, str] = field(default_factory=dict)


class _Found(Struct, frozen=True):
    """What a look found wrong, if anything."""

    failure: Failure | None
    certain: bool = True
    """False where only the next look can tell."""


class Reachability:
    """Looks for as long as this replica leads.

    Args:
        connect: Makes a client with no connection yet.
        names: Whose webhook it is.
        expected: The entries that the chart made.
        leading: Whether this replica may act.

    """

    def __init__(
        self,
        connect: Callable[[], Client],
        names: WebhookNames,
        expected: list[dict[str, Any]],
        leading: Callable[[], bool],
    ) -> None:
        self._connect, self._names, self._expected, self._leading = connect, names, expected, leading
        self._before: list[str] = []
        """What the last look found changed in the configuration."""

    def run(self, interval: float, stop: threading.Event) -> None:
        """Look until stopped, about every `interval` seconds: never all releases of a cluster at once."""
        wait = 0.0
        while not stop.wait(wait):
            if not self._leading():
                metrics.forget_webhook()
                wait = _NOT_LEADING_SECONDS
                continue
            self.look(datetime.now(UTC))
            wait = interval * random.uniform(0.8, 1.2)  # noqa: S311 - jitter

    def look(self, now: datetime) -> None:
        """Send a canary, compare the configuration, and keep what came of it."""
        client = self._connect()
        try:
            found = self._found(client)
        except ApiError as error:
            # The webhook may be well: nothing is known, which shows as `not-watched` if it goes on.
            metrics.WEBHOOK_FAILURES.labels("not-asked").inc()
            metrics.forget_webhook()
            log.warning("cannot look whether the webhook is reached: %s", error)
        else:
            if found.certain and self._leading():
                self._keep(client, now, found.failure)
        finally:
            client.close()

    def _found(self, client: Client) -> _Found:
        try:
            canary.ask(client, self._names.namespace)
        except canary.NotReached as error:
            metrics.WEBHOOK_REACHABLE.set(0)
            return _Found(Failure(error.reason, str(error)))
        metrics.WEBHOOK_REACHABLE.set(1)
        changes = self._changed(client)
        # At the second sight: while an upgrade changes it, the controller before this one still looks.
        lasting = [each for each in changes if each in self._before]
        self._before = changes
        if not changes:
            metrics.WEBHOOK_INTACT.set(1)
            return _Found(None)
        if not lasting:
            return _Found(None, certain=False)
        metrics.WEBHOOK_INTACT.set(0)
        return _Found(Failure("configuration", "; ".join(lasting)))

    def _changed(self, client: Client) -> list[str]:
        if not self._expected:
            return []
        live = client.get(webhook_configuration.path(self._names.configuration), Configuration)
        return webhook_configuration.changes(self._expected, live.webhooks)

    def _keep(self, client: Client, now: datetime, failure: Failure | None) -> None:
        if failure:
            metrics.WEBHOOK_FAILURES.labels(failure.reason).inc()
        else:
            metrics.WEBHOOK_REACHED.set(now.timestamp())
        try:
            self._write(client, now, failure)
        except ApiError as error:
            if error.status != _OVERTAKEN:  # by the next leader
                log.warning("cannot keep outages in ConfigMap %s: %s", self._names.outages, error)

    def _write(self, client: Client, now: datetime, failure: Failure | None) -> None:
        path = f"/api/v1/namespaces/{self._names.namespace}/configmaps/{self._names.outages}"
        kept = client.get(path, _ConfigMap)
        before = outages.read(kept.data)
        after = before.looked(now, failure)
        # In a merge patch the version is a precondition (API conventions, "Concurrency Control").
        version = {"resourceVersion": kept.metadata.resource_version}
        client.patch(path, {"metadata": version, "data": outages.written(after)})
        self._report(client, kept.metadata, before, after)

    def _report(self, client: Client, about: ObjectMeta, before: History, after: History) -> None:
        if after.open and after.open != before.open:
            text = f"requests may pass unrecorded since {after.open.since}: {after.open.reason}: {after.open.message}"
            log.error("%s", text)
            self._send_event(client, about, "Warning", "WebhookNotReached", text)
        elif before.open and not after.open:
            ended = after.outages[-1]
            text = (
                f"the webhook is reached again; from {ended.since} to {ended.until} requests may have passed unrecorded"
            )
            log.warning("%s", text)
            self._send_event(client, about, "Normal", "WebhookReached", text)

    def _send_event(self, client: Client, about: ObjectMeta, type_: str, reason: str, message: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        namespace, name = self._names.namespace, self._names.outages
        involved = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": namespace, "name": name, "uid": about.uid}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{name[:200]}-", "namespace": namespace},
            "involvedObject": involved,
            "type": type_,
            "reason": reason,
            "message": message[:1024],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": self._names.identity,
        }
        client.create(f"/api/v1/namespaces/{namespace}/events", event)
