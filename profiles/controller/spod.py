"""Keeps the Security Profiles Operator's configuration object, `spod` in the release's namespace, and its status.

Guides patch that object, so there must be one: it is made empty where there is none.
"""

# mypy: allow-untyped-calls
# (most of the official client has no types)

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from kubernetes import client

from exectrail.contracts import spo
from exectrail.k8s.client import ApiError, Client
from exectrail.k8s.mirror import Mirror
from exectrail.service.backoff import Backoff
from profiles.controller import spod_status
from profiles.controller.requests import resource, send
from profiles.controller.spod_status import Daemon, Values

_KIND = "SecurityProfilesOperatorDaemon"
_LOOK_AGAIN = 1.0
_BACKOFF_FIRST, _BACKOFF_MOST = 1.0, 60.0

log = logging.getLogger(__name__)


class Spod:
    """Follows the object and writes its status.

    Args:
        watching: Where to watch.
        api_client: The official client, configured.
        namespace: Of the release.
        values: What the release was installed with.
        leading: Whether this replica may write.

    """

    def __init__(
        self,
        watching: Client,
        api_client: client.ApiClient,
        namespace: str,
        values: Values,
        leading: Callable[[], bool],
    ) -> None:
        path = f"/apis/{spo.GROUP_VERSION}/namespaces/{namespace}/{spo.DAEMONS}"
        self._mirror = Mirror(watching, path, Daemon, lambda *_: self._changed.set())
        self._custom = client.CustomObjectsApi(api_client)
        self._daemons = {**resource(spo.GROUP_VERSION, spo.DAEMONS), "namespace": namespace}
        self._key = f"{namespace}/{spo.DAEMON}"
        self._values, self._leading = values, leading
        self._changed = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Work until stopped; to be begun once the API serves the kind."""
        self._mirror.start()
        backoff = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST)
        while not stop.is_set():
            self._changed.wait(_LOOK_AGAIN)  # a look costs no request where all is as it should be
            self._changed.clear()
            if not self._mirror.synced.is_set() or not self._leading():
                continue
            try:
                self.look()
                backoff.reset()
            except ApiError as error:
                wait = backoff.next()
                log.warning("cannot keep %s %s: %s; next try in %.1f s", _KIND, spo.DAEMON, error, wait)
                stop.wait(wait)
        self._mirror.stop()

    def look(self) -> None:
        """Make the object where there is none, and its status as it should be.

        Raises:
            ApiError: The API refuses, or is away.

        """
        daemon = self._mirror.objects.get(self._key)
        if daemon is None:
            body = {
                "apiVersion": spo.GROUP_VERSION,
                "kind": _KIND,
                "metadata": {"name": spo.DAEMON, "namespace": self._daemons["namespace"]},
                "spec": {},
            }
            try:
                send(self._custom.create_namespaced_custom_object, **self._daemons, body=body)
            except ApiError as error:
                if error.status != 409:  # the mirror does not show it yet
                    raise
            return
        status = spod_status.status(daemon, self._values, datetime.now(UTC))
        if status != daemon.status:
            body = {"metadata": {"uid": daemon.metadata.uid}, "status": msgspec.to_builtins(status)}
            send(self._custom.patch_namespaced_custom_object_status, **self._daemons, name=spo.DAEMON, body=body)
