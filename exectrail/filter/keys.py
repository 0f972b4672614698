"""The keys that a filter can ask for: the fields of a record, nested ones as `resource/namespace`.

They are read off the record's own type, so that a filter can ask for every field there is, and for no other.
"""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from msgspec import inspect

from exectrail.contracts.record import Record

ALWAYS_WRITTEN = frozenset({"session", "gap", "digest"})
"""Kinds of records that no filter sees: without them a trail could not explain or account for itself."""

_NOT_ASKABLE = {
    **dict.fromkeys(("seq", "prev"), "it is given when the record is written, after the filters"),
    **dict.fromkeys(
        (
            "phase",
            "request",
            "userInfo",
            "image",
            "podUID",
            "clusterUID",
            "processes",
            "outcome",
            "lost",
            "since",
            "atMost",
        ),
        "it stands only in session and gap records, which are always written",
    ),
}


_COARSE = frozenset(
    {"version", "kind", "node", "node/name", "resource", "resource/namespace", "resource/pod", "resource/container"}
    | {"containerID", "uid", "gid", "errno", "action"}
    | {"origin", "user", "requestUID", "state", "source", "reason"}
)


@dataclass(frozen=True)
class Key:
    """A field of a record.

    `type` is `object` for a field that has fields of its own, which can only be there or not. `choices` are all values
    that there are; empty where any is possible. `coarse` keys have few values, shared by many records, and none that
    a process can choose freely and at length. `path` is the attribute, as attrgetter takes
    it; `get` gives None where the field is absent.
    """

    name: str
    type: Literal["text", "number", "texts", "object"]
    choices: tuple[str, ...]
    coarse: bool
    path: str
    get: Callable[[Record], Any]


def find(name: str) -> Key:
    """The key of this name.

    Raises:
        LookupError: There is none, or it cannot be asked for; the message says why and names the nearest.

    """
    if key := KEYS.get(name):
        return key
    if reason := _NOT_ASKABLE.get(name.partition("/")[0]):
        raise LookupError(f"a filter cannot ask for {name}: {reason}")
    raise LookupError(f'no record has a key "{name}"{nearest(name, KEYS)}')


def nearest(name: str, names: object) -> str:
    """`; did you mean this, or that?`, where something comes near."""
    known = {each.lower(): each for each in names}  # type: ignore[attr-defined]
    close = difflib.get_close_matches(name.lower().replace(".", "/"), known, 3)
    return f"; did you mean {' or '.join(known[each] for each in close)}?" if close else ""


def _keys(type_: inspect.StructType, outer: Key | None = None) -> Iterator[Key]:
    for field in type_.fields:
        name = f"{outer.name}/{field.encode_name}" if outer else field.encode_name
        if name in _NOT_ASKABLE:
            continue
        path = f"{outer.path}.{field.name}" if outer else field.name
        get = _inside(outer.get, field.name) if outer else attrgetter(path)
        inner = _present(field.type)
        key = Key(name, *_kind(name, inner), name in _COARSE, path, get)
        yield key
        if isinstance(inner, inspect.StructType):
            yield from _keys(inner, key)


def _present(type_: inspect.Type) -> inspect.Type:
    """`T` of `T | None`."""
    if not isinstance(type_, inspect.UnionType):
        return type_
    (inner,) = (each for each in type_.types if not isinstance(each, inspect.NoneType))
    return inner


def _kind(name: str, type_: inspect.Type) -> tuple[Literal["text", "number", "texts", "object"], tuple[str, ...]]:
    match type_:
        case inspect.StructType():
            return "object", ()
        case inspect.LiteralType(values):
            return "text", tuple(str(value) for value in values if name != "kind" or value not in ALWAYS_WRITTEN)
        case inspect.StrType():
            return "text", ()
        case inspect.IntType():
            return "number", ()
        case inspect.ListType(inspect.StrType()):
            return "texts", ()
    raise TypeError(f"{name}: filters do not know how to compare {type_}")


def _inside(outer: Callable[[Record], Any], field: str) -> Callable[[Record], Any]:
    inner = attrgetter(field)

    def get(record: Record) -> Any:  # noqa: ANN401 - what the field holds
        value = outer(record)
        return None if value is None else inner(value)

    return get


_record = inspect.type_info(Record)
assert isinstance(_record, inspect.StructType)  # noqa: S101 - for the type checker
KEYS: dict[str, Key] = {key.name: key for key in _keys(_record)}
