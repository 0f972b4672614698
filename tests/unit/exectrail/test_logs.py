"""A log line is one JSON object, whatever is in it."""

import json
import logging
import sys
from collections.abc import Iterator

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
