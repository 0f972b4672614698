"""A log line is one JSON object, whatever is in it."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exectrail.service import logs


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_has_time_level_logger_message_and_what_was_added(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup()
    record = logging.makeLogRecord(
        {"name": "webhook.tls", "levelno": logging.WARNING, "levelname": "WARNING", "msg": "%d left", "args": (3,)}
        | {"created": 1795435200.25, "uid": "u1"}
    )
    logging.getLogger().handle(record)

    assert lines(capsys) == [
        {
            "time": "2026-11-23T12:00:00.250Z",
            "level": "warning",
            "logger": "webhook.tls",
            "message": "3 left",
            "uid": "u1",
        }
    ]


def test_the_level_is_the_least_important_that_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("warning")
    logging.getLogger("x").info("no")
    logging.getLogger("x").warning("yes")

    assert [line["message"] for line in lines(capsys)] == ["yes"]


@pytest.mark.parametrize("text", ['a\n{"level": "info"}', 'quote "', "\ud800", "\x1b[31m"])
def test_a_value_cannot_break_out_of_its_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    logs.setup()
    logging.getLogger("x").warning("%s", text, extra={"user": text})

    assert [(line["message"], line["user"]) for line in lines(capsys)] == [(text, text)]


def test_what_json_does_not_know_is_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup()
    logging.getLogger("x").warning("", extra={"path": ValueError("odd")})

    assert lines(capsys)[0]["path"] == "odd"


def test_an_exception_is_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup()
    try:
        int("odd")
    except ValueError:
        logging.getLogger("x").warning("fault", exc_info=sys.exc_info())

    (line,) = lines(capsys)
    assert str(line["exception"]).endswith("literal for int() with base 10: 'odd'")


def logged(capsys: pytest.CaptureFixture[str]) -> list[object]:
    """The levels that are logged, of one line at each."""
    capsys.readouterr()
    for level in logs.LEVELS:
        logging.getLogger("x").log(logging.getLevelNamesMapping()[level.upper()], "")
    return [line["level"] for line in lines(capsys)]


def test_the_level_follows_a_file_while_it_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("warning")
    level = logs.Level("warning", tmp_path / "log-level")
    level.refresh()
    assert logged(capsys) == ["warning", "error"]

    (tmp_path / "log-level").write_text("debug\n")
    level.refresh()
    assert logged(capsys) == ["debug", "info", "warning", "error"]

    (tmp_path / "log-level").unlink()
    level.refresh()
    assert logged(capsys) == ["warning", "error"]


@pytest.mark.parametrize("text", [b"loud", b"", b"\xff"], ids=repr)
def test_a_file_without_a_level_changes_nothing_and_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes
) -> None:
    logs.setup("info")
    level = logs.Level("info", tmp_path / "log-level")
    (tmp_path / "log-level").write_text("debug")
    level.refresh()
    capsys.readouterr()

    (tmp_path / "log-level").write_bytes(text)
    level.refresh()
    level.refresh()

    (line,) = lines(capsys)
    assert "the log level stays at debug" in str(line["message"])
    assert "debug" in logged(capsys)


def test_without_a_file_the_level_stays(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("error")
    logs.Level("error", None).refresh()
    assert logged(capsys) == ["error"]
