"""Who loses AuditSessions when there are too many: who has most of them."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.controller.shares import Aged, surplus

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def made(*counts: tuple[str, str, int]) -> list[Aged]:
    """Sessions by namespace and user; those of the first are the oldest, and so on."""
    whose = [(namespace, user) for namespace, user, count in counts for _ in range(count)]
    return [
        Aged((NOW + timedelta(seconds=number), NOW, f"{number:06}"), namespace, user)
        for number, (namespace, user) in enumerate(whose)
    ]


def kept(sessions: list[Aged], most: int) -> Counter[tuple[str, str]]:
    gone = surplus(sessions, most)
    assert len(gone) == len(set(gone))
    return Counter((each.namespace, each.user) for each in sessions if each.age[-1] not in gone)


@pytest.mark.parametrize(
    ("what", "counts", "most", "left"),
    [
        ("there are no more than may be", [("shop", "bob", 3)], 3, {("shop", "bob"): 3}),
        (
            "10,000 newer execs of one user",
            [("shop", "bob", 100), ("shop", "loop", 10_000)],
            10_000,
            {("shop", "bob"): 100, ("shop", "loop"): 9900},
        ),
        (
            "the same in a namespace of its own",
            [("shop", "bob", 100), ("ci", "loop", 10_000)],
            10_000,
            {("shop", "bob"): 100, ("ci", "loop"): 9900},
        ),
        (
            "many names in one namespace take nothing of another",
            [("shop", "bob", 100), *[("ci", f"user{number}", 1) for number in range(1000)]],
            1000,
            {("shop", "bob"): 100, **{("ci", f"user{number}"): 1 for number in range(100, 1000)}},
        ),
        (
            "those who have equally many lose equally many, the oldest first",
            [("a", "x", 4), ("b", "x", 4)],
            5,
            {("a", "x"): 2, ("b", "x"): 3},
        ),
        (
            "one user in many namespaces loses of all of them",
            [("shop", "bob", 5), *[(f"ns{number}", "loop", 10) for number in range(4)]],
            25,
            {("shop", "bob"): 5, **{(f"ns{number}", "loop"): 5 for number in range(4)}},
        ),
    ],
)
def test_who_has_most_pays(
    what: str, counts: list[tuple[str, str, int]], most: int, left: dict[tuple[str, str], int]
) -> None:
    assert kept(made(*counts), most) == left


@given(
    counts=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 12)), max_size=9),
    most=st.integers(1, 60),
    order=st.randoms(use_true_random=False),
)
def test_no_more_go_than_must_and_each_keeps_its_share(
    counts: list[tuple[str, str, int]], most: int, order: object
) -> None:
    sessions = made(*counts)
    order.shuffle(sessions)  # type: ignore[attr-defined] # a random.Random

    left = kept(sessions, most)

    assert left.total() == min(len(sessions), most)
    had = Counter((each.namespace, each.user) for each in sessions)
    namespaces = {namespace for namespace, _ in had}
    for (namespace, user), count in had.items():
        users = {other for where, other in had if where == namespace}
        assert left[namespace, user] >= min(count, most // len(namespaces) // len(users))
        # Of whoever lost some, the oldest went; and no neighbour who lost some has two more or two fewer.
        mine = sorted(each.age for each in sessions if (each.namespace, each.user) == (namespace, user))
        gone = set(surplus(sessions, most))
        assert [age[-1] in gone for age in mine] == sorted((age[-1] in gone for age in mine), reverse=True)
        if left[namespace, user] < count:
            assert all(left[namespace, other] <= left[namespace, user] + 1 for other in users)
