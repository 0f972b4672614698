"""Which closed segments go."""

from datetime import UTC, datetime, timedelta

import pytest

from enricher.trail.retention import Rotation, Stored, surplus
from exectrail.reading.segments import Names

NAMES = Names("trail.jsonl")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def days_old(*ages: int) -> list[Stored]:
    """Segments of 10 bytes, so many days old."""
    return [Stored(NAMES.following([], NOW - timedelta(days=age)), 10) for age in ages]


@pytest.mark.parametrize(
    ("rotation", "gone"),
    [
        (Rotation(), {}),
        (Rotation(max_backups=2), {9: "removed-by-backups", 5: "removed-by-backups"}),
        (Rotation(max_backups=4), {}),
        (Rotation(max_age=timedelta(days=5)), {9: "removed-by-age"}),
        (Rotation(max_size=50, max_total=80), {9: "removed-by-size-cap"}),
        (Rotation(max_size=50, max_total=90), {}),
        (Rotation(max_size=50, max_total=50), dict.fromkeys((9, 5, 2, 1), "removed-by-size-cap")),
        (
            Rotation(max_size=50, max_total=60, max_backups=3, max_age=timedelta(days=4)),
            {9: "removed-by-backups", 5: "removed-by-age", 2: "removed-by-size-cap"},
        ),
    ],
)
def test_the_oldest_go_first_each_for_the_bound_it_exceeds(rotation: Rotation, gone: dict[int, str]) -> None:
    expected = [(stored, gone[age]) for age in gone for stored in days_old(age)]

    assert surplus(days_old(2, 9, 1, 5), rotation, NOW) == expected


@pytest.mark.parametrize(("days", "after"), [(0, None), (30, timedelta(days=1)), (1, timedelta(days=1))])
def test_with_an_age_bound_a_segment_is_closed_after_a_day(days: int, after: timedelta | None) -> None:
    assert Rotation(max_age=timedelta(days=days)).close_after == after
