"""Tests on records, as closures: what a filter's conditions become, since they run for every record of a node."""

import fnmatch
import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from exectrail.contracts.record import Record
from exectrail.filter.keys import KEYS, Key

Values = Sequence[Any]
"""What a filter set asks of one record, by slot; None where a field is absent."""

Test = Callable[[Values], bool]
"""Whether a record meets a condition. A comparison with an absent field is not met."""


class Choice(NamedTuple):
    """What a test asks that only looks a value up: of a list, whether any element is wanted."""

    slot: int
    wanted: frozenset[str | int]
    many: bool


class Asked:
    """Which fields a filter set asks for. Each is read once a record, however many rules compare it.

    Values of coarse keys come first and are counted from the front, those of fine keys from the back: so that each has
    its slot as soon as it is asked for, and the coarse ones can be read alone.
    """

    def __init__(self) -> None:
        self._coarse = [KEYS["kind"], KEYS["origin"]]  # two at least: attrgetter gives no tuple for one
        self._read = attrgetter("kind", "origin")
        self._fine: list[Callable[[Record], Any]] = []
        self._slots = {"kind": 0, "origin": 1}
        self.asked_fine = 0
        """How often a fine key was looked up."""
        self.choices: dict[Test, Choice] = {}
        """The tests that only look a value up."""

    def slot(self, key: Key) -> int:
        """Where the field's value will stand."""
        self.asked_fine += not key.coarse
        if key.name not in self._slots:
            self._slots[key.name] = self._place(key)
        return self._slots[key.name]

    def derived(self, get: Callable[[Record], Any]) -> int:
        """A slot for what is worked out from a fine key."""
        self._fine.insert(0, get)
        return -len(self._fine)

    def choice(self, slot: int, wanted: frozenset[str | int], *, many: bool) -> Test:
        """Met by these values; of a list, where any element is one of them."""
        test = any_one_of(slot, wanted) if many else one_of(slot, wanted)
        self.choices[test] = Choice(slot, wanted, many)
        return test

    def coarse(self, record: Record) -> tuple[Any, ...]:
        """The values of coarse keys: the same for many records."""
        try:
            values: tuple[Any, ...] = self._read(record)
        except AttributeError:  # no resource; rare, and else reading all in one call takes a third of the time
            return tuple([key.get(record) for key in self._coarse])
        return values

    def fine(self, record: Record) -> list[Any]:
        """The values of the others, to stand after those."""
        return [get(record) for get in self._fine]

    def _place(self, key: Key) -> int:
        if not key.coarse:
            return self.derived(key.get)
        self._coarse.append(key)
        self._read = attrgetter(*(each.path for each in self._coarse))
        return len(self._coarse) - 1


def never(_values: Values) -> bool:
    """Met by no record."""
    return False


def present(slot: int) -> Test:
    """Met where the field is there."""
    return lambda values: values[slot] is not None


def one_of(slot: int, wanted: frozenset[str | int]) -> Test:
    """Met by these values."""
    return lambda values: values[slot] in wanted


def any_one_of(slot: int, wanted: frozenset[str | int]) -> Test:
    """Met where any element of a list is one of these."""
    return lambda values: not wanted.isdisjoint(values[slot] or ())


def glob(slot: int, pattern: str) -> Test:
    """Met where the pattern (`*`, `?`, `[...]`) fits all of a text."""
    if pattern.endswith("*") and not re.search(r"[*?\[]", start := pattern[:-1]):
        return lambda values: (text := values[slot]) is not None and text.startswith(start)
    fits = _fits(pattern)
    return lambda values: (text := values[slot]) is not None and fits(text) is not None


def any_glob(slot: int, pattern: str) -> Test:
    """Met where the pattern fits all of any element of a list."""
    fits = _fits(pattern)
    return lambda values: any(map(fits, values[slot] or ()))


def _fits(pattern: str) -> Callable[[str], object]:
    # Linear: fnmatch writes each `*` as an atomic group, which takes the first fit and never comes back for another.
    return re.compile(fnmatch.translate(pattern)).match


def greater(slot: int, bound: int) -> Test:
    """Met by numbers above the bound."""
    return lambda values: (number := values[slot]) is not None and number > bound


def less(slot: int, bound: int) -> Test:
    """Met by numbers below the bound."""
    return lambda values: (number := values[slot]) is not None and number < bound


def negation(test: Test) -> Test:
    """Met where the other is not: also where the field is absent."""
    return lambda values: not test(values)


def all_of(tests: list[Test]) -> Test:
    """Met where each is."""
    if len(tests) == 1:
        return tests[0]

    def test(values: Values) -> bool:
        for each in tests:  # noqa: SIM110 - all() with a generator takes three times as long
            if not each(values):
                return False
        return True

    return test


def any_of(tests: list[Test]) -> Test:
    """Met where one is."""
    if len(tests) == 1:
        return tests[0]

    def test(values: Values) -> bool:
        for each in tests:  # noqa: SIM110 - see above
            if each(values):
                return True
        return False

    return test
