"""The controller's view of the API: the few requests it makes, decoded into the fields it uses.

The official client carries them, and every failure becomes an `ApiError`. Responses are decoded from their bytes: the
client's own models would hold each of many thousand AuditSessions whole.
"""

# mypy: allow-untyped-calls
# (most of the official client has no types)

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTResponse
from msgspec import Struct, field
from urllib3.exceptions import HTTPError

from exectrail.contracts import nodetrail, session
from exectrail.contracts.nodetrail import NodeTrail
from exectrail.contracts.unreadable import UNREADABLE
from exectrail.k8s.client import ApiError, Status
from profiles.controller.retention import Close, Pod, Session

_TIMEOUT = (5.0, 15.0)  # seconds to connect, and to wait for an answer
_PAGE = 250  # an AuditSession can have 100 KiB

T = TypeVar("T")

log = logging.getLogger(__name__)


class _ListMeta(Struct, frozen=True):
    next: str = field(default="", name="continue")


class _List(Struct, frozen=True):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


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


def connect(kubeconfig: str | None) -> client.ApiClient:
    """The client of the pod it runs in, or of a kubeconfig file.

    Raises:
        kubernetes.config.ConfigException: There is neither.

    """
    configuration = client.Configuration()
    if kubeconfig:
        config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    else:
        config.load_incluster_config(client_configuration=configuration)
    configuration.retries = False  # the controller's rounds and the election have their own
    return TimedClient(configuration)


class Api:
    """What the controller asks of the API server.

    Args:
        api_client: The official client, configured.
        namespace: That of the release, where the AuditSessions are.

    """

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self._custom = client.CustomObjectsApi(api_client)
        self._core = client.CoreV1Api(api_client)
        self._sessions = {**_resource(session.GROUP_VERSION, session.PLURAL), "namespace": namespace}
        self._trails = _resource(nodetrail.GROUP_VERSION, nodetrail.PLURAL)

    def sessions(self) -> Iterator[Session]:
        """All AuditSessions, page by page."""
        return self._list(Session, self._custom.list_namespaced_custom_object, self._sessions)

    def trails(self) -> dict[str, NodeTrail]:
        """All NodeTrails by node."""
        found = self._list(NodeTrail, self._custom.list_cluster_custom_object, self._trails)
        return {trail.metadata.name: trail for trail in found}

    def pod(self, namespace: str, name: str) -> Pod | None:
        """A pod, or `None` where there is none of that name."""
        if not namespace or not name:
            return None  # an empty name would list the collection instead
        try:
            return _decode(_send(self._core.read_namespaced_pod, name=name, namespace=namespace), Pod)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def close(self, closing: Close, now: datetime) -> None:
        """Write a session's end; `ApiError` 409 where it was written first by others, 404 where it is gone."""
        status = {"phase": "Closed", "outcome": closing.outcome, "endTime": now.isoformat().replace("+00:00", "Z")}
        if closing.node:
            status["node"] = closing.node
        # In a merge patch the version is a precondition (API conventions, "Concurrency Control").
        body = {"metadata": {"resourceVersion": closing.resource_version}, "status": status}
        _send(self._custom.patch_namespaced_custom_object_status, **self._sessions, name=closing.name, body=body)

    def delete(self, name: str) -> None:
        """Delete a session; one that is gone already is as good."""
        try:
            _send(self._custom.delete_namespaced_custom_object, **self._sessions, name=name)
        except ApiError as error:
            if error.status != 404:
                raise

    def _list(self, kind: type[T], request: Callable[..., Any], resource: dict[str, str]) -> Iterator[T]:
        decoder = msgspec.json.Decoder(kind)
        page = _decode(_send(request, **resource, limit=_PAGE), _List)
        yield from _readable(page, decoder)
        while page.metadata.next:
            page = _decode(_send(request, **resource, limit=_PAGE, _continue=page.metadata.next), _List)
            yield from _readable(page, decoder)


def _resource(group_version: str, plural: str) -> dict[str, str]:
    group, version = group_version.split("/")
    return {"group": group, "version": version, "plural": plural}


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


def _readable(page: _List, decoder: msgspec.json.Decoder[T]) -> Iterator[T]:
    """The page's objects; one that cannot be decoded is left out, it must not hide the others."""
    for item in page.items or []:
        try:
            yield decoder.decode(item)
        except UNREADABLE as error:
            log.warning("left out an object of a list: %s", error)
