"""What the controller writes about `spod`: the object where there is none, its status, and what parts are to follow."""

# mypy: allow-untyped-calls
# (most of the official client has no types)

from typing import Any

import msgspec
from kubernetes import client

from exectrail.contracts import spo
from exectrail.k8s.client import ApiError
from exectrail.k8s.passing import is_there
from profiles.controller.requests import resource, send
from profiles.controller.spod_spec import Daemon, DaemonStatus

_KIND = "SecurityProfilesOperatorDaemon"
_MERGE_PATCH = "application/merge-patch+json"


class SpodApi:
    """The writes.

    Args:
        api_client: The official client, configured.
        namespace: Of the release.
        config_map: The ConfigMap for what running parts follow, which the chart has made.

    """

    def __init__(self, api_client: client.ApiClient, namespace: str, config_map: str) -> None:
        self._custom = client.CustomObjectsApi(api_client)
        self._core = client.CoreV1Api(api_client)
        self._daemons = {**resource(spo.GROUP_VERSION, spo.DAEMONS), "namespace": namespace}
        self._namespace, self._config_map = namespace, config_map

    def create(self) -> None:
        """Make the object, empty; that it is there already is fine."""
        body = {
            "apiVersion": spo.GROUP_VERSION,
            "kind": _KIND,
            "metadata": {"name": spo.DAEMON, "namespace": self._namespace},
            "spec": {},
        }
        try:
            send(self._custom.create_namespaced_custom_object, **self._daemons, body=body)
        except ApiError as error:
            if not is_there(error):
                raise

    def write_status(self, daemon: Daemon, status: DaemonStatus) -> None:
        """Replace the status."""
        body = {"metadata": {"uid": daemon.metadata.uid}, "status": msgspec.to_builtins(status)}
        send(self._custom.patch_namespaced_custom_object_status, **self._daemons, name=spo.DAEMON, body=body)

    def write_settings(self, changes: dict[str, str | None]) -> None:
        """Change keys of the ConfigMap; None removes one."""
        patch: Any = self._core.patch_namespaced_config_map
        # Left to itself the client sends a patch of this kind as a JSON patch, which is a list.
        named = {"name": self._config_map, "namespace": self._namespace, "_content_type": _MERGE_PATCH}
        send(patch, **named, body={"data": changes})
