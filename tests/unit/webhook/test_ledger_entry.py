"""What the ledger keeps of a request is allow-listed and bounded."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail.session import SessionSpec
from webhook.admission import decode
from webhook.ledger_entry import DEFAULT_EXTRA_KEYS, Asked, Rules, session_spec

Load = Callable[..., dict[str, Any]]

ETCD_BYTES = 1_500_000


def spec(review: dict[str, Any], asked: Asked) -> SessionSpec:
    request = decode(json.dumps(review).encode())
    rules = Rules(frozenset(DEFAULT_EXTRA_KEYS), b"key", "env")
    return session_spec(request, asked, tag="env", recorded=True, now="now", rules=rules)


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


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (["x" * 65_535], ["x" * 65_535]),
        (["x" * 65_536], ["x" * 65_535 + "[cut: 1 bytes in 1 words]"]),
        (["echo", "x" * 70_000, "end"], ["echo", "x" * 65_530 + "[cut: 4473 bytes in 2 words]"]),
        (["é" * 40_000], ["é" * 32_767 + "[cut: 14466 bytes in 1 words]"]),
        ([""] * 65_537, [""] * 65_536 + ["[cut: 0 bytes in 1 words]"]),
    ],
)
def test_a_long_command_is_cut_and_says_so(review: Load, command: list[str], kept: list[str]) -> None:
    assert spec(review("exec-sh"), Asked("exec", command=command)).command == kept


@given(st.lists(st.text(), max_size=10))
def test_a_short_command_is_kept_word_for_word(review: Load, command: list[str]) -> None:
    assert spec(review("exec-sh"), Asked("exec", command=command)).command == command


def test_the_worst_request_still_fits_into_etcd(review: Load) -> None:
    worst = "\x01" * 200_000  # six bytes each in JSON
    body = review("exec-sh", name=worst, namespace=worst)
    extra = {key: [worst, worst] for key in DEFAULT_EXTRA_KEYS}
    body["request"]["userInfo"] = {"username": worst, "uid": worst, "groups": [worst, worst], "extra": extra}

    asked = Asked("exec", container=worst, command=[worst, worst], node=worst, generate_name=worst)
    session = spec(body, asked)

    assert len(msgspec.json.encode(session)) < ETCD_BYTES
