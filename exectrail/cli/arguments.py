"""Arguments that several subcommands have, and how they are read."""

import argparse
import re
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def add_source(parser: argparse.ArgumentParser, form: str) -> None:
    """Add which trails to read, and the output's form: `form` by default, or `json`."""
    parser.add_argument(
        "files", metavar="FILE", nargs="*", help="trail to read, - for standard input (default: the cluster)"
    )
    add_output(parser, form)
    parser.add_argument("--context", help="kubeconfig context, passed on to kubectl")
    parser.add_argument("--kubeconfig", metavar="PATH", help="kubeconfig file, passed on to kubectl")


def add_output(parser: argparse.ArgumentParser, form: str) -> None:
    """Add the output's form: `form` by default, or `json`."""
    parser.add_argument(
        "-o", "--output", choices=(form, "json"), default=form, help="output format (default %(default)s)"
    )


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
