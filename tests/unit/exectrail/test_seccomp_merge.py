"""A profile with its bases: nothing that either logs goes unlogged, and nothing is refused or permitted beyond both."""

from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from msgspec.structs import replace

from exectrail.seccomp.merge import DEEPEST, merge, resolve
from exectrail.seccomp.overlap import may_overlap
from exectrail.seccomp.profile import Action, Arg, Profile, ProfileError, Rule, decode
from exectrail.seccomp.rules import (
    ORDER,
    Decision,
    action_for,
    alternatives,
    decisions,
    explicit,
    matches,
)
from exectrail.seccomp.runtime_file import runtime_file
from tests.unit.exectrail.seccomp_profiles import (
    ALLOW,
    ERRNO,
    KILL,
    LOG,
    arg,
    calls,
    permissive,
    profile,
    profiles,
    rule,
)

Call = tuple[str, tuple[int, int]]


def test_a_log_of_the_derived_profile_outlives_a_base_that_allows_the_call() -> None:
    base = profile(ERRNO, rule(ALLOW, "execve"), rule(ALLOW, "read"))
    derived = profile(ERRNO, rule(LOG, "execve"), base="base")
    merged = resolve("derived", {"base": base, "derived": derived}.get)
    assert merged == profile(ERRNO, rule(LOG, "execve"), rule(ALLOW, "read"))


A0 = arg("EQ", 5)
WIDE = arg("LE", 9)


@pytest.mark.parametrize(
    ("what", "own", "base", "merged"),
    [
        ("both the same", [rule(LOG, "x")], [rule(LOG, "x")], [rule(LOG, "x")]),
        ("the one that permits more", [rule(KILL, "x")], [rule(ALLOW, "x")], [rule(ALLOW, "x")]),
        ("log before allow", [rule(ALLOW, "x")], [rule(LOG, "x")], [rule(LOG, "x")]),
        ("allow, and log some", [rule(LOG, "x", A0)], [rule(ALLOW, "x")], [rule(LOG, "x")]),
        ("log, and allow some", [rule(ALLOW, "x", A0)], [rule(LOG, "x")], [rule(LOG, "x")]),
        ("the same args", [rule(LOG, "x", A0)], [rule(ALLOW, "x", A0)], [rule(LOG, "x", A0)]),
        (
            "args that overlap",
            [rule(LOG, "x", A0)],
            [rule(ALLOW, "x", WIDE)],
            [rule(LOG, "x", A0), rule(LOG, "x", WIDE)],
        ),
        (
            "args that do not overlap",
            [rule(LOG, "x", A0)],
            [rule(ALLOW, "x", arg("GT", 5))],
            [rule(LOG, "x", A0), rule(ALLOW, "x", arg("GT", 5))],
        ),
        ("refused within what is permitted", [rule(KILL, "x", A0)], [rule(ALLOW, "x", WIDE)], [rule(ALLOW, "x", WIDE)]),
        ("refused as by default", [rule(ERRNO, "x")], [rule(LOG, "x", A0)], [rule(LOG, "x", A0)]),
        ("refused for some, allowed for all", [rule(KILL, "x", A0)], [rule(ALLOW, "x")], [rule(ALLOW, "x")]),
        (
            "the higher error number",
            [rule(ERRNO, "x")],
            [rule(ERRNO, "x", errno_ret=38)],
            [rule(ERRNO, "x", errno_ret=38)],
        ),
    ],
)
def test_where_two_profiles_disagree_the_documented_order_decides(
    what: str, own: list[Rule], base: list[Rule], merged: list[Rule]
) -> None:
    one_way = merge(profile(ERRNO, *own), profile(ERRNO, *base)).syscalls
    assert one_way == merge(profile(ERRNO, *base), profile(ERRNO, *own)).syscalls
    assert sorted(map(str, one_way)) == sorted(map(str, merged))


@pytest.mark.parametrize(
    ("own", "base"),
    [
        (rule(KILL, "clone"), rule(LOG, "clone", A0)),
        (rule(KILL, "clone", WIDE), rule(LOG, "clone", A0)),
        (rule(ALLOW, "clone", arg("GE", 5)), rule(KILL, "clone", WIDE)),
    ],
)
def test_what_a_filter_cannot_say_is_refused_and_names_the_call_and_both_rules(own: Rule, base: Rule) -> None:
    with pytest.raises(
        ProfileError, match=r"'clone'.*SCMP_ACT_KILL_PROCESS.*SCMP_ACT_(LOG|ALLOW).*same\s+args"
    ) as caught:
        merge(profile(ERRNO, own), profile(ERRNO, base))
    assert caught.value.reason == "Unsupported"


@pytest.mark.parametrize(
    ("what", "base", "merged"),
    [
        ("permitted, and logged for some", [rule(ALLOW, "x"), rule(LOG, "x", A0)], [rule(LOG, "x")]),
        (
            "permitted for some, logged for some of them",
            [rule(ALLOW, "x", WIDE), rule(LOG, "x", A0)],
            [rule(LOG, "x", A0), rule(LOG, "x", WIDE)],
        ),
        ("refused for all that is permitted", [rule(ALLOW, "x", A0), rule(KILL, "x", WIDE)], [rule(KILL, "x", WIDE)]),
    ],
)
def test_what_a_base_permits_by_a_rule_and_by_default_is_permitted_whatever_the_derived_default(
    what: str, base: list[Rule], merged: list[Rule]
) -> None:
    found = merge(profile(ERRNO), profile(ALLOW, *base)).syscalls
    assert sorted(map(str, found)) == sorted(map(str, merged))


@pytest.mark.parametrize("permitted", [rule(ALLOW, "x"), rule(ALLOW, "x", WIDE)])
def test_a_base_that_permits_by_default_all_calls_but_some_is_refused_under_another_default(permitted: Rule) -> None:
    base = profile(ALLOW, permitted, rule(KILL, "x", A0))
    with pytest.raises(ProfileError, match=r"base 'base': syscalls: 'x'.*KILL_PROCESS where a0 == 5") as caught:
        merge(profile(ERRNO), base)
    assert caught.value.reason == "Unsupported"
    assert merge(profile(ALLOW), base).syscalls == [rule(KILL, "x", A0)]


def test_default_and_listener_are_the_derived_profiles_own() -> None:
    base = Profile(ALLOW, listener_path="/base", listener_metadata="b", default_errno_ret=3)
    merged = merge(Profile(ERRNO), base)
    assert (merged.default_action, merged.listener_path, merged.listener_metadata) == (ERRNO, "", "")
    assert merged.default_errno_ret is None


def test_architectures_are_those_of_the_nearest_profile_that_names_any() -> None:
    chain = {
        "c": Profile(ERRNO, base_profile_name="b"),
        "b": Profile(ERRNO, base_profile_name="a", architectures=["SCMP_ARCH_X86"]),
        "a": Profile(ERRNO, architectures=["SCMP_ARCH_ARM"]),
    }
    assert resolve("c", chain.get).architectures == ["SCMP_ARCH_X86"]
    assert resolve("b", chain.get).architectures == ["SCMP_ARCH_X86"]


def test_of_a_bases_flags_only_the_one_that_logs_counts() -> None:
    base = Profile(ERRNO, flags=["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"])
    merged = merge(Profile(ERRNO, flags=["SECCOMP_FILTER_FLAG_TSYNC"]), base)
    assert set(merged.flags) == {"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"}


def chained(length: int) -> dict[str, Profile]:
    """Profiles 0, 1, ... each the base of the one before."""
    return {
        str(n): profile(ERRNO, rule(LOG, f"call{n}"), base=str(n + 1) if n < length else "") for n in range(length + 1)
    }


def test_bases_of_bases_are_merged_up_to_the_operators_depth() -> None:
    merged = resolve("0", chained(DEEPEST).get)
    assert {name for each in merged.syscalls for name in each.names} == {f"call{n}" for n in range(DEEPEST + 1)}
    assert merged.base_profile_name == ""
    with pytest.raises(ProfileError, match=f"more than {DEEPEST} bases") as caught:
        resolve("0", chained(DEEPEST + 1).get)
    assert caught.value.reason == "BaseProfileTooDeep"


@pytest.mark.parametrize(
    ("bases", "reason", "said"),
    [
        ({"a": "a"}, "BaseProfileCycle", "a -> a"),
        ({"a": "b", "b": "a"}, "BaseProfileCycle", "a -> b -> a"),
        ({"a": "b", "b": "c", "c": "b"}, "BaseProfileCycle", "b -> c -> b"),
        ({"a": "gone"}, "BaseProfileNotFound", "'gone'"),
        ({"a": "b", "b": "gone"}, "BaseProfileNotFound", "b: baseProfileName 'gone'"),
        ({}, "BaseProfileNotFound", "'a'"),
        ({"a": "oci://ghcr.io/x/y:v1"}, "Unsupported", "oci://ghcr.io/x/y:v1"),
    ],
)
def test_bases_that_cannot_be_followed_are_named(bases: dict[str, str], reason: str, said: str) -> None:
    with pytest.raises(ProfileError) as caught:
        resolve("a", {name: profile(ERRNO, base=base) for name, base in bases.items()}.get)
    assert caught.value.reason == reason
    assert said in str(caught.value)


def test_a_mistake_in_a_base_names_the_base() -> None:
    base = profile(KILL, rule(ALLOW, "x", A0), rule(ERRNO, "x", A0))
    with pytest.raises(ProfileError, match=r"base 'b': syscalls: 'x'.*SCMP_ACT_ALLOW, SCMP_ACT_ERRNO.*a0 == 5"):
        resolve("a", {"a": profile(ERRNO, base="b"), "b": base}.get)


# ---- properties ----

RANK = {action: rank for rank, actions in enumerate(ORDER) for action in actions}


def merged_or_unsupported(own: Profile, base: Profile) -> Profile:
    try:
        return merge(own, base)
    except ProfileError:
        assume(False)
        raise


def rules_that_log(of: Profile, call: Call) -> bool:
    name, arguments = call
    return any(
        each.action == LOG and name in each.names and any(matches(c, arguments) for c in alternatives(each))
        for each in of.syscalls
    )


def is_sound(of: Profile) -> bool:
    try:
        decisions(of)
    except ProfileError:
        return False
    return True


def is_defined(of: Profile) -> bool:
    """Whether the runtime's own order of rules with args does not matter."""
    return is_sound(of) and not any(
        may_overlap(one, other) and of_one.action != of_other.action
        for decision in decisions(of).values()
        for one, of_one in decision.when.items()
        for other, of_other in decision.when.items()
    )


def said(of: Profile, call: Call) -> Action | None:
    made = explicit(decisions(of).get(call[0], Decision()), call[1])
    return made.action if made else None


def said_as_base(of: Profile, call: Call, under: Action) -> Action | None:
    """The same, and what it says by a rule that it does not need itself, where the derived profile would refuse it."""
    name, arguments = call
    repeats = any(
        each.action == of.default_action
        and name in each.names
        and any(matches(c, arguments) for c in alternatives(each))
        for each in of.syscalls
    )
    counts = repeats and of.default_action in {LOG, ALLOW} and RANK[of.default_action] > RANK[under]
    return said(of, call) or (of.default_action if counts else None)


def same_permission(one: Action, other: Action) -> bool:
    return one == other or {one, other} == {LOG, ALLOW}


@given(profiles, profiles, calls)
def test_no_log_is_lost_to_an_allow(own: Profile, base: Profile, call: Call) -> None:
    merged = merged_or_unsupported(own, base)
    if rules_that_log(own, call) or rules_that_log(base, call):
        assert action_for(merged, *call) != ALLOW


@given(profiles, profiles, calls)
def test_a_call_that_either_profile_logs_is_logged(own: Profile, base: Profile, call: Call) -> None:
    assume(is_defined(own) and is_defined(base))
    merged = merged_or_unsupported(own, base)
    if LOG in {said(own, call), said(base, call)}:
        assert action_for(merged, *call) == LOG


@given(profiles, profiles, calls)
def test_a_call_is_permitted_exactly_where_a_profile_permits_it(own: Profile, base: Profile, call: Call) -> None:
    assume(is_defined(own) and is_defined(base))
    merged = merged_or_unsupported(own, base)
    by_rules = [action for action in (said(own, call), said_as_base(base, call, own.default_action)) if action]
    expected = max(by_rules, key=RANK.__getitem__) if by_rules else own.default_action
    assert same_permission(action_for(merged, *call), "SCMP_ACT_KILL" if RANK[expected] == 1 else expected)


@given(profiles, permissive, calls)
def test_a_call_that_a_base_permits_by_a_rule_is_permitted_also_where_it_does_so_by_default(
    own: Profile, base: Profile, call: Call
) -> None:
    merged = merged_or_unsupported(own, base)
    if said_as_base(base, call, own.default_action) == ALLOW:
        assert action_for(merged, *call) in {ALLOW, LOG}


@given(profiles)
def test_a_profile_merged_into_itself_is_the_same(own: Profile) -> None:
    once = merged_or_unsupported(own, profile(own.default_action))
    assert merge(own, own) == once
    assert merge(once, own) == once


@given(profiles, profiles)
def test_of_two_profiles_with_one_default_it_does_not_matter_which_is_the_base(own: Profile, other: Profile) -> None:
    base = replace(other, default_action=own.default_action)
    assert merged_or_unsupported(own, base).syscalls == merged_or_unsupported(base, own).syscalls


startable = profiles.filter(lambda drawn: drawn.default_action != "SCMP_ACT_NOTIFY").map(
    lambda drawn: replace(drawn, listener_path="/run/listener.sock")
)
"""Those that make a file."""


@given(startable)
def test_the_file_does_not_depend_on_which_names_share_a_rule(own: Profile) -> None:
    assume(is_sound(own))
    apart = [Rule([name], each.action, each.errno_ret, each.args) for each in own.syscalls for name in each.names]
    assert runtime_file(replace(own, syscalls=apart)) == runtime_file(own)


@given(startable, profiles, calls)
def test_the_runtimes_file_decides_as_the_profile_does(own: Profile, base: Profile, call: Call) -> None:
    merged = merged_or_unsupported(own, base)
    read = decode(runtime_file(merged))
    assert action_for(read, *call) == action_for(merged, *call)
    assert runtime_file(read) == runtime_file(merged)


@given(startable, profiles)
def test_no_rule_of_a_file_is_one_that_the_runtime_refuses_or_ignores(own: Profile, base: Profile) -> None:
    read = decode(runtime_file(merged_or_unsupported(own, base)))
    seen: dict[str, list[Sequence[Arg]]] = {}
    for each in read.syscalls:
        assert each.action != read.default_action or each.errno_ret is not None
        assert len({one.index for one in each.args}) == len(each.args)
        for name in each.names:
            seen.setdefault(name, []).append(each.args)
    for of_name in seen.values():
        assert len(of_name) == 1 or all(of_name), "a rule without args stands beside others"
        assert len(of_name) == len(set(map(tuple, of_name))), "two rules have the same args"
