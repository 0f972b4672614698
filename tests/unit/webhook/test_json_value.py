"""JSON is read as far as it is asked for: null is absence, and nothing is made before its size is known."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from webhook.reviews.json_value import FEW, BadReview, Budget, Most, TooLarge, Value, _count


def value(text: str | bytes) -> Value:
    return Value(Raw(text.encode() if isinstance(text, str) else text), "$.x")


@pytest.mark.parametrize("text", ['{"a": null}', "{}", "null"])
def test_null_is_the_absence_of_a_member(text: str) -> None:
    (a,) = value(text).members("a")

    assert a.absent
    assert (a.text(), a.flag(), a.words(), a.objects(Budget(), "b")) == ("", False, [], [])
    assert [each.absent for each in a.members("b", "c")] == [True, True]
    with pytest.raises(BadReview, match=r"Expected `object`, got `null` - at `\$\.x\.a`"):
        a.required()


def test_members_are_found_by_any_name_and_have_their_path() -> None:
    first, second = value('{"a/b.c": "d", "z": 1, "": [{"k": true}]}').members("a/b.c", "")

    assert (first.text(), first.path) == ("d", "$.x.a/b.c")
    ((k,),) = second.objects(Budget(), "k")
    assert (k.flag(), k.path) == (True, "$.x.[0].k")


@pytest.mark.parametrize(
    ("text", "read", "message"),
    [
        ("7", "text", "Expected `str`, got `int` - at `$.x`"),
        ("[]", "flag", "Expected `bool`, got `array` - at `$.x`"),
        ('["a", 1]', "words", "Expected `str`, got `int` - at `$.x[1]`"),
        ('"a"', "words", "Expected `array`, got `str` - at `$.x`"),
        ('["\\ud800 ......"]', "words", "JSON is malformed"),
        (b'"\xff"', "text", "can't decode byte 0xff"),
        ("[" * 100_000, "words", "Expected `str`, got `array` - at `$.x[0]`"),
    ],
)
def test_another_type_is_refused_with_the_path(text: str | bytes, read: str, message: str) -> None:
    with pytest.raises(BadReview) as refused:
        getattr(value(text), read)()

    assert message in str(refused.value)
    assert "$.x" in str(refused.value)


@pytest.mark.parametrize("text", ['{"a":', "[", '{"b":['])
def test_any_depth_is_refused(text: str) -> None:
    deep = value(text * 100_000)
    with pytest.raises(BadReview):
        deep.members("c")
    with pytest.raises(BadReview):
        deep.objects(Budget(), "c")


def test_a_long_message_is_cut() -> None:
    with pytest.raises(BadReview) as refused:
        Value(Raw(b"1"), "$." + "x" * 1000).text()

    assert len(str(refused.value)) == 200


@pytest.mark.parametrize(("most", "read"), [(3, "abc"), (2, "[cut: 3 bytes in 1 words]")])
def test_a_text_that_is_too_long_is_a_marker(most: int, read: str) -> None:
    assert value('"abc"').text(most) == read


@pytest.mark.parametrize(
    ("words", "most", "fits"),
    [
        (["a"] * 10, Most(10, 100), True),
        (["a"] * 11, Most(10, 100), False),
        (["a,[{:" * 10], Most(1, 60), True),
        (['"' * 10, "\\" * 10], Most(2, 60), True),
        (["a" * 80], Most(10, 60), False),
        (["\x01" * 40], Most(10, 60), True),
        (["\\u0041" * 20], Most(10, 60), False),
    ],
)
def test_words_are_read_only_where_there_are_not_too_many(words: list[str], most: Most, fits: bool) -> None:
    asked = value(json.dumps(words, separators=(",", ":")))
    if fits:
        assert asked.words(most) == words
    else:
        with pytest.raises(TooLarge, match=rf"\[cut: {len(asked.raw)} bytes in {len(words)} words\]"):
            asked.words(most)


def test_a_list_that_is_too_long_is_one_marker() -> None:
    many = value(json.dumps(["a"] * (FEW.words + 1)))

    assert many.some_words() == [f"[cut: {len(many.raw)} bytes in {FEW.words + 1} words]"]
    assert value('["a"]').some_words() == ["a"]


def test_a_budget_is_for_all_lists_together() -> None:
    budget = Budget(3)
    two = value('[{"a": "1"}, {}]')

    assert [a.text() for (a,) in two.objects(budget, "a")] == ["1", ""]
    with pytest.raises(TooLarge):
        two.objects(budget, "a")


@given(
    words=st.lists(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\"u0041,'))),
    escaped=st.booleans(),
)
def test_words_and_characters_are_counted_without_decoding(words: list[str], escaped: bool) -> None:
    data = json.dumps(words, ensure_ascii=escaped)

    assert _count(Raw(data.encode())).words == len(words)
    assert _count(Raw(data.encode())).characters >= sum(map(len, words))
    assert value(data).words() == words


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from("abc"), each, max_size=3),
    max_leaves=8,
)


@given(content=_JSON)
def test_a_member_is_what_a_whole_decoder_finds(content: Any) -> None:
    asked = value(json.dumps({"a": content}))
    (a,) = asked.members("a")

    assert msgspec.json.decode(a.raw) == content
    assert a.absent == (content is None)
