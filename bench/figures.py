"""A figure: what was measured, what it may be at most, and how it came about."""

import gc
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

FOLDER = Path("build/bench")
_WIDTH = 140


class Figure(Struct, frozen=True):
    """One measured number. `holds` is None where there is no bound."""

    name: str
    value: float
    unit: str
    bound: float | None
    holds: bool | None
    how: str


def at_most(bound: float, name: str, value: float, unit: str, how: str) -> Figure:
    """A figure that must not be above its bound."""
    return Figure(name, round(value, 3), unit, bound, value <= bound, how)


def at_least(bound: float, name: str, value: float, unit: str, how: str) -> Figure:
    """A figure that must not be below its bound."""
    return Figure(name, round(value, 5), unit, bound, value >= bound, how)


def seen(name: str, value: float, unit: str, how: str) -> Figure:
    """A figure without a bound."""
    return Figure(name, round(value, 3), unit, None, None, how)


def cpu_us(work: Callable[[], int], rounds: int = 100) -> float:
    """Microseconds of this process's CPU for one of the things that `work` says it did.

    The best of some rounds: the others were disturbed (as in timeit). The first, which fills the caches, is left out.
    """
    work()
    costs: list[float] = []
    for _ in range(rounds):
        gc.collect()
        began = time.process_time_ns()
        done = work()
        costs.append((time.process_time_ns() - began) / done / 1000)
    return min(costs)


def keep(figures: Iterable[Figure]) -> None:
    """Leave each figure in a file of its own, for whoever compares runs."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        (FOLDER / f"{figure.name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(figure)) + b"\n")


def show(figures: Iterable[Figure]) -> None:
    """A table on standard output."""
    table = Table("figure", "value", "unit", "bound", "", "how")
    for each in figures:
        mark = "" if each.holds is None else "holds" if each.holds else "[red]MISSED[/red]"
        bound = "" if each.bound is None else f"{each.bound:g}"
        table.add_row(each.name, f"{each.value:g}", each.unit, bound, mark, each.how)
    Console(width=max(_WIDTH, Console().width)).print(table)
