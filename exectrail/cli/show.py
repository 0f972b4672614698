"""`exectrail show UID`: one session, its processes and how each ended."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import Any

import msgspec

from exectrail.cli import files, text
from exectrail.cli.arguments import add_source
from exectrail.cli.exit_codes import CANNOT_LOOK, NOT_FOUND, OK
from exectrail.contracts.record import Record
from exectrail.reading import trail
from exectrail.reading.finding import Found, Search, UnknownSession, find_in_cluster
from exectrail.reading.kubectl import Kubectl, KubectlError
from exectrail.reading.process_tree import build, walk


def add_arguments(parser: ArgumentParser) -> None:
    """Add which session to show."""
    parser.description = "Show one session: user, command, container, each process and how it ended."
    parser.add_argument("uid", metavar="UID", help="UID of the request, or its first 6 characters or more")
    add_source(parser, "tree")


def run(arguments: Namespace) -> int:
    """Show the session of this UID from the files, or from the cluster."""
    damage = trail.Damage()
    try:
        found = _find(arguments, damage)
    except UnknownSession as error:
        _complain([error], damage)
        return NOT_FOUND
    except (trail.Unreadable, KubectlError) as error:
        text.complain(error)
        return CANNOT_LOOK
    _complain(found.problems, damage)
    if arguments.output == "json":
        text.print_json(document(found))
    else:
        from exectrail.cli import session_tree  # noqa: PLC0415 - brings Rich

        session_tree.show(found)
    return CANNOT_LOOK if found.unread else OK


def _complain(problems: Iterable[object], damage: trail.Damage) -> None:
    for problem in [*problems, damage] if damage.lines else problems:
        text.complain(problem)


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


def _find(arguments: Namespace, damage: trail.Damage) -> Found:
    if not arguments.files:
        return find_in_cluster(arguments.uid, Kubectl(arguments.context, arguments.kubeconfig), damage)
    search = Search(arguments.uid, damage)
    for source in files.sources(arguments.files):
        search.read(source)
    return search.found()
