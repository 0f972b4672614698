"""`exectrail sessions`: the requests that led into containers."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from exectrail.cli import files, text
from exectrail.cli.arguments import add_source, duration
from exectrail.cli.exit_codes import CANNOT_LOOK, OK
from exectrail.reading import trail
from exectrail.reading.cluster import audit_sessions
from exectrail.reading.kubectl import Kubectl, KubectlError
from exectrail.reading.summary import Summary, in_time, moment, sessions


def add_arguments(parser: ArgumentParser) -> None:
    """Add which sessions to list."""
    parser.description = "List exec, attach, port-forward and debug requests, oldest first."
    parser.add_argument("-n", "--namespace", metavar="NS", help="show only sessions in this namespace")
    parser.add_argument("--user", metavar="USER", help="show only sessions of this user")
    since_help = "show only sessions that started within this span, e.g. 90s, 1h30m, 2d"
    parser.add_argument("--since", metavar="SPAN", type=duration, help=since_help)
    add_source(parser, "table")


def run(arguments: Namespace) -> int:
    """List the sessions of the files, or of the cluster."""
    damage = trail.Damage()
    try:
        found = _collect(arguments, damage)
    except (trail.Unreadable, KubectlError) as error:
        text.complain(error)
        return CANNOT_LOOK
    chosen = list(choose(found, arguments.namespace, arguments.user, arguments.since, datetime.now(UTC)))
    if damage.lines:
        text.complain(damage)
    if arguments.output == "json":
        text.print_json(chosen)
    elif chosen:
        from exectrail.cli import session_table  # noqa: PLC0415 - brings Rich

        session_table.show(chosen)
    else:
        text.complain("no sessions")
    return OK


def choose(
    found: Iterable[Summary], namespace: str | None, user: str | None, since: timedelta | None, now: datetime
) -> Iterable[Summary]:
    """The sessions that match the options. One whose start is unknown cannot be ruled out by time."""
    for summary in found:
        start = moment(summary.start_time)
        recent = since is None or start is None or now - start <= since
        if namespace in (None, summary.namespace) and user in (None, summary.user) and recent:
            yield summary


def _collect(arguments: Namespace, damage: trail.Damage) -> list[Summary]:
    if not arguments.files:
        return in_time(audit_sessions(Kubectl(arguments.context, arguments.kubeconfig), damage))
    sources = files.sources(arguments.files)
    return sessions(record for source in sources for record in trail.read(source, trail.is_session, damage))
