"""No set of callers takes the webhook above half of its memory limit, or keeps the API server's calls waiting."""

import contextlib
import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from tests.load import attacks
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.webhook.process import ROOT, Process, post

Load = Callable[..., dict[str, Any]]
Run = Callable[..., Process]
HALF_MIB = 64
WORST_SECONDS = 1.0
"""Of any call; the API server's timeout is three."""
ELSEWHERE = ("127.0.0.2", "127.0.0.3")
FEWER = {
    "silent-tcp": 600,
    "half-hello": 600,
    "idle-tls": 400,
    "handshakes": 400,
    "sessions": 400,
    "slow-headers": 300,
    "many-headers": 2,
    "one-header": 2,
    "long-path": 2,
    "trailers": 2,
    "big-bodies": 12,
    "many-words": 6,
    "endless-bodies": 2,
    "small-records": 2,
    "pipelined": 16,
    "unread-answers": 24,
    "busy": 50,
    "everything": 200,
}
"""Enough to break a server without bounds, in seconds. Others are made as often as in `attacks`."""


def test_the_bound_is_half_of_the_charts_limit() -> None:
    values = yaml.safe_load((ROOT / "chart/values.yaml").read_text())

    assert values["webhook"]["resources"]["limits"]["memory"] == f"{2 * HALF_MIB}Mi"


@contextlib.contextmanager
def attack(name: str, port: int, *sources: str) -> Iterator[None]:
    """An attack; the block begins when it is in place, or has been beaten off."""
    options = [word for each in sources for word in ("--source", each)]
    number = ["--number", str(FEWER[name])] if name in FEWER else []
    program = [sys.executable, attacks.__file__, name, "127.0.0.1", str(port), *number, *options]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as attacker:
        assert attacker.stdin and attacker.stdout
        try:
            assert attacker.stdout.readline() == "held\n"
            yield
        finally:
            attacker.stdin.close()
            attacker.wait(30)


class Caller:
    """Makes calls as the API server does, over a kept connection and over fresh ones, until the end of the block."""

    def __init__(self, process: Process, review: dict[str, Any]) -> None:
        self._process, self._review = process, review
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.took: list[float] = []
        self.failed: list[str] = []

    def __enter__(self) -> Self:
        self._kept = self._process.connect()
        post(self._kept, self._review)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._kept.close()

    def _run(self) -> None:
        while not self._over.wait(0.01):
            for fresh in (False, True):
                began = time.perf_counter()
                connection = self._process.connect() if fresh else self._kept
                try:
                    assert post(connection, self._review)[0]["allowed"]
                except (OSError, ValueError) as error:
                    self.failed.append(repr(error))
                self.took.append(time.perf_counter() - began)
                if fresh:
                    connection.close()


def memory(process: Process, field: str) -> float:
    """MiB, of `VmRSS` (now) or `VmHWM` (the most so far)."""
    lines = Path(f"/proc/{process.process.pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


@pytest.fixture
def process(run: Run, api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Process:
    """A webhook as in the image, which sets how memory is allocated."""
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    api.set("default", **{"exectrail.io/record": "true"})
    process = run("--host", "127.0.0.1")
    process.wait_until_ready()
    return process


def test_how_memory_is_allocated_is_the_images_way() -> None:
    assert "ENV MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=65536\n" in (ROOT / "Containerfile").read_text()


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_an_attack_neither_takes_the_memory_nor_keeps_others_waiting(process: Process, review: Load, name: str) -> None:
    with Caller(process, review("exec-sh")) as caller, attack(name, process.port, *ELSEWHERE):
        pass

    assert not caller.failed
    assert max(caller.took) < WORST_SECONDS
    assert memory(process, "VmHWM") < HALF_MIB


@pytest.mark.parametrize("name", ["idle-tls", "half-hello", "slow-headers"])
def test_a_caller_at_the_api_servers_address_does_not_lock_it_out(process: Process, review: Load, name: str) -> None:
    with Caller(process, review("exec-sh")) as caller, attack(name, process.port, "127.0.0.1"):
        pass

    assert not caller.failed
    assert max(caller.took) < WORST_SECONDS


@pytest.mark.parametrize("name", ["half-hello", "unfinished-bodies"])
def test_an_attack_after_another_takes_no_more(process: Process, name: str) -> None:
    for _ in range(3):
        with attack(name, process.port, *ELSEWHERE):
            pass
    before = memory(process, "VmHWM")

    for _ in range(3):
        with attack(name, process.port, *ELSEWHERE):
            pass

    assert memory(process, "VmHWM") < before + 3


def test_the_plain_port_has_the_same_bounds(process: Process) -> None:
    with attack("silent-tcp", process.metrics_port, "127.0.0.2"):
        assert process.get("/healthz") == (200, "ok\n")
    _, text = process.get("/metrics")

    assert 'exectrail_webhook_connections_ended_total{reason="address-connections"}' in text


def test_what_was_ended_is_counted_and_logged_once(process: Process) -> None:
    with attack("idle-tls", process.port, "127.0.0.2"):
        pass
    _, text = process.get("/metrics")
    _, log = process.end()

    reason = 'exectrail_webhook_connections_ended_total{reason="address-connections"} '
    (ended,) = (float(line.removeprefix(reason)) for line in text.splitlines() if line.startswith(reason))
    assert ended >= FEWER["idle-tls"] - 128
    (logged,) = (line for line in log if line["message"] == "ended a connection: address-connections")
    assert logged["peer"] == "127.0.0.2"


def test_it_goes_on_when_it_can_open_no_more_files(process: Process, review: Load) -> None:
    kept = process.connect()
    post(kept, review("exec-sh"))
    limit = len(list(Path(f"/proc/{process.process.pid}/fd").iterdir())) + 5
    resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE, (limit, limit))

    with attack("silent-tcp", process.port, "127.0.0.2"):
        assert post(kept, review("exec-sh"))[0]["allowed"]
    fresh = process.connect()
    assert post(fresh, review("exec-sh"))[0]["allowed"]
    kept.close()
    fresh.close()
    code, log = process.end()

    assert code == 0
    assert "cannot accept a connection: Too many open files" in {line["message"] for line in log}


def test_an_answer_to_a_body_that_is_too_large_can_be_read(process: Process) -> None:
    connection = process.connect()
    connection.request("POST", attacks.EXEC_PATH, b" " * (20 << 20))
    reply = connection.getresponse()

    assert (reply.status, reply.read()) == (413, b"a body of more than 8388608 bytes\n")
    connection.close()


def test_an_error_names_what_is_wrong_in_at_most_200_characters(process: Process) -> None:
    connection = process.connect()
    connection.request("POST", attacks.EXEC_PATH, json.dumps({"apiVersion": "x" * 5000}))
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    _, log = process.end()

    assert reply.status == 400
    assert text.startswith("not an AdmissionReview of admission.k8s.io/v1: ")
    assert len(text) <= 201
    (logged,) = (line["message"] for line in log if line["message"].startswith("refused a call of exec-metadata"))
    assert len(logged) <= 200
