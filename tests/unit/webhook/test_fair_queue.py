"""A flood takes the turns and the room of its own namespace and user, and of no other."""

from collections import Counter
from collections.abc import Iterator

from webhook.sessions.fair_queue import Entry, FairQueue


def entry(user: str, size: int = 0, namespace: str = "default") -> Entry:
    return Entry(namespace, user, b"x" * size)


def drain(queue: FairQueue) -> Iterator[str]:
    while found := queue.get():
        yield found.user


def test_users_take_turns() -> None:
    queue = FairQueue(1 << 20)
    for user in "aaaabbc":
        queue.put(entry(user))

    assert "".join(drain(queue)) == "abcabaa"


def test_namespaces_take_turns_and_in_each_its_users() -> None:
    queue = FairQueue(1 << 20)
    for user in "abcd":
        queue.put(entry(user, namespace="crowded"))
    queue.put(entry("z", namespace="quiet"))
    queue.put(entry("z", namespace="quiet"))

    assert "".join(drain(queue)) == "azbzcd"


def test_a_flooding_user_loses_own_entries_only() -> None:
    queue = FairQueue(100 * 1024)
    dropped = [each for n in range(5) for each in queue.put(entry(f"user{n}", 512))]
    dropped += [each for _ in range(1000) for each in queue.put(entry("flood", 512))]
    dropped += queue.put(entry("late", 512))

    assert {each.user for each in dropped} == {"flood"}
    kept = Counter(drain(queue))
    assert kept == Counter({"flood": 94, "late": 1, **{f"user{n}": 1 for n in range(5)}})


def test_a_flood_of_many_names_pushes_out_neither_who_came_before_nor_another_namespace() -> None:
    queue = FairQueue(100 * 1024)
    queue.put(entry("victim", 2048))
    queue.put(entry("victim", 2048, namespace="other"))
    dropped = [each.user for n in range(1000) for each in queue.put(entry(f"flood{n}", 512))]
    dropped += [each.user for each in queue.put(entry("late", 2048, namespace="other"))]

    assert "victim" not in dropped
    assert "late" not in dropped
    assert Counter(drain(queue))["victim"] == 2


def test_one_big_entry_counts_for_what_it_weighs() -> None:
    queue = FairQueue(20_000)
    for _ in range(10):
        queue.put(entry("many", 100))

    assert [each.user for each in queue.put(entry("big", 15_000))] == ["big"]


def test_the_queue_knows_what_it_holds() -> None:
    queue = FairQueue(1 << 20)
    for user in "aab":
        queue.put(entry(user, 88))
    assert (queue.length, queue.size) == (3, 3 * 600)

    queue.get()
    assert (queue.length, queue.size) == (2, 2 * 600)
