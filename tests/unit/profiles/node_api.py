"""An API server on 127.0.0.1 with several collections: lists, watches, creates, patches and deletes by JSON merge."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

Object = dict[str, Any]

SPO = "/apis/security-profiles-operator.x-k8s.io/v1"
PROFILES = f"{SPO}/seccompprofiles"
STATUSES = f"{SPO}/securityprofilenodestatuses"
PODS = "/api/v1/pods"


@dataclass
class Collection:
    """Objects by name, and every change since the start."""

    objects: dict[str, Object] = field(default_factory=dict)
    changes: list[tuple[int, bytes]] = field(default_factory=list)


class NodeApi:
    """The collections that an installer uses.

    Only names identify objects, also of pods: no test needs two namespaces.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.version = 100
        self.collections = {path: Collection() for path in (PROFILES, STATUSES, PODS)}
        self.refused: dict[tuple[str, str], int] = {}
        """Answers' HTTP status by method and path, in place of the real ones."""
        self.asked: list[tuple[str, str]] = []
        """Requests that change something."""
        self.queries: list[tuple[str, dict[str, str]]] = []
        self._stopped = False
        api = self

        class Handler(_Handler):
            server_of = api

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def put(self, path: str, name: str, **parts: Any) -> None:
        """Create or change an object; `parts` are `spec`, `status`, or of its metadata."""
        old = self.collections[path].objects.get(name, {"metadata": {"name": name, "uid": f"uid-{name}"}})
        own: Object = {key: parts.pop(key) for key in ("spec", "status") if key in parts}
        created = {"creationTimestamp": "2026-01-01T00:00:00Z"}
        self.set(path, {**old, **own, "metadata": {**created, **old["metadata"], **parts}})

    def set(self, path: str, obj: Object) -> None:
        """Create or change an object as it is given."""
        known = obj["metadata"]["name"] in self.collections[path].objects
        self._change(path, "MODIFIED" if known else "ADDED", obj)

    def delete(self, path: str, name: str) -> None:
        self._change(path, "DELETED", self.collections[path].objects[name])

    def statuses(self) -> dict[str, str]:
        """What the node statuses say, by name."""
        with self.changed:
            objects = self.collections[STATUSES].objects
            return {name: obj.get("status", {}).get("status", "") for name, obj in objects.items()}

    def status(self, name: str) -> Object:
        """A node status."""
        return self.collections[STATUSES].objects[name]

    def _change(self, path: str, kind: str, obj: Object) -> None:
        with self.changed:
            self.version += 1
            obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
            collection, name = self.collections[path], obj["metadata"]["name"]
            if kind == "DELETED":
                collection.objects.pop(name, None)
            else:
                collection.objects[name] = obj
            collection.changes.append((self.version, json.dumps({"type": kind, "object": obj}).encode() + b"\n"))
            self.changed.notify_all()

    def changes(self, path: str, version: int) -> Iterator[bytes]:
        """All changes of a collection after a version, until the server stops."""
        while True:
            with self.changed:
                while not (lines := [at for at in self.collections[path].changes if at[0] > version]):
                    if self._stopped:
                        return
                    self.changed.wait()
            version = lines[-1][0]
            yield b"".join(line for _, line in lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self._stopped = True
            self.changed.notify_all()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: NodeApi

    def handle(self) -> None:
        with suppress(OSError):  # the client went away
            super().handle()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        api, url = self.server_of, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = dict(parse_qsl(url.query))
        if self.command == "GET":
            api.queries.append((url.path, query))
        else:
            api.asked.append((self.command, url.path))
        if status := api.refused.get((self.command, url.path)):
            self._reply(status, {"code": status, "reason": "Refused", "message": "refused"})
        elif url.path in api.collections:
            self._collection(url.path, query, body)
        else:
            path, _, name = url.path.removesuffix("/status").rpartition("/")
            self._object(path, name, body, of_status=url.path.endswith("/status"))

    def _collection(self, path: str, query: dict[str, str], body: bytes) -> None:
        api = self.server_of
        if self.command == "POST":
            obj = json.loads(body)
            obj.pop("status", None)
            taken = obj["metadata"]["name"] in api.collections[path].objects
            if not taken:
                api.set(path, obj)
            self._reply(409 if taken else 201, {"code": 409, "reason": "AlreadyExists"} if taken else obj)
        elif "watch" in query:
            self._watch(path, int(query["resourceVersion"]))
        else:
            with api.changed:
                key, _, value = query.get("labelSelector", "").partition("=")
                items = [
                    obj
                    for obj in api.collections[path].objects.values()
                    if not key or obj["metadata"].get("labels", {}).get(key) == value
                ]
                answer = {"metadata": {"resourceVersion": str(api.version)}, "items": items}
            self._reply(200, answer)

    def _object(self, path: str, name: str, body: bytes, of_status: bool) -> None:
        api = self.server_of
        obj = api.collections[path].objects.get(name) if path in api.collections else None
        if obj is None:
            self._reply(404, {"code": 404, "reason": "NotFound"})
            return
        if self.command == "PATCH":
            kept = {"metadata": obj["metadata"]} if of_status else {"status": obj.get("status", {})}
            obj = {**_merged(obj, json.loads(body)), **kept}
            api.set(path, obj)
        elif self.command == "DELETE":
            api.delete(path, name)
        self._reply(200, obj)

    def _watch(self, path: str, version: int) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in self.server_of.changes(path, version):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _reply(self, status: int, obj: Object) -> None:
        data = json.dumps(obj).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _merged(obj: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7386)."""
    if not isinstance(obj, dict) or not isinstance(patch, dict):
        return patch
    result = {**obj, **{key: _merged(obj.get(key, {}), value) for key, value in patch.items() if value is not None}}
    return {key: value for key, value in result.items() if key not in patch or patch[key] is not None}
