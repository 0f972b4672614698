"""Profiles for tests: short to write, and drawn by Hypothesis from few names and values, so that rules meet."""

from typing import get_args

from hypothesis import strategies as st

from exectrail.seccomp.profile import Action, Arg, Operator, Profile, Rule

ALLOW: Action = "SCMP_ACT_ALLOW"
LOG: Action = "SCMP_ACT_LOG"
ERRNO: Action = "SCMP_ACT_ERRNO"
KILL: Action = "SCMP_ACT_KILL_PROCESS"

NAMES = ("execve", "clone")
VALUES = (0, 1, 2, 3, 4, 5, 7, 2**32, 2**32 + 1, 2**64 - 1)


def profile(default_action: Action, *syscalls: Rule, base: str = "") -> Profile:
    return Profile(default_action, base_profile_name=base, syscalls=list(syscalls))


def rule(action: Action, name: str, *args: Arg, errno_ret: int | None = None) -> Rule:
    return Rule([name], action, errno_ret, list(args))


def arg(op: str, value: int, value_two: int = 0, index: int = 0) -> Arg:
    operator: Operator = f"SCMP_CMP_{op}"  # type: ignore[assignment] # a test names one that there is
    return Arg(index, operator, value, value_two)


args = st.builds(Arg, st.integers(0, 1), st.sampled_from(get_args(Operator)), *[st.sampled_from(VALUES)] * 2)
rules = st.builds(
    Rule,
    st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
    st.sampled_from(get_args(Action)),
    st.none() | st.sampled_from([0, 1, 38]),
    st.lists(args, max_size=3),
)
profiles = st.builds(
    Profile,
    st.sampled_from(get_args(Action)),
    syscalls=st.lists(rules, max_size=4),
    flags=st.lists(st.sampled_from(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]), unique=True),
)
permissive = st.builds(
    lambda own, other: Profile(ALLOW, syscalls=[own, other]),
    st.builds(Rule, st.just(["clone"]), st.just(ALLOW), args=st.lists(args, max_size=1)),
    st.builds(Rule, st.just(["clone"]), st.sampled_from([LOG, KILL]), args=st.lists(args, min_size=1, max_size=1)),
)
"""Profiles with a rule that repeats their default action, which the runtime skips beside the other one."""
calls = st.tuples(st.sampled_from(NAMES), st.tuples(st.sampled_from(VALUES), st.sampled_from(VALUES)))
