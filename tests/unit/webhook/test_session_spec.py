"""What a session keeps of a request is allow-listed and bounded."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import AuditSession, SessionSpec
from webhook.reviews.json_value import BadReview
from webhook.reviews.review import decode
from webhook.reviews.session_spec import DEFAULT_EXTRA_KEYS, Asked, Rules, session_spec

Load = Callable[..., dict[str, Any]]

MOST = 8 << 10
UID = "439b23d5-cd0d-52ac-9058-4211913ea3aa"
TIME = "2026-11-23T12:00:00.000001Z"


def spec(review: dict[str, Any], asked: Asked, extra_keys: tuple[str, ...] = DEFAULT_EXTRA_KEYS) -> SessionSpec:
    request = decode(json.dumps(review).encode())
    rules = Rules(frozenset(extra_keys), b"key", "env")
    return session_spec(request, asked, uid=UID, tag="match", recorded=True, now=TIME, rules=rules)


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("authentication.kubernetes.io/pod-name", True),
        ("authentication.kubernetes.io/node-name", True),
        ("sessionName", True),
        ("user-assertion.cloud.google.com", False),
        ("SESSIONNAME", False),
    ],
)
def test_extra_is_kept_only_where_its_key_is_allowed(review: Load, key: str, kept: bool) -> None:
    body = review("exec-sh")
    body["request"]["userInfo"]["extra"] = {key: ["value"]}

    assert spec(body, Asked("exec")).user.extra == ({key: ["value"]} if kept else {})


def test_a_user_without_groups_and_extra_is_a_user(review: Load) -> None:
    body = review("exec-sh", userInfo={"username": "bob", "groups": None, "extra": None})

    assert msgspec.to_builtins(spec(body, Asked("exec")).user) == {"username": "bob"}


def test_a_long_value_of_extra_is_cut_and_leaves_the_others_whole(review: Load) -> None:
    body = review("exec-sh")
    extra = {"sessionName": ["alice"], "arn": ["a" * 500], "canonicalArn": ["b" * 4000], "principalId": ["c" * 200]}
    body["request"]["userInfo"]["extra"] = extra

    kept = spec(body, Asked("exec")).user.extra

    assert kept["sessionName"] == ["alice"]
    assert kept["arn"] == ["a" * 500]
    assert kept["principalId"] == ["c" * 200]
    (word,) = kept["canonicalArn"]
    assert word.startswith("b" * 400)
    assert word.endswith(" bytes in 1 words]")


def test_keys_of_extra_that_do_not_fit_are_counted(review: Load) -> None:
    keys = tuple(f"{letter * 500}" for letter in "abcd")
    body = review("exec-sh")
    body["request"]["userInfo"]["extra"] = {key: ["value"] for key in keys}

    assert spec(body, Asked("exec"), keys).user.extra == {
        "c" * 500: ["value"],
        "d" * 500: ["value"],
        "[cut: 1010 bytes in 4 words]": [],
    }


@pytest.mark.parametrize("words", [["sh", "-c", "x" * 2000], [""] * 900, ["é" * 1400]])
def test_what_is_not_long_is_kept_word_for_word(review: Load, words: list[str]) -> None:
    assert spec(review("exec-sh"), Asked("exec", command=words)).command == words


@pytest.mark.parametrize("name", ["system:serviceaccount:" + "n" * 63 + ":" + "s" * 253, "a" * 500])
def test_a_username_is_kept_whole(review: Load, name: str) -> None:
    assert spec(review("exec-sh", userInfo={"username": name}), Asked("exec")).user.username == name


def test_names_of_the_longest_that_kubernetes_takes_are_kept_whole(review: Load) -> None:
    asked = Asked("debug", container="c" * 63, node="n" * 253, generate_name="g" * 253)
    target = spec(review("exec-sh", name="p" * 253, namespace="s" * 63), asked).target

    assert msgspec.structs.astuple(target) == ("s" * 63, "p" * 253, "c" * 63, "n" * 253, "g" * 253, "")


# Each is longest in one way: bytes in JSON, in UTF-8, characters, words.
_TEXT = st.sampled_from(["\x01", '"', "é", "\U0001f600", "x", "\x01é", ""]).flatmap(
    lambda text: st.integers(0, 9000).map(lambda times: text * times)
)
_WORDS = st.lists(_TEXT, max_size=5) | st.integers(0, 9000).map(lambda number: [""] * number)


@given(
    names=st.lists(_TEXT, min_size=8, max_size=8),
    command=_WORDS,
    groups=_WORDS,
    extra=st.dictionaries(st.sampled_from(DEFAULT_EXTRA_KEYS) | st.text("aé\U0001f600", min_size=1), _WORDS),
)
def test_whatever_the_request_its_session_is_small_and_names_what_was_cut(
    review: Load, names: list[str], command: list[str], groups: list[str], extra: dict[str, list[str]]
) -> None:
    username, uid, name, namespace, container, node, generate_name, reason = names
    user = {"username": username, "uid": uid, "groups": groups, "extra": extra}
    body = review("exec-sh", userInfo=user, name=name, namespace=namespace, subResource="ephemeralcontainers")
    asked = Asked("portforward", container, command, True, True, node, generate_name, exact=True)

    request = decode(json.dumps(body).encode())
    rules = Rules(frozenset(extra), b"key", "env")
    kept = session_spec(request, asked, uid=UID, tag="match", recorded=True, now=TIME, rules=rules, break_glass=reason)

    said = {
        "user.username": (kept.user.username, username),
        "user.uid": (kept.user.uid, uid),
        "user.groups": (kept.user.groups, groups),
        "user.extra": (kept.user.extra, {key: words for key, words in extra.items() if words}),
        "target.namespace": (kept.target.namespace, namespace),
        "target.pod": (kept.target.pod, name),
        "target.container": (kept.target.container, container),
        "target.node": (kept.target.node, node),
        "target.generateName": (kept.target.generate_name, generate_name),
        "command": (kept.command, command),
        "breakGlass": (kept.break_glass, reason),
    }
    assert set(kept.truncated) == {path for path, (left, whole) in said.items() if left != whole}
    meta = ObjectMeta(name=UID, namespace="n" * 63)
    assert len(msgspec.json.encode(AuditSession(meta, kept))) <= MOST


@given(
    extra=st.dictionaries(st.sampled_from((*DEFAULT_EXTRA_KEYS, "token")), st.none() | st.lists(st.text(), max_size=3))
)
def test_a_short_extra_is_kept_whole_under_the_allowed_keys(review: Load, extra: dict[str, list[str] | None]) -> None:
    size = len(msgspec.json.encode(extra))
    body = review("exec-sh", userInfo={"username": "alice", "extra": extra})

    kept = spec(body, Asked("exec")).user.extra

    assert size > 1400 or kept == {key: words for key, words in extra.items() if words and key != "token"}


@pytest.mark.parametrize("extra", [{"arn": ["a", None]}, {"arn": "a"}, ["arn"]])
def test_an_extra_of_other_types_is_refused_and_named(review: Load, extra: object) -> None:
    with pytest.raises(BadReview, match=r"userInfo\.extra"):
        spec(review("exec-sh", userInfo={"username": "alice", "extra": extra}), Asked("exec"))


def test_the_worst_request_still_fits(review: Load) -> None:
    worst = "\x01" * 200_000  # six bytes each in JSON
    resource = {"group": "\x01" * 250, "version": "v1", "resource": "\x01" * 250}
    body = review("exec-sh", name=worst, namespace=worst, resource=resource, subResource=worst)
    extra = {key: [worst, worst] for key in DEFAULT_EXTRA_KEYS}
    body["request"]["userInfo"] = {"username": worst, "uid": worst, "groups": [worst, worst], "extra": extra}

    asked = Asked("exec", container=worst, command=[worst, worst], node=worst, generate_name=worst)
    session = spec(body, asked)

    assert len(msgspec.json.encode(session)) <= MOST
