"""`exectrail show UID`: one session, its processes and how each ended."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import Any

import msgspec

from exectrail.cli import follow, outcome, progress, session_tree, sources, terminal, text
from exectrail.cli.arguments import KINDS, add_loki, add_output, add_source, add_utc, number, uid
from exectrail.cli.exit_codes import CANNOT_LOOK, OK
from exectrail.contracts.record import Record, decode
from exectrail.reading.choice import Choice
from exectrail.reading.finding import Found, UnknownSession, doubts, ended
from exectrail.reading.kubectl import KubectlError
from exectrail.reading.live import Live
from exectrail.reading.process_tree import build, walk
from exectrail.reading.report import Report
from exectrail.reading.shell import visible_json
from exectrail.reading.summary import claims, genuine
from exectrail.reading.tail import Cursor
from exectrail.reading.trail import Unreadable

_GAP = frozenset({"since", "timestamp", "lost", "atMost", "reason", "containerID"})
"""What is shown of a gap in JSON."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add which session to show."""
    parser.description = "Show one session: user, command, container, each process and how it ended."
    parser.add_argument("uid", metavar="UID", type=uid, help="UID of the request, or its first 6 characters or more")
    add_source(parser)
    add_loki(parser)
    add_utc(parser)
    width = "wrap lines at this width (default: the terminal's; no wrapping in files and pipes)"
    parser.add_argument("--width", metavar="COLUMNS", type=number, help=width)
    parser.add_argument("--raw", action="store_true", help="print the session's records as they are in the trail")
    parser.add_argument("--follow", action="store_true", help="go on with new records until the session ends")
    add_output(parser, "tree", "json")


def run(arguments: Namespace) -> int:
    """Show the session of this UID from the files, from Loki or from the cluster."""
    if arguments.follow and arguments.loki:
        text.complain("--follow does not read Loki: leave out --loki, or ask again later")
        return CANNOT_LOOK
    report = Report()
    try:
        with progress.shown(report):
            found = sources.session(arguments, report)
    except UnknownSession as error:
        return outcome.unknown(error, report)
    except sources.FAILURES as error:
        return outcome.cannot_look(error, report)
    if arguments.raw:
        _print_raw(found)
    elif arguments.output == "json":
        text.print_json(document(found))
    else:
        session_tree.show(found, text.Clock(utc=arguments.utc), arguments.width or terminal.width())
    code = outcome.code(report, doubts(found, report))
    return _follow(found, report, arguments) or code if arguments.follow else code


def _follow(found: Found, report: Report, arguments: Namespace) -> int:
    """Print the session's records that come, up to its end."""
    live, cluster, rest = Live(), sources.cluster(arguments), Report()
    entries = {record.process_key for record in genuine(found.records) if record.kind == "session"}
    node = found.summary.node
    sys.stdout.flush()
    # Which numbers were read is said at the end; where the connection was cut, only the session's own are known.
    after = {r.node.name: Cursor(r.seq, r.timestamp) for r in sorted(found.records, key=lambda record: record.seq)}
    for name, numbers in report.numbers.items():
        after.setdefault(name, Cursor()).after = numbers.ranges()[-1][1]
    try:
        if ended(found):
            return OK
        follow.begin(live, arguments.files, cluster, after, node=node)
        for record in follow.records(live, rest, set(KINDS), Choice()):
            if record.request_uid == found.summary.request_uid:
                follow.show(record, "jsonl" if arguments.raw or arguments.output == "json" else "text", arguments.utc)
                # The end of a process that only claims the UID is not the session's.
                if record.phase == "end" and (record.state != "forged" or record.process_key in entries):
                    break
    except (KubectlError, Unreadable) as error:
        return outcome.cannot_look(error, rest)
    finally:
        live.end()
        cluster.kubectl.end()
    return outcome.code(rest, [], OK)


def document(found: Found) -> dict[str, Any]:
    """`{session, processes}`: processes as in the tree, parents before children, each with its last program.

    With the entries that only claim the UID in `forged`, processes that can be another request's as well in
    `ambiguous`, and what may be missing in `gaps`, where there are any.
    """
    records = found.records
    shown = {"session": msgspec.to_builtins(found.summary), "processes": _processes(records)}
    forged = [{"entryKey": entry} | ({"reason": why} if why else {}) for entry, why in claims(records).items()]
    shown |= {"forged": forged} if forged else {}
    shown |= {"ambiguous": _processes(found.ambiguous)} if found.ambiguous_lines else {}
    return shown | ({"gaps": [_gap(gap) for gap in found.gaps]} if found.gaps else {})


def _processes(records: Iterable[Record]) -> list[dict[str, Any]]:
    processes = []
    for _, process in walk(build(records)):
        last = process.programs[-1] if process.programs else None
        argv = {"argv": last.words} if last and last.words else {}
        processes.append(msgspec.to_builtins(process) | argv)
    return processes


def _gap(gap: Record) -> dict[str, Any]:
    return {name: value for name, value in msgspec.to_builtins(gap).items() if name in _GAP}


def _print_raw(found: Found) -> None:
    """The records in their order; on a terminal with escapes for what it might obey."""
    for line in sorted([*found.lines, *found.ambiguous_lines], key=lambda line: decode(line).seq):
        print(visible_json(line) if sys.stdout.isatty() else line.decode(errors="backslashreplace"))
