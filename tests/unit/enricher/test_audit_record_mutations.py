"""The parser against damaged and crafted records: the same twenty thousand in every run."""

import json
import random
from pathlib import Path

from tests.fuzz.fuzz_audit_record import check

DATA = Path(__file__).parent / "data/audit_records.json"
SEEDS: list[bytes] = [each["text"].encode() for each in json.loads(DATA.read_text())]
# What could make a value pose as another field, end a line or overflow a number.
PIECES = [b'"', b" ", b"=", b"\n", b"\0", b"\x1d", b"\xff", b"(null)", b"9" * 20, b'comm="x" ', b" pid=1", b"subj=a b "]
ROUNDS = 20_000


def mutated(choice: random.Random) -> bytes:
    text = choice.choice(SEEDS)
    for _ in range(choice.randint(1, 3)):
        place = choice.randrange(len(text) + 1)
        other = choice.choice(SEEDS)
        cut = choice.randrange(len(other))
        put = choice.choice([choice.choice(PIECES), choice.randbytes(choice.randint(1, 4)), other[cut : cut + 20]])
        text = text[:place] + put + text[place + choice.choice([0, 0, 1, len(put)]) :]
    return text


def test_a_damaged_record_is_refused_or_read_as_what_it_says() -> None:
    choice = random.Random(1326)  # noqa: S311 - the same cases each time

    accepted = sum(check(mutated(choice)) for _ in range(ROUNDS))

    assert 100 < accepted < ROUNDS / 2, "the mutations are too wild, or too tame, to show anything"


def test_every_seed_is_a_record() -> None:
    assert all(check(text) for text in SEEDS)
