"""The process as a pod runs it: from the command line to SIGTERM."""

import base64
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from exectrail.contracts.command_hash import command_hash
from exectrail.contracts.session import AuditSession
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.waiting import until
from tests.unit.webhook.process import KEY_SECRET, ROOT, Process, post
from webhook.__main__ import _put
from webhook.app import BINDING_PATH, REQUIRED_PATH, Webhook
from webhook.reviews.review import decode
from webhook.sessions.writer import SessionWriter

Load = Callable[..., dict[str, Any]]
Run = Callable[..., Process]


def test_an_exec_is_tagged_by_its_namespaces_labels_and_its_session_reaches_the_api(
    run: Run, api: ApiServer, review: Load
) -> None:
    api.set("default", **{"exectrail.io/record": "true", "exectrail.io/tag": "env"})
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
    uid = body["request"]["uid"]
    assert set(api.created) == {f"{sessions}/{uid}", KEY_SECRET}
    key = base64.b64decode(json.loads(api.created[KEY_SECRET])["data"]["key"])
    assert json.loads(api.created[f"{sessions}/{uid}"])["spec"]["commandHash"] == command_hash(
        key, [b"sh", b"-c", b"ps | head -3"]
    )


def test_a_pod_waits_for_a_label_that_is_not_known_and_not_for_one_that_is_empty(
    run: Run, api: ApiServer, review: Load
) -> None:
    api.set("default", **{"exectrail.io/profile": ""})
    process = run()
    process.wait_until_ready()
    connection = process.connect()
    connection.connect()

    def asked(namespace: str) -> tuple[dict[str, Any], bool]:
        began = time.perf_counter()
        response, _ = post(connection, review("pod-create", namespace=namespace), BINDING_PATH)
        return response, time.perf_counter() - began >= 1

    (empty, waited_for_empty), (unknown, waited_for_unknown) = asked("default"), asked("unknown")
    connection.close()

    assert ("warnings" in empty, waited_for_empty) == (False, False)
    assert ("warnings" in unknown, waited_for_unknown) == (True, True)


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


SESSIONS = "/apis/exectrail.io/v1alpha1/namespaces/exectrail/auditsessions"


def test_a_required_session_is_stored_when_the_answer_comes_and_without_it_the_answer_is_no(
    run: Run, api: ApiServer, review: Load
) -> None:
    list_path = "/api/v1/namespaces/exectrail/configmaps/exectrail-unwritten-sessions"
    api.created[list_path] = b'{"metadata": {"name": "exectrail-unwritten-sessions"}}'
    process = run("--identity", "pod-a")
    process.wait_until_ready()
    connection = process.connect()
    body = review("exec-sh")
    uid = body["request"]["uid"]

    stored, _ = post(connection, body, REQUIRED_PATH)
    created = set(api.created)
    api.absent.add(SESSIONS)
    refused, _ = post(connection, review("attach"), REQUIRED_PATH)
    connection.close()
    process.end()

    assert stored["allowed"]
    assert f"{SESSIONS}/{uid}" in created
    assert (refused["allowed"], refused["status"]["code"]) == (False, 403)
    (patch,) = [
        json.loads(each.body)["data"] for each in api.asked if each.path == list_path and each.method == "PATCH"
    ]
    (listed,) = json.loads(patch["pod-a"])["sessions"]
    assert (listed["verb"], listed["cause"]) == ("attach", "require-audit")


def test_what_waits_at_sigterm_is_written_by_the_next_start_of_the_container(
    run: Run, api: ApiServer, review: Load, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    process = run("--spool-dir", str(spool))
    process.wait_until_ready()
    api.stop()
    connection = process.connect()
    body = review("exec-sh")
    assert post(connection, body)[0]["allowed"]
    connection.close()
    code, log = process.end()

    uid = body["request"]["uid"]
    assert code == 0
    assert [line["uid"] for line in log if "waits for the next start" in line["message"]] == [uid]
    assert [each.name for each in spool.iterdir()] == ["sessions.jsonl"]

    api.start()
    process = run("--spool-dir", str(spool))
    until(lambda: f"{SESSIONS}/{uid}" in api.created and not list(spool.iterdir()))
    process.end()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--namespace", ""], "--namespace"),
        (["--sessions-mib", "0"], "--sessions-mib"),
        (["--user-limit", "20"], "--user-limit"),
        (["--namespace-limit", "0:5"], "--namespace-limit"),
        (["--total-limit", "20:0"], "--total-limit"),
        (["--drain-seconds", "-1"], "--drain-seconds"),
        (["--port", "99999"], "--port"),
        (["--max-connections", "0"], "--max-connections"),
        (["--max-address-connections", "-1"], "--max-address-connections"),
        (["--idle-seconds", "0"], "--idle-seconds"),
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


def test_a_port_that_accepts_no_more_ends_it_with_a_log_line(tls_dir: Path, api: ApiServer) -> None:
    program = """
import asyncio, errno, sys
from webhook.__main__ import main
async def die(loop, listening):
    raise OSError(errno.EINVAL, "Invalid argument")
asyncio.SelectorEventLoop.sock_accept = die
sys.exit(main())
"""
    options = ["--namespace", "x", "--api-server", api.url, "--tls-dir", str(tls_dir), "--host", "127.0.0.1"]
    result = subprocess.run(
        [sys.executable, "-c", program, *options, "--port", "0", "--metrics-port", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 70
    messages = [json.loads(line)["message"] for line in result.stderr.splitlines()]
    last = ["the server failed; the process ends", "ended"]
    assert [each for each in messages if each in last] == last  # another thread may say something as well


def test_a_session_that_the_writer_cannot_take_is_a_fault_that_is_counted(
    webhook: Webhook, review: Load, sessions: list[AuditSession], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(SessionWriter):
        def put(self, session: AuditSession, *, known: bool = True, limited: bool = True) -> None:
            raise MemoryError

    name, labels = "exectrail_webhook_errors_total", {"webhook": "exec-metadata"}
    before = REGISTRY.get_sample_value(name, labels) or 0
    webhook.tag(decode(json.dumps(review("attach")).encode()))
    _put(Broken(lambda _: None, 1 << 20), sessions[0], known=True, limited=True)

    assert REGISTRY.get_sample_value(name, labels) == before + 1
    assert [record.getMessage() for record in caplog.records] == ["fault in the session writer"]


def test_help_names_every_option() -> None:
    text = _run("--help").stdout

    for option in (
        "tls-dir",
        "port",
        "metrics-port",
        "namespace",
        "extra-keys",
        "drain-seconds",
        "sessions-mib",
        "user-limit",
        "namespace-limit",
        "total-limit",
        "tag-unknown",
        "unwritten-configmap",
        "identity",
        "required-seconds",
        "spool-dir",
        "max-connections",
        "max-address-connections",
        "idle-seconds",
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
