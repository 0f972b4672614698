"""A caller can cause any number of log lines: one of a kind in ten seconds is written, and how many were left out."""

import logging

import pytest

from webhook.sparse_log import SparseLog


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sparse(clock: Clock) -> SparseLog:
    return SparseLog(logging.getLogger("sparse"), clock)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    return [(record.getMessage(), getattr(record, "left_out", 0)) for record in caplog.records]


def test_the_next_line_says_how_many_were_left_out(
    sparse: SparseLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(4):
        sparse.warning("timeout", f"slow {number}")
    sparse.warning("other", "another kind")
    clock.now += 10
    sparse.warning("timeout", "slow again")

    assert lines(caplog) == [("slow 0", 0), ("another kind", 0), ("slow again", 3)]


def test_what_has_no_next_line_is_logged_all_the_same(
    sparse: SparseLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        sparse.warning("timeout", "slow")
    sparse.flush()
    clock.now += 10
    sparse.flush()
    sparse.flush()

    assert lines(caplog) == [("slow", 0), ("more of the same: timeout", 2)]


def test_a_line_has_an_end(sparse: SparseLog, caplog: pytest.LogCaptureFixture) -> None:
    sparse.warning("bad", "x" * 5000 + "%s")

    assert lines(caplog) == [("x" * 200, 0)]
