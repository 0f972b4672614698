"""A profile with its bases, as one.

- **System calls**: both profiles' rules count. Where two decide one call, `exectrail.seccomp.rules.ORDER` says which
  wins: the one that permits more, and LOG over ALLOW. No call is refused that either permits, and none that either
  logs goes unlogged.
- A LOG rule with `args` and a rule that allows the call whatever its `args`: every such call is logged. Filters cannot
  say "allow, but log these" for all conditions. So are calls that match both a LOG and an ALLOW rule with `args`.
- A rule that refuses a call whatever its `args`, and one of the other profile that permits it for some: `Unsupported`.
  So are rules of both whose `args` overlap in part, one of which refuses. The refusal is dropped where it lies wholly
  within what the other permits, and where it is the default action.
- A rule of a base that permits what the base permits by default counts where the derived profile's default refuses it.
  Beside a rule that refuses some of the same calls it is `Unsupported`: a filter cannot say "all but these".
- **defaultAction**, **listenerPath**, **listenerMetadata**: the derived profile's own.
- **architectures**: the derived profile's own; where it names none, those of the nearest base that does.
- **flags**: the derived profile's own, and `SECCOMP_FILTER_FLAG_LOG` if any base has it.
- Only the first profile's `state` counts: a base may be `Disabled`, that is, not installed itself.
"""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from exectrail.seccomp.overlap import Conditions, includes, may_overlap
from exectrail.seccomp.profile import Profile, ProfileError
from exectrail.seccomp.rules import ALLOW, LOG, ORDER, Decision, Outcome, decisions, default, highest, logged, shown
from exectrail.seccomp.written import written

DEEPEST = 15
"""How many bases may follow one another."""

_OCI = "oci://"
_RANK = {action: rank for rank, actions in enumerate(ORDER) for action in actions}


def resolve(name: str, lookup: Callable[[str], Profile | None]) -> Profile:
    """A profile with all its bases merged into it. It names no base, and its rules are sorted and free of repetition.

    Args:
        name: Of the profile.
        lookup: The profile of a name; None if there is none.

    Raises:
        ProfileError: `BaseProfileNotFound`, `BaseProfileCycle`, `BaseProfileTooDeep`, `Unsupported`, or
            `InvalidSeccompProfile`; of a base, the message names it.

    """
    chain = _chain(name, lookup)
    profile, *bases = chain.values()
    decided = decisions(profile)
    for base, of_base in zip([*chain][1:], bases, strict=True):
        try:
            decided = _union(decided, decisions(of_base, default(profile)), default(profile))
        except ProfileError as error:
            raise ProfileError(error.reason, f"base {base!r:.200}: {error}") from error
    return written(replace(profile, base_profile_name="", **_surroundings(profile, bases)), decided)


def merge(profile: Profile, base: Profile) -> Profile:
    """Merge one base into a profile, whatever bases both name.

    Raises:
        ProfileError: `Unsupported` or `InvalidSeccompProfile`.

    """
    both = {"profile": replace(profile, base_profile_name="base"), "base": replace(base, base_profile_name="")}
    return resolve("profile", both.get)


def _surroundings(profile: Profile, bases: list[Profile]) -> dict[str, object]:
    architectures = next((each.architectures for each in (profile, *bases) if each.architectures), [])
    logs = any("SECCOMP_FILTER_FLAG_LOG" in each.flags for each in bases)
    flags = {*profile.flags, "SECCOMP_FILTER_FLAG_LOG"} if logs else set(profile.flags)
    return {"architectures": architectures, "flags": sorted(flags)}


def _union(own: dict[str, Decision], base: dict[str, Decision], by_default: Outcome) -> dict[str, Decision]:
    shared = own.keys() & base.keys()
    return base | own | {name: _both(name, own[name], base[name], by_default) for name in shared}


def _both(name: str, own: Decision, base: Decision, by_default: Outcome) -> Decision:
    """What two profiles say of one system call, by the rules above."""
    decided = _combined(name, own, base, by_default)
    if not (own.overruled_log or base.overruled_log):
        return decided
    return Decision(
        LOG if decided.always == ALLOW else decided.always,
        {conditions: LOG if made == ALLOW else made for conditions, made in decided.when.items()},
        overruled_log=True,
    )


def _combined(name: str, own: Decision, base: Decision, by_default: Outcome) -> Decision:
    always = [each.always for each in (own, base) if each.always]
    if not always:
        return Decision(when=_conditional(name, own.when, base.when, by_default))
    top = highest(always)
    above = {
        conditions: made
        for conditions, made in (own.when | base.when).items()  # one of them has none
        if _RANK[made.action] > _RANK[top.action]
    }
    if not above:
        return Decision(top)
    if top == by_default:
        return Decision(when=above)
    if top == ALLOW:
        return Decision(LOG)
    conditions, made = next(iter(above.items()))
    raise ProfileError(
        "Unsupported",
        f"syscalls: {name!r:.80} is {top.action} in one profile and {made.action} where {shown(conditions)} in the"
        " other, which a filter cannot say; leave one of the two rules, or give both the same args",
    )


def _conditional(
    name: str, own: dict[Conditions, Outcome], base: dict[Conditions, Outcome], by_default: Outcome
) -> dict[Conditions, Outcome]:
    """The rules with `args` of both, without those that the other profile overrules."""
    when = dict(own)
    for conditions, made in base.items():
        when[conditions] = highest((made, when.get(conditions, made)))
    for (low, lower), (high, higher) in _disagreements(own, base):
        if lower == by_default or includes(high, low):
            if when.get(low) == lower:
                del when[low]
            continue
        raise ProfileError(
            "Unsupported",
            f"syscalls: {name!r:.80} is {lower.action} where {shown(low)} in one profile, and {higher.action} where"
            f" {shown(high)} in the other; it is not defined which decides a call that both match; give both the same"
            " args",
        )
    return logged(when)


_Rule = tuple[Conditions, Outcome]


def _disagreements(own: dict[Conditions, Outcome], base: dict[Conditions, Outcome]) -> Iterator[tuple[_Rule, _Rule]]:
    """The pairs of rules that may match one call and differ in their actions, the one that loses first.

    Not those of ALLOW and LOG, which permit the same.
    """
    # Of two rules that one profile has, the runtime's order stays.
    for mine in [each for each in own.items() if each not in base.items()]:
        for theirs in [each for each in base.items() if each not in own.items()]:
            ranks = _RANK[mine[1].action], _RANK[theirs[1].action]
            if ranks[0] == ranks[1] or {mine[1], theirs[1]} == {ALLOW, LOG} or mine[0] == theirs[0]:
                continue
            if may_overlap(mine[0], theirs[0]):
                yield (mine, theirs) if ranks[0] < ranks[1] else (theirs, mine)


def _chain(name: str, lookup: Callable[[str], Profile | None]) -> dict[str, Profile]:
    """The profile and its bases by name, the nearest first."""
    profile = lookup(name)
    if profile is None:
        raise ProfileError("BaseProfileNotFound", f"there is no SeccompProfile {name!r:.200}; apply it first")
    chain = {name: profile}
    while base := profile.base_profile_name:
        where = "" if len(chain) == 1 else f"{[*chain][-1]}: "
        said = f"{where}baseProfileName {base!r:.200}"
        if base.startswith(_OCI):
            raise ProfileError("Unsupported", f"{said}: bases in registries are not read; apply it as a SeccompProfile")
        if base in chain:
            path = [*chain][[*chain].index(base) :]
            raise ProfileError("BaseProfileCycle", f"{said}: {' -> '.join([*path, base])}; remove one of them")
        if len(chain) > DEEPEST:
            raise ProfileError("BaseProfileTooDeep", f"{said}: more than {DEEPEST} bases; merge some into one profile")
        found = lookup(base)
        if found is None:
            raise ProfileError("BaseProfileNotFound", f"{said}: there is no such SeccompProfile; apply it first")
        chain[base] = profile = found
    return chain
