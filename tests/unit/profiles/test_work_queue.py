"""Keys come out once, in time, and later where they failed."""

import pytest

from profiles.controller.work_queue import WorkQueue


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_that_changes_often_is_looked_at_once() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(1.0, clock)
    queue.add("a")
    clock.now = 0.5
    queue.add("a")
    assert queue.take(0.0) is None
    clock.now = 1.0
    assert queue.take(0.0) == "a"
    assert queue.take(0.0) is None


def test_one_that_fails_comes_again_later_each_time_and_a_change_brings_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda *bounds: max(bounds))
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(0.1, clock)
    assert [queue.failed("a"), queue.failed("a")] == [0.5, 1.0]
    clock.now = 0.5
    assert queue.take(0.0) == "a"
    queue.failed("a")
    queue.add("a")
    clock.now = 0.6
    assert queue.take(0.0) == "a"
    queue.succeeded("a")
    assert queue.failed("a") == 0.5
