"""Nodes report the less often the more there are, and drift apart."""

import pytest

from enricher.status.heartbeat import interval, jittered


@pytest.mark.parametrize(
    ("nodes", "seconds"), [(1, 30), (1500, 30), (3000, 60), (5000, 100), (15_000, 300), (10**6, 300)]
)
def test_together_they_report_fifty_times_a_second_at_most(nodes: int, seconds: float) -> None:
    assert interval(30, nodes) == seconds


def test_what_an_operator_chose_is_the_shortest() -> None:
    assert interval(45, 1500) == 45
    assert interval(600, 5000) == 600


def test_intervals_differ_by_a_tenth_at_most() -> None:
    found = [jittered(100) for _ in range(1000)]
    assert 90 <= min(found) < 92
    assert 108 < max(found) <= 110
