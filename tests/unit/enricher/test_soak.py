"""A short soak; `python -m bench --node --soak MINUTES` is the long one."""

import gc
import random
import tracemalloc
from collections.abc import Iterator

import pytest

from bench.crowd import HEADER, RATE, load, node
from enricher.support.player import Player
from enricher.support.recording import Item


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_a_load_of_some_seconds_leaves_no_memory_behind_that_a_longer_one_would_add_to() -> None:
    player = Player(HEADER, lambda _: True, 0.5, random.getrandbits)

    def allocated_after(items: Iterator[tuple[int, Item]]) -> int:
        for at, item in items:
            player.play(at, item)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    allocated_after(node())
    warm = allocated_after(load(0, 3 * RATE))  # pids are remembered for two seconds
    later = allocated_after(load(3 * RATE, 7 * RATE))

    assert player.core.correlator.tally.written["exec"] > 7 * RATE
    assert later - warm < 200_000, "only tables with a bound may still grow: 100 bytes for each exec would be 320,000"
