"""`exectrail man`: the manual page, as man(7) source."""

import argparse
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from exectrail import __version__
from exectrail.cli.command_line import Command, commands, help_of, takes_value
from exectrail.cli.exit_codes import OK


def add_arguments(parser: ArgumentParser) -> None:
    """Add nothing."""
    parser.description = (
        "Print the manual page. To install it: exectrail man > /usr/local/share/man/man1/exectrail.1;"
        " to read it: man -l <(exectrail man)"
    )


def run(_arguments: Namespace) -> int:
    """Print it."""
    print("\n".join(page()))
    return OK


def page() -> Iterator[str]:
    """The lines of the page."""
    whole, *rest = commands()
    yield f'.TH EXECTRAIL 1 "" "exectrail {__version__}"'
    yield ".SH NAME"
    yield rf"exectrail \- {_text(_uncapital(whole.parser.description or ''))}"
    yield ".SH SYNOPSIS"
    above = {command.name.rpartition(" ")[0] for command in rest}
    for command in rest:
        if command.name not in above:
            yield ".P"
            yield _text(_usage(command))
    yield ".SH COMMANDS"
    for command in rest:
        yield f".SS {_text(command.name)}"
        yield _text(command.parser.description or "")
        yield from _arguments(command)
    sections = re.split(r"^(\S.*):\n", whole.parser.epilog or "", flags=re.MULTILINE)[1:]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        yield f".SH {_text(title.upper())}"
        yield ".nf"
        yield from map(_text, body.rstrip().splitlines())
        yield ".fi"


def _arguments(command: Command) -> Iterator[str]:
    for action in command.parser._actions:  # noqa: SLF001 - argparse has no other way
        if action.help == argparse.SUPPRESS:
            continue
        if action.option_strings:
            yield ".TP"
            yield rf"\fB{_text(', '.join(action.option_strings))}\fR{_text(_value(action))}"
        elif not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            yield ".TP"
            yield rf"\fI{_text(str(action.metavar or action.dest))}\fR"
        else:
            continue
        yield _text(help_of(action))


def _value(action: argparse.Action) -> str:
    if not takes_value(action):
        return ""
    return f" {action.metavar or '|'.join(map(str, action.choices or (action.dest.upper(),)))}"


def _usage(command: Command) -> str:
    return " ".join(command.parser.format_usage().removeprefix("usage: ").split())


def _uncapital(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def _text(text: str) -> str:
    """Text that roff takes literally."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
