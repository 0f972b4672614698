"""The controller's health endpoint."""

import contextlib
import errno
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import HTTPServer

import pytest

from exectrail.service.serving import bind, serve
from profiles.controller import metrics
from profiles.controller.health import STUCK_SECONDS, Pulse
from tests.unit.waiting import until


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def address(clock: Clock) -> Iterator[str]:
    pulse = Pulse(clock)
    server = serve(bind("127.0.0.1", 0), pulse.wrong, pulse.wrong)
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - an address of our own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_it_is_healthy_while_the_work_goes_on(address: str, path: str) -> None:
    assert get(address + path) == (200, "ok\n")


def test_it_is_unhealthy_when_the_work_is_stuck(address: str, clock: Clock) -> None:
    clock.now = STUCK_SECONDS
    assert get(address + "/healthz")[0] == 503


def test_it_serves_the_metrics_with_every_outcome_from_the_start(address: str) -> None:
    metrics.count_phases({"Open": 3})
    status, text = get(address + "/metrics")
    assert status == 200
    assert 'exectrail_controller_sessions{phase="Open"} 3.0' in text
    for outcome in ("never-started", "not-recorded"):
        assert f'exectrail_controller_sessions_closed_total{{outcome="{outcome}"}}' in text


@pytest.mark.parametrize(
    ("host", "callers"),
    [("", ["127.0.0.1", "::1"]), ("127.0.0.1", ["127.0.0.1"]), ("::1", ["::1"])],
    ids=["everywhere", "IPv4", "IPv6"],
)
def test_it_is_reached_by_the_kubelet_of_an_ipv6_cluster_too(host: str, callers: list[str]) -> None:
    server = serve(bind(host, 0), lambda: None, lambda: None)
    for caller in callers:
        answer = http.client.HTTPConnection(caller, server.server_port, timeout=10)
        answer.request("GET", "/healthz")
        assert answer.getresponse().status == 200
        answer.close()
    server.shutdown()
    server.server_close()


def test_an_answer_is_one_write_and_never_waits_for_an_acknowledgement(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert connection.recv(1 << 16).endswith(b"\r\n\r\nok\n")


def test_it_goes_on_where_files_run_out_and_says_so(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError(errno.EMFILE, "Too many open files")] * 2
    accept = HTTPServer.get_request

    def fail(server: HTTPServer) -> object:
        if failures:
            raise failures.pop()
        return accept(server)

    monkeypatch.setattr(HTTPServer, "get_request", fail)
    monkeypatch.setattr("exectrail.service.serving._PAUSE_SECONDS", 0.01)
    server = serve(bind("127.0.0.1", 0), lambda: None, lambda: None)

    assert get(f"http://127.0.0.1:{server.server_port}/healthz")[0] == 200
    assert [record.getMessage() for record in caplog.records] == ["cannot accept a connection: Too many open files"] * 2
    server.shutdown()
    server.server_close()


def test_it_waits_for_who_served_there_before_to_leave() -> None:
    before = serve(bind("127.0.0.1", 0), lambda: None, lambda: None)
    port = before.server_port
    with pytest.raises(OSError, match="in use"):
        bind("127.0.0.1", port)

    def leave() -> None:
        before.shutdown()
        before.server_close()

    leaving = threading.Timer(0.2, leave)
    leaving.start()
    server = serve(bind("127.0.0.1", port, wait=20), lambda: None, lambda: None)

    leaving.join()
    assert get(f"http://127.0.0.1:{port}/healthz")[0] == 200
    server.shutdown()
    server.server_close()


def test_a_connection_that_fails_is_a_log_line(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> str:
        raise ValueError("no answer")

    server = serve(bind("127.0.0.1", 0), fail, fail)
    with pytest.raises(http.client.RemoteDisconnected):
        get(f"http://127.0.0.1:{server.server_port}/healthz")
    server.shutdown()
    server.server_close()

    (record,) = caplog.records
    assert record.exc_info
    assert record.getMessage() == "fault in a connection"


def test_a_server_that_dies_ends_the_process_with_a_log_line() -> None:
    program = """
import time
from exectrail.service import logs, threads
from exectrail.service.serving import _Server, bind, serve
logs.setup("info")
threads.end_process_on_fault()
def die(self, *_):
    raise MemoryError
_Server.serve_forever = die
serve(bind("127.0.0.1", 0), lambda: None, lambda: None)
time.sleep(60)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)

    assert result.returncode == -signal.SIGTERM
    assert "the thread 'serving' died" in json.loads(result.stderr)["message"]


def connected(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("size", [65_000, 300])
def test_no_more_of_a_head_is_read_than_one_has(address: str, size: int) -> None:
    with connected(address) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n")
        with contextlib.suppress(OSError):  # it has ended meanwhile
            for _ in range(98):
                connection.sendall(b"X: " + b"x" * size + b"\r\n")
        assert is_ended(connection)


def test_connections_that_send_nothing_keep_nobody_out(address: str) -> None:
    before = threading.active_count()
    with contextlib.ExitStack() as connections:
        every = [connections.enter_context(connected(address)) for _ in range(200)]
        for each in every:
            each.sendall(b"G")

        assert get(address + "/healthz") == (200, "ok\n")
        assert all(is_ended(each) for each in every[:130])
        until(lambda: threading.active_count() <= before + 65)


def test_another_path_is_not_found(address: str) -> None:
    assert get(address + "/")[0] == 404
