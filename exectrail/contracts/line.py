"""The line of a record, within a length that every reader and store takes.

JSON makes up to six bytes of one (`\\u0001`), and arguments stand in a record twice. A line that is too long to be read
would be a way to hide, so the longest of its values are cut, and `truncated` names them.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from exectrail.contracts.record import Record, encode

LONGEST_LINE: Final = 250_000
"""Bytes of the longest line that is written, with its newline: within Loki's default for `max_line_size`, 256 KiB."""

_RESERVED: Final = 1_000
"""Bytes for the names of what was cut."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(str).decode
_LONGEST_STEP: Final = 6
"""Bytes of the longest character in JSON."""


def line_of(record: Record) -> bytes:
    """The record's line, of at most `LONGEST_LINE` bytes."""
    line = encode(record)
    return line if len(line) <= LONGEST_LINE else _cut_line(record)


def _cut_line(record: Record) -> bytes:
    fields = msgspec.to_builtins(record)
    names = fields.pop("truncated", [])
    cut = _cut_values(fields, LONGEST_LINE - _RESERVED - len(_encode(names)))
    changed = [name for name, value in fields.items() if cut[name] != value]
    return _encode(cut | {"truncated": list(dict.fromkeys([*names, *changed]))}) + b"\n"


def cut(value: Any, most: int) -> Any:  # noqa: ANN401 - any JSON
    """The value itself, or as much of its beginning as `most` bytes of JSON hold; numbers are never cut.

    Args:
        value: JSON.
        most: Bytes, at least 2.

    """
    if len(_encode(value)) <= most:
        return value
    match value:
        case str():
            return _cut_text(value, most)
        case list():
            return _cut_list(value, most)
        case dict():
            return _cut_values(value, most)
        case _:
            return value


def _cut_text(text: str, most: int) -> str:
    # What JSON escapes is not to be cut within, nor is a character of several bytes.
    encoded = _encode(text)[: max(1, most - 1)]
    for end in range(len(encoded), max(0, len(encoded) - _LONGEST_STEP), -1):
        try:
            return _decode(encoded[:end] + b'"')
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return ""


def _cut_list(items: list[Any], most: int) -> list[Any]:
    kept: list[Any] = []
    room = most - len(b"[]")
    for item in items:
        size = len(_encode(item)) + len(b",")
        if size > room:
            rest = cut(item, max(2, room - 1))
            return [*kept, rest] if len(_encode(rest)) < room else kept
        kept.append(item)
        room -= size
    return kept


def _cut_values(fields: dict[str, Any], most: int) -> dict[str, Any]:
    """The fields, the largest values cut to one size; where the keys alone are too long, the last are left out."""
    kept: dict[str, Any] = {}
    room = most - len(b"{}")
    for name, value in fields.items():
        smallest = len(_encode(name)) + len(b':"",')
        if smallest > room:
            break
        kept[name] = value
        room -= smallest
    sizes = {name: len(_encode(value)) for name, value in kept.items()}
    share = _share(sizes.values(), room + 2 * len(sizes))
    return {name: value if sizes[name] <= share else cut(value, share) for name, value in kept.items()}


def _share(sizes: Iterable[int], room: int) -> int:
    """The most that each may have, so that together they fit: what the small ones leave is the large ones'."""
    ordered = sorted(sizes)
    for number, size in enumerate(ordered):
        share = room // (len(ordered) - number)
        if size > share:
            return share
        room -= size
    return max(ordered, default=0)
