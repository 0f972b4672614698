"""Steps to a decision: rules in a row that look up the same field become one look into a table."""

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import NamedTuple

from exectrail.filter.predicates import Choice, Test, Values


class Decision(NamedTuple):
    """Whether to keep a record, and the rule that says so, by its place in the filter set; None where none matched."""

    keep: bool
    rule: int | None


Step = Callable[[Values], Decision | None]
"""Decides on a record, or leaves it to the next."""


def join(rules: list[tuple[Test, Decision]], choices: Mapping[Test, Choice]) -> list[Step]:
    """The steps that decide as these rules in this order. `choices` are the tests that only look a value up."""
    steps: list[Step] = []
    for field, row in groupby(rules, lambda rule: _field(choices.get(rule[0]))):
        if field is None:
            steps += [_step(test, decision) for test, decision in row]
        else:
            slot, many = field
            table: dict[str | int, tuple[int, Decision]] = {}
            for order, (test, decision) in enumerate(row):
                for value in choices[test].wanted:
                    table.setdefault(value, (order, decision))
            steps.append(_first(slot, table) if many else _lookup(slot, table))
    return steps


def _field(choice: Choice | None) -> tuple[int, bool] | None:
    return choice and (choice.slot, choice.many)


def _step(test: Test, decision: Decision) -> Step:
    return lambda values: decision if test(values) else None


def _lookup(slot: int, table: Mapping[str | int, tuple[int, Decision]]) -> Step:
    decisions = {value: decision for value, (_, decision) in table.items()}
    return lambda values: decisions.get(values[slot])


def _first(slot: int, table: Mapping[str | int, tuple[int, Decision]]) -> Step:
    wanted = frozenset(table)  # asked more quickly than keys()

    def step(values: Values) -> Decision | None:
        elements = values[slot]
        if not elements or wanted.isdisjoint(elements):
            return None
        return min(table[each] for each in elements if each in wanted)[1]

    return step
