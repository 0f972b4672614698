"""The line of a record: within a length that every reader and store takes, whatever stands in it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail.contracts.line import LONGEST_LINE, cut, line_of
from exectrail.contracts.record import VERSION, EnteredFrom, Node, Record, Resource, UserInfo, decode, encode
from exectrail.reading.blocks import LONGEST_LINE as LONGEST_READ

MANY = LONGEST_LINE
"""More characters than a line has room for."""


def record(**fields: Any) -> Record:
    required: dict[str, Any] = {
        "version": VERSION,
        "audit_id": "1",
        "timestamp": "",
        "node": Node("n"),
        "resource": None,
    }
    return Record(**required | {"kind": "exec", "seq": 7, "prev": "sha256:0"} | fields)


# Each is costly in another way: escaped, of several bytes, backslashes, quotes, plain; long words and short ones.
UNITS = ["\x01", "\x1b", '"', "\\", "é", "☃", "😀", "\\u0001", "x"]
repeated = st.builds(lambda unit, times: unit * times, st.sampled_from(UNITS), st.integers(0, MANY))
texts = st.one_of(st.text(), repeated)
words = st.one_of(
    st.lists(texts, max_size=4),
    st.builds(lambda word, times: [word] * times, st.text(max_size=3), st.integers(0, MANY)),
)


@given(argv=words, cwd=texts, user=texts, of_parent=words, candidates=words)
def test_no_line_is_longer_than_the_longest(
    argv: list[str], cwd: str, user: str, of_parent: list[str], candidates: list[str]
) -> None:
    parent = EnteredFrom(cgroup=cwd, argv=of_parent)
    made = record(argv=argv, cmd_line=" ".join(argv), cwd=cwd, user=user, entered_from=parent, candidates=candidates)
    line = line_of(made)
    assert len(line) <= LONGEST_LINE
    found = decode(line)
    assert (found.seq, found.prev, found.kind, found.node) == (7, "sha256:0", "exec", Node("n"))


@given(argv=words, cwd=texts)
def test_what_is_cut_is_named_and_begins_as_it_was(argv: list[str], cwd: str) -> None:
    made = record(argv=argv, cwd=cwd)
    found = decode(line_of(made))
    assert found.argv is not None
    assert cwd.startswith(found.cwd or "")
    whole, last = found.argv[:-1], found.argv[-1:]
    assert argv[: len(whole)] == whole
    assert all(each.startswith(part) for each, part in zip(argv[len(whole) :], last, strict=False))
    assert set(found.truncated or []) == {
        name for name, now, before in (("argv", found.argv, argv), ("cwd", found.cwd, cwd)) if now != before
    }


@given(texts, st.integers(2, 200))
def test_a_text_is_cut_at_a_character(text: str, most: int) -> None:
    part = msgspec.json.decode(cut(text, most))
    assert text.startswith(part)
    assert len(msgspec.json.encode(part)) <= max(2, most)
    if part != text:  # no room is left for another character
        assert len(msgspec.json.encode(text[: len(part) + 1])) > most


def test_what_fits_is_written_as_it_is() -> None:
    made = record(argv=["x" * 80_000], cmd_line="x" * 80_000)
    assert line_of(made) == encode(made)


def test_small_fields_stay_whole_beside_a_long_one() -> None:
    made = record(
        resource=Resource("ns", "pod", "c"), argv=["\x01" * MANY], cmd_line="\x01" * MANY, truncated=["program"]
    )
    found = decode(line_of(made))
    assert found.resource == made.resource
    assert found.truncated == ["program", "cmdLine", "argv"]


def test_what_a_session_says_of_its_user_is_cut_as_well() -> None:
    made = record(
        kind="session", user_info=UserInfo(["g" * MANY], {f"k{number}": ["v" * 100] for number in range(9_000)})
    )
    line = line_of(made)
    assert len(line) <= LONGEST_LINE
    assert decode(line).truncated == ["userInfo"]


@pytest.mark.parametrize("longest", [LONGEST_READ, 256 * 1024], ids=["exectrail", "loki's default"])
def test_every_line_is_read(longest: int) -> None:
    assert longest >= LONGEST_LINE
