"""`--loki`: the same answers as from the file, page by page, and what is said where Loki does not give them."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exectrail import cli
from exectrail.contracts.record import Record, encode

from .fake_loki import SECOND, FakeLoki, serving

Run = Callable[..., tuple[int, str, str]]
SINCE = ("--since", "2026-11-23", "--utc")
PAGE = (200, "text/html", b"<!DOCTYPE html><title>Log in</title>")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in ("LOKI_BEARER_TOKEN", "LOKI_USERNAME", "LOKI_PASSWORD"):
        monkeypatch.delenv(name, raising=False)

    def command(*argv: object) -> tuple[int, str, str]:
        code = cli.run(list(map(str, argv)))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


@pytest.fixture
def loki(alice_trail: list[Record]) -> Iterator[FakeLoki]:
    """It has alice's trail, written a minute ago."""
    with serving() as served:
        begin = time.time_ns() - 60 * SECOND
        served.lines = [
            (begin + record.seq * SECOND // 10, encode(record).decode().rstrip("\n")) for record in alice_trail
        ]
        yield served


@pytest.mark.parametrize(
    "command",
    [
        ("sessions", *SINCE),
        ("sessions", *SINCE, "--limit", 1),
        ("sessions", *SINCE, "-o", "json", "--user", "alice"),
        ("untracked", *SINCE),
        ("summary", *SINCE, "-o", "json"),
        ("show", "0b5e7c"),
        ("show", "0b5e7c", "--raw"),
        ("show", "0b5e7d"),
        ("report", "0b5e7c", "--html", "-"),
        ("report", *SINCE, "--html", "-"),
    ],
    ids=lambda command: " ".join(map(str, command)),
)
def test_loki_tells_the_same_as_the_file(
    run: Run, loki: FakeLoki, alice_file: Path, command: tuple[object, ...]
) -> None:
    code, out, _ = run(*command, "--loki", loki.url)
    expected, of_file, _ = run(*command, alice_file)

    assert code == expected
    if command[0] == "report":  # which says when it was made
        assert out.count("<tr") == of_file.count("<tr") and len(out) == len(of_file)
    else:
        assert out == of_file


@pytest.mark.parametrize("most", [100, 150, 5000])
def test_pages_have_each_line_once(run: Run, loki: FakeLoki, alice_trail: list[Record], most: int) -> None:
    loki.most = most
    first = loki.lines[0]
    record = json.loads(first[1])
    # 400 records, of which 7 are of each moment, so that pages end among them; the latest comes first.
    lines = [json.dumps(record | {"seq": seq, "auditID": str(seq)}, separators=(",", ":")) for seq in range(400)]
    loki.lines = [(first[0] + seq // 7 * (SECOND // 10), line) for seq, line in enumerate(lines)][::-1]

    code, out, err = run("show", "0b5e7c", "--raw", "--loki", loki.url)

    assert out.splitlines() == lines
    assert "missing" not in err
    assert code == 0
