"""One audit event is one record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.audit.serials import RECENT, WINDOW, Serials

WIDTH = 1 << 32


@given(st.integers(0, WIDTH - 1), st.lists(st.integers(0, 400)))
def test_each_serial_is_taken_once_in_whatever_order_and_over_the_largest_one(first: int, after: list[int]) -> None:
    serials = [(first + each) % WIDTH for each in after]
    taken = Serials()
    assert [serial for serial in serials if taken.take(serial)] == list(dict.fromkeys(serials))
    assert taken.repeated == len(serials) - len(set(serials))


@given(st.integers(0, WIDTH - 1), st.lists(st.integers(-20, 60), max_size=60))
def test_what_is_older_than_the_window_counts_as_taken_and_nothing_newer_does(first: int, steps: list[int]) -> None:
    taken, seen, now = Serials(window=16), set[int](), 1000
    highest = now
    assert taken.take((first + now) % WIDTH)
    seen.add(now)
    for step in steps:
        now = max(0, now + step)
        expected = now not in seen and now > highest - 16
        assert taken.take((first + now) % WIDTH) is expected
        highest = max(highest, now)
        seen.add(now)


@pytest.mark.parametrize("highest", [5, 100_000, WIDTH - 1])
def test_after_a_restart_the_last_ones_are_known_and_older_ones_refused(highest: int) -> None:
    before = Serials()
    missing = {3, 200}
    for back in reversed(range(1000)):
        if back not in missing:
            before.take((highest - back) % WIDTH)

    after = Serials(before.highest, before.recent())

    fresh = [back for back in range(2000) if after.take((highest - back) % WIDTH)]
    assert fresh == sorted(missing)
    assert after.take((highest + 1) % WIDTH)
    assert len(before.recent()) == RECENT - len(missing)


def test_a_long_silence_forgets_nothing_that_matters() -> None:
    taken = Serials()
    assert taken.take(1)
    assert taken.take(1 + 3 * WINDOW)
    assert not taken.take(1)
    assert taken.take(3 * WINDOW)
