"""The controller's requests, as an API server receives them."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest
from kubernetes import client

from exectrail.k8s.client import ApiError, Client
from profiles.controller.requests import TimedClient
from profiles.controller.retention import Close
from profiles.controller.session_api import SessionApi, mirror

SESSIONS = "/apis/exectrail.io/v1alpha1/namespaces/release/auditsessions"
NOW = datetime(2026, 11, 23, 12, 0, 0, 250000, tzinfo=UTC)


class Got(NamedTuple):
    method: str
    path: str
    content_type: str | None
    body: Any


class Server(ThreadingHTTPServer):
    """Answers with what a test put into `answers`, by method and path; anything else is a 404."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], tuple[int, object]] = {}
        self.got: list[Got] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        got = Got(self.command, self.path, self.headers.get("Content-Type"), json.loads(body) if body else None)
        self.server.got.append(got)
        missing = (404, {"kind": "Status", "code": 404, "reason": "NotFound", "message": "not there"})
        status, answer = self.server.answers.get((self.command, self.path), missing)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_PATCH = do_DELETE = do_GET  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing to log."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def api(server: Server) -> Iterator[SessionApi]:
    configuration = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    configuration.retries = False
    with TimedClient(configuration) as api_client:
        sessions = mirror(Client(f"http://127.0.0.1:{server.server_port}"), "release")
        yield SessionApi(api_client, "release", sessions)
        api_client.rest_client.close()


def test_closing_writes_the_status_only_if_it_is_unchanged(server: Server, api: SessionApi) -> None:
    server.answers["PATCH", f"{SESSIONS}/a/status"] = (200, {})
    api.close(Close("a", "7", "never-started", "node1"), NOW)
    (got,) = server.got
    assert got.content_type == "application/merge-patch+json"
    assert got.body == {
        "metadata": {"resourceVersion": "7"},
        "status": {
            "phase": "Closed",
            "outcome": "never-started",
            "endTime": "2026-11-23T12:00:00.250000Z",
            "node": "node1",
        },
    }


def test_a_conflict_is_an_error_that_says_so(server: Server, api: SessionApi) -> None:
    status = {"code": 409, "reason": "Conflict", "message": "the object has been modified"}
    server.answers["PATCH", f"{SESSIONS}/a/status"] = (409, status)
    with pytest.raises(ApiError, match="the object has been modified") as caught:
        api.close(Close("a", "7", "not-recorded"), NOW)
    assert caught.value.status == 409


def test_deleting_what_is_gone_is_no_error(server: Server, api: SessionApi) -> None:
    assert not api.delete("a")
    server.answers["DELETE", f"{SESSIONS}/b"] = (200, {})
    assert api.delete("b")
    assert [(got.method, got.path) for got in server.got] == [("DELETE", f"{SESSIONS}/{name}") for name in "ab"]


def test_a_pod_is_known_by_its_node_or_not_at_all(server: Server, api: SessionApi) -> None:
    pod = {"metadata": {"creationTimestamp": "2026-11-23T10:00:00Z"}, "spec": {"nodeName": "node1", "containers": []}}
    server.answers["GET", "/api/v1/namespaces/shop/pods/web-0"] = (200, pod)
    found = api.pod("shop", "web-0")
    assert found is not None
    assert found.spec.node_name == "node1"
    assert api.pod("shop", "gone") is None


def test_a_session_that_names_no_pod_does_not_make_a_list_of_all(server: Server, api: SessionApi) -> None:
    assert api.pod("shop", "") is None
    assert server.got == []


def test_a_node_is_known_by_its_trail_or_not_at_all(server: Server, api: SessionApi) -> None:
    trail = {"metadata": {"name": "node1"}, "status": {"sensor": "bpf", "heartbeat": "2026-11-23T12:00:00Z", "seq": 4}}
    server.answers["GET", "/apis/exectrail.io/v1alpha1/nodetrails/node1"] = (200, trail)
    found = api.trail("node1")
    assert found is not None
    assert found.status.sensor == "bpf"
    assert api.trail("gone") is None


def test_a_server_that_is_away_is_an_error_with_status_0(server: Server, api: SessionApi) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(ApiError) as caught:
        api.delete("a")
    assert caught.value.status == 0
