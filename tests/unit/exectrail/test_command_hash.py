"""Two commands have one hash only if they are the same command."""

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail.contracts.command_hash import HEX_DIGITS, command_hash

KEY = b"k" * 32
ARGV = st.lists(st.binary(max_size=6), max_size=5)
TEXT = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=5)


def test_the_hash_is_an_hmac_over_each_words_length_and_bytes() -> None:
    message = b"\0\0\0\0\0\0\0\x02sh\0\0\0\0\0\0\0\x00"

    assert command_hash(KEY, [b"sh", b""]) == hmac.new(KEY, message, hashlib.sha256).hexdigest()[:32]
    assert HEX_DIGITS == 32


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([b"a b"], [b"a", b"b"]),
        ([b"a", b"b"], [b"ab"]),
        ([b"a", b"b"], [b"a\0b"]),
        ([b"a"], [b"a", b""]),
        ([b"a", b""], [b"", b"a"]),
        ([], [b""]),
        ([b"A"], [b"a"]),
        ([b"caf\xc3\xa9"], [b"cafe\xcc\x81"]),
    ],
)
def test_words_are_kept_apart_and_as_they_are(one: list[bytes], other: list[bytes]) -> None:
    assert command_hash(KEY, one) != command_hash(KEY, other)


def test_another_key_gives_another_hash() -> None:
    assert command_hash(KEY, [b"id"]) != command_hash(b"l" * 32, [b"id"])


@given(one=TEXT, other=TEXT)
def test_hashes_are_the_same_exactly_where_the_commands_are(one: list[str], other: list[str]) -> None:
    def of(argv: list[str]) -> str:
        return command_hash(KEY, [word.encode() for word in argv])

    assert (of(one) == of(other)) == (one == other)


@pytest.mark.parametrize(
    ("word", "asked"),
    [
        (b"caf\xe9", "caf\ufffd"),
        (b"\xe2\x82x", "\ufffd\ufffdx"),
        (b"\xf0\x9f\x98", "\ufffd\ufffd\ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\xc0\xaf", "\ufffd\ufffd"),
        (b"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"),
    ],
)
def test_bytes_that_are_not_utf8_count_as_admission_sees_them(word: bytes, asked: str) -> None:
    """Go's JSON puts one U+FFFD for each such byte; the expected words were made by it."""
    assert command_hash(KEY, [word]) == command_hash(KEY, [asked.encode()])


@given(ARGV)
def test_what_the_kernel_reports_and_what_admission_saw_have_one_hash(argv: list[bytes]) -> None:
    seen = [word.decode(errors="surrogateescape") for word in argv]
    seen = ["".join("\ufffd" if "\udc80" <= char <= "\udcff" else char for char in word) for word in seen]
    over_json = json.loads(json.dumps(seen))

    assert command_hash(KEY, argv) == command_hash(KEY, [word.encode() for word in over_json])
