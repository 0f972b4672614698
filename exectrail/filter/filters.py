"""Filters: which records a trail keeps, by rules in the Security Profiles Operator's JSON, and beyond it.

    [{"priority": 100, "level": "Metadata", "matchKeys": ["requestUID"]},
     {"priority": 999, "level": "None", "match": {"key": "resource/namespace", "glob": "kube-*"}}]

The first rule that matches decides, in ascending order of priority; a record that none matches is kept.
A filter set is checked as a whole when it is loaded, and then cannot fail.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from exectrail.contracts.record import Record
from exectrail.filter.conditions import by_keys, condition, items, members
from exectrail.filter.keys import ALWAYS_WRITTEN
from exectrail.filter.positioned_json import Node, Wrong, parse, position, shown
from exectrail.filter.predicates import Asked, Test
from exectrail.filter.regex import Searches
from exectrail.filter.steps import Decision, Step, join

_FIELDS = ("priority", "level", "matchKeys", "matchValues", "all", "match")


@dataclass(frozen=True)
class Rule:
    """A rule of a filter set. `number` is its place in the JSON array, counted from 1.

    `fine` is whether its test asks for more than coarse keys (`exectrail.filter.keys.Key`).
    """

    number: int
    priority: int
    level: Literal["Metadata", "None"]
    test: Test = field(repr=False)
    fine: bool = field(repr=False)


class FilterError(ValueError):
    """A filter set has a mistake.

    `line` and `column` count from 1. `rule` is the rule's number, None where the mistake is in none.
    """

    def __init__(self, message: str, line: int, column: int, rule: int | None = None) -> None:
        place = f"line {line}, column {column}: " + (f"rule {rule}: " if rule else "")
        super().__init__(place + message)
        self.line, self.column, self.rule, self.message = line, column, rule, message


class Filters:
    """A filter set that decides. One thread uses it at a time.

    Args:
        rules: In any order; of equal priorities the one with the lower number comes first.
        asked: What the rules' tests ask of a record.

    """

    def __init__(self, rules: list[Rule], asked: Asked) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: (rule.priority, rule.number)))
        """In the order in which they are tried."""
        self.hits: dict[int | None, int] = dict.fromkeys((None, *(rule.number for rule in self.rules)), 0)
        """How many records each rule decided, by its number; under None, how many no rule matched."""
        self._asked = asked
        self._shortened: dict[tuple[Any, ...], _Shortened] = {}

    def decide(self, record: Record) -> Decision:
        """Whether to keep a record. `session`, `gap` and `digest` are always kept, and not counted in `hits`."""
        if record.kind in ALWAYS_WRITTEN:
            return _KEEP
        coarse = self._asked.coarse(record)
        steps, decision = self._shortened.get(coarse) or self._shorten(coarse)
        if steps:
            values = (*coarse, *self._asked.fine(record))
            for step in steps:
                if decided := step(values):
                    decision = decided
                    break
        self.hits[decision.rule] += 1
        return decision

    def _shorten(self, coarse: tuple[Any, ...]) -> "_Shortened":
        """What is left of the rules for records with these coarse values: most rules ask for nothing else."""
        left: list[tuple[Test, Decision]] = []
        last = _KEEP
        for rule in self.rules:
            decision = Decision(rule.level != "None", rule.number)
            if rule.fine:
                left.append((rule.test, decision))
            elif rule.test(coarse):
                last = decision
                break
        steps = join(left, self._asked.choices)
        if len(self._shortened) >= _MOST_SHORTENED:
            self._shortened.clear()
        self._shortened[coarse] = steps, last
        return steps, last


_KEEP = Decision(keep=True, rule=None)
_MOST_SHORTENED = 1024
_Shortened = tuple[list[Step], Decision]
"""What to try in this order, and the decision where nothing decides."""


def load(data: str | bytes) -> Filters:
    """Read and check a filter set.

    Raises:
        FilterError: There is a mistake in it; the message says where, what, and what to write instead.

    """
    text = data if isinstance(data, str) else _decoded(data)
    asked = Asked()
    searches = Searches(asked)
    rules: list[Rule] = []
    number = None
    try:
        for number, node in enumerate(_rules(text), 1):
            rules.append(_rule(number, node, asked, searches))
    except Wrong as wrong:
        raise FilterError(wrong.message, *position(text, wrong.offset), number) from None
    searches.compile()
    return Filters(rules, asked)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise FilterError("not UTF-8", *position(before, len(before))) from None


def _rules(text: str) -> list[Node]:
    return items(parse(text), "a filter set")


def _rule(number: int, node: Node, asked: Asked, searches: Searches) -> Rule:
    found, before = members(node, "a rule", _FIELDS), asked.asked_fine
    test = _test(found, asked, searches)
    return Rule(number, _priority(found), _level(node, found), test, asked.asked_fine > before)


def _priority(found: dict[str, Node]) -> int:
    node = found.get("priority", Node(0, 0))
    if type(node.value) is not int:
        raise Wrong(node, f"priority is {shown(node)}, must be a whole number")
    return node.value


def _level(rule: Node, found: dict[str, Node]) -> Literal["Metadata", "None"]:
    node = found.get("level")
    if node is None:
        raise Wrong(rule, 'level is missing: give "Metadata" to keep what matches, or "None" to drop it')
    match node.value:
        case "Metadata" | "None":
            return node.value
    raise Wrong(node, f'level is {shown(node)}, must be "Metadata" (keep) or "None" (drop)')


def _test(found: dict[str, Node], asked: Asked, searches: Searches) -> Test:
    every = found.get("all", Node(value=False, offset=0))
    if not isinstance(every.value, bool):
        raise Wrong(every, f"all is {shown(every)}, must be true (all keys must match) or false (any)")
    if match := found.get("match"):
        if other := found.keys() & {"matchKeys", "matchValues", "all"}:
            raise Wrong(match, f"match cannot stand beside {min(other)}: make two rules, or put all into match")
        return condition(match, asked, searches)
    return by_keys(found.get("matchKeys"), found.get("matchValues"), asked, every=every.value)
