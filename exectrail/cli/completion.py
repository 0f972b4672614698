"""`exectrail completion SHELL`: a script by which a shell completes the command line."""

import argparse
import shlex
from collections.abc import Iterator

from exectrail.cli.command_line import Command, commands, help_of, is_path, takes_value
from exectrail.cli.exit_codes import OK

SHELLS = ("bash", "zsh", "fish")
_PROGRAMS = "exectrail kubectl-exectrail"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add for which shell."""
    parser.description = (
        "Print a script for shell completion. Bash and zsh: source <(exectrail completion bash), or zsh, in the shell's"
        " start file. Fish: exectrail completion fish > ~/.config/fish/completions/exectrail.fish"
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    every = list(commands())
    print("\n".join({"bash": bash, "zsh": zsh, "fish": fish}[arguments.shell](every)))
    return OK


def bash(every: list[Command]) -> Iterator[str]:
    """A function for `complete -F`."""
    yield "_exectrail() {"
    yield '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="" each'
    yield '  for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do'
    yield from _which_command(every)
    yield "  done"
    yield '  case "$command $before" in'
    for patterns, option in _values(every):
        words = " ".join(map(str, option.choices or ()))
        found = f"compgen -W {shlex.quote(words)}" if words else "compgen -f" if is_path(option) else ""
        reply = f'COMPREPLY=($({found} -- "$word")); ' if found else ""
        yield f"    {patterns}) {reply}return ;;"
    yield "  esac"
    yield '  case "$command/$word" in'
    for command in every:
        options = " ".join(name for option in command.options for name in option.option_strings)
        yield f'    {_pattern(command.name)}/-*) COMPREPLY=($(compgen -W "{options}" -- "$word")) ;;'
        if command.words:
            below = " ".join(command.words)
            yield f'    {_pattern(command.name)}/*) COMPREPLY=($(compgen -W "{below}" -- "$word")) ;;'
    yield '    *) COMPREPLY=($(compgen -f -- "$word")) ;;'
    yield "  esac"
    yield "}"
    yield f"complete -o filenames -F _exectrail {_PROGRAMS}"


def zsh(every: list[Command]) -> Iterator[str]:
    """A function for `compdef`, with what each option does."""
    yield f"#compdef {_PROGRAMS}"
    yield "_exectrail() {"
    yield '  local command="" each'
    yield "  local -a found"
    yield '  for each in "${(@)words[2,CURRENT-1]}"; do'
    yield from _which_command(every)
    yield "  done"
    yield '  case "$command ${words[CURRENT-1]}" in'
    for patterns, option in _values(every):
        words = " ".join(shlex.quote(str(choice)) for choice in option.choices or ())
        reply = f"compadd -- {words}; " if words else "_files; " if is_path(option) else ""
        yield f"    {patterns}) {reply}return ;;"
    yield "  esac"
    yield '  case "$command/${words[CURRENT]}" in'
    for command in every:
        options = [f"{name}:{help_of(option)}" for option in command.options for name in option.option_strings]
        yield f"    {_pattern(command.name)}/-*) found=({_described(options)}); _describe option found ;;"
        if command.words:
            helps = {each.name: each.help for each in every}
            below = [f"{word}:{helps.get(f'{command.name} {word}'.strip(), '')}" for word in command.words]
            yield f"    {_pattern(command.name)}/*) found=({_described(below)}); _describe command found ;;"
    yield "    *) _files ;;"
    yield "  esac"
    yield "}"
    yield f"compdef _exectrail {_PROGRAMS}"


def fish(every: list[Command]) -> Iterator[str]:
    """A line for each command and option."""
    for command in every:
        *above, name = command.name.rpartition(" ")[::2]
        if name:
            seen = f"__fish_seen_subcommand_from {above[0]}" if above[0] else "__fish_use_subcommand"
            yield f"complete -c exectrail -f -n {shlex.quote(seen)} -a {name} -d {shlex.quote(command.help)}"
        if command.words and not any(each.name == f"{command.name} {command.words[0]}".strip() for each in every):
            seen = f"__fish_seen_subcommand_from {name}"
            yield f"complete -c exectrail -f -n {shlex.quote(seen)} -a {shlex.quote(' '.join(command.words))}"
        condition = f"__fish_seen_subcommand_from {name}" if name else "__fish_use_subcommand"
        for option in command.options:
            names = " ".join(
                f"-l {each[2:]}" if each.startswith("--") else f"-s {each[1:]}" for each in option.option_strings
            )
            value = " -r" if takes_value(option) else ""
            if takes_value(option) and not is_path(option):
                value = f" -x -a {shlex.quote(' '.join(map(str, option.choices or ())))}"
            said = shlex.quote(help_of(option))
            yield f"complete -c exectrail -n {shlex.quote(condition)} {names}{value} -d {said}"


def _which_command(every: list[Command]) -> Iterator[str]:
    """Finds the command among the words before; the same in bash and zsh."""
    yield '    case "$command $each" in'
    for command in every:
        if command.name:
            above = command.name.rpartition(" ")[0]
            yield f'      "{above} {command.name.rpartition(" ")[2]}") command="{command.name}" ;;'
    yield "    esac"


def _values(every: list[Command]) -> Iterator[tuple[str, argparse.Action]]:
    """Each option that takes a value, with the pattern for what stands before that."""
    for command in every:
        for option in command.options:
            if takes_value(option):
                yield "|".join(f'"{command.name} {name}"' for name in option.option_strings), option


def _pattern(name: str) -> str:
    return f'"{name}"'


def _described(found: list[str]) -> str:
    return " ".join(shlex.quote(_colons(each)) for each in found)


def _colons(each: str) -> str:
    """A name and what it does; only the colon between them is one to zsh."""
    name, _, said = each.partition(":")
    return f"{name}:{said.replace(':', chr(92) + ':')}"
