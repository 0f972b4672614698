"""A profile whose rules are what was decided for each system call: sorted, and the same for the same decisions."""

from collections.abc import Mapping

from msgspec.structs import replace

from exectrail.seccomp.overlap import Conditions
from exectrail.seccomp.profile import Profile, Rule
from exectrail.seccomp.rules import Decision, Outcome

_EPERM = 1  # what ERRNO and TRACE have without errnoRet


def written(profile: Profile, decided: Mapping[str, Decision]) -> Profile:
    """The profile with the rules that these decisions come to, one for all names with the same.

    A rule stands before those whose conditions begin with its own: libseccomp refuses them in the other order.
    """
    names: dict[tuple[Outcome, Conditions], list[str]] = {}
    for name in sorted(decided):
        decision = decided[name]
        if decision.always:
            names.setdefault((decision.always, ()), []).append(name)
        for conditions, made in decision.when.items():
            names.setdefault((made, conditions), []).append(name)
    in_order = sorted(names.items(), key=lambda each: (each[0][1], each[1]))
    rules = [Rule(of_rule, made.action, _errno_ret(made), list(conditions)) for (made, conditions), of_rule in in_order]
    return replace(profile, syscalls=rules)


def _errno_ret(made: Outcome) -> int | None:
    return made.data if made.action in {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"} and made.data != _EPERM else None
