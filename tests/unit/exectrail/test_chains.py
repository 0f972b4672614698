"""Chains of one node name, as of a node that lost its state: none hides what another lacks."""

import io
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from exectrail import cli
from exectrail.contracts.record import VERSION, Node, Record, encode
from exectrail.contracts.seal import GENESIS
from exectrail.reading import report as report_module
from exectrail.reading.report import Report
from exectrail.reading.trail import Source, end_marks, lines

Run = Callable[..., tuple[int, str]]
BEFORE, AFTER = "0b5e7c1e-6f1d-4a53-9d0c-4a8f6f0f3c11", "22222222-6f1d-4a53-9d0c-4a8f6f0f3c11"
MISSING = "exectrail: node node-1: 4 records are missing in what was read (seq 8-11)\n"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: object) -> tuple[int, str]:
        code = cli.run(list(map(str, words)))
        return code, capsys.readouterr().err

    return command


def chain(records: list[Record], day: int, uid: str) -> list[bytes]:
    """The same records as another chain has them."""
    return [
        encode(each)
        .replace(BEFORE.encode(), uid.encode())
        .replace(b"9c7d0000", b"%08d" % day)
        .replace(b"2026-11-23", b"2026-11-%02d" % day)
        for each in records
    ]


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "the later one first"])
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (f"show {AFTER}", 3, MISSING),
        (f"show {BEFORE}", 0, ""),
        ("sessions", 3, MISSING),
        ("sessions --limit 9", 3, MISSING),
        ("untracked", 3, MISSING),
    ],
)
def test_what_a_chain_lacks_is_missed_though_another_has_such_numbers(
    command: str, code: int, said: str, order: int, alice_trail: list[Record], tmp_path: Path, run: Run
) -> None:
    after = chain(alice_trail, 24, AFTER)
    (tmp_path / "a.jsonl").write_bytes(b"".join(chain(alice_trail, 23, BEFORE)))
    (tmp_path / "b.jsonl").write_bytes(b"".join(after[:8] + after[12:]))

    assert run(*command.split(), *[tmp_path / "a.jsonl", tmp_path / "b.jsonl"][::order]) == (code, said)


@pytest.mark.parametrize("command", [f"show {AFTER}", "sessions", "sessions --limit 9", "untracked", "summary"])
@pytest.mark.parametrize("order", [1, -1, 0], ids=["in order", "the later one first", "in one file"])
def test_what_retention_removed_of_a_chain_before_is_not_missed(
    order: int, command: str, alice_trail: list[Record], tmp_path: Path, run: Run
) -> None:
    before = [replace(each, seq=each.seq + 300) for each in alice_trail[1:]]
    old, new = chain(before, 23, BEFORE), chain(alice_trail, 24, AFTER)
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"][:: order or 1]
    (tmp_path / "a.jsonl").write_bytes(b"".join(old if order else old + new))
    (tmp_path / "b.jsonl").write_bytes(b"".join(new if order else []))

    code, said = run(*command.split(), *files)

    assert code == 0
    assert "missing" not in said
    assert "read before" not in said


def test_a_copy_of_a_chain_is_no_other_chain(alice_file: Path, tmp_path: Path, run: Run) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(alice_file.read_bytes())

    _, said = run("summary", alice_file, copy)

    assert "node node-1: 22 records have a number (seq) that was read before" in said


@given(st.sets(st.integers(1, 21)), st.sets(st.integers(1, 20)), st.randoms(use_true_random=False), st.booleans())
def test_what_is_missing_is_the_same_in_whatever_files_and_order_it_is_read(
    cuts: set[int], lost: set[int], order: Random, marked: bool
) -> None:
    every = [line(day, number) for day in (23, 24) for number in range(22) if day == 23 or number not in lost]
    bounds = [0, *sorted({at + shift for at in cuts for shift in (0, 22) if at + shift < len(every)}), len(every)]
    files = [b"".join(every[begin:end]) for begin, end in pairwise(bounds)]
    order.shuffle(files)
    report = Report()
    for content in files:
        if marked:
            read_ = Report()
            read(content, read_)
            read(end_marks(read_), report, marked=True)
        else:
            read(content, report)

    missing = {
        (each.id, number)
        for each in report.chains()
        for before, after in pairwise(each.ranges)
        for number in range(before[1] + 1, after[0])
    }
    newest = max(set(range(22)) - lost)
    assert missing == {("24-0", number) for number in lost if number < newest}


def read(content: bytes, report: Report, *, marked: bool = False) -> None:
    list(lines(Source("here", lambda: nullcontext(io.BytesIO(content)), marked=marked), None, report))


def line(day: int, number: int) -> bytes:
    return encode(
        Record(
            version=VERSION,
            kind="exec",
            audit_id=f"{day}-{number}",
            timestamp=f"2026-11-{day}T14:58:{number:02}.000Z",
            node=Node("node-1"),
            resource=None,
            seq=number,
            prev="1" * 64 if number else GENESIS,
        )
    )


def test_that_most_records_are_missing_is_said_where_another_reader_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "_MOST_RANGES", 10)
    read_, report = Report(), Report()
    for number in range(0, 100, 2):
        read_.add_numbers("n", number, number)

    read(end_marks(read_), report, marked=True)

    assert list(report.gaps()) == ["node n: most records are missing: what was read is a selection of a trail"]
