"""`exectrail follow`: records, or sessions, while they are written."""

import json
import sys
import time
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from exectrail.cli import files, live_lines, outcome, sources, terminal, text
from exectrail.cli.arguments import KINDS, add_origin, add_output, add_source, add_target, add_time, add_user, choice
from exectrail.cli.exit_codes import CANNOT_LOOK, OK
from exectrail.contracts.record import Record
from exectrail.reading.choice import Choice
from exectrail.reading.cluster import Cluster
from exectrail.reading.kubectl import KubectlError
from exectrail.reading.live import Live, Notice, refuse
from exectrail.reading.report import Report, missing_records
from exectrail.reading.segments import is_closed
from exectrail.reading.shell import visible
from exectrail.reading.summary import moment
from exectrail.reading.tail import Cursor
from exectrail.reading.trail import Source, Unreadable, first_head, understood

LATE = 10.0
"""Seconds after which nothing more is awaited from before `--until`: a record waits for its request and the disk, and
a node's trail for its connection.
"""
_LOOK = 0.2


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to follow."""
    parser.description = (
        "Print records while they are written, from all nodes or from files, until interrupted or up to --until."
        " Restarts of pods, rotation and lost connections neither end it nor make it miss or repeat a record."
    )
    add_source(parser)
    add_user(parser)
    add_target(parser)
    add_origin(parser)
    kinds = "only records of this kind (default: all but clone and exit)"
    parser.add_argument("--kind", action="append", choices=KINDS, help=kinds)
    parser.add_argument("--sessions", action="store_true", help="only starts and ends of sessions: --kind session")
    add_time(parser)
    add_output(parser, "text", "jsonl")
    parser.add_argument("--loki", type=_instead_of_loki, help=SUPPRESS)


def _instead_of_loki(_url: str) -> str:
    raise ArgumentTypeError(
        "follow does not read Loki: without it, follow reads the cluster's own trails; from Loki, pipe"
        """ `logcli query --tail --quiet -o raw '{app="exectrail"}'` into `exectrail follow -`"""
    )


def run(arguments: Namespace) -> int:
    """Follow the files, or the cluster."""
    report = Report()
    live = Live()
    cluster = sources.cluster(arguments)
    chosen = choice(arguments, datetime.now(UTC))
    try:
        begin(live, arguments.files, cluster, {}, since=chosen.since)
        for record in records(live, report, {"session"} if arguments.sessions else arguments.kind, chosen):
            show(record, arguments.output, arguments.utc)
    except (KubectlError, Unreadable) as error:
        return outcome.cannot_look(error, report)
    finally:
        live.end()
        cluster.kubectl.end()
    code = outcome.code(report, [], OK)
    return CANNOT_LOOK if report.damaged and not report.records else code


def begin(
    live: Live,
    names: list[str],
    cluster: Cluster,
    after: dict[str, Cursor],
    *,
    since: datetime | None = None,
    node: str | None = None,
) -> None:
    """Start to follow files, or the cluster where there are none.

    Args:
        live: What gathers the lines.
        names: The files.
        cluster: The release.
        after: By node, what is known: after that it begins.
        since: From when on what is there is of interest where nothing is known; None: from now on.
        node: The only node of the cluster, if it is one.

    Raises:
        KubectlError: It is not known which namespace to read, or the pods cannot be listed.
        Unreadable: A file cannot be read, or is no trail.

    """
    if not names:
        live.follow_cluster(cluster, after, since=since, node=node)
        return
    for source in files.sources(names, closed=False):
        if after and source.path and is_closed(source.path.name):  # it has been read, and nothing is added
            continue
        try:
            if source.path is None:
                live.read(source)
                continue
            if not after:
                refuse(source)
            live.follow_file(source.path, _known(source, after) or (Cursor() if since else None), since)
        except OSError as error:
            raise Unreadable(f"{source.name}: {error.strerror or error}") from error


def _known(source: Source, after: dict[str, Cursor]) -> Cursor | None:
    """What is known of the node whose trail this is; of one that is empty, where there is but one node."""
    head = first_head(source)
    if head is None:
        return next(iter(after.values())) if len(after) == 1 else None
    return after.get(head.node.name)


def records(live: Live, report: Report, kinds: "set[str] | list[str] | None", chosen: Choice) -> Iterator[Record]:
    """The records of interest, up to the chosen time; what a person should know goes to standard error at once."""
    last: dict[str, int] = {}
    came = time.monotonic()  # the last one from before that time
    for line in live.lines(_LOOK if chosen.until else None):
        if chosen.until and chosen.until < datetime.now(UTC) and came < time.monotonic() - LATE:
            return
        if isinstance(line, Notice):
            text.complain(visible(line.text))
            report.incomplete |= line.lost
            continue
        record = understood(line, report) if line else None
        if record is None:
            continue
        node = record.node.name
        report.add_numbers(node, record.seq, record.seq)
        expected = last.get(node, record.seq - 1) + 1
        if record.seq > expected:
            text.complain(missing_records(node, [(expected, record.seq - 1)]))
            report.incomplete = True
        last[node] = record.seq
        if chosen.until and (moment(record.timestamp) or chosen.until) < chosen.until:
            came = time.monotonic()
        wanted = record.kind in kinds if kinds else record.kind not in ("clone", "exit")
        if wanted and chosen.keeps_record(record):
            yield record


def show(record: Record, form: str, utc: bool) -> None:
    """Print a record at once."""
    if form == "jsonl":
        print(json.dumps(msgspec.to_builtins(record), separators=(",", ":")))
    else:
        print(live_lines.line(record, text.Clock(utc=utc), coloured=terminal.coloured()))
    sys.stdout.flush()
