"""From when until when requests may have passed unrecorded, whatever looks were made."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.controller import outages
from profiles.controller.outages import Failure, History, Outage

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
GONE = Failure("no-replica", "no endpoints available")
SLOW = Failure("timeout", "context deadline exceeded")
CHANGED = Failure("configuration", "execmetadata.exectrail.io has another rules")

Look = tuple[int, Failure | None]
"""Seconds after noon, and what was found wrong."""


def after(*looks: Look, history: History = outages.read({})) -> History:  # noqa: B008 - it is frozen
    for seconds, failure in looks:
        history = history.looked(NOON + timedelta(seconds=seconds), failure)
    return history


def spans(history: History) -> list[tuple[str, str, str]]:
    """Each outage without date and zone: from, until, reason."""
    return [(each.since[11:19], each.until[11:19], each.reason) for each in history.outages]


@pytest.mark.parametrize(
    ("looks", "found"),
    [
        ([(0, None), (30, None)], []),
        ([(0, None), (30, GONE)], [("12:00:00", "", "no-replica")]),
        ([(0, None), (30, GONE), (60, GONE)], [("12:00:00", "", "no-replica")]),
        ([(0, None), (30, GONE), (60, None)], [("12:00:00", "12:01:00", "no-replica")]),
        ([(0, GONE), (30, None)], [("12:00:00", "12:00:30", "no-replica")]),
        ([(0, None), (30, GONE), (60, SLOW), (90, GONE), (120, None)], [("12:00:00", "12:02:00", "no-replica")]),
        (
            [(0, None), (30, GONE), (60, CHANGED), (90, SLOW), (120, None)],
            [
                ("12:00:00", "12:01:00", "no-replica"),
                ("12:01:00", "12:01:30", "configuration"),
                ("12:01:30", "12:02:00", "timeout"),
            ],
        ),
        (
            [(0, None), (30, GONE), (60, None), (90, CHANGED)],
            [("12:00:00", "12:01:00", "no-replica"), ("12:01:00", "", "configuration")],
        ),
        ([(0, None), (150, None)], []),
        ([(0, None), (151, None)], [("12:00:00", "12:02:31", "not-watched")]),
        (
            [(0, None), (300, GONE), (330, None)],
            [("12:00:00", "12:05:00", "not-watched"), ("12:05:00", "12:05:30", "no-replica")],
        ),
        # An outage goes on while nobody looks: it began before, and ends after.
        ([(0, None), (30, GONE), (600, None)], [("12:00:00", "12:10:00", "no-replica")]),
    ],
)
def test_an_outage_reaches_from_the_last_good_look_to_the_next(looks: list[Look], found: list[tuple[str, ...]]) -> None:
    assert spans(after(*looks)) == found


failures = st.sampled_from([None, GONE, SLOW, CHANGED])


@given(st.lists(st.tuples(st.integers(1, 400), failures), max_size=30))
def test_every_moment_between_two_looks_is_known_good_or_in_an_outage(steps: list[tuple[int, Failure | None]]) -> None:
    history, now = after((0, None)), 0
    good: list[tuple[int, int]] = []
    was_good = True
    for step, failure in steps:
        if was_good and failure is None and step <= 150:
            good.append((now, now + step))
        now, was_good = now + step, failure is None
        history = outages.read(outages.written(history)).looked(NOON + timedelta(seconds=now), failure)
    missed = [(_seconds(each.since), _seconds(each.until) if each.until else now) for each in history.outages]
    covered = sorted(good + missed)
    assert sum(end - start for start, end in covered) == now
    assert all(one[1] == other[0] for one, other in itertools.pairwise(covered))


def _seconds(time: str) -> int:
    return int((datetime.fromisoformat(time) - NOON).total_seconds())


def test_the_list_is_bounded_and_the_oldest_goes_first() -> None:
    history = after(*((30 * n, GONE if n % 2 else None) for n in range(2 * outages.MOST + 20)))
    assert len(history.outages) == outages.MOST
    assert spans(history)[-1][1] == ""
    size = sum(map(len, outages.written(after((0, Failure("timeout", "x" * 10_000)), history=history)).values()))
    assert size < 64 << 10


def test_what_is_written_is_read_again() -> None:
    history = after((0, None), (30, GONE), (60, None), (90, CHANGED))
    data = outages.written(history)
    assert outages.read(data) == history
    assert data["outages"].splitlines()[0] == (
        '{"from":"2026-11-23T12:00:00Z","reason":"no-replica","message":"no endpoints available",'
        '"until":"2026-11-23T12:01:00Z"}'
    )


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"outages": "no json\n", "reached": "yesterday"},
        {"outages": '{"from": 3}\n[]\nnull\n', "reached": "2026-11-23T12:00:00"},
    ],
)
def test_what_cannot_be_read_does_not_end_the_watch(data: dict[str, str]) -> None:
    assert outages.read(data) == History()


def test_a_line_that_cannot_be_read_does_not_take_the_others_along() -> None:
    whole = outages.written(after((0, GONE), (30, None)))["outages"]
    (kept,) = outages.read({"outages": f"broken\n{whole}"}).outages
    assert kept == Outage("2026-11-23T12:00:00Z", "no-replica", GONE.message, "2026-11-23T12:00:30Z")
