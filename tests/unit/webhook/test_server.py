"""What each caller is held to on its own connection; and the server never ends silently."""

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from tests.unit.waiting import until
from tests.unit.webhook.serving import serving
from webhook.app import BINDING_PATH, EXEC_METADATA_PATH, Health, Webhook, admission_app, status_app
from webhook.reviews.review import MAX_BYTES
from webhook.serving.callers import Limits
from webhook.serving.server import Bounds, Server, serve

Load = Callable[..., dict[str, Any]]
HEAD = f"POST {EXEC_METADATA_PATH} HTTP/1.1\r\nHost: x\r\n".encode()
SOON = 0.2


def ended(reason: str) -> float:
    return REGISTRY.get_sample_value("exectrail_webhook_connections_ended_total", {"reason": reason}) or 0


def all_faults() -> float:
    name = "exectrail_webhook_errors_total"
    return sum(REGISTRY.get_sample_value(name, {"webhook": each}) or 0 for each in ("binding", "exec-metadata"))


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            received += piece
    return received


@pytest.mark.parametrize(
    ("sent", "limits", "reason"),
    [
        (b"", {"handshake_seconds": SOON}, "arrival-timeout"),
        (b"\r\n", {"idle_seconds": SOON}, "idle-timeout"),
        (HEAD, {"header_seconds": SOON}, "header-timeout"),
        (HEAD + b"Content-Length: 100\r\n\r\n{", {"body_seconds": SOON}, "body-timeout"),
        (HEAD + b"X: " + b"y" * 2000, {"header_bytes": 1000}, "header-bytes"),
        (b"\r\n" * 1000, {"header_bytes": 1000}, "header-bytes"),
        (HEAD + b"Content-Length: 5000\r\n\r\n" + b" " * 2000, {"body_bytes": 1000}, "body-bytes"),
        (HEAD + b"Content-Length: 0\r\n\r\n" + HEAD, {}, "pipelined"),
        (b"\x16\x03\x01 this is TLS\r\n\r\n", {}, "bad-http"),
    ],
)
def test_a_connection_ends_for_a_reason(webhook: Webhook, sent: bytes, limits: dict[str, Any], reason: str) -> None:
    before = ended(reason)
    with (
        serving(webhook, Limits(**limits)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        connection.sendall(sent)
        answer = rest(connection)
        until(lambda: ended(reason) == before + 1)

    assert answer[:16] == (b"HTTP/1.1 400 Bad" if reason == "bad-http" else b"")


def test_headers_within_their_bound_are_taken_however_many_requests_there_are(webhook: Webhook, review: Load) -> None:
    body = json.dumps(review("attach")).encode()
    with (
        serving(webhook, Limits(header_bytes=1000, body_bytes=5000)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        for _ in range(20):
            connection.sendall(HEAD + f"Content-Length: {len(body)}\r\nX: {'y' * 500}\r\n\r\n".encode() + body)
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(1 << 16)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_answer_comes_in_one_piece(webhook: Webhook, review: Load) -> None:
    body = json.dumps(review("attach")).encode()
    call = HEAD + f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with serving(webhook) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for _ in range(20):
            connection.sendall(call)
            assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(body)
            answer = connection.recv(1 << 16)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["response"]["allowed"]


def test_an_answer_that_is_not_taken_ends_the_connection(
    webhook: Webhook, review: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.app.review.answer", lambda *_: b"x" * 6_000_000)
    body = json.dumps(review("exec-sh")).encode()
    before = ended("answer-timeout") + ended("unread-timeout")
    with serving(webhook, Limits(answer_seconds=SOON)) as port, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", port))
        connection.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: ended("answer-timeout") + ended("unread-timeout") == before + 1)


def test_no_answer_waits_for_an_acknowledgement_on_a_connection_that_came_before_the_server(
    webhook: Webhook, review: Load
) -> None:
    body, took = json.dumps(review("attach")), []
    early: list[http.client.HTTPConnection] = []

    def connect(port: int) -> None:
        early.append(http.client.HTTPConnection("127.0.0.1", port, timeout=10))
        early[0].connect()

    with serving(webhook, before=connect):
        for _ in range(15):
            began = time.monotonic()
            early[0].request("POST", EXEC_METADATA_PATH, body)
            assert early[0].getresponse().read()
            took.append(time.monotonic() - began)
    early[0].close()

    assert statistics.median(took) < 0.03  # an acknowledgement that is delayed takes 40 ms


def test_a_body_of_no_end_is_refused_where_its_caller_goes_on_sending(webhook: Webhook) -> None:
    with (
        serving(webhook) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 100 * MAX_BYTES:
                connection.sendall(chunk)
                sent += len(chunk)

    assert sent < 10 * MAX_BYTES


def test_the_time_of_a_review_counts_until_its_answer_is_sent(webhook: Webhook, review: Load) -> None:
    slow = 0.3

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(slow)

    body = json.dumps(review("attach")).encode()
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return messages.pop()

    async def call(app: ASGIApp) -> None:
        await app(scope, receive, send)

    scope = {"type": "http", "method": "POST", "path": EXEC_METADATA_PATH, "headers": [], "query_string": b""}
    name, labels = "exectrail_webhook_duration_seconds_sum", {"webhook": "exec-metadata"}
    before = REGISTRY.get_sample_value(name, labels) or 0
    asyncio.run(call(admission_app(webhook, Health())))

    assert (REGISTRY.get_sample_value(name, labels) or 0) - before > slow


def test_a_port_that_accepts_no_more_ends_the_server(webhook: Webhook) -> None:
    async def main() -> None:
        bounds = Bounds(Limits())
        listening, other = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
        servers = [
            Server(admission_app(webhook, Health()), listening, bounds),
            Server(status_app(Health()), other, bounds),
        ]
        asyncio.get_running_loop().call_later(SOON, listening.shutdown, socket.SHUT_RDWR)
        with listening, other:
            await asyncio.wait_for(serve(servers, bounds), 10)

    began = time.monotonic()
    with pytest.raises(ExceptionGroup) as failure:
        asyncio.run(main())

    assert failure.group_contains(OSError, match="Invalid argument")
    assert time.monotonic() - began < 9


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
REVIEWS = st.sampled_from(
    ["attach", "ephemeralcontainers", "exec-env", "exec-sh", "exec-tar", "pod-create", "pod-node-debug", "portforward"]
)


@st.composite
def mutated(draw: st.DrawFn, review: dict[str, Any]) -> dict[str, Any]:
    """A review of which some members, at any depth, are gone or are something else."""
    changed: dict[str, Any] = json.loads(json.dumps(review))
    for _ in range(draw(st.integers(1, 3))):
        at: Any = changed
        while True:
            keys = sorted(at) if isinstance(at, dict) else range(len(at))
            key = draw(st.sampled_from(keys))
            if isinstance(at[key], dict | list) and at[key] and draw(st.booleans()):
                at = at[key]
                continue
            if draw(st.booleans()):
                at[key] = draw(JSON)
            else:
                del at[key]
            break
        if not changed:
            break
    return changed


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_the_body_there_is_an_answer_and_no_fault(webhook: Webhook, review: Load, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["bytes", "json", "mutated", "cut", "deep"]))
    if kind == "bytes":
        body = data.draw(st.binary())
    elif kind == "json":
        body = json.dumps(data.draw(JSON)).encode()
    elif kind == "mutated":
        body = json.dumps(data.draw(mutated(review(data.draw(REVIEWS))))).encode()
    elif kind == "deep":
        # At any place of a real review, deeper than any reader goes.
        whole = json.dumps(review(data.draw(REVIEWS))).encode()
        opening = data.draw(st.sampled_from([b"[", b'{"a":', b'[{"a":']))
        values = [at for at in range(1, len(whole)) if whole[at - 1 : at + 1] in (b": ", b"[{", b'["', b", ")]
        at = data.draw(st.sampled_from(values))
        body = whole[:at] + opening * data.draw(st.sampled_from([100, 10_000, 100_000])) + whole[at:]
    else:
        whole = json.dumps(review(data.draw(REVIEWS))).encode()
        body = whole[: data.draw(st.integers(0, len(whole)))]
    path = data.draw(st.sampled_from([BINDING_PATH, EXEC_METADATA_PATH]))
    faults = all_faults()

    reply = TestClient(admission_app(webhook, Health()), raise_server_exceptions=False).post(path, content=body)

    assert reply.status_code in {200, 400}
    if reply.status_code == 200:
        assert reply.json()["response"]["allowed"]
    assert all_faults() == faults


def test_a_handshake_counts_once_its_first_record_is_whole(webhook: Webhook) -> None:
    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.issue_cert("localhost").configure_cert(server)
    ca.configure_trust(client)
    hello, answer = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client.wrap_bio(answer, hello, server_hostname="localhost").do_handshake()
    first, *rest = hello.read()
    before = ended("handshakes")
    with serving(webhook, Limits(handshakes=1), lambda: server) as port, contextlib.ExitStack() as open_:
        begun = [open_.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(3)]
        for each in begun:
            each.sendall(bytes([first]))
        begun[0].sendall(bytes(rest))

        assert begun[0].recv(1) == b"\x16"
        assert ended("handshakes") == before
        begun[1].shutdown(socket.SHUT_WR)  # nothing more can come
        assert begun[1].recv(1) == b""
