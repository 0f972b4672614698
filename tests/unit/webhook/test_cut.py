"""Words are cut to a size in JSON, and the last one says what is missing."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.reviews.cut import cut, cut_word

MOST = 100
ROOM = MOST - 48  # a marker has to fit in as well
TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\x00\x1f"\\/\n'), max_size=60)


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ([], []),
        (["x" * (MOST - 3)], ["x" * (MOST - 3)]),
        (["x" * (MOST - 2)], ["x" * (ROOM - 3) + "[cut: 49 bytes in 1 words]"]),
        (["echo", "x" * 200, "end"], ["echo", "x" * (ROOM - 10) + "[cut: 161 bytes in 2 words]"]),
        (["é" * 60], ["é" * ((ROOM - 3) // 2) + "[cut: 72 bytes in 1 words]"]),
        (["\x01" * 60], ["\x01" * ((ROOM - 3) // 6) + "[cut: 52 bytes in 1 words]"]),
        ([""] * 34, [""] * (ROOM // 3) + ["[cut: 0 bytes in 17 words]"]),
        (["x" * (ROOM - 3), "y" * 60], ["x" * (ROOM - 3), "[cut: 60 bytes in 1 words]"]),
    ],
)
def test_what_does_not_fit_is_cut_and_says_so(words: list[str], kept: list[str]) -> None:
    assert cut(words, MOST) == kept


@given(words=st.lists(TEXT, max_size=40), most=st.integers(48, 300))
def test_no_cut_takes_more_than_it_may_or_loses_count(words: list[str], most: int) -> None:
    kept = cut(words, most)

    assert len(msgspec.json.encode(kept)) <= most + len("[]")
    if kept != words:
        *whole, last = kept
        match = re.fullmatch(r"(.*)\[cut: (\d+) bytes in (\d+) words\]", last, re.DOTALL)
        assert match
        rest = words[len(whole) :]
        assert (whole, int(match[3])) == (words[: len(whole)], len(rest))
        assert rest[0].startswith(match[1])
        assert int(match[2]) == len("".join(rest).encode()) - len(match[1].encode())


@pytest.mark.parametrize(
    ("word", "kept"), [("", ""), ("web", "web"), ("x" * 200, "x" * 49 + "[cut: 151 bytes in 1 words]")]
)
def test_a_single_word_stays_one(word: str, kept: str) -> None:
    assert cut_word(word, MOST) == kept
