"""`python -m bench`: measures exectrail against its bounds. `make bench` runs all of it."""

import argparse
import sys
from collections.abc import Iterator

from bench import auditlog, filters, memory, parsing, pipeline, profiled, reading, replica, storage, webhook
from bench.figures import Figure, keep, show


def main() -> int:
    """Measure, show and keep; 1 with --strict where a bound is missed."""
    args = _parser().parse_args()
    figures: list[Figure] = []
    try:
        figures.extend(_figures(args))
    finally:  # what was measured before something went wrong is worth having
        show(figures)
        keep(figures)
    return int(args.strict and any(figure.holds is False for figure in figures))


def _figures(args: argparse.Namespace) -> Iterator[Figure]:
    yield from pipeline.figures()
    yield from parsing.figures()
    yield from profiled.figures()
    yield from memory.figures()
    yield from filters.figures()
    yield from storage.figures()
    yield from reading.figures()
    yield from auditlog.figures(args.backlog)
    yield from replica.figures()
    yield from webhook.figures(args.seconds)
    if args.node:
        from bench import node  # noqa: PLC0415 - needs root and the node's packages

        yield from node.figures(args.seconds, args.soak, installed=args.installed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=sys.modules["bench.figures"].__doc__)
    add = parser.add_argument
    add("--node", action="store_true", help="also on the real node, which is brought up (needs root)")
    add("--installed", action="store_true", help="measure what is installed there already, and install nothing")
    add("--seconds", type=int, default=60, help="of each load on the webhook and on the node (default 60)")
    add("--soak", type=int, default=0, metavar="MINUTES", help="then load it so long, and look at its memory")
    add("--backlog", type=int, default=256, metavar="MB", help="of auditd's log at the start (default 256)")
    add("--strict", action="store_true", help="exit with 1 where a bound is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
