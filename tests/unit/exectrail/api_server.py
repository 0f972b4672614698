"""A small API server on 127.0.0.1: lists in pages, watches in chunks, creates, deletes; and fails on demand."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

_GONE = b'{"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}'


def _unchanged(body: bytes) -> bytes:
    return body


@dataclass
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class ApiServer:
    """Keeps the objects of one collection by name, and all changes since the last `compact`.

    Objects that are created with a name can be got by their paths; their names are taken then.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.version = self.oldest = 100
        self.objects: dict[str, dict[str, Any]] = {}
        self.events: list[tuple[int, bytes]] = []
        self.created: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.canned: list[tuple[int, bytes]] = []
        """Answers, status and body, that stand in for the next real ones."""
        self.answering = _unchanged
        """What a created object's body becomes on its way, as by a webhook."""
        self.absent: set[str] = set()
        """Paths of collections whose CRD is not there."""
        self.stalled: set[str] = set()
        """Paths of collections where the creation of an object is not answered until they leave this set."""
        self.chunk = 1 << 16
        """The most bytes of a watch in one HTTP chunk."""
        self.gone_as_event = False
        """Whether an expired version is reported in the watch, not by the HTTP status."""
        self.tokens_to_expire = 0
        """How many of the next `continue` tokens are too old by the time they come back."""
        self.snapshots: dict[int, list[dict[str, Any]]] = {}
        """The objects as they were at the versions of lists that are not read to their ends."""
        self.watching = 0
        self.ended = 0
        self.sockets: set[socket] = set()
        self._address = ("127.0.0.1", 0)
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._address[1]}"

    def start(self) -> None:
        """Listen; after a `stop` on the port from before."""
        api = self

        class Handler(_Handler):
            server_of = api

        self._http = ThreadingHTTPServer(self._address, Handler)
        self._http.daemon_threads = True
        self._address = ("127.0.0.1", self._http.server_address[1])
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        """Die: nothing listens any more, and open connections break."""
        self._http.shutdown()
        self._thread.join()
        for connection in list(self.sockets):
            with suppress(OSError):  # the client may have gone first
                connection.shutdown(SHUT_RDWR)
        self.end_watches()
        self._http.server_close()

    def end_watches(self) -> None:
        """End all watches, as a server does after their `timeoutSeconds`."""
        with self.changed:
            self.ended += 1
            self.changed.notify_all()

    def set(self, name: str, namespace: str = "", **labels: str) -> None:
        """Create or change an object."""
        self.put({"metadata": {"name": name, "namespace": namespace, "labels": labels}})

    def put(self, obj: dict[str, Any]) -> None:
        """Create or change an object of any kind."""
        self._change("MODIFIED" if obj["metadata"]["name"] in self.objects else "ADDED", obj)

    def delete(self, name: str) -> None:
        """Delete an object."""
        self._change("DELETED", self.objects[name])

    def bookmark(self) -> None:
        """Tell watchers a newer version, as after changes to objects that they do not select."""
        self._change("BOOKMARK", {"kind": "Pod", "metadata": {}})

    def send(self, line: str | bytes) -> None:
        """Send watchers something else."""
        data = line if isinstance(line, bytes) else line.encode()
        with self.changed:
            self.version += 1
            self.events.append((self.version, data + b"\n"))
            self.changed.notify_all()

    def compact(self) -> None:
        """Forget the changes until now, as etcd does every few minutes."""
        with self.changed:
            self.events.clear()
            self.snapshots.clear()
            self.oldest = self.version

    def counts(self) -> Counter[str]:
        """How often there was a `list` and a `watch`."""
        return Counter("watch" if "watch" in asked.query else "list" for asked in self.asked)

    def wait_until_watched(self) -> None:
        """Until a watch begins."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.watching > 0, timeout=10)

    def _change(self, kind: str, obj: dict[str, Any]) -> None:
        with self.changed:
            self.version += 1
            obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
            if kind == "DELETED":
                del self.objects[obj["metadata"]["name"]]
            elif kind != "BOOKMARK":
                self.objects[obj["metadata"]["name"]] = obj
            self.events.append((self.version, json.dumps({"type": kind, "object": obj}).encode() + b"\n"))
            self.changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_of: ApiServer

    def setup(self) -> None:
        super().setup()
        self.server_of.sockets.add(self.connection)

    def finish(self) -> None:
        self.server_of.sockets.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client went away, or `stop` broke the connection
            self.close_connection = True

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
        asked = Asked(self.command, url.path, dict(parse_qsl(url.query)), dict(self.headers), body)
        api.asked.append(asked)
        if api.canned:
            self._reply(*api.canned.pop(0))
        elif url.path in api.absent:
            self._reply(404, b"404 page not found\n")
        elif self.command == "POST":
            self._create(url.path, body)
        elif self.command == "PATCH":
            self._reply(200, self._patched(url.path, body))
        elif "watch" in asked.query:
            self._watch(int(asked.query["resourceVersion"]))
        elif "limit" in asked.query:
            self._list(int(asked.query["limit"]), asked.query.get("continue", ""))
        elif "resourceVersion" in asked.query:
            self._list(1 << 30, "")
        elif url.path in api.created:
            self._reply(200, api.created.pop(url.path) if self.command == "DELETE" else api.created[url.path])
        else:
            self._reply(404, b'{"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}')

    def _create(self, path: str, body: bytes) -> None:
        body = self.server_of.answering(body)
        with self.server_of.changed:
            self.server_of.changed.wait_for(lambda: path not in self.server_of.stalled)
        name = json.loads(body).get("metadata", {}).get("name", "")
        if f"{path}/{name}" in self.server_of.created:
            self._reply(409, b'{"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": "it exists"}')
            return
        if name:
            self.server_of.created[f"{path}/{name}"] = body
        self._reply(201, body)

    def _patched(self, path: str, body: bytes) -> bytes:
        """What was created changes (by a merge patch of its first level); of all else the patch is only noted."""
        if path in self.server_of.created:
            self.server_of.created[path] = json.dumps(
                json.loads(self.server_of.created[path]) | json.loads(body)
            ).encode()
        return body

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _list(self, limit: int, token: str) -> None:
        """A page. All pages of a list show the objects as they were at its first: `token` has the version of that."""
        api = self.server_of
        with api.changed:
            if token and api.tokens_to_expire:
                api.tokens_to_expire -= 1
                api.snapshots.clear()
            version, start = (int(part) for part in token.split(":")) if token else (api.version, 0)
            items = api.snapshots.get(version) if token else list(api.objects.values())
            if items and len(items) > start + limit:
                api.snapshots[version] = items
        if items is None:
            self._reply(410, _GONE)
            return
        meta: dict[str, object] = {"resourceVersion": str(version)}
        if rest := len(items[start + limit :]):
            meta |= {"continue": f"{version}:{start + limit}", "remainingItemCount": rest}
        self._reply(200, json.dumps({"metadata": meta, "items": items[start : start + limit] or None}).encode())

    def _watch(self, version: int) -> None:
        api = self.server_of
        if version < api.oldest and not api.gone_as_event:
            self._reply(410, _GONE)
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if version < api.oldest:
            self._send(b'{"type":"ERROR","object":%b}\n' % _GONE)
        else:
            for data in self._changes(version):
                self._send(data)
        self.wfile.write(b"0\r\n\r\n")

    def _changes(self, version: int) -> Iterator[bytes]:
        """All lines after `version`; several at once where they came faster than they went out."""
        api = self.server_of
        with api.changed:
            ended = api.ended
            api.watching += 1
            api.changed.notify_all()
        try:
            while True:
                with api.changed:
                    while api.ended == ended and api.version == version:
                        api.changed.wait()
                    if api.ended > ended:
                        return
                    lines = [line for number, line in api.events if number > version]
                    version = api.version
                yield b"".join(lines)
        finally:
            with api.changed:
                api.watching -= 1

    def _send(self, data: bytes) -> None:
        size = self.server_of.chunk
        for part in (data[at : at + size] for at in range(0, len(data), size)):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self.wfile.flush()
