"""What a profile's rules come to for each system call, as the runtime and libseccomp take them.

- A rule without `args` decides alone: rules with `args` for the same system call have no effect, whatever their order.
- Of several rules without `args`, the first counts. A rule that repeats the default action counts only if it is alone.
- Of several conditions on one argument in a rule, one is enough: libseccomp takes one, so runc and crun make rules.
- Which of two rules with `args` decides a call that both match is libseccomp's affair, and is not defined.

exectrail departs from this where the runtime would lose a LOG to an ALLOW, or would not start the container. There
the call is logged, which permits the same. Where a LOG and an ALLOW rule may match one call, both log.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from exectrail.seccomp.overlap import Conditions, holds, includes, may_overlap
from exectrail.seccomp.profile import Action, Arg, Operator, Profile, ProfileError, Rule

_EPERM = 1


class Outcome(Struct, frozen=True):
    """What happens to a call. `data` is the error number of ERRNO, or what TRACE tells the tracer; else 0."""

    action: Action
    data: int = 0


LOG, ALLOW = Outcome("SCMP_ACT_LOG"), Outcome("SCMP_ACT_ALLOW")
_PERMITTING = (LOG, ALLOW)

ORDER: tuple[tuple[Action, ...], ...] = (
    ("SCMP_ACT_KILL_PROCESS",),
    ("SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"),
    ("SCMP_ACT_TRAP",),
    ("SCMP_ACT_ERRNO",),
    ("SCMP_ACT_NOTIFY",),
    ("SCMP_ACT_TRACE",),
    ("SCMP_ACT_ALLOW",),
    ("SCMP_ACT_LOG",),
)
"""Where two profiles of a merge disagree, the later of these wins: the Security Profiles Operator's order, but for LOG.

It has LOG before ALLOW, so that a base that allows execve silences a profile that logs it.
"""
_RANK = {action: rank for rank, actions in enumerate(ORDER) for action in actions}


@dataclass(frozen=True)
class Decision:
    """What happens to one system call: `always`, or what the conditions say that match; else the default action."""

    always: Outcome | None = None
    when: dict[Conditions, Outcome] = field(default_factory=dict)
    overruled_log: bool = False
    """A rule that refuses overrules one that logs. Where the other profile of a merge permits the call, it logs."""


def outcome(action: Action, errno_ret: int | None) -> Outcome:
    """What a rule or a default action does."""
    if action == "SCMP_ACT_KILL_THREAD":
        action = "SCMP_ACT_KILL"  # another name for it
    if action in {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"}:
        return Outcome(action, _EPERM if errno_ret is None else errno_ret)
    return Outcome(action)


def default(profile: Profile) -> Outcome:
    """What happens to calls that no rule decides."""
    return outcome(profile.default_action, profile.default_errno_ret)


def highest(outcomes: Iterable[Outcome]) -> Outcome:
    """The one that wins, by `ORDER`. Of two error numbers the higher: programs cope with ENOSYS better than EPERM."""
    return max(outcomes, key=lambda each: (_RANK[each.action], each.data))


def decisions(profile: Profile, under: Outcome | None = None) -> dict[str, Decision]:
    """What the profile's own rules say of each system call that they name, by name.

    Args:
        profile: The profile.
        under: The default action of the profile whose base it is. Rules that permit what the base permits by default
            are kept where that would refuse it.

    Raises:
        ProfileError: `InvalidSeccompProfile`: the same arguments have two actions, one of which refuses. `Unsupported`:
            a rule would have to be kept beside one that refuses some of its calls.

    """
    rules: dict[str, list[Rule]] = {}
    for rule in profile.syscalls:
        for name in rule.names:
            rules.setdefault(name, []).append(rule)
    by_default = default(profile)
    kept = under is not None and by_default in _PERMITTING and highest((under, by_default)) != under
    return {name: _decision(name, of_name, by_default, kept=kept) for name, of_name in rules.items()}


def action_for(profile: Profile, syscall: str, arguments: Sequence[int]) -> Action:
    """What happens to a call, bases not counted. Arguments that are missing are 0.

    Where it is the runtime's affair which of two rules decides, this is the one that wins by `ORDER`.

    Raises:
        ProfileError: As `decisions`.

    """
    decided = explicit(decisions(profile).get(syscall, Decision()), arguments)
    return (decided or default(profile)).action


def explicit(decision: Decision, arguments: Sequence[int]) -> Outcome | None:
    """What a decision says of a call; None for the default action."""
    if decision.always:
        return decision.always
    found = [made for conditions, made in decision.when.items() if matches(conditions, arguments)]
    return highest(found) if found else None


def matches(conditions: Conditions, arguments: Sequence[int]) -> bool:
    """Whether all conditions hold for a call's arguments."""
    return all(holds(arg, arguments[arg.index] if arg.index < len(arguments) else 0) for arg in conditions)


def alternatives(rule: Rule) -> Iterator[Conditions]:
    """The conditions of each rule that the runtime makes of this one; an empty one for a rule without `args`."""
    indexes = [arg.index for arg in rule.args]
    if len(set(indexes)) == len(indexes):
        yield tuple(sorted(map(_plain, rule.args)))
    else:
        yield from ((_plain(arg),) for arg in rule.args)


def logged(when: dict[Conditions, Outcome]) -> dict[Conditions, Outcome]:
    """The same, where each ALLOW that may match a call of a LOG is a LOG."""
    logs = [conditions for conditions, made in when.items() if made == LOG]
    allows = [conditions for conditions, made in when.items() if made == ALLOW]
    changed = dict(when)
    while logs and allows:
        log = logs.pop()
        for allow in [each for each in allows if may_overlap(each, log)]:
            allows.remove(allow)
            logs.append(allow)
            changed[allow] = LOG
    return changed


def _plain(arg: Arg) -> Arg:
    """The same condition, written in one way."""
    if arg.op == "SCMP_CMP_MASKED_EQ":
        return Arg(arg.index, arg.op, arg.value, arg.value_two & arg.value)
    return Arg(arg.index, arg.op, arg.value)


def _decision(name: str, rules: list[Rule], by_default: Outcome, *, kept: bool) -> Decision:
    always: list[Outcome] = []
    when: dict[Conditions, set[Outcome]] = {}
    for rule in rules:
        made = outcome(rule.action, rule.errno_ret)
        for conditions in alternatives(rule):
            if conditions:
                when.setdefault(conditions, set()).add(made)
            else:
                always.append(made)
    counts = [made for made in always if made != by_default]
    is_logged = LOG in always or any(LOG in made for made in when.values())
    if counts or LOG in always or not when:
        first = (counts or always)[0]
        decided = LOG if first == ALLOW and is_logged else first
        return Decision(decided, overruled_log=is_logged and decided != LOG)
    only = {conditions: _only(name, conditions, made, by_default) for conditions, made in when.items()}
    if kept:
        if always:
            only[()] = by_default
        counting = _beside_refusals(name, logged(only))
        if () in counting:
            return Decision(counting[()])
    elif by_default == LOG:
        counting = _without_default(logged(only), by_default)
    else:
        counting = logged(_without_default(only, by_default))
    overruled = any(LOG in made and counting.get(conditions) != LOG for conditions, made in when.items())
    return Decision(when=counting, overruled_log=overruled)


def _only(name: str, conditions: Conditions, made: set[Outcome], by_default: Outcome) -> Outcome:
    """The one outcome of those that rules with the same conditions have."""
    if len(made) == 1:
        return next(iter(made))
    counts = made if made == {LOG, ALLOW} else made - {by_default}
    if counts <= {LOG, ALLOW}:
        return highest(counts)
    if len(counts) == 1:
        return next(iter(counts))
    actions = ", ".join(sorted(each.action for each in counts))
    raise ProfileError(
        "InvalidSeccompProfile",
        f"syscalls: {name!r:.80} has several actions ({actions}) for the same args {shown(conditions)}; leave one",
    )


def _beside_refusals(name: str, when: dict[Conditions, Outcome]) -> dict[Conditions, Outcome]:
    """The rules but those that permit calls all of which are refused by another, which decides beside the default."""
    refused = {conditions: made for conditions, made in when.items() if made not in _PERMITTING}
    counting = dict(when)
    for conditions, made in when.items():
        for refusal, refusing in refused.items() if made in _PERMITTING else ():
            if includes(refusal, conditions):
                counting.pop(conditions, None)
            elif may_overlap(refusal, conditions):
                raise ProfileError(
                    "Unsupported",
                    f"syscalls: {name!r:.80} is {made.action} by default, and {refusing.action} where {shown(refusal)},"
                    " which a filter cannot say with the defaultAction of the profile whose base this is; leave one of"
                    " the two rules",
                )
    return counting


def _without_default(when: dict[Conditions, Outcome], by_default: Outcome) -> dict[Conditions, Outcome]:
    """The rules but those that repeat the default action where another rule may match: the runtime skips them."""
    others = [conditions for conditions, made in when.items() if made != by_default]
    return {
        conditions: made
        for conditions, made in when.items()
        if made != by_default or not any(may_overlap(conditions, other) for other in others)
    }


def shown(conditions: Conditions) -> str:
    """Conditions as a reader takes them: `a0 == 5 and a1 & 0x3 == 0x1`."""
    return " and ".join(map(_shown, conditions))


def _shown(arg: Arg) -> str:
    if arg.op == "SCMP_CMP_MASKED_EQ":
        return f"a{arg.index} & {arg.value:#x} == {arg.value_two & arg.value:#x}"
    return f"a{arg.index} {_SIGNS[arg.op]} {arg.value}"


_SIGNS: dict[Operator, str] = {
    "SCMP_CMP_NE": "!=",
    "SCMP_CMP_LT": "<",
    "SCMP_CMP_LE": "<=",
    "SCMP_CMP_EQ": "==",
    "SCMP_CMP_GE": ">=",
    "SCMP_CMP_GT": ">",
}
