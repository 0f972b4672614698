"""Who fails again and again tries less often, and not at the same moments as others."""

import pytest

from exectrail.service.backoff import Backoff


def test_each_wait_is_twice_the_one_before_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda *bounds: max(bounds))
    backoff = Backoff(0.2, 1.0)

    assert [backoff.next() for _ in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_after_a_success_waits_begin_anew() -> None:
    backoff = Backoff(0.2, 1.0)
    for _ in range(5):
        backoff.next()
    backoff.reset()

    assert backoff.bound == 0.2
    assert backoff.next() <= 0.2


def test_waits_differ_and_are_at_least_half_of_the_bound() -> None:
    waits = [Backoff(1.0, 1.0).next() for _ in range(50)]

    assert len(set(waits)) > 1
    assert all(0.5 <= wait <= 1.0 for wait in waits)
