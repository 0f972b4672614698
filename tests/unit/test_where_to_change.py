"""CONTRIBUTING's "Where do I change what?" is true: each file is there, and a double needs no other change."""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from enricher import config
from enricher.__main__ import _parser
from enricher.bootstrap import assemble
from enricher.containers.containers import CgroupRef
from enricher.events import SeccompEvent
from enricher.netlink import SocketCounters
from enricher.runtimes import RUNTIMES, is_runtime, is_runtime_name
from enricher.trail.storage import SINKS, open_sink
from exectrail import cli
from exectrail.contracts.record import Record, decode
from exectrail.contracts.session import VERBS
from tests.unit.enricher.rig import APP, INIT, execute
from tests.unit.enricher.test_bootstrap import Api, Scripted
from tests.unit.enricher.test_tracker import FakeCgroups

REPO = Path(__file__).parents[2]

MOST = {
    "a field of the record": 5,
    "a sink": 3,
    "a container runtime": 2,
    "a verb of admission": 4,
    "a kind of kernel event": 7,
    "an audit source": 3,
    "a sensor": 4,
    "a subcommand": 2,
}
"""How many files each may take."""


def table() -> dict[str, list[str]]:
    """The files that each row names, its own new module among them as `NEW.py`."""
    text = (REPO / "CONTRIBUTING.md").read_text()
    section = text.partition("## Where do I change what?")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    return {what.strip(): re.findall(r"`([^` ]+/[^` ]*)`", files) for what, files, *_ in rows}


@pytest.mark.parametrize("what", MOST)
def test_a_change_takes_no_more_files_than_it_may_and_each_is_there(what: str) -> None:
    files = table()[what]

    assert 0 < len(files) <= MOST[what]
    assert [name for name in files if not name.endswith("NEW.py") and not (REPO / name).is_file()] == []
    assert [name for name in files if not (REPO / name).parent.is_dir()] == []


def test_the_table_has_these_changes_and_no_others() -> None:
    assert set(table()) == set(MOST)


@pytest.mark.parametrize(
    ("key", "names"), [("sensor", ("auto", *config.SENSORS)), ("auditSource", ("auto", *config.SOURCES, "none"))]
)
def test_the_chart_offers_what_the_enricher_has(key: str, names: tuple[str, ...]) -> None:
    schema = msgspec.json.decode((REPO / "chart/values.schema.json").read_bytes())
    assert schema["properties"]["enricher"]["properties"][key]["enum"] == list(names)


def test_the_audit_sessions_definition_has_the_verbs() -> None:
    text = (REPO / "chart/templates/crds/auditsession.yaml").read_text()
    assert f"enum: [{', '.join(VERBS)}]" in text


# ---- doubles: a sensor, an audit source and a sink that the product knows nothing of ----


class Source:
    """Has nothing to say."""

    name, behind = "double", False

    def __init__(self) -> None:
        self.reads = 0

    def register(self, selector: object) -> None: ...

    def poll_timeout(self) -> float:
        return 0.0

    def read(self, now: float) -> list[SeccompEvent]:
        self.reads += 1
        return []

    def lost(self) -> dict[str, int]:
        return {}

    def socket(self) -> SocketCounters:
        return SocketCounters()

    def gaps(self) -> list[str]:
        return []

    def keep(self) -> None: ...

    def close(self, *, clean: bool) -> None: ...


class Sink:
    """Keeps the lines."""

    failures = 0

    def __init__(self) -> None:
        self.lines = b""

    def write(self, lines: bytearray) -> int:
        self.lines += bytes(lines)
        return len(lines)

    def last_lines(self) -> Iterable[bytes]:
        return ()

    def maintain(self) -> None: ...

    def wrong(self) -> str | None:
        return None

    def removed(self) -> list[Any]:
        return []

    def close(self) -> None: ...

    def records(self) -> list[Record]:
        return [decode(line) for line in self.lines.splitlines()]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    made = Api()
    monkeypatch.setattr("enricher.bootstrap.Client.in_cluster", lambda: made)
    yield made
    made.over.set()


def test_a_sensor_a_source_and_a_sink_work_from_one_entry_in_their_table_each(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor, source, sink = Scripted(), Source(), Sink()
    opened = config.OpenSensor(sensor, FakeCgroups(CgroupRef(APP, "pod-1")))
    monkeypatch.setitem(config.SENSORS, "double", lambda *_: opened)
    monkeypatch.setitem(config.SOURCES, "double", lambda _needs: source)
    monkeypatch.setitem(SINKS, "double://", lambda _args: sink)
    flags = [
        "--node=node1",
        f"--state-dir={tmp_path}",
        "--sensor=double",
        "--audit-source=double",
        "--trail=double://x",
    ]
    sensor.report(execute(INIT, "sleep", parent=INIT))

    with ExitStack() as stack:
        enricher = assemble(_parser().parse_args(flags), stack)
        enricher.start()
        assert all(mirror.synced.wait(10) for mirror in enricher.mirrors)
        sensor.stop = enricher.agent.stop
        enricher.agent.run()
        enricher.reporter.drain(5.0)
    for mirror in enricher.mirrors:
        mirror.stop()

    assert [(record.kind, record.source) for record in sink.records()] == [("exec", "fake")]
    assert source.reads > 0


def test_a_file_whose_name_is_that_of_a_sink_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SINKS, "double://", lambda _args: Sink())
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        sink = open_sink(_parser().parse_args(["--trail=double"]))
        stack.callback(sink.close)

    assert (tmp_path / "double").is_file()


@pytest.mark.parametrize("name", RUNTIMES)
def test_each_runtime_of_the_list_is_recognised(name: str) -> None:
    assert is_runtime_name(name.encode())
    assert is_runtime(f"/usr/bin/{name}\0init\0".encode())


def test_a_subcommand_is_a_module_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("exectrail.cli.double")

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("what")

    def run(arguments: argparse.Namespace) -> int:
        print(arguments.what)
        return 0

    module.__dict__.update(add_arguments=add_arguments, run=run)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(cli.SUBCOMMANDS, "double", "is a double")

    assert cli.run(["double", "it works"]) == 0
    assert capsys.readouterr().out == "it works\n"
