"""What a seccomp profile does, in words, and how it differs from RuntimeDefault."""

import errno
from collections.abc import Iterator
from textwrap import wrap

from exectrail.reading.shell import visible
from exectrail.seccomp.profile import Action, Profile
from exectrail.seccomp.rules import LOG, Decision, Outcome, decisions, default, shown
from exectrail.seccomp.runtime_default import published, runtime_default
from exectrail.seccomp.syscall_names import NAMES, unknown_syscalls

_PERMITTED = frozenset({"SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY"})
_DOES: dict[Action, str] = {
    "SCMP_ACT_ALLOW": "allowed",
    "SCMP_ACT_LOG": "allowed and logged",
    "SCMP_ACT_NOTIFY": "decided by the listener",
    "SCMP_ACT_TRACE": "decided by a tracer, refused without one",
    "SCMP_ACT_TRAP": "refused with the signal SIGSYS",
    "SCMP_ACT_KILL": "ends the thread",
    "SCMP_ACT_KILL_PROCESS": "ends the process",
}
_MORE = "Permits what RuntimeDefault refuses"
_LESS = "Refuses what RuntimeDefault permits"
_LOGGED = "Logs what RuntimeDefault only allows"
_ARGUMENTS = "Decides by other arguments"
_WIDTH = 100
_NONE = Decision()


def explained(own: Profile, merged: Profile) -> Iterator[str]:
    """Lines of text about a profile.

    Args:
        own: As it is written.
        merged: The same with its bases.

    """
    if own.state == "Disabled":
        yield "  It is Disabled: not on the nodes."
    if own.base_profile_name:
        yield f"  Its bases are merged into it, the nearest is {visible(own.base_profile_name)}."
    yield f"  A system call that no rule names: {_words(default(merged))}."
    if merged.architectures:
        names = ", ".join(each.removeprefix("SCMP_ARCH_").lower() for each in merged.architectures)
        yield f"  Programs of these architectures can run, and the node's own: {names}."
    else:
        yield "  Only programs of the node's own architecture can run."
    yield from _rules(decisions(merged))
    if unknown := unknown_syscalls(merged):
        yield from _listed("Of these no kernel has", unknown)
    yield from _differences(merged)


def _rules(decided: dict[str, Decision]) -> Iterator[str]:
    """A paragraph for each thing that happens, the system calls by name; those with conditions behind it."""
    always: dict[str, list[str]] = {}
    by_args: list[str] = []
    for name, decision in sorted(decided.items()):
        if decision.always:
            always.setdefault(_words(decision.always), []).append(name)
        for conditions, made in decision.when.items():
            by_args.append(f"{visible(name)} where {shown(conditions)}: {_words(made)}")
    for words, names in sorted(always.items()):
        yield from _listed(f"{words[0].upper()}{words[1:]}", names)
    if by_args:
        yield "  By their arguments (a0 is the first), else as if no rule named them:"
        yield from (f"    {each}" for each in by_args)


def _differences(merged: Profile) -> Iterator[str]:
    ours, theirs = decisions(merged), decisions(runtime_default())
    of_default, of_theirs = default(merged), default(runtime_default())
    groups: dict[str, list[str]] = {words: [] for words in (_MORE, _LESS, _LOGGED, _ARGUMENTS)}
    for name in sorted(NAMES):
        mine, other = ours.get(name, _NONE), theirs.get(name, _NONE)
        if group := _difference(mine, other, of_default, of_theirs):
            groups.setdefault(group, []).append(name)
    source = published().source.partition(",")[0]
    defaults_differ = of_default != of_theirs and not _permits(of_default)
    if not defaults_differ and not any(groups.values()):
        yield f"  It decides as RuntimeDefault does ({source}, without added capabilities)."
        return
    yield f"  How it differs from RuntimeDefault ({source}, without added capabilities):"
    if defaults_differ:
        yield f"  A system call that neither names: {_words(of_default)}; RuntimeDefault: {_words(of_theirs)}."
    for words, names in groups.items():
        if names:
            yield from _listed(words, names)


def _difference(mine: Decision, other: Decision, of_mine: Outcome, of_other: Outcome) -> str | None:
    """How the two profiles differ in a system call, as the heading under which it is listed."""
    ours, theirs = _outcomes(mine, of_mine), _outcomes(other, of_other)
    permitted, by_default = _permitted(ours), _permitted(theirs)
    if permitted is None or by_default is None:
        return None if mine == other and permitted == by_default else _ARGUMENTS
    if permitted != by_default:
        return _MORE if permitted else _LESS
    if LOG in ours:
        return _LOGGED
    # That the defaults differ is said once, not of each call.
    only_by_default = ours == {of_mine} and theirs == {of_other}
    return None if ours == theirs or only_by_default else _otherwise(ours, theirs)


def _outcomes(decision: Decision, by_default: Outcome) -> set[Outcome]:
    """What may happen to a call, by its arguments."""
    outcomes = set(decision.when.values()) or {decision.always or by_default}
    return outcomes | {by_default} if decision.when else outcomes


def _permitted(outcomes: set[Outcome]) -> bool | None:
    """Whether a call is permitted; None where it depends on its arguments."""
    permitted = set(map(_permits, outcomes))
    return permitted.pop() if len(permitted) == 1 else None


def _permits(made: Outcome) -> bool:
    return made.action in _PERMITTED


def _otherwise(ours: set[Outcome], theirs: set[Outcome]) -> str:
    mine, other = (" or ".join(sorted(map(_words, each))) for each in (ours, theirs))
    return f"Decides in another way: {mine}; RuntimeDefault: {other}"


def _words(made: Outcome) -> str:
    if made.action == "SCMP_ACT_ERRNO":
        return f"refused with {errno.errorcode.get(made.data, f'error {made.data}')}"
    return _DOES[made.action]


def _listed(words: str, names: list[str]) -> Iterator[str]:
    yield f"  {words} ({len(names)}):"
    yield from wrap(
        ", ".join(map(visible, names)),
        _WIDTH,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
