"""The `exectrail` command, also found as `kubectl exectrail`.

Here are its arguments and exit codes; each subcommand is a module of its own, imported when it is called, because
`--help` and shell completion must not wait for a JSON library and a table renderer.
"""

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import PurePath

from exectrail import __version__

OK, NOT_FOUND, CANNOT_LOOK, INTERRUPTED = 0, 1, 2, 130

_EXIT_CODES = """\
exit codes:
  0    the result is shown
  1    no session has this UID, or more than one has; the nearest UIDs are named
  2    could not look: wrong arguments, an unreadable file, a file that is no trail,
       a filter set with a mistake, a cluster that is unreachable or forbids it
  130  interrupted

environment:
  KUBECTL     the kubectl to run, with arguments if need be, e.g. "k3s kubectl"
  KUBECONFIG  read by kubectl
  NO_COLOR    if set, no colours
"""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the process's own arguments, as the kernel's default for a closed pipe: quietly."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # exectrail sessions | head
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a text stream of the interpreter
    return run(sys.argv[1:] if argv is None else argv, program(sys.argv[0]))


def run(argv: Sequence[str], prog: str = "exectrail") -> int:
    """Run one command line and tell how it went by an exit code; SystemExit only for usage and `--help`."""
    arguments = _parser(prog).parse_args(argv)
    try:
        if arguments.subcommand == "sessions":
            from exectrail.cli import sessions  # noqa: PLC0415 - see above

            return sessions.run(arguments)
        if arguments.subcommand == "filter":
            from exectrail.cli import filter as filter_  # noqa: PLC0415

            return filter_.run(arguments)
        from exectrail.cli import show  # noqa: PLC0415

        return show.run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def program(path: str) -> str:
    """What the user typed: `kubectl exectrail` for a plugin of kubectl, which runs a file named kubectl-exectrail."""
    name = PurePath(path).name
    return "kubectl exectrail" if re.match(r"kubectl[-_]exectrail\b", name) else "exectrail"


def duration(text: str) -> timedelta:
    """A span of time such as `90s`, `1h`, `1h30m` or `2d`.

    Raises:
        argparse.ArgumentTypeError: It is none.

    """
    parts = re.findall(r"(\d+)([smhdw])", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: give a number with s, m, h, d or w, e.g. 1h30m")
    try:
        return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} is too long") from None


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Who did what inside which container, and how it ended.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"exectrail {__version__}")
    subcommands = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    _add_sessions(subcommands)
    _add_show(subcommands)
    _add_filter(subcommands)
    return parser


def _add_sessions(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subcommands.add_parser(
        "sessions",
        help="list exec, attach, port-forward and debug requests",
        description="List exec, attach, port-forward and debug requests, oldest first.",
    )
    parser.add_argument("-n", "--namespace", metavar="NS", help="show only sessions in this namespace")
    parser.add_argument("--user", metavar="USER", help="show only sessions of this user")
    since_help = "show only sessions that started within this span, e.g. 90s, 1h30m, 2d"
    parser.add_argument("--since", metavar="SPAN", type=duration, help=since_help)
    _add_common(parser, "table")


def _add_show(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subcommands.add_parser(
        "show",
        help="show one session with all its processes",
        description="Show one session: user, command, container, each process and how it ended.",
    )
    parser.add_argument("uid", metavar="UID", help="UID of the request, or its first 6 characters or more")
    _add_common(parser, "tree")


def _add_filter(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subcommands.add_parser(
        "filter",
        help="try a filter set on a trail",
        description="Check a filter set, and show for each rule which records of a trail it keeps or drops.",
    )
    parser.add_argument("--try", metavar="FILTERS", dest="filters", required=True, help="filter set, a JSON file")
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="trail to read (default: standard input)")
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="output format (default %(default)s)"
    )


def _add_common(parser: argparse.ArgumentParser, form: str) -> None:
    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="trail to read, - for standard input (default: the cluster)"
    )
    parser.add_argument(
        "-o", "--output", choices=(form, "json"), default=form, help="output format (default %(default)s)"
    )
    parser.add_argument("--context", help="kubeconfig context, passed on to kubectl")
    parser.add_argument("--kubeconfig", metavar="PATH", help="kubeconfig file, passed on to kubectl")
