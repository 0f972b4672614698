"""What the kubelet's probes get to hear of an enricher."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from enricher.__main__ import _bind, _serve

Ask = Callable[[str], tuple[int, str]]


class NoMetrics(Collector):
    def collect(self) -> Iterator[Metric]:
        return iter(())


@pytest.fixture
def enricher() -> Any:
    """As much of one as is asked: at work, and all is well."""
    writer = SimpleNamespace(wrong=lambda: None)
    status = SimpleNamespace(snapshot=SimpleNamespace(at=time.monotonic()))
    agent = SimpleNamespace(status=status, writer=writer)
    return SimpleNamespace(agent=agent, ready=lambda: True, reporter=None, mirrors=[])


@pytest.fixture
def ask(enricher: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    monkeypatch.setattr("enricher.__main__.AgentCollector", lambda *_: NoMetrics())
    server = _serve(_bind("127.0.0.1:0"), enricher)

    def answer(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}{path}", timeout=10) as answered:
                return answered.status, answered.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    yield answer
    server.shutdown()
    server.server_close()


def test_one_that_works_is_healthy_and_ready(ask: Ask) -> None:
    assert [ask(path) for path in ("/healthz", "/readyz")] == [(200, "ok\n")] * 2


def test_a_reader_that_makes_no_progress_is_not_healthy_and_says_for_how_long(enricher: Any, ask: Ask) -> None:
    enricher.agent.status.snapshot.at -= 31

    assert ask("/healthz") == (503, "the reader made no progress for 31 s\n")


def test_one_that_is_busy_for_a_while_is_not_restarted(enricher: Any, ask: Ask) -> None:
    enricher.agent.status.snapshot.at -= 25

    assert ask("/healthz")[0] == 200


def test_without_storage_it_is_not_ready_and_stays_alive(enricher: Any, ask: Ask) -> None:
    enricher.agent.writer.wrong = lambda: "the trail cannot be written: No space left on device"

    assert ask("/readyz") == (503, "the trail cannot be written: No space left on device\n")
    assert ask("/healthz")[0] == 200


def test_before_it_has_read_the_api_it_is_not_ready(enricher: Any, ask: Ask) -> None:
    enricher.ready = lambda: False

    assert ask("/readyz") == (503, "the API has not been read yet\n")
