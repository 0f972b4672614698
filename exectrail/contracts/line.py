"""The line of a record, within a length that every reader and store takes.

JSON makes up to six bytes of one (`\\u0001`), and arguments stand in a record twice. A line that is too long to be read
would be a way to hide, so the longest of its values are cut, and `truncated` names them.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Raw

from exectrail.contracts.record import Record, encode

LONGEST_LINE: Final = 250_000
"""Bytes of the longest line that is written, with its newline: within Loki's default for `max_line_size`, 256 KiB."""

_RESERVED: Final = 1_000
"""Bytes for the names of what was cut."""
_LONGEST_ESCAPE: Final = len(r"\u0001")
_encode = msgspec.json.Encoder().encode


def line_of(record: Record) -> bytes:
    """The record's line, of at most `LONGEST_LINE` bytes."""
    line = encode(record)
    return line if len(line) <= LONGEST_LINE else _cut_line(record)


def _cut_line(record: Record) -> bytes:
    fields = msgspec.to_builtins(record)
    names = fields.pop("truncated", [])
    values = {name: _encode(value) for name, value in fields.items()}
    cut = _cut_values(fields, values, LONGEST_LINE - _RESERVED - len(_encode(names)))
    changed = [name for name, value in values.items() if bytes(cut[name]) != value]
    return _encode(cut | {"truncated": list(dict.fromkeys([*names, *changed]))}) + b"\n"


def cut(value: Any, most: int) -> Raw:  # noqa: ANN401 - any JSON
    """A value in JSON, or as much of its beginning as `most` bytes hold; numbers are never cut.

    Args:
        value: JSON.
        most: Bytes, at least 2.

    """
    return _cut(value, _encode(value), most)


def _cut(value: Any, encoded: bytes, most: int) -> Raw:  # noqa: ANN401 - any JSON
    if len(encoded) <= most:
        return Raw(encoded)
    match value:
        case str():
            return Raw(_cut_text(encoded, most - 1) + b'"')
        case list():
            return _cut_list(value, most)
        case dict():
            values = {name: _encode(each) for name, each in value.items()}
            return Raw(_encode(_cut_values(value, values, most)))
        case _:
            return Raw(encoded)


def _cut_text(encoded: bytes, end: int) -> bytes:
    """The beginning of a JSON string, without its closing quote, cut between two characters."""
    while encoded[end] & 0xC0 == 0x80:  # within a character of several bytes
        end -= 1
    for begin in range(max(1, end - _LONGEST_ESCAPE + 1), end):
        if encoded[begin] == ord("\\") and (begin - len(encoded[:begin].rstrip(b"\\"))) % 2 == 0:
            escape = _LONGEST_ESCAPE if encoded[begin + 1] == ord("u") else 2
            if begin + escape > end:
                return encoded[:begin]
    return encoded[:end]


def _cut_list(items: list[Any], most: int) -> Raw:
    kept: list[bytes] = []
    room = most - len(b"[]")
    for item in items:
        encoded = _encode(item)
        if len(encoded) + len(b",") > room:
            rest = bytes(_cut(item, encoded, max(2, room - 1)))
            kept += [rest] if len(rest) < room else []
            break
        kept.append(encoded)
        room -= len(encoded) + len(b",")
    return Raw(b"[" + b",".join(kept) + b"]")


def _cut_values(fields: dict[str, Any], values: dict[str, bytes], most: int) -> dict[str, Raw]:
    """The fields, the largest values cut to one size; where the keys alone are too long, the last are left out.

    Args:
        fields: The fields.
        values: Their values in JSON.
        most: Bytes of all together.

    """
    kept: list[str] = []
    room = most - len(b"{}")
    for name in fields:
        smallest = len(_encode(name)) + len(b':"",')
        if smallest > room:
            break
        kept.append(name)
        room -= smallest
    share = _share((len(values[name]) for name in kept), room + 2 * len(kept))
    return {name: _cut(fields[name], values[name], share) for name in kept}


def _share(sizes: Iterable[int], room: int) -> int:
    """The most that each may have, so that together they fit: what the small ones leave is the large ones'."""
    ordered = sorted(sizes)
    for number, size in enumerate(ordered):
        share = room // (len(ordered) - number)
        if size > share:
            return share
        room -= size
    return max(ordered, default=0)
