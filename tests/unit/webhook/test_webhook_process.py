"""The process as a pod runs it: from the command line to SIGTERM."""

import base64
import http.client
import json
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from exectrail.command_hash import command_hash
from tests.unit.exectrail.api_server import ApiServer
from webhook.app import EXEC_METADATA_PATH

Load = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Process:
    """`python -m webhook` with an API server and a certificate."""

    def __init__(self, tls_dir: Path, api: str, *arguments: str) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.tls = ssl.create_default_context(cafile=str(tls_dir / "ca.crt"))
        command = [sys.executable, "-m", "webhook", "--api-server", api, "--tls-dir", str(tls_dir)]
        ports = ["--port", str(self.port), "--metrics-port", str(self.metrics_port)]
        self.process = subprocess.Popen(
            [*command, *ports, "--namespace", "exectrail", "--drain-seconds", "0.3", *arguments],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=10)
        connection.request("GET", path)
        reply = connection.getresponse()
        status, text = reply.status, reply.read().decode()
        connection.close()
        return status, text

    def wait_until_ready(self) -> None:
        pause = threading.Event()
        for _ in range(1000):
            try:
                if self.get("/readyz")[0] == 200:
                    return
            except OSError:
                assert self.process.poll() is None
            pause.wait(0.02)
        raise AssertionError("never ready")

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=10)

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and log after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=30)
        return self.process.returncode, [json.loads(line) for line in log.splitlines()]


def post(connection: http.client.HTTPSConnection, review: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    connection.request("POST", EXEC_METADATA_PATH, json.dumps(review))
    reply = connection.getresponse()
    response: dict[str, Any] = json.loads(reply.read())["response"]
    return response, reply.getheader("connection")


@pytest.fixture
def tls_dir(tmp_path: Path) -> Path:
    ca = trustme.CA()
    leaf = ca.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(tmp_path / "tls.key")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    ca.cert_pem.write_to_path(tmp_path / "ca.crt")
    return tmp_path


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def run(tls_dir: Path, api: ApiServer) -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def start(*arguments: str) -> Process:
        running.append(Process(tls_dir, api.url, *arguments))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        each.process.communicate()


Run = Callable[..., Process]


def test_an_exec_is_tagged_by_its_namespaces_labels_and_its_session_reaches_the_api(
    run: Run, api: ApiServer, review: Load
) -> None:
    api.set("default", **{"exectrail.io/record": "true"})
    process = run()
    process.wait_until_ready()
    connection = process.connect()
    body = review("exec-sh")

    response, _ = post(connection, body)
    connection.close()
    code, log = process.end()

    assert "patch" in response
    assert (code, log[-1]["message"]) == (0, "ended")
    sessions = "/apis/exectrail.io/v1alpha1/namespaces/exectrail/auditsessions"
    secret = "/api/v1/namespaces/exectrail/secrets/exectrail-command-key"
    uid = body["request"]["uid"]
    assert set(api.created) == {f"{sessions}/{uid}", secret}
    key = base64.b64decode(json.loads(api.created[secret])["data"]["key"])
    assert json.loads(api.created[f"{sessions}/{uid}"])["spec"]["commandHash"] == command_hash(
        key, [b"sh", b"-c", b"ps | head -3"]
    )


def test_an_answer_does_not_wait_until_the_caller_acknowledges_its_headers(run: Run, review: Load) -> None:
    process = run()
    process.wait_until_ready()
    took = []
    for _ in range(15):
        connection = process.connect()
        connection.connect()
        began = time.perf_counter()
        post(connection, review("attach"))
        took.append(time.perf_counter() - began)
        connection.close()

    assert statistics.median(took) < 0.03  # an acknowledgement that is delayed takes 40 ms


def test_after_sigterm_it_goes_on_serving_while_it_is_not_ready_and_then_ends_with_0(
    run: Run, api: ApiServer, review: Load
) -> None:
    process = run("--drain-seconds", "3")
    process.wait_until_ready()
    connection = process.connect()
    assert post(connection, review("attach"))[1] is None

    process.process.send_signal(signal.SIGTERM)
    pause = threading.Event()
    while process.get("/readyz")[0] == 200:
        pause.wait(0.01)
    response, header = post(connection, review("attach"))
    assert (response["allowed"], header) == (True, "close")
    pause.wait(1)  # the API server's new connections still come for a while
    late = process.connect()
    assert post(late, review("attach"))[0]["allowed"]
    late.close()
    connection.close()

    assert process.process.wait(30) == 0


def test_without_the_api_server_it_starts_unready_and_once_synced_it_stays_ready(
    run: Run, api: ApiServer, review: Load
) -> None:
    api.stop()
    process = run()
    pause = threading.Event()
    while True:
        try:
            assert process.get("/readyz") == (
                503,
                "not ready: namespaces known, labelled pods known, command key known\n",
            )
            break
        except OSError:
            pause.wait(0.02)
    api.start()
    process.wait_until_ready()
    api.stop()

    assert process.get("/readyz")[0] == 200
    connection = process.connect()
    assert post(connection, review("exec-sh"))[0]["allowed"]
    connection.close()
    code, log = process.end()
    assert code == 0
    dropped = [line for line in log if line.get("cause") == "shutdown"]
    assert [line["target"] for line in dropped] == ["default/web"]
    api.start()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--namespace", ""], "--namespace"),
        (["--ledger-mib", "0"], "--ledger-mib"),
        (["--drain-seconds", "-1"], "--drain-seconds"),
        (["--port", "99999"], "--port"),
        (["--tls-poll-seconds", "0"], "--tls-poll-seconds"),
        (["--extra-keys"], "--extra-keys"),
        (["--tag-unknown", "auto"], "--tag-unknown"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(arguments: list[str], message: str) -> None:
    result = _run(*arguments)

    assert (result.returncode, message in result.stderr) == (2, True)


def test_without_a_namespace_it_says_where_it_comes_from() -> None:
    result = _run()

    assert result.returncode == 2
    assert "--namespace" in result.stderr


def test_outside_a_pod_it_says_so() -> None:
    result = _run("--namespace", "exectrail")

    assert result.returncode == 1
    assert "not in a pod" in json.loads(result.stderr)["message"]


@pytest.mark.parametrize("option", ["--port", "--metrics-port"])
def test_a_port_in_use_ends_it_with_the_option_and_the_reason(tls_dir: Path, api: ApiServer, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = {"--port": "0", "--metrics-port": "0", option: port}
        options = [word for pair in ports.items() for word in pair]
        result = _run(
            "--namespace", "x", "--api-server", api.url, "--tls-dir", str(tls_dir), "--host", "127.0.0.1", *options
        )

    assert result.returncode == 1
    message = json.loads(result.stderr.splitlines()[-1])["message"]
    assert message == f"cannot listen on 127.0.0.1:{port} ({option}): Address already in use"


def test_help_names_every_option() -> None:
    text = _run("--help").stdout

    for option in (
        "tls-dir",
        "port",
        "metrics-port",
        "namespace",
        "extra-keys",
        "drain-seconds",
        "ledger-mib",
        "tag-unknown",
    ):
        assert f"--{option}" in text


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    from_a_pod = {"POD_NAMESPACE", "KUBERNETES_SERVICE_HOST"}
    environment = {key: value for key, value in os.environ.items() if key not in from_a_pod}
    return subprocess.run(
        [sys.executable, "-m", "webhook", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
