"""The file that the runtime reads, and what users' profiles may allow."""

import msgspec
import pytest
from msgspec.structs import replace

from exectrail.seccomp.allowed import check
from exectrail.seccomp.profile import Action, Profile, ProfileError, Rule
from exectrail.seccomp.rules import action_for, decisions
from exectrail.seccomp.runtime_file import runtime_file
from tests.unit.exectrail.seccomp_profiles import ALLOW, ERRNO, KILL, LOG, arg, profile, rule


def read(of: Profile) -> dict[str, object]:
    document: dict[str, object] = msgspec.json.decode(runtime_file(of))
    return document


def test_the_file_has_what_the_runtime_knows_and_nothing_of_the_operators_own() -> None:
    spec = Profile(
        ERRNO,
        state="Enabled",
        base_profile_name="merged",
        architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_NATIVE", "SCMP_ARCH_ARM"],
        flags=["SECCOMP_FILTER_FLAG_LOG"],
        listener_path="/var/run/security-profiles-operator/x.sock",
        syscalls=[Rule(["b", "a"], ALLOW), rule(ERRNO, "c", errno_ret=38)],
    )
    assert read(spec) == {
        "defaultAction": ERRNO,
        "architectures": ["SCMP_ARCH_ARM", "SCMP_ARCH_X86_64"],  # runc refuses NATIVE, which is always there
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": "/var/run/security-profiles-operator/x.sock",
        "syscalls": [{"names": ["a", "b"], "action": ALLOW}, {"names": ["c"], "action": ERRNO, "errnoRet": 38}],
    }


def test_every_member_of_an_argument_is_written_as_the_specification_requires() -> None:
    assert read(profile(ERRNO, rule(ALLOW, "a", arg("EQ", 0))))["syscalls"] == [
        {"names": ["a"], "action": ALLOW, "args": [{"index": 0, "value": 0, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}
    ]


def test_several_conditions_on_one_argument_become_rules_of_their_own() -> None:
    one_of = profile(ERRNO, rule(ALLOW, "a", arg("EQ", 3), arg("EQ", 4), arg("EQ", 9, index=1)))
    args = [each["args"] for each in msgspec.json.decode(runtime_file(one_of))["syscalls"]]
    assert [len(each) for each in args] == [1, 1, 1]
    for arguments, action in [((3, 0), ALLOW), ((4, 0), ALLOW), ((0, 9), ALLOW), ((0, 0), ERRNO)]:
        assert action_for(one_of, "a", arguments) == action


def test_conditions_on_different_arguments_must_all_hold() -> None:
    both = profile(ERRNO, rule(ALLOW, "a", arg("EQ", 3), arg("EQ", 9, index=1)))
    for arguments, action in [((3, 9), ALLOW), ((3, 0), ERRNO), ((0, 9), ERRNO), ((3,), ERRNO)]:
        assert action_for(both, "a", arguments) == action


BIG = 2**63 + 5


@pytest.mark.parametrize(
    ("op", "value", "value_two", "matching", "others"),
    [
        ("NE", 5, 0, [4, BIG], [5]),
        ("LT", 5, 0, [0, 4], [5, BIG]),
        ("LE", 5, 0, [0, 5], [6, BIG]),
        ("EQ", BIG, 0, [BIG], [5, BIG + 2**32]),
        ("GE", 5, 0, [5, BIG], [4]),
        ("GT", 5, 0, [6, BIG], [5]),
        ("MASKED_EQ", 0x7E030000, 0x10000, [0x3D0F00], [0x1200011, 0x10010000]),
        ("MASKED_EQ", 3, 4, [0, 4, 8], [1, 7]),  # libseccomp masks the second value as well
    ],
)
def test_operators_compare_as_unsigned_64_bit_numbers(
    op: str, value: int, value_two: int, matching: list[int], others: list[int]
) -> None:
    asked = profile(ERRNO, rule(ALLOW, "a", arg(op, value, value_two)))
    assert [action_for(asked, "a", [each]) for each in matching] == [ALLOW] * len(matching)
    assert [action_for(asked, "a", [each]) for each in others] == [ERRNO] * len(others)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([rule(KILL, "a"), rule(ALLOW, "a")], KILL),
        ([rule(ALLOW, "a"), rule(KILL, "a")], ALLOW),
        ([rule(ERRNO, "a"), rule(ALLOW, "a")], ALLOW),  # the runtime skips what repeats the default action
        ([rule(KILL, "a"), rule(ALLOW, "a", arg("EQ", 0))], KILL),
        ([rule(ALLOW, "a", arg("EQ", 0)), rule(KILL, "a")], KILL),
        ([rule(ALLOW, "a"), rule(LOG, "a")], LOG),
        ([rule(LOG, "a", arg("EQ", 7)), rule(ALLOW, "a")], LOG),
        ([rule(ALLOW, "a", arg("NE", 5)), rule(LOG, "a", arg("EQ", 0))], LOG),
    ],
)
def test_rules_of_one_profile_count_as_in_the_runtime_except_that_no_log_is_lost(
    rules: list[Rule], expected: Action
) -> None:
    assert action_for(profile(ERRNO, *rules), "a", [0]) == expected


def test_a_profile_of_which_no_container_would_start_is_refused() -> None:
    with pytest.raises(
        ProfileError, match=r"'a' has several actions \(SCMP_ACT_ALLOW, SCMP_ACT_KILL_PROCESS\).*a0 == 5"
    ):
        runtime_file(profile(ERRNO, rule(ALLOW, "a", arg("EQ", 5)), rule(KILL, "a", arg("EQ", 5))))


def test_a_rule_that_a_listener_decides_needs_the_listeners_socket() -> None:
    notified = profile(ERRNO, rule("SCMP_ACT_NOTIFY", "mount"))
    with pytest.raises(ProfileError, match=r"listenerPath: missing, and 'mount' is SCMP_ACT_NOTIFY") as caught:
        runtime_file(notified)
    assert caught.value.reason == "InvalidSeccompProfile"
    assert read(replace(notified, listener_path="/run/x.sock"))["listenerPath"] == "/run/x.sock"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (profile("SCMP_ACT_NOTIFY"), "defaultAction SCMP_ACT_NOTIFY: runc starts no container"),
        (profile(ERRNO, rule("SCMP_ACT_NOTIFY", "write")), "'write' is SCMP_ACT_NOTIFY: runc starts no container"),
        (profile(ERRNO, rule("SCMP_ACT_NOTIFY", "write", arg("EQ", 1))), "'write' is SCMP_ACT_NOTIFY: runc"),
    ],
)
def test_what_runc_never_leaves_to_a_listener_is_refused(spec: Profile, said: str) -> None:
    with pytest.raises(ProfileError, match=said) as caught:
        runtime_file(replace(spec, listener_path="/run/x.sock"))
    assert caught.value.reason == "InvalidSeccompProfile"


def test_a_rule_of_a_listener_that_another_overrules_needs_no_socket() -> None:
    assert read(profile(ERRNO, rule(ALLOW, "mount"), rule("SCMP_ACT_NOTIFY", "mount")))["syscalls"] == [
        {"names": ["mount"], "action": ALLOW}
    ]


def test_the_most_conditions_that_a_profile_may_have_are_all_kept() -> None:
    many = [rule(ALLOW if n % 2 else LOG, "a", arg("EQ", n)) for n in range(1000)]
    assert len(decisions(profile(ERRNO, *many))["a"].when) == 1000


@pytest.mark.parametrize(
    ("spec", "syscalls", "actions", "said"),
    [
        (profile(ALLOW, rule(LOG, "a")), [], [], None),
        (profile(ERRNO, rule(ALLOW, "a"), rule(KILL, "b")), ["a"], [], None),
        (profile(ERRNO, rule(ALLOW, "b")), ["a"], ["SCMP_ACT_LOG"], None),
        (profile(ERRNO, rule(LOG, "b")), ["a"], [], "syscall not allowed: b"),
        (profile(ERRNO, rule("SCMP_ACT_TRACE", "b")), ["a"], [], "syscall not allowed: b"),
        (profile(ERRNO, rule("SCMP_ACT_NOTIFY", "b")), ["a"], [], "syscall not allowed: b"),
        (profile(ALLOW, rule(LOG, "a")), ["a"], [], "seccomp profile not allowed"),
        (profile(LOG), ["a"], ["SCMP_ACT_ALLOW"], None),
        (profile(ERRNO), ["a"], ["SCMP_ACT_KILL"], "seccomp action not allowed: SCMP_ACT_KILL"),
    ],
)
def test_what_profiles_may_allow_is_as_in_the_operator(
    spec: Profile, syscalls: list[str], actions: list[str], said: str | None
) -> None:
    if said is None:
        check(spec, syscalls, actions)
        return
    with pytest.raises(ProfileError, match=said) as caught:
        check(spec, syscalls, actions)
    assert caught.value.reason == "ProfileNotAllowed"


def test_a_rule_stands_before_those_whose_conditions_begin_with_its_own() -> None:
    wide, narrow = [arg("EQ", 1)], [arg("EQ", 1), arg("EQ", 2, index=1)]
    rules = [Rule(["b"], LOG, args=narrow), Rule(["a", "b"], KILL, args=wide), Rule(["a"], LOG, args=narrow)]
    written = msgspec.json.decode(runtime_file(profile(ERRNO, *rules)))["syscalls"]
    assert [(each["names"], len(each["args"])) for each in written] == [(["a", "b"], 1), (["a", "b"], 2)]


def test_a_rule_within_a_wider_one_of_the_same_action_is_left_out() -> None:
    within = [rule(ALLOW, "a", arg("LE", 5)), rule(ALLOW, "a", arg("LT", 2**32)), rule(LOG, "b", arg("LE", 5))]
    assert read(profile(ERRNO, *within)) == read(profile(ERRNO, *within[1:]))
