"""Mistakes in a filter set: each is refused, with its place, the value, and what to write instead."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail.filter.filters import FilterError, load


def rule(**fields: Any) -> str:
    return json.dumps([{"level": "None", **fields}])


def match(**condition: Any) -> str:
    return rule(match=condition)


def nested(depth: int) -> str:
    condition: Any = {"key": "pid", "exists": True}
    for _ in range(depth):
        condition = {"not": condition}
    return match(**condition)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ("[", "not JSON"),
        ('[{"level": "None",}]', "not JSON"),
        ("{}", "a filter set is an object, must be an array"),
        ("[5]", "a rule is 5, must be an object"),
        ("[" * 100_000, "nested too deep"),
        (nested(17), "nested more than 16 deep"),
        ("[{}]", 'level is missing: give "Metadata"'),
        ('[{"level": "none"}]', 'level is "none", must be "Metadata" (keep) or "None" (drop)'),
        ('[{"level": "None", "Level": "None"}]', '"Level" is there twice'),
        (rule(priority="1"), 'priority is "1", must be a whole number'),
        (rule(priority=1.5), "priority is 1.5, must be a whole number"),
        (rule(priority=True), "priority is true, must be a whole number"),
        ('[{"level": "None", "priority": ' + "9" * 5000 + "}]", "must be a whole number"),
        (rule(matchLabels=["pid"]), 'no "matchLabels"; did you mean matchValues or matchKeys'),
        (rule(matchKeys="pid"), 'matchKeys is "pid", must be an array'),
        (rule(matchKeys=[1]), "a key is text, not 1"),
        (
            rule(matchKeys=["resource.namspace"]),
            'no record has a key "resource.namspace"; did you mean resource/namespace',
        ),
        (rule(matchKeys=["requestUid"]), "did you mean requestUID"),
        (rule(matchKeys=["request/verb"]), "stands only in session and gap records"),
        (rule(matchKeys=["seq"]), "given when the record is written"),
        (rule(matchKeys=["uid"], matchValues=["root"]), 'uid is a whole number, and "root" is none'),
        (rule(matchKeys=["user"], matchValues=[0]), "put it in double quotes"),
        (rule(matchKeys=["user"], matchValues=[["x"]]), "user is text, and an array is none"),
        (rule(matchKeys=["kind"], matchValues=["session"]), "session, gap and digest records are always written"),
        (rule(matchKeys=["origin"], matchValues=["sesion"]), 'origin is never "sesion": it is one of container, hook'),
        (rule(matchKeys=["resource"], matchValues=["shop"]), "name one of its keys, as resource/..."),
        (rule(matchKeys=["uid", "origin"], matchValues=["probe"], all=True), "no value here fits uid"),
        (rule(all="yes"), 'all is "yes", must be true'),
        (rule(match=[]), "a condition is an array, must be an object"),
        (rule(match={"key": "pid", "exists": True}, matchKeys=["pid"]), "match cannot stand beside matchKeys"),
        (match(), "a condition has one of all, any, not; or key"),
        (match(key="pid"), "a condition has one of all, any, not; or key"),
        (match(equals="x"), "a condition has one of all, any, not; or key"),
        (match(key="pid", all=[]), "a condition has one of all, any, not; or key"),
        (match(key="pid", greater=1, less=5), "Put several into all"),
        (match(key="pid", equal=1), 'no "equal"; did you mean equals'),
        (match(all=[]), "all must have a condition in it"),
        (match(key="pid", **{"in": []}), "in must have a value in it"),
        (match(key="pid", exists="yes"), 'exists is "yes", must be true or false'),
        (match(key="user", greater=1), "greater compares numbers: user is text"),
        (match(key="pid", less="x"), 'less compares numbers: pid is a whole number, and this "x"'),
        (match(key="pid", glob="1*"), "glob is a pattern for text: pid is a whole number"),
        (match(key="user", regex=1), "regex is a pattern for text: user is text, this 1"),
        (match(key="user", regex="(a"), "no regular expression of RE2: missing )"),
        (match(key="user", regex="(?=a)"), "no lookaround"),
        (match(key="user", regex=r"(a)\1"), "no backreferences"),
        (match(key="user", regex="(ab){1000}"), "instructions of RE2 up to here, at most 2000"),
        (match(key="user", regex="\ud800"), "no regular expression of RE2"),
        ('[{"level": "None", "match": {"key": "pid", "greater": NaN}}]', "greater compares numbers"),
        (rule(matchKeys=["\x1b[2J" + "x" * 500]), "no record has a key"),
    ],
    ids=lambda text: text[:60],
)
def test_a_mistake_is_refused_with_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(FilterError) as caught:
        load(text)

    assert told in str(caught.value)


def test_a_mistake_is_reported_with_line_column_and_rule() -> None:
    text = """[
  {"priority": 1, "level": "None", "matchKeys": ["pid"]},
  {"priority": 2, "level": "None",
   "match": {"all": [{"key": "user", "exists": true},
                     {"key": "usr", "equals": "alice"}]}}
]"""
    with pytest.raises(FilterError) as caught:
        load(text)

    assert str(caught.value) == 'line 5, column 30: rule 2: no record has a key "usr"; did you mean user?'
    assert (caught.value.line, caught.value.column, caught.value.rule) == (5, 30, 2)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[\n  {"level": "None"},\n  {"level" "None"}\n]', (3, 12)),
        ('[\n  {"level": "None",\r\n\t"éé": 1}]', (3, 2)),
        ('[{"level": "x"}]', (1, 12)),
        (b'[\n  "\xc3\xa9 \xff"]', (2, 6)),
        ("", (1, 1)),
    ],
    ids=["not JSON", "a name", "a value", "not UTF-8", "nothing"],
)
def test_the_place_is_where_the_mistake_begins(text: str | bytes, place: tuple[int, int]) -> None:
    with pytest.raises(FilterError) as caught:
        load(text)

    assert (caught.value.line, caught.value.column) == place


def test_conditions_nest_sixteen_deep() -> None:
    assert load(nested(16)).rules


def test_the_size_of_all_regular_expressions_counts() -> None:
    rules = [{"level": "None", "match": {"key": key, "regex": "a{900}"}} for key in ("user", "cmdLine", "argv")]

    assert load(json.dumps(rules[:2])).rules
    with pytest.raises(FilterError, match="rule 3: the regular expressions are too large"):
        load(json.dumps(rules))


def test_without_re2_only_regular_expressions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)

    assert load(match(key="user", glob="a*b*c")).rules
    with pytest.raises(FilterError, match="rule 1: regular expressions need the package google-re2"):
        load(match(key="user", regex="a"))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["pid", "user", "kind", "exec", "None", "Metadata", "a*", "(", "resource/pod"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["priority", "level", "matchKeys", "matchValues", "all", "any", "not", "match", "key"])
            | st.sampled_from(["equals", "in", "glob", "regex", "exists", "greater", "less", "x"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


def mistake(data: str | bytes) -> FilterError | None:
    try:
        load(data)
    except FilterError as error:
        return error
    return None


@given(JSON)
def test_any_json_is_a_filter_set_or_refused_with_a_place(document: Any) -> None:
    text = json.dumps(document)
    found = mistake(text)

    assert found is None or (found.line == 1 and 1 <= found.column <= len(text) + 1)


@given(st.binary() | st.text())
def test_any_file_is_a_filter_set_or_refused_with_a_place(data: bytes | str) -> None:
    found = mistake(data)

    assert found is None or (found.line >= 1 and found.column >= 1)
