"""Commands on the node run one after another, whoever starts them."""

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tests.cluster import demo
from tests.cluster.node import alone as room
from tests.cluster.node.alone import alone
from tests.cluster.node.errors import NodeError


@pytest.fixture(autouse=True)
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setattr(room, "LOCK", tmp_path / "cache/node.lock")
    return tmp_path / "cache/node.lock"


def taken(lock: Path) -> bool:
    """Whether another process would wait."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_the_lock_is_held_to_the_end_of_the_outermost(lock: Path) -> None:
    with alone():
        with alone():
            assert taken(lock)
        assert taken(lock)
    assert not taken(lock)


def test_a_command_that_failed_lets_others_go_on(lock: Path) -> None:
    with pytest.raises(NodeError), alone():
        raise NodeError("no network")
    assert not taken(lock)
    with alone():
        assert taken(lock)


def test_the_second_waits_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, done = Event(), []

    def say(text: str) -> None:
        done.append(text)
        waits.set()

    monkeypatch.setattr(room, "say", say)

    def second() -> None:
        with alone():
            done.append("second")

    with ThreadPoolExecutor(1) as other:
        with alone():
            result = other.submit(second)
            assert waits.wait(60)
            done.append("first")
        result.result(60)
    assert done == ["waiting for another command on the node to end", "first", "second"]


def test_the_systems_programs_are_found_where_the_users_path_lacks_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/home/bob/bin:/usr/sbin:/bin")
    for _ in range(2):
        with alone():
            pass
    assert os.environ["PATH"] == "/home/bob/bin:/usr/sbin:/bin:/usr/local/sbin:/sbin"


def test_the_demo_runs_alone(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def up_with_product() -> None:
        assert taken(lock)
        raise NodeError("far enough")

    monkeypatch.setattr(demo, "up_with_product", up_with_product)
    assert demo.main() == 1
