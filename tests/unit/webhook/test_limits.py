"""Nobody can cause more AuditSessions than etcd bears."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.sessions.limits import UNIT_BYTES, Bucket, Limits, Rate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_user_may_cause_a_burst_and_then_so_many_a_second(clock: Clock) -> None:
    limits = Limits(Rate(2, 5), Rate(100, 1000), clock)
    assert [limits.over("shop", "loop", 1000) for _ in range(7)] == [None] * 5 + ["user-limit"] * 2

    clock.now += 1
    assert [limits.over("shop", "loop", 1000) for _ in range(3)] == [None, None, "user-limit"]
    assert limits.over("shop", "bob", 1000) is None


def test_a_namespace_may_cause_so_many_whatever_names_its_users_have(clock: Clock) -> None:
    limits = Limits(Rate(2, 5), Rate(10, 20), clock)
    over = [limits.over("shop", f"user{number}", 1000) for number in range(25)]

    assert over == [None] * 20 + ["namespace-limit"] * 5
    assert limits.over("other", "user0", 1000) is None


def test_what_is_over_one_limit_takes_nothing_of_the_other(clock: Clock) -> None:
    limits = Limits(Rate(1, 1), Rate(1, 2), clock)
    for _ in range(10):
        limits.over("shop", "loop", 1000)

    assert limits.over("shop", "bob", 1000) is None


def test_a_large_session_counts_as_several(clock: Clock) -> None:
    limits = Limits(Rate(1, 8), Rate(100, 1000), clock)
    assert [limits.over("shop", "bob", 4 * UNIT_BYTES) for _ in range(3)] == [None, None, "user-limit"]


def test_a_burst_below_one_large_session_lets_it_through_when_it_is_full(clock: Clock) -> None:
    limits = Limits(Rate(1, 1), Rate(100, 1000), clock)
    assert limits.over("shop", "bob", 4 * UNIT_BYTES) is None
    assert limits.over("shop", "bob", 10) == "user-limit"
    clock.now += 4
    assert limits.over("shop", "bob", 10) is None


@given(
    rate=st.builds(Rate, st.floats(0.1, 100), st.integers(1, 50)),
    steps=st.lists(st.tuples(st.floats(0, 10), st.integers(1, 8 * 1024)), max_size=60),
)
def test_in_any_time_no_more_bytes_pass_than_the_rate_says(rate: Rate, steps: list[tuple[float, int]]) -> None:
    now, passed, largest = 0.0, 0, 8 * 1024
    bucket = Bucket(rate, now)
    for seconds, size in steps:
        now += seconds
        if not bucket.wait(size, now):
            bucket.take(size)
            passed += size

        assert passed <= UNIT_BYTES * (rate.burst + now * rate.per_second) + largest


def test_many_invented_names_take_bounded_memory(clock: Clock) -> None:
    limits = Limits(Rate(1, 1), Rate(1e9, 1 << 40), clock)
    for number in range(10_000):
        limits.over("shop", f"user{number}", 10)

    assert len(limits._users._by_name) == 4096
    assert limits.over("shop", "user9999", 10) == "user-limit"
