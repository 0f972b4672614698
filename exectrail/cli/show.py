"""`exectrail show UID`: one session, its processes and how each ended."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import Any

import msgspec

from exectrail.cli import files, outcome, text
from exectrail.cli.arguments import add_output, add_source
from exectrail.cli.exit_codes import CANNOT_LOOK, NOT_FOUND
from exectrail.contracts.record import Record
from exectrail.reading import trail
from exectrail.reading.finding import Found, Search, UnknownSession, find_in_cluster
from exectrail.reading.kubectl import Kubectl, KubectlError
from exectrail.reading.process_tree import build, walk
from exectrail.reading.report import Report


def add_arguments(parser: ArgumentParser) -> None:
    """Add which session to show."""
    parser.description = "Show one session: user, command, container, each process and how it ended."
    parser.add_argument("uid", metavar="UID", help="UID of the request, or its first 6 characters or more")
    add_source(parser)
    add_output(parser, "tree", "json")
    parser.add_argument("--utc", action="store_true", help="show times in UTC, not in local time")


def run(arguments: Namespace) -> int:
    """Show the session of this UID from the files, or from the cluster."""
    report = Report()
    try:
        found = _find(arguments, report)
    except UnknownSession as error:
        code = outcome.code(report, [])
        if code != CANNOT_LOOK:
            text.complain(error)
        return CANNOT_LOOK if report.problems else NOT_FOUND
    except (trail.Unreadable, KubectlError) as error:
        return outcome.cannot_look(error, report)
    if arguments.output == "json":
        text.print_json(document(found))
    else:
        from exectrail.cli import session_tree  # noqa: PLC0415 - brings Rich

        session_tree.show(found, text.Clock(utc=arguments.utc))
    return outcome.code(report, [])


def document(found: Found) -> dict[str, Any]:
    """`{session, processes}`: processes as in the tree, parents before children, each with its last program.

    With those that can be another request's as well in `ambiguous`, where there are any.
    """
    shown = {"session": msgspec.to_builtins(found.summary), "processes": _processes(found.records)}
    return shown | ({"ambiguous": _processes(found.ambiguous)} if found.ambiguous else {})


def _processes(records: Iterable[Record]) -> list[dict[str, Any]]:
    processes = []
    for _, process in walk(build(records)):
        last = process.programs[-1] if process.programs else None
        argv = {"argv": last.words} if last and last.words else {}
        processes.append(msgspec.to_builtins(process) | argv)
    return processes


def _find(arguments: Namespace, report: Report) -> Found:
    if not arguments.files:
        return find_in_cluster(arguments.uid, Kubectl(arguments.context, arguments.kubeconfig), report)
    search = Search(arguments.uid, report)
    for source in files.sources(arguments.files):
        search.read_if_it_can_be(source)
    return search.found()
