"""JSON that remembers where each value stands, so that a mistake in it can be pointed at."""

import json
import math
import re
from typing import NamedTuple

_decoder = json.JSONDecoder(
    # Python refuses to read integers of thousands of digits, and no key needs more than 64 bits.
    parse_int=lambda digits: int(digits) if len(digits) <= 20 else math.inf
)
_blank = re.compile(r"[ \t\n\r]*")


class Node(NamedTuple):
    """A value and where it begins in the text: an `Object`, a list of nodes, or a scalar of JSON."""

    value: object
    offset: int


class Object(list[tuple[Node, Node]]):
    """The members of an object in their order, repeated names included."""


class Wrong(Exception):
    """A mistake, by its offset in the text."""

    def __init__(self, node: Node, message: str) -> None:
        super().__init__(message)
        self.offset, self.message = node.offset, message


def parse(text: str) -> Node:
    """Read a JSON text.

    Raises:
        Wrong: It is not JSON, or is nested too deep.

    """
    try:
        _decoder.decode(text)
        return _value(text, 0)[0]
    except json.JSONDecodeError as error:
        raise Wrong(Node(None, error.pos), f"not JSON: {error.msg}") from None
    except RecursionError:
        raise Wrong(Node(None, 0), "nested too deep") from None


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, both counted from 1; columns are characters."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def shown(node: Node) -> str:
    """A value as a message quotes it."""
    if isinstance(node.value, Object):
        return "an object"
    if isinstance(node.value, list):
        return "an array"
    text = json.dumps(node.value)
    return text if len(text) <= 80 else f"{text[:80]}..."


# What follows reads a text that is known to be JSON, hence without a check.


def _value(text: str, at: int) -> tuple[Node, int]:
    at = _skip(text, at)
    if text[at] == "{":
        return _object(text, at)
    if text[at] == "[":
        return _array(text, at)
    value, end = _decoder.raw_decode(text, at)
    return Node(value, at), end


def _array(text: str, start: int) -> tuple[Node, int]:
    items: list[Node] = []
    at = _skip(text, start + 1)
    while text[at] != "]":
        item, at = _value(text, at)
        items.append(item)
        at = _next(text, at)
    return Node(items, start), at + 1


def _object(text: str, start: int) -> tuple[Node, int]:
    members = Object()
    at = _skip(text, start + 1)
    while text[at] != "}":
        name, at = _value(text, at)
        value, at = _value(text, _skip(text, at) + 1)
        members.append((name, value))
        at = _next(text, at)
    return Node(members, start), at + 1


def _next(text: str, at: int) -> int:
    at = _skip(text, at)
    return _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    blank = _blank.match(text, at)
    return blank.end() if blank else at
