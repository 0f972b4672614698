"""`exectrail sessions`: the requests that led into containers."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice

from exectrail.cli import files, outcome, progress, session_forms, session_table, sources, terminal, text
from exectrail.cli.arguments import (
    add_loki,
    add_output,
    add_request,
    add_source,
    add_target,
    add_time,
    add_user,
    number,
)
from exectrail.cli.exit_codes import CANNOT_LOOK
from exectrail.reading import session_list
from exectrail.reading.choice import Choice
from exectrail.reading.cluster import audit_sessions
from exectrail.reading.report import Report
from exectrail.reading.summary import Summary, in_time
from exectrail.reading.trail import SESSION

_FORMS = ("table", "wide", "json", "jsonl", "csv", "yaml", "name")


def add_arguments(parser: ArgumentParser) -> None:
    """Add which sessions to list."""
    parser.description = "List exec, attach, port-forward and debug requests, oldest first."
    add_source(parser)
    add_loki(parser)
    add_user(parser)
    add_target(parser)
    add_request(parser)
    add_time(parser)
    parser.add_argument("--limit", metavar="N", type=number, help="only the latest N, the last one first")
    parser.add_argument("--all", action="store_true", help="also the readings of trails by exectrail itself")
    add_output(parser, *_FORMS)
    parser.add_argument("--no-headers", action="store_true", help="no headers over columns")


@outcome.of_reading
def run(arguments: Namespace, chosen: Choice, report: Report) -> int:
    """List the sessions of the files, of Loki or of the cluster."""
    shown = 0
    # On a terminal the list itself shows how far it is.
    with nullcontext() if sys.stdout.isatty() else progress.shown(report):
        for line in _lines(_found(arguments, chosen, report), arguments):
            print(line)
            shown += 1
    code = outcome.code(report, report.gaps())
    if not shown and code != CANNOT_LOOK:
        text.complain("no sessions")
    return code


def _found(arguments: Namespace, chosen: Choice, report: Report) -> Iterable[Summary]:
    if arguments.files or arguments.loki:
        given = (
            [sources.loki(arguments, chosen, report).source((SESSION,))]
            if arguments.loki
            else files.sources(arguments.files, chosen.since)
        )
        if arguments.limit:
            return session_list.newest_first(given, arguments.limit, chosen.keeps, report)
        return session_list.oldest_first(given, chosen.keeps, report)
    cluster = sources.cluster(arguments)
    found = in_time(filter(chosen.keeps, audit_sessions(cluster, report, readings=arguments.all)))
    return islice(reversed(found), arguments.limit) if arguments.limit else found


def _lines(found: Iterable[Summary], arguments: Namespace) -> Iterator[str]:
    headers = not arguments.no_headers
    match arguments.output:
        case "json":
            return session_forms.as_json(found)
        case "jsonl":
            return session_forms.as_jsonl(found)
        case "csv":
            return session_forms.as_csv(found, headers=headers)
        case "yaml":
            return session_forms.as_yaml(found)
        case "name":
            return session_forms.as_names(found)
    table = session_table.Table(
        text.Clock(utc=arguments.utc),
        wide=arguments.output == "wide",
        width=terminal.width(),
        coloured=terminal.coloured(),
    )
    return table.lines(found, headers=headers)
