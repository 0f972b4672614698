"""What the controller asks and writes about AuditSessions: the few requests it makes, decoded into the fields it uses.

The official client carries them, and every failure becomes an `ApiError`. The AuditSessions themselves come from a
mirror: many thousand of them would cost the API server a good part of a core if each round listed them.
"""

# mypy: allow-untyped-calls
# (most of the official client has no types)

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTResponse
from urllib3.exceptions import HTTPError

from exectrail.contracts import nodetrail, session
from exectrail.contracts.nodetrail import NodeTrail
from exectrail.contracts.unreadable import UNREADABLE
from exectrail.k8s.client import ApiError, Client, Status
from exectrail.k8s.mirror import Mirror
from profiles.controller import retention
from profiles.controller.retention import Close, Pod, Session

_TIMEOUT = (5.0, 15.0)  # seconds to connect, and to wait for an answer

T = TypeVar("T")


class TimedClient(client.ApiClient):
    """The official client with a time limit: its election would wait for ever on a connection that hangs."""

    def call_api(
        self,
        method: str,
        url: str,
        header_params: dict[str, str] | None = None,
        body: object = None,
        post_params: list[tuple[str, str]] | None = None,
        _request_timeout: tuple[float, float] | None = None,
    ) -> RESTResponse:
        """Make a request, with our time limit where the caller has none."""
        return super().call_api(method, url, header_params, body, post_params, _request_timeout or _TIMEOUT)


def mirror(client: Client, namespace: str) -> Mirror[Session]:
    """A live copy of all AuditSessions of a namespace, with no more of each than retention needs."""
    path = f"/apis/{session.GROUP_VERSION}/namespaces/{namespace}/{session.PLURAL}"
    return Mirror(client, path, Session, keep=retention.needed)


def connect() -> client.ApiClient:
    """The client of the pod it runs in.

    Raises:
        kubernetes.config.ConfigException: It runs in none.

    """
    configuration = client.Configuration()
    config.load_incluster_config(client_configuration=configuration)
    configuration.retries = False  # the controller's rounds and the election have their own
    return TimedClient(configuration)


class Api:
    """What the rounds ask of the API server.

    Args:
        api_client: The official client, configured.
        namespace: That of the release, where the AuditSessions are.
        sessions: Their live copy.

    """

    def __init__(self, api_client: client.ApiClient, namespace: str, sessions: Mirror[Session]) -> None:
        self._mirror = sessions
        self._custom = client.CustomObjectsApi(api_client)
        self._core = client.CoreV1Api(api_client)
        self._sessions = {**_resource(session.GROUP_VERSION, session.PLURAL), "namespace": namespace}
        self._trails = _resource(nodetrail.GROUP_VERSION, nodetrail.PLURAL)

    def sessions(self) -> list[Session]:
        """All AuditSessions, as far as they are known."""
        return list(self._mirror.objects.values())

    def trail(self, node: str) -> NodeTrail | None:
        """A node's own word on how it records, now; `None` where it has given none."""
        return _found(self._custom.get_cluster_custom_object, NodeTrail, **self._trails, name=node)

    def pod(self, namespace: str, name: str) -> Pod | None:
        """A pod, or `None` where there is none of that name."""
        if not namespace or not name:
            return None  # an empty name would list the collection instead
        return _found(self._core.read_namespaced_pod, Pod, name=name, namespace=namespace)

    def close(self, closing: Close, now: datetime) -> None:
        """Write a session's end; `ApiError` 409 where it was written first by others, 404 where it is gone."""
        status = {"phase": "Closed", "outcome": closing.outcome, "endTime": now.isoformat().replace("+00:00", "Z")}
        if closing.node:
            status["node"] = closing.node
        # In a merge patch the version is a precondition (API conventions, "Concurrency Control").
        body = {"metadata": {"resourceVersion": closing.resource_version}, "status": status}
        _send(self._custom.patch_namespaced_custom_object_status, **self._sessions, name=closing.name, body=body)

    def delete(self, name: str) -> bool:
        """Delete a session; whether it was still there."""
        try:
            _send(self._custom.delete_namespaced_custom_object, **self._sessions, name=name)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True


def _resource(group_version: str, plural: str) -> dict[str, str]:
    group, version = group_version.split("/")
    return {"group": group, "version": version, "plural": plural}


def _found(request: Callable[..., Any], kind: type[T], **parameters: str) -> T | None:
    try:
        return _decode(_send(request, **parameters), kind)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _send(request: Callable[..., Any], **parameters: object) -> bytes:
    try:
        response = request(**parameters, _preload_content=False)
        data: bytes = response.data
    except ApiException as error:
        raise ApiError(error.status or 0, error.reason or "", _message(error)) from error
    except (HTTPError, OSError) as error:
        raise ApiError(0, "", str(error)) from error
    return data


def _message(error: ApiException) -> str:
    """What the API server says (meta/v1 Status), without the headers that the client's own message carries."""
    body = error.body or ""
    try:
        return msgspec.json.decode(body, type=Status).message
    except UNREADABLE:
        return str(body[:200])


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        raise ApiError(200, "Unreadable", str(error)) from error
