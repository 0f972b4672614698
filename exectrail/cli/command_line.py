"""The whole command line, as its parsers have it: for shell completion and the man page."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from exectrail import cli


@dataclass(frozen=True)
class Command:
    """A command, e.g. `sessions` or `profile lint`; the name of the program itself is empty."""

    name: str
    help: str
    parser: argparse.ArgumentParser

    @property
    def options(self) -> list[argparse.Action]:
        """What begins with a dash, and is no mere answer to a mistake."""
        actions = self.parser._actions  # noqa: SLF001 - argparse has no other way
        return [action for action in actions if action.option_strings and action.help != argparse.SUPPRESS]

    @property
    def words(self) -> list[str]:
        """What may follow it: the commands below it, or one of a few words."""
        arguments = [action for action in self.parser._actions if not action.option_strings]  # noqa: SLF001
        return [str(choice) for action in arguments[:1] for choice in action.choices or ()]


def commands(prog: str = "exectrail") -> Iterator[Command]:
    """All of them, each before those below it."""
    yield from _below("", "", cli.parser(prog))


def takes_value(option: argparse.Action) -> bool:
    """Whether a word follows an option."""
    return option.nargs != 0


def is_path(option: argparse.Action) -> bool:
    """Whether that word is a file."""
    return option.metavar in {"PATH", "FILE", "FILTERS"}


def help_of(option: argparse.Action) -> str:
    """An option's help, with its default filled in."""
    return (option.help or "").replace("%(default)s", str(option.default))


def _below(name: str, said: str, parser: argparse.ArgumentParser) -> Iterator[Command]:
    if isinstance(parser, cli.Subcommand):
        parser.fill()
    yield Command(name, said, parser)
    for action in _subparsers(parser):
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
        for below, its in action.choices.items():
            yield from _below(f"{name} {below}".strip(), helps.get(below, ""), its)


def _subparsers(parser: argparse.ArgumentParser) -> Iterator["argparse._SubParsersAction[argparse.ArgumentParser]"]:
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            yield action
