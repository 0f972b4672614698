"""The `exectrail` command, also found as `kubectl exectrail`.

Here are its subcommands. Each is a module of its own, imported when it is called: `--help` and shell completion must
not wait for a JSON library and a table renderer.
"""

import argparse
import errno
import importlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from exectrail import __version__
from exectrail.cli.arguments import Misused
from exectrail.cli.exit_codes import CANNOT_LOOK, INTERRUPTED, OK

SUBCOMMANDS = {
    "sessions": "list exec, attach, port-forward and debug requests",
    "show": "show one session with all its processes",
    "follow": "print records while they are written, from all nodes",
    "untracked": "list who came into containers without a request",
    "summary": "count sessions and programs by user, target and hour",
    "doctor": "say whether a cluster is covered, and what to do",
    "report": "write sessions to an HTML file that opens anywhere",
    "filter": "try a filter set on a trail",
    "profile": "check, merge and explain seccomp profiles",
    "completion": "print a script for shell completion",
    "man": "print the manual page",
}
"""What each does. The module `exectrail.cli.NAME` has `add_arguments(parser)` and `run(arguments)`."""

_EPILOG = """\
exit codes:
  0    the result is shown
  1    show, report: no session has this UID, or more than one has; the nearest UIDs are named
       report: no session is chosen
       untracked: there are some; doctor: there are errors or warnings
  2    could not look: wrong arguments, no readable file, a file that is no trail,
       a filter set or a profile with a mistake,
       a cluster or a Loki that is unreachable or forbids it,
       a report's file that is there already or cannot be written
  3    the result is shown, but some of it may be missing: records are missing or damaged,
       a file among several cannot be read, or Loki fails in between; standard error says what;
       doctor: no error or warning, but something could not be looked at
  130  interrupted

environment:
  KUBECTL     the kubectl to run, with arguments if need be, e.g. "k3s kubectl"
  KUBECONFIG  read by kubectl
  NO_COLOR    if set, no colours
  LOKI_BEARER_TOKEN, or LOKI_USERNAME and LOKI_PASSWORD
              credentials for --loki
"""

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""How an output fails that takes no more. What fails to be read is said where that is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the process's own arguments; it ends quietly where its output is closed (`| head`)."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started this: what goes there is not wanted
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process is
        getattr(sys, name).reconfigure(errors="backslashreplace")
    try:
        code = run(sys.argv[1:] if argv is None else argv, program(sys.argv[0]))
        sys.stdout.flush()
    except BrokenPipeError:  # where there is no such signal
        _give_up_output()
        return OK
    except OSError as error:
        if error.filename is None and error.errno not in _UNWRITABLE:
            raise
        from exectrail.reading.shell import visible  # noqa: PLC0415 - mostly not needed

        _give_up_output()
        what = visible(str(error.filename)) if error.filename else "the output cannot be written"
        print(f"exectrail: {what}: {error.strerror}", file=sys.stderr)
        return CANNOT_LOOK
    return code


def _give_up_output() -> None:
    """Have nothing left that the interpreter would write to standard output at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(argv: Sequence[str], prog: str = "exectrail") -> int:
    """Run one command line; returns its exit code, SystemExit only for usage and `--help`."""
    made = parser(prog)
    arguments = made.parse_args(argv)
    if arguments.subcommand is None:
        made.print_help(sys.stderr)
        return CANNOT_LOOK
    try:
        return int(arguments.run(arguments))
    except Misused as error:
        print(f"exectrail: {error}", file=sys.stderr)
        return CANNOT_LOOK
    except KeyboardInterrupt:
        return INTERRUPTED


def program(path: str) -> str:
    """What the user typed: `kubectl exectrail` for a plugin of kubectl, which runs a file named kubectl-exectrail."""
    name = PurePath(path).name
    return "kubectl exectrail" if re.match(r"kubectl[-_]exectrail\b", name) else "exectrail"


def parser(prog: str) -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog=prog,
        description="Who did what inside which container, and how it ended.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"exectrail {__version__}")
    add = made.add_subparsers(metavar="COMMAND", dest="subcommand", parser_class=Subcommand).add_parser
    for name, does in SUBCOMMANDS.items():
        add(name, help=does)
    return made


class Subcommand(argparse.ArgumentParser):
    """A subcommand's command line, which its module fills in when it is first used."""

    filled = False

    def fill(self) -> None:
        """Import the module, which adds the arguments."""
        self.filled = True
        module = importlib.import_module(f"{__name__}.{self.prog.rpartition(' ')[2]}")
        module.add_arguments(self)
        self.set_defaults(run=module.run)

    def parse_known_args(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - argparse's signature
        """Parse; argparse calls this when this subcommand is the one that was named.

        Its options may stand among UID and files; argparse parses that in two rounds, which come here again.
        """
        if self.filled:
            return super().parse_known_args(*arguments, **options)
        self.fill()
        if any(action.nargs == argparse.PARSER for action in self._actions):  # it has subcommands of its own
            found = super().parse_known_args(*arguments, **options)
        else:
            found = self.parse_known_intermixed_args(*arguments, **options)
        if found[1]:  # else the program would say so, with its own usage
            self.error(self._unrecognized(found[1]))
        return found

    def _unrecognized(self, extras: list[str]) -> str:
        from difflib import get_close_matches  # noqa: PLC0415 - mostly not needed

        mistyped = [word for word in extras if word.startswith("-")] or extras
        known = [name for action in self._actions for name in action.option_strings]
        near = get_close_matches(mistyped[0].partition("=")[0], known, 1)
        return f"unrecognized arguments: {' '.join(mistyped)}" + (f" (is {near[0]} meant?)" if near else "")
