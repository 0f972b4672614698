"""`exectrail untracked`: who came into containers without a request."""

import json
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from itertools import chain

import msgspec

from exectrail.cli import outcome, progress, sources, terminal, text
from exectrail.cli.arguments import add_loki, add_output, add_source, add_target, add_time
from exectrail.cli.exit_codes import FOUND
from exectrail.cli.wrapping import Part, filled, painted, wrapped
from exectrail.reading import words
from exectrail.reading.choice import Choice
from exectrail.reading.entries import Untracked, untracked
from exectrail.reading.report import Report
from exectrail.reading.shell import join, visible
from exectrail.reading.trail import SELECTIONS, Source, read_all

_INDENT = "  "
"""Before all lines of an entry but the first."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add where to look."""
    parser.description = (
        "List who came into containers without a request: when, where, from which login, and what they ran."
        " Exits with 1 when there are some."
    )
    add_source(parser)
    add_loki(parser)
    add_target(parser)
    add_time(parser)
    add_output(parser, "text", "json", "jsonl")
    parser.add_argument("--user", type=_none_has_a_user, help=SUPPRESS)


def _none_has_a_user(_name: str) -> str:
    raise ArgumentTypeError("untracked entries have no user; use --pod, --node or --since")


@outcome.of_reading
def run(arguments: Namespace, chosen: Choice, report: Report) -> int:
    """List the entries of the files, of Loki or of all nodes of the cluster."""
    with progress.shown(report):
        found = _found(arguments, chosen, report)
    if report.failed and not found:  # nor is it known that there are none
        return outcome.code(report, ())
    if arguments.output == "json":
        text.print_json(found)
    elif arguments.output == "jsonl":
        for entry in found:
            print(json.dumps(msgspec.to_builtins(entry)))
    else:
        _print(found, text.Clock(utc=arguments.utc))
    report.notes += report.repeats() if found else ()
    code = outcome.code(report, report.gaps())
    if not found and not code:
        text.complain("no untracked entries")
    return FOUND if found else code


def _found(arguments: Namespace, chosen: Choice, report: Report) -> list[Untracked]:
    """The chosen entries. Each counts by its first record, also where that was left out as older than the time."""
    every = _entries(sources.of(arguments, "untracked", chosen, report), chosen, report)
    found = [entry for entry in every if chosen.in_time(entry.time)]
    keys = {(entry.node, entry.entry_key) for entry in found if entry.entry_key}
    earlier = _earlier(arguments, chosen, keys, report)
    return [entry for entry in found if (entry.node, entry.entry_key) not in earlier]


def _earlier(
    arguments: Namespace, chosen: Choice, entries: set[tuple[str, str]], report: Report
) -> set[tuple[str, str]]:
    """Those of the entries that began before the chosen time."""
    before = Report()
    try:
        every = _entries(sources.left_out(arguments, "untracked", chosen, entries, before), chosen, before)
    except sources.FAILURES as error:
        before.problems.append(str(error))
        every = []
    report.problems += [problem for problem in before.problems if problem not in report.problems]
    return {(entry.node, entry.entry_key) for entry in every if entry.entry_key and not chosen.in_time(entry.time)}


def _entries(given: list[Source], chosen: Choice, report: Report) -> list[Untracked]:
    return untracked(filter(chosen.keeps_target, read_all(given, SELECTIONS["untracked"], report)))


def _print(found: list[Untracked], clock: text.Clock) -> None:
    width, coloured = terminal.width(), terminal.coloured()
    inside = width and max(width - len(_INDENT), 10)
    for entry in found:
        indent = ""
        for line in chain(filled(_head(entry, clock), inside, "  "), *(wrapped(it, inside) for it in _lines(entry))):
            print(indent + painted(line, coloured=coloured))
            indent = _INDENT


def _head(entry: Untracked, clock: text.Clock) -> list[Part]:
    """When and where."""
    place = "/".join(part for part in (entry.namespace, entry.pod, entry.container) if part) or "unknown container"
    return [(clock.named(entry.time), ""), (visible(place), "bold"), (f"on {visible(entry.node)}", "")]


def _lines(entry: Untracked) -> Iterator[list[Part]]:
    """Where it came from, and what it did."""
    yield [(_origin(entry), "bold red")]
    for program in entry.programs:
        yield [("$ ", "dim"), (join(program), "")]
    if entry.execs > len(entry.programs):
        yield [(f"and {entry.execs - len(entry.programs)} more", "yellow")]
    ended = words.result(entry.exit) or words.NO_EXIT
    yield [(f"processes {entry.processes}, {ended}", "dim")]


def _origin(entry: Untracked) -> str:
    """Where it came from, as far as known."""
    by = entry.entered_from
    known = [
        "login unknown" if entry.auid is None else f"login of uid {entry.auid} (session {entry.ses})",
        f"uid {entry.uid}" if entry.uid is not None else "",
        f"in {visible(by.cgroup)}" if by and by.cgroup else "",
        f"started by {join(by.argv)}" if by and by.argv else "",
    ]
    return ", ".join(filter(None, known))
