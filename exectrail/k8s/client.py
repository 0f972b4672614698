"""A lean Kubernetes client: list, watch, create, patch and delete, decoding only the fields that the caller declares.

The webhook runs in every request's way and the enricher on every node: the official client would cost each of them
some 47 MiB of private memory. Credentials are a pod's own: the token is read again for each request, because the
kubelet renews it in place.

Errors: every failure is an `ApiError`; `status` is 0 where no answer came, else the HTTP status (API conventions,
"Response Status Kind").
"""

import io
import json
import logging
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import urlencode

import msgspec
import urllib3
from msgspec import Struct, field

from exectrail.contracts.unreadable import UNREADABLE

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PAGE = 100
"""Objects of one answer, at most."""
_PAGE_BYTES = 4 << 20
"""Of one answer, unless a single object has more. Users make objects as large as the API server takes them: 1.5 MiB."""
_OBJECT_BYTES = 16 << 20
"""Of one object, at most: more than those 1.5 MiB have as JSON, which has up to six bytes for one."""
_FEWER = 5
"""How many times fewer objects are asked for where an answer is larger, and more again where it is so much smaller."""
_PIECE = 1 << 16
_TIMEOUT = urllib3.Timeout(connect=5.0, read=30.0)
_WHOLE_SECONDS = 60.0
"""For a whole answer, unless the caller wants it sooner: each of its pieces may come just in time, for ever."""
# A watch may be silent for minutes, so a read timeout cannot distinguish a quiet cluster from a dead connection:
# TCP keep-alive does, within 30 s.
_KEEP_ALIVE = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]
_JSON = "application/json"
# Whole objects where a server does not do that, as an aggregated one may not (API concepts, "Metadata-only fetches").
_METADATA = f"{_JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{_JSON}"
_METADATA_LIST = f"{_JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{_JSON}"

# Quoting would not do: the API server takes `%2F` for a slash, and `%2E` for a dot.
_NAME = r"(?!\.\.?(?:/|\Z))[A-Za-z0-9_.:-]+"
_is_name = re.compile(_NAME).fullmatch
_is_path = re.compile(rf"(?:/{_NAME})+").fullmatch

T = TypeVar("T")

log = logging.getLogger(__name__)


class Status(Struct, frozen=True):
    """What the API server says of a failed request (meta/v1 Status)."""

    code: int = 0
    reason: str = ""
    message: str = ""


class ApiError(Exception):
    """A request that did not succeed; `status` 0 means that the API server was not reached."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        """Keep the parts: callers decide by `status` and `reason`, people read `message`."""
        super().__init__(f"{reason}: {message}" if reason else message)
        self.status = status
        self.reason = reason


class Event(Struct, Generic[T], frozen=True):
    """A change that a watch reports; a `BOOKMARK` has no object, only a newer resource version."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: T | None
    resource_version: str


class Page(Struct, Generic[T], frozen=True):
    """A part of a collection, and the version that all its parts have in common: the one to watch from."""

    items: Iterator[T]
    """Each is decoded when it is asked for, and only once."""
    resource_version: str


class _ListMeta(Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = field(default="", name="continue")
    remaining_item_count: int = 0


class _List(Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _WatchEvent(Struct):
    type: str
    object: msgspec.Raw


class _Versioned(Struct):
    """Any object: its version is read even where the rest cannot be."""

    metadata: _ListMeta


class Client:
    """Talks to one API server.

    Args:
        server: Its base URL, `https://host:port`.
        ca: File of its certificate authority.
        token: File with a bearer token, read anew for each request.

    """

    def __init__(self, server: str, ca: str | None = None, token: Path | None = None) -> None:
        self.server = server
        self._token = token
        self._http = urllib3.PoolManager(
            num_pools=1,
            maxsize=8,
            ca_certs=ca,
            retries=False,
            socket_options=_KEEP_ALIVE,
        )

    @classmethod
    def in_cluster(cls) -> "Client":
        """The client of the pod it runs in.

        Raises:
            RuntimeError: This is no pod, or its ServiceAccount token is not mounted.

        """
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
        token = _SERVICE_ACCOUNT / "token"
        if not host or not port or not token.exists():
            raise RuntimeError(f"not in a pod: KUBERNETES_SERVICE_HOST={host!r}, {token} must be there")
        host = f"[{host}]" if ":" in host else host
        return cls(f"https://{host}:{port}", ca=str(_SERVICE_ACCOUNT / "ca.crt"), token=token)

    def close(self) -> None:
        """Close the connections; the next request opens another one."""
        self._http.clear()

    def get(self, path: str, kind: type[T], seconds: float | None = None) -> T:
        """Read one object, in so many seconds; `ApiError` 404 where there is none."""
        return _decode(self._ask("GET", path, seconds=seconds), kind)

    def create(self, path: str, obj: object, seconds: float | None = None) -> None:
        """Create an object in the collection at `path`, in so many seconds; `ApiError` `AlreadyExists`, where it is."""
        self._ask("POST", path, body=msgspec.json.encode(obj), content_type="application/json", seconds=seconds)

    def dry_run(self, path: str, obj: object, kind: type[T]) -> T:
        """What a new object would be after admission; it is not stored."""
        body = msgspec.json.encode(obj)
        answer = self._ask("POST", path, query={"dryRun": "All"}, body=body, content_type="application/json")
        return _decode(answer, kind)

    def patch(self, path: str, merge: dict[str, Any]) -> None:
        """Change an object by a JSON merge patch (RFC 7386)."""
        body = json.dumps(merge).encode()
        self._ask("PATCH", path, body=body, content_type="application/merge-patch+json")

    def json_patch(self, path: str, steps: list[dict[str, Any]]) -> None:
        """Change an object by a JSON patch (RFC 6902); `ApiError` 422 where one of its tests fails."""
        self._ask("PATCH", path, body=json.dumps(steps).encode(), content_type="application/json-patch+json")

    def delete(self, path: str) -> None:
        """Delete an object; `ApiError` 404 where there is none."""
        self._ask("DELETE", path)

    def pages(
        self, path: str, kind: type[T], *, metadata_only: bool = False, few: bool = False, **selectors: str
    ) -> Iterator[Page[T]]:
        """All objects of the collection at `path` as they are at one moment, page by page: never all at once in memory.

        An object that cannot be decoded is left out with a warning: it must not hide the others.

        Args:
            path: The collection, e.g. `/api/v1/pods`.
            kind: What to decode each object into.
            metadata_only: Whether the API server is to send no more than each object's metadata.
            few: Whether the selectors leave few of many. Then they come at once, from the API server's memory: by
                pages it would read all of the collection from etcd, and decode it, for those few.
            selectors: `fieldSelector` and `labelSelector`.

        Raises:
            ApiError: 410 when that moment is too long ago for the next page: begin anew.

        """
        decoder = msgspec.json.Decoder(kind)
        accept = _METADATA_LIST if metadata_only else _JSON
        if few and (few_of_many := self._from_memory(path, accept, selectors)):
            yield _page(few_of_many, decoder)[0]
            return
        limit, query = _PAGE, dict(selectors)
        while True:
            query["limit"] = str(limit)
            data = self._bounded(path, accept, query, _PAGE_BYTES if limit > 1 else _OBJECT_BYTES)
            if data is None and limit == 1:
                raise _too_large(200)
            if data is None:
                limit = max(1, limit // _FEWER)
                continue
            if len(data) * _FEWER <= _PAGE_BYTES:
                limit = min(_PAGE, limit * _FEWER)
            page, query["continue"] = _page(data, decoder)
            del data  # else it would still be here when the next one comes
            yield page
            if not query["continue"]:
                return

    def _from_memory(self, path: str, accept: str, selectors: dict[str, str]) -> bytes | None:
        """What the selectors leave; None where that is more than fits into a little memory.

        It may be a moment old, and the watch goes on from there. To ask for no older than now (`NotOlderThan`) fails
        where nothing changes: the API server's memory does not know then that it is up to date. The API server ignores
        `limit` here (API concepts, "Semantics for get and list").
        """
        return self._bounded(path, accept, {"resourceVersion": "0", **selectors}, _PAGE_BYTES)

    def _bounded(self, path: str, accept: str, query: dict[str, str], most: int) -> bytes | None:
        """An answer; None where it has more than `most` bytes, of which no more are read."""
        until = time.monotonic() + _WHOLE_SECONDS
        return self._read(self._send("GET", path, until, query=query, accept=accept), most, until)

    def count(self, path: str) -> int:
        """How many objects the collection at `path` has; all but one of them stay where they are."""
        found = _decode(self._ask("GET", path, query={"limit": "1"}), _List)
        return len(found.items or []) + found.metadata.remaining_item_count

    def watch(
        self,
        path: str,
        kind: type[T],
        resource_version: str,
        seconds: int,
        *,
        metadata_only: bool = False,
        **selectors: str,
    ) -> Iterator[Event[T]]:
        """Changes since `resource_version`, until the server ends the watch after `seconds`. Arguments as of `pages`.

        An object that cannot be decoded is left out with a warning; its version is passed on as a bookmark's.

        Raises:
            ApiError: 410 when that version is too old: list again.

        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
            **selectors,
        }
        timeout = urllib3.Timeout(connect=5.0, read=seconds + 30.0)
        accept = _METADATA if metadata_only else _JSON
        until = time.monotonic() + _WHOLE_SECONDS  # for a refusal
        response = self._send("GET", path, until, query=query, accept=accept, timeout=timeout)
        decoder = msgspec.json.Decoder(kind)
        try:
            for line in _lines(response):
                yield _event(line, decoder)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(0, "", f"{self.server}: {error}") from error
        finally:
            response.close()

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        content_type: str | None = None,
        seconds: float | None = None,
    ) -> bytes:
        """The whole answer, which is about one object at the most."""
        until = time.monotonic() + (seconds or _WHOLE_SECONDS)
        timeout = urllib3.Timeout(total=seconds) if seconds else _TIMEOUT
        response = self._send(method, path, until, query=query, body=body, content_type=content_type, timeout=timeout)
        data = self._read(response, _OBJECT_BYTES, until)
        if data is None:
            raise _too_large(response.status)
        return data

    def _read(self, response: urllib3.BaseHTTPResponse, most: int, until: float) -> bytes | None:
        """All of an answer; None where it has more than `most` bytes, of which no more are read."""
        data = io.BytesIO()
        try:
            while piece := self._piece(response, until):
                data.write(piece)
                if data.tell() > most:
                    return None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(0, "", f"{self.server}: {error}") from error
        finally:
            response.close()  # and its connection, unless it was read to its end
        return data.getvalue()

    def _piece(self, response: urllib3.BaseHTTPResponse, until: float) -> bytes:
        """The next piece, if it comes in what is left of the time; empty at the end."""
        left = until - time.monotonic()
        if left <= 0:
            raise ApiError(0, "", f"{self.server}: the answer takes too long")
        if reading := getattr(response.connection, "sock", None):  # the next request gives it its own timeout
            reading.settimeout(left)
        return response.read1(_PIECE)

    def _send(
        self,
        method: str,
        path: str,
        until: float,
        *,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        content_type: str | None = None,
        accept: str = _JSON,
        timeout: urllib3.Timeout = _TIMEOUT,
    ) -> urllib3.BaseHTTPResponse:
        """An answer whose body is still to be read; a refusal's is, until then (monotonic seconds)."""
        if not _is_path(path):
            raise _no_such(path)
        try:
            response = self._http.request(
                method,
                self.server + path + (f"?{urlencode(query)}" if query else ""),
                body=body,
                headers=self._headers(content_type, accept),
                timeout=timeout,
                preload_content=False,
                redirect=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(0, "", f"{self.server}: {error}") from error
        if not 200 <= response.status < 300:  # a redirect has done nothing, and is not followed with our token
            raise self._refusal(response, until)
        return response

    def _refusal(self, response: urllib3.BaseHTTPResponse, until: float) -> ApiError:
        try:
            text = self._read(response, _PAGE_BYTES, until)
        except ApiError as error:
            return ApiError(response.status, "", f"the answer was cut: {error}")
        try:
            status = msgspec.json.decode(text or b"", type=Status)
        except UNREADABLE:
            return ApiError(response.status, "", (text or b"")[:200].decode(errors="replace"))
        return ApiError(response.status, status.reason, status.message)

    def _headers(self, content_type: str | None, accept: str) -> dict[str, str]:
        headers = {"Accept": accept, "User-Agent": "exectrail"}
        if content_type:
            headers["Content-Type"] = content_type
        if self._token:
            headers["Authorization"] = f"Bearer {self._token.read_text().strip()}"
        return headers


def object_path(collection: str, name: str) -> str:
    """The path of an object whose name others may have chosen.

    Raises:
        ApiError: 404: it is no name, so that no object can have it.

    """
    if not _is_name(name):
        raise _no_such(name)
    return f"{collection}/{name}"


def _too_large(status: int) -> ApiError:
    return ApiError(status, "Unreadable", f"the answer has more than {_OBJECT_BYTES} bytes")


def _no_such(text: str) -> ApiError:
    return ApiError(404, "NotFound", f"{text[:200]!r} is neither a name nor a path in the API, and was not asked for")


def _decode(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
        raise ApiError(200, "Unreadable", str(error)) from error


def _page(data: bytes, decoder: msgspec.json.Decoder[T]) -> tuple[Page[T], str]:
    """A page, and the `continue` of the next one; empty where it is the last."""
    found = _decode(data, _List)
    return Page(_readable(found.items or [], decoder), found.metadata.resource_version), found.metadata.continue_


def _readable(items: list[msgspec.Raw], decoder: msgspec.json.Decoder[T]) -> Iterator[T]:
    for item in items:
        try:
            yield decoder.decode(item)
        except UNREADABLE as error:
            log.warning("left out an object of a list: %s", error)


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The chunks of a watch, cut at newlines: a chunk may end in the middle of an event."""
    rest = b""
    for chunk in response.stream(amt=None):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)


def _event(line: bytes, decoder: msgspec.json.Decoder[T]) -> Event[T]:
    try:
        event = msgspec.json.decode(line, type=_WatchEvent)
        if event.type == "ERROR":
            status = msgspec.json.decode(event.object, type=Status)
            raise ApiError(status.code, status.reason, status.message)
        version = msgspec.json.decode(event.object, type=_Versioned).metadata.resource_version
    except UNREADABLE as error:
        raise ApiError(200, "Unreadable", str(error)) from error
    if event.type == "BOOKMARK":
        return Event("BOOKMARK", None, version)
    try:
        return Event(event.type, decoder.decode(event.object), version)  # type: ignore[arg-type]
    except UNREADABLE as error:
        log.warning("left out a change: %s", error)
        return Event("BOOKMARK", None, version)
