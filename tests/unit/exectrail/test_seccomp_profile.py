"""Seccomp profiles are read as users write them, and a mistake is named with its field, value and remedy."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail.seccomp.profile import Action, Arg, Operator, Profile, ProfileError, Rule, decode, decode_spec

# The first profile of the Security Profiles Operator's audit-logging guide, and one with all that a spec can have.
GUIDE = b"""{"defaultAction": "SCMP_ACT_ALLOW",
 "architectures": ["SCMP_ARCH_X86_64"],
 "syscalls": [{"action": "SCMP_ACT_LOG", "names": ["execve", "clone", "getpid"]}]}"""
FULL = b"""{"state": "Disabled", "baseProfileName": "base", "defaultAction": "SCMP_ACT_ERRNO",
 "architectures": ["SCMP_ARCH_NATIVE", "SCMP_ARCH_RISCV64"], "flags": ["SECCOMP_FILTER_FLAG_LOG"],
 "listenerPath": "/var/run/security-profiles-operator/x.sock", "listenerMetadata": "m", "later": 1,
 "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0,
   "args": [{"index": 5, "op": "SCMP_CMP_MASKED_EQ", "value": 18446744073709551615, "valueTwo": 1}]}]}"""


def test_the_profile_of_the_operators_guide_is_read() -> None:
    assert decode(GUIDE) == Profile(
        "SCMP_ACT_ALLOW",
        architectures=["SCMP_ARCH_X86_64"],
        syscalls=[Rule(["execve", "clone", "getpid"], "SCMP_ACT_LOG")],
    )


def test_every_field_is_read_and_written_back_the_same() -> None:
    profile = decode(msgspec.Raw(FULL))
    assert profile.syscalls == [Rule(["socket"], "SCMP_ACT_ERRNO", 0, [Arg(5, "SCMP_CMP_MASKED_EQ", 2**64 - 1, 1)])]
    document = msgspec.json.decode(FULL)
    del document["later"]  # a field that a later version brings
    assert msgspec.json.decode(msgspec.json.encode(profile)) == document


def test_an_error_number_of_0_is_none_in_a_seccomp_profile_and_one_in_a_runtimes_file() -> None:
    assert [rule.errno_ret for rule in decode_spec(FULL).syscalls] == [None]
    assert [rule.errno_ret for rule in decode(FULL).syscalls] == [0]


def test_the_error_number_of_the_default_action_is_the_runtimes_files_alone() -> None:
    data = msgspec.json.encode(spec(defaultErrnoRet=38))
    assert decode_spec(data).default_errno_ret is None
    assert decode(data).default_errno_ret == 38


@pytest.mark.parametrize("disabled", [True, False])
def test_a_profile_can_be_disabled_in_the_older_form_too(disabled: bool) -> None:
    assert decode(msgspec.json.encode(spec(disabled=disabled))).state == ("Disabled" if disabled else "Enabled")


def spec(**fields: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ERRNO"} | fields


def rule(**fields: Any) -> dict[str, Any]:
    return spec(
        syscalls=[{"names": ["read"], "action": "SCMP_ACT_ALLOW"}, {"names": ["x"], "action": "SCMP_ACT_LOG"} | fields]
    )


def arg(**fields: Any) -> dict[str, Any]:
    return rule(args=[{"index": 0, "op": "SCMP_CMP_EQ"} | fields])


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, ["defaultAction"]),
        (spec(defaultAction="ALLOW"), ['defaultAction "ALLOW"', "SCMP_ACT_ALLOW"]),
        (spec(state="On"), ['state "On"', "Enabled, Disabled"]),
        (spec(architectures=["SCMP_ARCH_X86", "amd64"]), ['architectures[1] "amd64"', "SCMP_ARCH_AARCH64"]),
        (spec(flags=["LOG"]), ['flags[0] "LOG"', "SECCOMP_FILTER_FLAG_LOG"]),
        (spec(syscalls={}), ["syscalls {}", "array"]),
        (rule(names=[]), ["syscalls[1].names []", ">= 1"]),
        (rule(names=["x", ""]), ['syscalls[1].names[1] ""', ">= 1"]),
        (rule(action="SCMP_ACT_LOGG"), ['syscalls[1].action "SCMP_ACT_LOGG"', "SCMP_ACT_LOG,"[:-1]]),
        (rule(errnoRet=-1), ["syscalls[1].errnoRet -1", ">= 0"]),
        (rule(args=[{"index": 0}]), ["syscalls[1].args[0]", "`op`"]),
        (arg(op="EQ"), ['syscalls[1].args[0].op "EQ"', "SCMP_CMP_MASKED_EQ"]),
        (arg(index=6), ["syscalls[1].args[0].index 6", "<= 5"]),
        (arg(value=-1), ["syscalls[1].args[0].value -1", ">= 0"]),
        (arg(value=2**64), ["syscalls[1].args[0]", "18446744073709551616", "at most 18446744073709551615"]),
        (arg(value="1"), ['syscalls[1].args[0].value "1"', "int"]),
        (rule(names=["x"] * 10_000), ["syscalls: 10001 names", "at most 4096"]),
        (rule(names=["x"] * 1001, args=[{"index": 0, "op": "SCMP_CMP_EQ"}]), ["1001 args", "at most 1000"]),
        ([], ["object", "array"]),
    ],
)
def test_a_mistake_is_named_with_its_field_its_value_and_what_is_allowed(document: Any, said: list[str]) -> None:
    with pytest.raises(ProfileError) as caught:
        decode(msgspec.json.encode(document) if document != arg(value=2**64) else too_big())
    assert caught.value.reason == "InvalidSeccompProfile"
    for words in said:
        assert words in str(caught.value)


def too_big() -> bytes:
    return msgspec.json.encode(arg(value=1)).replace(b'"value":1', b'"value":%d' % 2**64)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000], ids=["empty", "cut", "no UTF-8", "deep"])
def test_what_is_no_json_is_refused_as_such(data: bytes) -> None:
    with pytest.raises(ProfileError, match="JSON"):
        decode(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["defaultAction", "syscalls", "names", "action", "args", "index", "op", "value", "flags"]),
            inner,
        )
    ),
    max_leaves=20,
)


@given(st.fixed_dictionaries({"defaultAction": st.sampled_from(get_args(Action)) | JSON, "syscalls": JSON}) | JSON)
def test_any_json_is_read_or_refused_with_a_reason(document: Any) -> None:
    try:
        known: str = decode(msgspec.json.encode(document)).default_action
    except ProfileError as error:
        known = error.reason
    assert known in {*get_args(Action), "InvalidSeccompProfile"}


def test_every_action_and_operator_of_the_operators_crd_is_read() -> None:
    for action in get_args(Action):
        for op in get_args(Operator):
            assert decode(msgspec.json.encode(arg(op=op) | {"defaultAction": action})).default_action == action
