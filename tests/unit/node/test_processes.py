"""Services are started once, ended exactly, and started again when they are gone."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.node import process, services
from tests.cluster.node.errors import NodeError
from tests.cluster.node.process import Process
from tests.cluster.node.services import Service


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A node's state in a folder of its own, whose processes end with the test."""
    for name in ("LOG", "PIDS", "STATE"):
        monkeypatch.setattr(services, name, tmp_path / name.lower())
    yield tmp_path
    for started in process.marked(str(tmp_path / "state")):
        process.end(started, grace=0)


def sleeper(node: Path, seconds: str = "60") -> Service:
    # The kernel shows a program's environment, and so its mark, a moment after it has started.
    return Service("sleeper", ("sleep", seconds), healthy=lambda: any(process.marked(str(node / "state"))))


def test_start_time_is_found_behind_a_name_with_spaces_and_parentheses() -> None:
    fields = " ".join(str(number) for number in range(4, 23))
    assert process.parse_stat(f"42 (a) S (b) R {fields} 77 78") == ("R", 22)


def test_a_process_with_the_same_id_but_another_start_is_not_ours(node: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        found = process.find(child.pid)
        assert found is not None
        stranger = Process(found.pid, found.started - 1)
        process.end(stranger, grace=0)
        assert child.poll() is None
        process.end(found, grace=0)
        assert child.wait() == -9


def test_a_running_service_is_left_alone(node: Path) -> None:
    assert services.ensure(sleeper(node))
    assert not services.ensure(sleeper(node))
    assert services.state(sleeper(node)) == "running"


def test_a_killed_service_is_started_again(node: Path) -> None:
    services.ensure(sleeper(node))
    services.kill("sleeper")
    assert services.state(sleeper(node)) == "stopped"
    assert services.ensure(sleeper(node))


def test_a_service_with_other_settings_is_restarted(node: Path) -> None:
    services.ensure(sleeper(node, "60"))
    assert services.ensure(sleeper(node, "61"))
    assert len(list(process.marked(str(node / "state")))) == 1


def test_a_service_whose_record_was_lost_is_found_by_its_mark(node: Path) -> None:
    services.ensure(sleeper(node))
    sleeper(node).record.unlink()
    (lost,) = process.marked(str(node / "state"))
    process.end(lost, grace=0)
    assert not lost.alive()


def test_a_service_that_ends_shows_the_end_of_its_log(node: Path) -> None:
    broken = Service("broken", ("sh", "-c", "seq 30; echo no such flag >&2; exit 3"), healthy=lambda: False)
    with pytest.raises(NodeError) as error:
        services.ensure(broken)
    text = str(error.value)
    assert "broken ended with exit code 3" in text
    assert "no such flag" in text
    assert "12\n13\n" in text
    assert "\n11\n" not in text


def test_a_service_that_never_gets_healthy_is_an_error(node: Path) -> None:
    deaf = Service("deaf", ("sleep", "60"), healthy=lambda: False, timeout=0.1)
    with pytest.raises(NodeError, match="deaf is not healthy after"):
        services.ensure(deaf)
