"""`exectrail profile lint|merge|explain FILE...`: seccomp profiles, before they are applied."""

import argparse
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec
from msgspec.structs import replace

from exectrail.cli import profile_words, text
from exectrail.cli.exit_codes import CANNOT_LOOK, OK
from exectrail.cli.profile_files import Found, read
from exectrail.reading.shell import visible
from exectrail.seccomp.merge import resolve
from exectrail.seccomp.profile import Profile, ProfileError
from exectrail.seccomp.runtime_file import runtime_file
from exectrail.seccomp.syscall_names import unknown_syscalls


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to do, and with which files."""
    parser.description = "Check seccomp profiles, merge them with their bases, and say in words what they do."
    does = parser.add_subparsers(required=True, metavar="ACTION", parser_class=argparse.ArgumentParser)
    for name, act, described in (
        ("lint", lint, "report mistakes and what looks like one"),
        ("merge", merge, "print the file that the container runtime reads, with all bases merged"),
        ("explain", explain, "say what a profile allows, logs and refuses, and how it differs from RuntimeDefault"),
    ):
        action = does.add_parser(name, help=described, description=f"{described[0].upper()}{described[1:]}.")
        action.add_argument(
            "files",
            metavar="FILE",
            nargs="+",
            help="SeccompProfiles (YAML or JSON) or a runtime's JSON; - for standard input",
        )
        action.set_defaults(act=act)
        if name != "lint":
            action.add_argument("--name", help="profile to take (default: those that are no other's base)")


def run(arguments: Namespace) -> int:
    """Do it; mistakes in a profile leave the others to be done."""
    found, mistakes = read(arguments.files)
    for mistake in mistakes:
        text.complain(f"{mistake.where}: {mistake.message}")
    done: int = arguments.act(arguments, found)
    return CANNOT_LOOK if mistakes else done


def lint(_arguments: Namespace, found: list[Found]) -> int:
    """Print a line for each mistake, each warning and each profile without any."""
    wrong = False
    for each in found:
        findings = list(_findings(each, found))
        wrong = wrong or any(level == "error" for level, _ in findings)
        for said in [f"{level}: {finding}" for level, finding in findings] or ["ok"]:
            print(f"{each.where}: {visible(said)}")
    return CANNOT_LOOK if wrong else OK


def merge(arguments: Namespace, found: list[Found]) -> int:
    """Print the runtime's file of one profile."""
    chosen = _chosen(arguments.name, found)
    if len(chosen) != 1:
        if chosen:
            names = ", ".join(visible(each.name) for each in chosen)
            text.complain(f"several profiles: {names}; choose one with --name")
        return CANNOT_LOOK
    try:
        content = runtime_file(resolve(chosen[0].name, _lookup(found)))
    except ProfileError as error:
        text.complain(f"{chosen[0].where}: {visible(str(error))}")
        return CANNOT_LOOK
    print(msgspec.json.format(content, indent=2).decode())
    return OK


def explain(arguments: Namespace, found: list[Found]) -> int:
    """Print in words what each profile does."""
    chosen = _chosen(arguments.name, found)
    code = OK if chosen else CANNOT_LOOK
    for each in chosen:
        try:
            merged = resolve(each.name, _lookup(found))
        except ProfileError as error:
            text.complain(f"{each.where}: {visible(str(error))}")
            code = CANNOT_LOOK
            continue
        print(f"{each.where}\n" + "\n".join(profile_words.explained(each.profile, merged)))
    return code


def _findings(each: Found, found: list[Found]) -> Iterator[tuple[Literal["error", "warning"], str]]:
    """What is to be said of a profile; an error is what nodes refuse."""
    try:
        merged, is_whole = _merged(each, found)
    except ProfileError as error:
        yield "error", str(error)
    else:
        # No node has a Disabled profile, which may be there as a base only. A base that is not among the files may
        # overrule the rule that is to blame.
        certain = is_whole and each.profile.state == "Enabled"
        try:
            runtime_file(merged)
        except ProfileError as error:
            yield "error" if certain else "warning", str(error)
    yield from (("warning", warning) for warning in _warnings(each, found))


def _merged(each: Found, found: list[Found]) -> tuple[Profile, bool]:
    """A profile with its bases, and whether they all are among the files; if not, without any.

    Raises:
        ProfileError: As `resolve`.

    """
    try:
        return resolve(each.name, _lookup(found)), True
    except ProfileError as error:
        if error.reason != "BaseProfileNotFound":
            raise
    return resolve(each.name, {each.name: replace(each.profile, base_profile_name="")}.get), False


def _warnings(each: Found, found: list[Found]) -> Iterator[str]:
    profile, names = each.profile, {other.name for other in found}
    base = profile.base_profile_name
    if base and base not in names and "://" not in base:
        yield f"baseProfileName {base!r}: not among the files, so checked without it; give its file as well"
    if unknown := unknown_syscalls(profile):
        listed = ", ".join(unknown)
        yield f"syscalls: no kernel has {listed:.400}; the runtime skips such names; correct or remove them"
    if each.not_read:
        yield f"fields that are not read: {', '.join(each.not_read):.400}; remove them"


def _lookup(found: list[Found]) -> Callable[[str], Profile | None]:
    by_name = {each.name: each.profile for each in found}
    return by_name.get


def _chosen(name: str | None, found: list[Found]) -> list[Found]:
    if name is None:
        bases = {each.profile.base_profile_name for each in found}
        return [each for each in found if each.name not in bases] or found
    chosen = [each for each in found if each.name == name]
    if not chosen:
        known = ", ".join(visible(each.name) for each in found) or "none"
        text.complain(f"no profile {visible(name)!r} in the files; there are: {known}")
    return chosen
