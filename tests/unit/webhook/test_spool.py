"""What waits at the end is a file: bounded, and readable in part where it is damaged."""

from pathlib import Path

import msgspec
import pytest

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User
from webhook.sessions import spool as spool_module
from webhook.sessions.fair_queue import Entry
from webhook.sessions.spool import Spool


def entry(user: str, namespace: str = "shop") -> Entry:
    spec = SessionSpec(User(user), "exec", "pods/exec", Target("shop", "web"), "now", ["echo", "a\nb\u2028c\x85d"])
    return Entry(namespace, user, msgspec.json.encode(AuditSession(ObjectMeta(name="u"), spec)))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    entries = [entry("alice"), entry("bob", namespace="")]

    assert Spool(tmp_path).write(entries) == []
    assert Spool(tmp_path).read() == entries


def test_it_is_bounded_and_says_what_was_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MOST_BYTES", 1000)
    entries = [entry(f"user{number}") for number in range(10)]

    left = Spool(tmp_path).write(entries)

    (file,) = tmp_path.iterdir()
    assert file.stat().st_size <= 1000
    kept = Spool(tmp_path).read()
    assert kept
    assert kept + left == entries


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"[]", b'["shop", {}]', b"{", b"\0" * 50])
def test_a_damaged_line_does_not_stop_the_others(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    entries = [entry("alice"), entry("bob")]
    Spool(tmp_path).write(entries)
    (file,) = tmp_path.iterdir()
    first, second = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + damage + b"\n" + second)

    assert Spool(tmp_path).read() == entries
    assert [each.getMessage() for each in caplog.records] == [f"left out 1 lines of {file} that are no AuditSessions"]


def test_where_there_is_no_file_there_is_nothing(tmp_path: Path) -> None:
    assert Spool(tmp_path).read() == []
    Spool(tmp_path).remove()


def test_a_file_that_cannot_be_read_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "sessions.jsonl").mkdir()

    assert Spool(tmp_path).read() == []
    assert "cannot be read" in caplog.text
