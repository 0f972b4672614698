"""Flags that say where the trail goes, and the sink that they mean."""

import argparse
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from enricher.trail.file_sink import FileSink
from enricher.trail.retention import MB, Rotation
from enricher.trail.sink import Sink, StdoutSink
from enricher.trail.syncer import POLICIES

_DEFAULT_SIZE = 100
_STDOUT = "-"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add them. SPO's options keep their meaning, 0 included."""
    add = parser.add_argument
    add("--trail", default=_STDOUT, metavar="FILE", help="file for the trail; - is standard output (default -)")
    help_ = "time that records may wait to be written together, in seconds (default %(default)s)"
    add("--audit-log-interval-seconds", type=_number, default=0, metavar="S", help=help_)
    help_ = f"size in MB before which a segment is closed (default 0, which means {_DEFAULT_SIZE})"
    add("--audit-log-max-size", type=_number, default=0, metavar="MB", help=help_)
    help_ = "closed segments to keep (default 0: all)"
    add("--audit-log-max-backups", type=_number, default=0, metavar="N", help=help_)
    help_ = "days to keep a closed segment (default 0: for ever)"
    add("--audit-log-max-age", type=_number, default=0, metavar="DAYS", help=help_)
    help_ = "size of all segments in MB, before which the oldest are removed (default 0: no bound)"
    add("--max-total-size", type=_number, default=0, metavar="MB", help=help_)
    add(
        "--compress",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compress closed segments (default --compress)",
    )
    help_ = "when written records are handed to the disk; interval is each second (default %(default)s)"
    add("--fsync", choices=POLICIES, default="interval", help=help_)


def open_sink(args: argparse.Namespace) -> Sink:
    """The sink.

    Raises:
        RuntimeError: Two flags contradict each other.
        OSError: The trail's file cannot be opened, or another process writes it.

    """
    scheme, mark, _ = args.trail.partition("://")
    return SINKS.get(scheme + mark, _file_sink)(args)


def _stdout_sink(_args: argparse.Namespace) -> Sink:
    return StdoutSink()


def _file_sink(args: argparse.Namespace) -> Sink:
    size = args.audit_log_max_size or _DEFAULT_SIZE
    if args.max_total_size and args.max_total_size < size:
        raise RuntimeError(
            f"--max-total-size is {args.max_total_size} MB, but one segment may grow to {size} MB: "
            "make it larger, or --audit-log-max-size smaller"
        )
    rotation = Rotation(
        max_size=size * MB,
        max_backups=args.audit_log_max_backups,
        max_age=timedelta(days=args.audit_log_max_age),
        max_total=args.max_total_size * MB,
        compress=args.compress,
    )
    return FileSink(Path(args.trail), rotation, args.fsync)


SINKS: dict[str, Callable[[argparse.Namespace], Sink]] = {_STDOUT: _stdout_sink}
"""How each sink is opened, by what `--trail` says or begins with, e.g. `scheme://`. All else is the path of a file."""


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)
