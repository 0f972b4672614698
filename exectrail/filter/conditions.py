"""The conditions of a rule, from JSON to tests: `matchKeys` with `matchValues`, and `match`."""

import re
from collections.abc import Sequence

from exectrail.filter import predicates
from exectrail.filter.keys import Key, find, nearest
from exectrail.filter.positioned_json import Node, Object, Wrong, shown
from exectrail.filter.predicates import Asked, Test
from exectrail.filter.regex import Searches

DEEPEST = 16
"""How deep `all`, `any` and `not` may be nested: a test is a call in a call for each level."""

_GROUPS = ("all", "any", "not")
_OPERATORS = ("equals", "in", "glob", "regex", "exists", "greater", "less")
_ORDER = {"greater": predicates.greater, "less": predicates.less}


def members(node: Node, what: str, known: Sequence[str]) -> dict[str, Node]:
    """The members of an object by their proper names; their case does not matter, and null is as good as none.

    Raises:
        Wrong: It is no object, or has a member that is unknown or there twice.

    """
    if not isinstance(node.value, Object):
        raise Wrong(node, f"{what} is {shown(node)}, must be an object")
    proper = {name.lower(): name for name in known}
    found: dict[str, Node] = {}
    for name, value in node.value:
        given = str(name.value)
        if given.lower() not in proper:
            raise Wrong(name, f'{what} has {", ".join(known)}, but no "{given}"{nearest(given, known)}')
        if proper[given.lower()] in found:
            raise Wrong(name, f'"{given}" is there twice')
        found[proper[given.lower()]] = value
    return {name: value for name, value in found.items() if value.value is not None}


def by_keys(keys: Node | None, values: Node | None, asked: Asked, *, every: bool) -> Test:
    """Met where any of the keys (or every one) is there, and has one of the values if there are values.

    Raises:
        Wrong: A key that no record has, or a value that none of the keys can have.

    """
    named = [_key(each) for each in items(keys, "matchKeys")] if keys else []
    wanted = items(values, "matchValues") if values else []
    if not named:
        return predicates.never
    if not wanted:
        tests = [predicates.present(asked.slot(key)) for key in named]
    else:
        fitting = _fitting(named, wanted)
        if every and not all(fitting):
            name = named[fitting.index(frozenset())].name
            raise Wrong(values or Node(None, 0), f"no value here fits {name}, so that not all keys can match")
        tests = [_one_of(key, fits, asked) for key, fits in zip(named, fitting, strict=True)]
    return predicates.all_of(tests) if every else predicates.any_of(tests)


def condition(node: Node, asked: Asked, searches: Searches, depth: int = 0) -> Test:
    """Met as `match` says.

    Raises:
        Wrong: There is a mistake in it.

    """
    if depth > DEEPEST:
        raise Wrong(node, f"a condition is nested more than {DEEPEST} deep")
    found = members(node, "a condition", (*_GROUPS, "key", *_OPERATORS))
    operators = [name for name in found if name != "key"]
    if len(operators) != 1 or (operators[0] in _GROUPS) == ("key" in found):
        raise Wrong(
            node,
            f"a condition has one of {', '.join(_GROUPS)}; or key, and one of {', '.join(_OPERATORS)}."
            " Put several into all",
        )
    name, operand = operators[0], found[operators[0]]
    if "key" in found:
        return _comparison(_key(found["key"]), name, operand, asked, searches)
    if name == "not":
        return predicates.negation(condition(operand, asked, searches, depth + 1))
    tests = [condition(each, asked, searches, depth + 1) for each in items(operand, name)]
    if not tests:
        raise Wrong(operand, f"{name} must have a condition in it")
    return predicates.all_of(tests) if name == "all" else predicates.any_of(tests)


def items(node: Node, what: str) -> list[Node]:
    """The elements of an array.

    Raises:
        Wrong: It is none.

    """
    if isinstance(node.value, Object) or not isinstance(node.value, list):
        raise Wrong(node, f"{what} is {shown(node)}, must be an array")
    return node.value


def _comparison(key: Key, operator: str, operand: Node, asked: Asked, searches: Searches) -> Test:
    if operator == "exists":
        if not isinstance(operand.value, bool):
            raise Wrong(operand, f"exists is {shown(operand)}, must be true or false")
        test = predicates.present(asked.slot(key))
        return test if operand.value else predicates.negation(test)
    if operator in _ORDER:
        bound = _number(operand)
        if key.type != "number" or bound is None:
            raise Wrong(operand, f"{operator} compares numbers: {key.name} is {_what(key)}, and this {shown(operand)}")
        return _ORDER[operator](asked.slot(key), bound)
    if operator in ("glob", "regex"):
        if key.type not in ("text", "texts") or not isinstance(operand.value, str):
            raise Wrong(operand, f"{operator} is a pattern for text: {key.name} is {_what(key)}, this {shown(operand)}")
        if operator == "regex":
            return searches.test(key, operand)
        fit = predicates.any_glob if key.type == "texts" else predicates.glob
        return fit(asked.slot(key), operand.value)
    values = items(operand, "in") if operator == "in" else [operand]
    if not values:
        raise Wrong(operand, "in must have a value in it")
    return _one_of(key, frozenset(_value(key, each) for each in values), asked)


def _one_of(key: Key, values: frozenset[str | int], asked: Asked) -> Test:
    return asked.choice(asked.slot(key), values, many=key.type == "texts")


def _key(node: Node) -> Key:
    if not isinstance(node.value, str):
        raise Wrong(node, f"a key is text, not {shown(node)}")
    try:
        return find(node.value)
    except LookupError as error:
        raise Wrong(node, str(error.args[0])) from None


def _fitting(keys: list[Key], values: list[Node]) -> list[frozenset[str | int]]:
    """Of the values those that each key can have; each value must be one of some key."""
    fitting: list[set[str | int]] = [set() for _ in keys]
    for node in values:
        refusals = []
        for key, fits in zip(keys, fitting, strict=True):
            try:
                fits.add(_value(key, node))
            except Wrong as wrong:
                refusals.append(wrong)
        if len(refusals) == len(keys):
            raise refusals[0]
    return [frozenset(fits) for fits in fitting]


def _value(key: Key, node: Node) -> str | int:
    """A value as this key can have it."""
    if key.type == "object":
        raise Wrong(node, f"{key.name} has no value of its own: name one of its keys, as {key.name}/...")
    if key.type == "number":
        if (number := _number(node)) is None:
            raise Wrong(node, f"{key.name} is {_what(key)}, and {shown(node)} is none")
        return number
    if not isinstance(node.value, str):
        raise Wrong(node, f"{key.name} is {_what(key)}, and {shown(node)} is none: put it in double quotes")
    if key.choices and node.value not in key.choices:
        never = "; session, gap and digest records are always written" if key.name == "kind" else ""
        raise Wrong(node, f"{key.name} is never {shown(node)}: it is one of {', '.join(key.choices)}{never}")
    return node.value


def _number(node: Node) -> int | None:
    """A whole number, also where it is in quotes: there the Security Profiles Operator has it."""
    value = node.value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _what(key: Key) -> str:
    return {"text": "text", "texts": "a list of texts", "number": "a whole number", "object": "an object"}[key.type]
