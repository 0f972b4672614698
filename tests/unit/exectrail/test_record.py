"""A record is the same after it was written and read again, whatever is in it."""

import types
import typing
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from exectrail.contracts.record import Record, decode, encode


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, as far as JSON and msgspec have them."""
    if typing.get_origin(kind) in {types.UnionType, typing.Union}:
        return st.one_of(*map(values, typing.get_args(kind)))
    if typing.get_origin(kind) is list:
        return st.lists(values(typing.get_args(kind)[0]), max_size=3)
    if typing.get_origin(kind) is dict:
        return st.dictionaries(*map(values, typing.get_args(kind)), max_size=3)
    if kind is int:
        return st.integers(-(2**63), 2**63 - 1)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = {field.name: values(field.type) for field in msgspec.structs.fields(kind)}
        return st.builds(kind, **fields)
    return st.from_type(kind)


@given(values(Record))
def test_what_is_written_is_read_again(record: Record) -> None:
    line = encode(record)

    assert decode(line) == record
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


@given(values(Record))
def test_keys_that_say_nothing_are_left_out(record: Record) -> None:
    fields = msgspec.structs.fields(Record)
    told = {field.encode_name for field in fields if getattr(record, field.name) is not None}
    required = {field.encode_name for field in fields if field.required}

    assert msgspec.json.decode(encode(record)).keys() == told | required
