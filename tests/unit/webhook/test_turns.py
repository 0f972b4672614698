"""One piece of work a round, by address: an address with much work delays another by one piece."""

import asyncio
from collections.abc import Callable

from webhook.serving.turns import Turns


def rounds(*work: tuple[str, str], count: int, gone: frozenset[str] = frozenset()) -> list[list[str]]:
    """What is done in each round of the loop, of work by address and name, all of it there at once."""
    done: list[list[str]] = [[]]

    def piece(name: str) -> Callable[[], bool]:
        def do() -> bool:
            if name not in gone:
                done[-1].append(name)
            return name not in gone

        return do

    async def main() -> None:
        turns = Turns()
        for address, name in work:
            turns.take(address, piece(name))
        for _ in range(count - 1):
            done.append([])
            await asyncio.sleep(0)

    asyncio.run(main())
    return done


def test_what_comes_alone_is_done_at_once() -> None:
    assert rounds(("a", "a1"), count=1) == [["a1"]]


def test_addresses_come_in_turn_one_piece_a_round() -> None:
    work = [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("a", "a4")]

    assert rounds(*work, count=6) == [["a1"], ["a2"], ["b1"], ["c1"], ["a3"], ["a4"]]


def test_work_of_a_connection_that_has_gone_takes_no_turn() -> None:
    work = [("a", "a1"), ("a", "a2"), ("b", "b1"), ("c", "c1")]

    assert rounds(*work, count=2, gone=frozenset({"a2", "b1"})) == [["a1"], ["c1"]]


def test_work_that_fails_costs_the_others_nothing() -> None:
    done: list[str] = []

    def fail() -> bool:
        raise ValueError

    def named(name: str) -> Callable[[], bool]:
        def do() -> bool:
            done.append(name)
            return True

        return do

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: done.append(str(context["exception"])))
        turns = Turns()
        for work in (lambda: True, fail, named("after")):
            turns.take("a", work)
        for _ in range(3):
            await asyncio.sleep(0)
        turns.take("a", named("later"))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert done == ["", "after", "later"]
