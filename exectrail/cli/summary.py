"""`exectrail summary`: sessions and programs, counted."""

from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from typing import Any

from exectrail.cli import outcome, progress, sources, terminal, text
from exectrail.cli.arguments import add_loki, add_origin, add_output, add_source, add_target, add_time, add_user, number
from exectrail.cli.wrapping import painted, wrapped
from exectrail.reading.choice import Choice
from exectrail.reading.counts import Counts, count
from exectrail.reading.report import Report
from exectrail.reading.shell import visible
from exectrail.reading.trail import SELECTIONS, read_all
from exectrail.reading.words import counted

_GAP = "  "
"""Between two columns."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to count."""
    parser.description = "Count sessions and programs of trails by user, target, program, failed program and hour."
    add_source(parser)
    add_loki(parser)
    add_user(parser)
    add_target(parser)
    add_origin(parser)
    add_time(parser)
    parser.add_argument("--top", metavar="N", type=number, default=10, help="lines of each table (default %(default)s)")
    add_output(parser, "table", "json")


@outcome.of_reading
def run(arguments: Namespace, chosen: Choice, report: Report) -> int:
    """Count the records of the files, of Loki or of all nodes of the cluster."""
    records = read_all(sources.of(arguments, "execs", chosen, report), SELECTIONS["execs"], report)
    with progress.shown(report):
        counts = count(records, chosen)
    if report.failed and not counts.sessions + counts.execs:  # nor is it known that there are none
        return outcome.code(report, ())
    if arguments.output == "json":
        text.print_json(document(counts, arguments.top))
    else:
        for line in lines(counts, arguments.top, text.Clock(utc=arguments.utc), terminal.width()):
            print(line)
    report.notes += report.repeats()
    return outcome.code(report, report.gaps())


def document(counts: Counts, top: int) -> dict[str, Any]:
    """The counts, of each kind the highest; hours in their order."""
    return {
        "sessions": counts.sessions,
        "execs": counts.execs,
        "failedExecs": counts.failed_execs,
        "users": _both("user", counts.sessions_by_user, counts.execs_by_user, top),
        "targets": _both("target", counts.sessions_by_target, counts.execs_by_target, top),
        "programs": [{"program": name, "execs": times} for name, times in _top(counts.programs, top)],
        "failed": [
            {"program": name, "errno": errno, "execs": times} for (name, errno), times in _top(counts.failed, top)
        ],
        "hours": sorted(_both("hour", counts.sessions_by_hour, counts.execs_by_hour, top), key=lambda row: row["hour"]),
    }


def lines(counts: Counts, top: int, clock: text.Clock, width: int | None) -> Iterator[str]:
    """The same as tables, of a width if one is given."""
    made = document(counts, top)
    execs = f"{counted(counts.execs, 'exec')}, of which {counts.failed_execs} failed"
    yield f"{counted(counts.sessions, 'session')}, {execs}"
    name = "hour (UTC)" if clock.utc else "hour"
    made["hours"] = [{name: clock.when(f"{row.pop('hour')}:00:00Z"), **row} for row in made["hours"]]
    for title in ("users", "targets", "programs", "failed", "hours"):
        if rows := made[title]:
            yield ""
            yield from _table([list(rows[0]), *(list(map(str, row.values())) for row in rows)], width)


def _table(rows: list[list[str]], width: int | None) -> Iterator[str]:
    """Columns of which none is cut; numbers to the right. A name that is too wide has a line of its own.

    Without a width, tabs are between the columns.
    """
    shown = [[visible(cell) for cell in row] for row in rows]
    if width is None:
        yield from ("\t".join(row) for row in [[head.upper() for head in shown[0]], *shown[1:]])
        return
    names, *columns = ([terminal.cells(cell) for cell in column] for column in zip(*shown, strict=True))
    others = [max(column) for column in columns]
    room = width - sum(len(_GAP) + each for each in others)
    name = max([names[0], *(each for each in names if each <= room)])
    for number_, (first, *rest) in enumerate(shown):
        if terminal.cells(first) > name:
            yield from (painted(each, coloured=False) for each in wrapped([(first, "")], width))
            first = ""  # noqa: PLW2901
        line = first + " " * (name - terminal.cells(first))
        line += "".join(_GAP + _aligned(cell, size) for cell, size in zip(rest, others, strict=True))
        line = line.rstrip()
        yield terminal.styled(line.upper(), "bold" if terminal.coloured() else "") if number_ == 0 else line


def _aligned(cell: str, width: int) -> str:
    """A number to the right, anything else to the left."""
    return cell.rjust(width) if cell.isdecimal() else cell.ljust(width)


def _both(name: str, sessions: Counter[str], execs: Counter[str], top: int) -> list[dict[str, Any]]:
    """Those with the most sessions, then with the most execs."""
    keys = sorted({*sessions, *execs}, key=lambda key: (-sessions[key], -execs[key], key))
    return [{name: key, "sessions": sessions[key], "execs": execs[key]} for key in keys[:top]]


def _top(counter: Counter[Any], top: int) -> list[tuple[Any, int]]:
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:top]
