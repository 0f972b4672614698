"""How the official client is asked: one way to send, and every failure an `ApiError`.

Answers are decoded from their bytes, into the fields that decide: the client's own models hold everything.
"""

# mypy: allow-untyped-calls
# (most of the official client has no types)

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTResponse
from urllib3.exceptions import HTTPError

from exectrail.contracts.unreadable import UNREADABLE
from exectrail.k8s.client import ApiError, Status

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


def connect() -> client.ApiClient:
    """The client of the pod it runs in.

    Raises:
        kubernetes.config.ConfigException: It runs in none.

    """
    configuration = client.Configuration()
    config.load_incluster_config(client_configuration=configuration)
    configuration.retries = False  # the controller's rounds and the election have their own
    return TimedClient(configuration)


def resource(group_version: str, plural: str) -> dict[str, str]:
    """A collection, as `CustomObjectsApi` wants it named."""
    group, version = group_version.split("/")
    return {"group": group, "version": version, "plural": plural}


def found(request: Callable[..., Any], kind: type[T], **parameters: str) -> T | None:
    """One object, or `None` where there is none of that name."""
    try:
        return _decode(send(request, **parameters), kind)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def send(request: Callable[..., Any], **parameters: object) -> bytes:
    """Make a request of the official client; the answer's bytes."""
    try:
        response = request(**parameters, _preload_content=False)
        data: bytes = response.data
    except ApiException as error:
        said = _said(error)
        raise ApiError(error.status or 0, said.reason, said.message) from error
    except (HTTPError, OSError) as error:
        raise ApiError(0, "", str(error)) from error
    return data


def _said(error: ApiException) -> Status:
    """What the API server says (meta/v1 Status), without the headers that the client's own message carries."""
    body = error.body or ""
    try:
        return msgspec.json.decode(body, type=Status)
    except UNREADABLE:
        return Status(reason=error.reason or "", message=str(body[:200]))


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        raise ApiError(200, "Unreadable", str(error)) from error
