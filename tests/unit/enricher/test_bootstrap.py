"""An enricher from its flags to its trail: all of it but the kernel's part and the API server."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from enricher.__main__ import _parser, main
from enricher.audit.choice import Choice
from enricher.bootstrap import Enricher, assemble
from enricher.config import OpenSensor
from enricher.containers.containers import CgroupRef
from enricher.containers.pods import Namespace
from enricher.sensors.sensor import Sensed
from enricher.sensors.unavailable import SensorUnavailable
from enricher.state.checkpoint_writer import View
from enricher.status.node_status import NodeStatus
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Record, decode
from exectrail.k8s.client import ApiError
from tests.unit.enricher.rig import APP, ENTRY, INIT, UID, end, execute, pod, request
from tests.unit.enricher.test_tracker import FakeCgroups, FakeSensor


class Api:
    """Answers lists from tables, and keeps what is written to it."""

    def __init__(self) -> None:
        self.objects: dict[str, list[Any]] = {
            "namespaces": [Namespace(ObjectMeta("shop", labels={"exectrail.io/record": "true"}))],
            "pods": [pod()],
            "auditsessions": [request()],
        }
        self.written: list[str] = []
        self.over = threading.Event()

    def pages(self, path: str, _kind: object, **_selectors: str) -> Iterator[object]:
        yield SimpleNamespace(items=self.objects.get(path.rpartition("/")[2], []), resource_version="1")

    def get(self, path: str, *_: object) -> object:
        raise ApiError(404, "NotFound", path)

    def watch(self, *_: object, **_selectors: str) -> Iterator[object]:
        self.over.wait()
        return iter(())

    def patch(self, path: str, _merge: object) -> None:
        self.written.append(path)


class Scripted(FakeSensor):
    """Reports these events in its first round, and has the agent stop after that."""

    def __init__(self) -> None:
        super().__init__()
        self.stop: Callable[[], None] = lambda: None
        self.closed = 0

    def poll(self, now: float) -> Sequence[Sensed]:
        events = super().poll(now)
        self.stop()
        return events

    def poll_timeout(self) -> float:
        return 0.0

    def close(self) -> None:
        self.closed += 1


class Host:
    """A node on which an enricher is started."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.api, self.sensor, self._folder = Api(), Scripted(), folder
        opened = OpenSensor(self.sensor, FakeCgroups(CgroupRef(APP, "pod-1")))
        monkeypatch.setattr("enricher.bootstrap.Client.in_cluster", lambda: self.api)
        monkeypatch.setattr("enricher.config.choose_source", lambda *_: Choice(None, "disabled by --audit-source=none"))
        monkeypatch.setattr("enricher.config.open_sensor", lambda *_: opened)

    def assemble(self, stack: ExitStack, *flags: str) -> Enricher:
        trail, state = f"--trail={self._folder}/trail.jsonl", f"--state-dir={self._folder}"
        return assemble(_parser().parse_args(["--node=node1", trail, state, *flags]), stack)

    def run(self) -> Enricher:
        """Start one, and have it end after the round that reads what has happened."""
        with ExitStack() as stack:
            enricher = self.assemble(stack)
            enricher.start()
            assert all(mirror.synced.wait(10) for mirror in enricher.mirrors)
            self.sensor.stop = enricher.agent.stop
            enricher.agent.run()
            enricher.reporter.drain(5.0)
        for mirror in enricher.mirrors:
            mirror.stop()
        return enricher

    def trail(self) -> list[Record]:
        return [decode(line) for line in (self._folder / "trail.jsonl").read_bytes().splitlines()]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    made = Host(tmp_path, monkeypatch)
    yield made
    made.api.over.set()


def test_what_the_sensor_reports_is_in_the_trail_and_in_the_api_when_the_agent_has_ended(host: Host) -> None:
    entered = execute(ENTRY, "env", f"SPO_EXEC_REQUEST_UID={UID}", "sh", "-c", "id")
    host.sensor.report(execute(INIT, "sleep", parent=INIT), entered, end(ENTRY))

    enricher = host.run()

    assert [(line.kind, line.phase) for line in host.trail()] == [
        ("exec", None),
        ("session", "start"),
        ("exec", None),
        ("exit", None),
        ("session", "end"),
    ]
    assert (enricher.agent.unwritten, host.sensor.closed) == (0, 1)
    assert any(path.endswith("nodetrails/node1/status") for path in host.api.written)


def test_the_next_one_says_what_may_be_missing_and_goes_on_with_the_chain(host: Host) -> None:
    host.sensor.report(execute(INIT, "sleep", parent=INIT))
    host.run()
    host.sensor.report(execute(INIT, "true", parent=INIT))

    host.run()

    assert [(line.seq, line.kind, line.reason) for line in host.trail()] == [
        (0, "exec", None),
        (1, "gap", "restart"),
        (2, "exec", None),
    ]


def test_what_happens_before_the_first_round_is_not_complete_until_it_is_read(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_up: list[int] = []
    views: list[View] = []

    def made_after_taking_up(*parts: Any) -> NodeStatus:
        taken_up.append(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        return NodeStatus(*parts)

    monkeypatch.setattr("enricher.bootstrap.NodeStatus", made_after_taking_up)
    monkeypatch.setattr("enricher.bootstrap.CheckpointWriter.note", lambda _self, view: views.append(view))
    with ExitStack() as stack:
        enricher = host.assemble(stack)
        host.sensor.behind = True

        enricher.agent.round(time.monotonic())

    assert [view.moment.complete <= taken_up[0] for view in views] == [True]


def test_births_are_counted_before_the_moment_that_they_are_kept_with(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted later, in the thread that waits for the disk, a gap would say that fewer may be missing than are."""
    counted: list[int] = []
    views: list[View] = []

    def forks() -> int:
        counted.append(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        return 5

    monkeypatch.setattr("enricher.state.restart.forks", forks)
    monkeypatch.setattr("enricher.bootstrap.CheckpointWriter.note", lambda _self, view: views.append(view))
    with ExitStack() as stack:
        host.assemble(stack).agent.round(time.monotonic())

    (view,) = views
    assert view.moment.forks == 5
    assert counted[-1] <= view.moment.at


def test_a_start_that_fails_after_the_sensor_was_attached_gives_the_sensor_back(host: Host) -> None:
    with pytest.raises(FileNotFoundError), ExitStack() as stack:
        host.assemble(stack, "--filters=/nowhere/filters.json")

    assert host.sensor.closed == 1


def test_filters_and_log_level_follow_the_settings_while_it_runs(host: Host, tmp_path: Path) -> None:
    root = logging.getLogger()
    level, settings, now = root.level, tmp_path / "settings", time.monotonic()
    with ExitStack() as stack:
        stack.callback(root.setLevel, level)
        agent = host.assemble(stack, f"--settings-dir={settings}").agent
        agent.round(now)
        hits = [agent.status.snapshot.filter_hits]

        settings.mkdir()
        (settings / "filters.json").write_text('[{"level": "None", "matchKeys": ["pid"]}]')
        (settings / "log-level").write_text("debug")
        agent.round(now + 2)

        hits.append(agent.status.snapshot.filter_hits)
        assert hits == [None, {"none": 0, "1": 0}]
        assert root.level == logging.DEBUG


def test_a_mistake_in_the_settings_does_not_end_the_start(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "filters.json").write_text("[")
    with ExitStack() as stack:
        agent = host.assemble(stack, f"--settings-dir={tmp_path}").agent

        assert (agent.status.snapshot.filter_hits, agent.status.snapshot.filter_reloads_refused) == (None, 1)
    assert "line 1, column 2" in caplog.text


def test_two_enrichers_do_not_work_at_once_and_the_second_attaches_no_sensor(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_sensor(*_: object) -> OpenSensor:
        raise SensorUnavailable("it was asked for, before the locks were had")

    with ExitStack() as stack:
        host.assemble(stack)
        monkeypatch.setattr("enricher.config.open_sensor", open_sensor)
        monkeypatch.setattr("enricher.state.checkpoint_writer.time.monotonic", lambda: time.perf_counter() * 1e6)
        with pytest.raises(OSError, match="another"):
            host.assemble(stack)


def test_where_its_metrics_address_is_taken_it_takes_up_nothing_and_says_which(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("enricher.__main__._WAIT_FOR_ADDRESS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        flags = ["--node=node1", f"--state-dir={tmp_path}/state", f"--metrics-address={address}"]
        monkeypatch.setattr("enricher.__main__.logs.setup", lambda _level: None)
        monkeypatch.setattr("enricher.__main__.threads.end_process_on_fault", lambda: None)

        assert main(flags) == 2

    assert f"--metrics-address {address}: Address already in use; choose another port" in caplog.text
    assert not (tmp_path / "state").exists()
