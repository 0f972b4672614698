"""How a command that reads trails ends: what it says of what it could not read, and its exit code."""

from argparse import Namespace
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import wraps

from exectrail.cli import sources, text
from exectrail.cli.arguments import choice
from exectrail.cli.exit_codes import CANNOT_LOOK, INCOMPLETE, NOT_FOUND, OK
from exectrail.reading.choice import Choice
from exectrail.reading.report import Report


def of_reading(command: Callable[[Namespace, Choice, Report], int]) -> Callable[[Namespace], int]:
    """A command that reads what its options choose, and ends where there is nothing to read from."""

    @wraps(command)
    def run(arguments: Namespace) -> int:
        report = Report()
        try:
            return command(arguments, choice(arguments, datetime.now(UTC)), report)
        except sources.FAILURES as error:
            return cannot_look(error, report)

    return run


def code(report: Report, gaps: Iterable[str], otherwise: int = OK) -> int:
    """Say what is missing; the exit code that follows from it, or another where all was read."""
    for note in report.notes:
        text.complain(note)
    said = [*report.sentences(), *gaps]
    for sentence in said:
        text.complain(sentence)
    if report.failed:
        return CANNOT_LOOK
    return INCOMPLETE if said or report.incomplete else otherwise


def unknown(error: Exception, report: Report) -> int:
    """Say that no session has this UID, or that what may have it could not be read."""
    if code(report, []) != CANNOT_LOOK:
        text.complain(error)
    return CANNOT_LOOK if report.problems else NOT_FOUND


def cannot_look(error: Exception, report: Report) -> int:
    """Say why nothing could be read."""
    for sentence in report.sentences():
        text.complain(sentence)
    text.complain(error)
    return CANNOT_LOOK
