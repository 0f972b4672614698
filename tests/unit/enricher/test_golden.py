"""Recordings of a real node, and the lines that come of them.

`WRITE_GOLDEN=1 pytest tests/unit/enricher/test_golden.py` writes the lines anew; look at the difference before keeping
it. A new case is a file NAME.input: a recording of `python -m enricher capture`, or a log of auditd. Those of fake pods
are made by `python3 -m tests.kernel.record_golden`.
"""

import os
from pathlib import Path

import pytest

from enricher.support import replay
from exectrail.contracts.record import decode
from exectrail.contracts.seal import GENESIS, seal

FOLDER = Path(__file__).parent / "golden"
CASES = sorted(FOLDER.glob("*.input"))


def lines_of(given: Path, capture: pytest.CaptureFixture[bytes]) -> list[bytes]:
    assert replay.main([str(given)]) == replay.OK
    return capture.readouterr().out.splitlines()


@pytest.mark.parametrize("given", CASES, ids=[case.stem for case in CASES])
def test_what_was_recorded_becomes_these_lines(given: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    lines, expected = lines_of(given, capsysbinary), given.with_suffix(".jsonl")
    if os.environ.get("WRITE_GOLDEN"):
        expected.write_bytes(b"".join(line + b"\n" for line in lines))
    assert lines == expected.read_bytes().splitlines()


@pytest.mark.parametrize("given", CASES, ids=[case.stem for case in CASES])
def test_the_lines_are_one_chain_of_readable_records(given: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    before = GENESIS
    for number, line in enumerate(lines_of(given, capsysbinary)):
        record = decode(line)
        assert (record.seq, record.prev) == (number, before)
        before = seal(line)


def test_every_expectation_has_its_input() -> None:
    assert [case.stem for case in CASES] == sorted(file.stem for file in FOLDER.glob("*.jsonl"))
