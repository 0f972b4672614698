"""The built-in profile `process-audit`: the runtime's default protection, plus a log of new programs and processes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from msgspec import Struct

import profiles
from exectrail.contracts.profile import BUILT_IN

Action = Literal["SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW", "SCMP_ACT_LOG"]
Operator = Literal["SCMP_CMP_LT", "SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"]

RUNTIME_DEFAULT = Path(__file__).with_name("containerd_default_profile.json")
NAMESPACE_FLAGS = 0x7E020000
CLONE_THREAD = 0x10000
ENOSYS = 38


class Arg(Struct, frozen=True, forbid_unknown_fields=True):
    index: int
    op: Operator
    value: int
    valueTwo: int = 0  # noqa: N815 - the runtime-spec's key


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    names: list[str]
    action: Action
    errnoRet: int | None = None  # noqa: N815 - the runtime-spec's key
    args: list[Arg] = []


class Profile(Struct, forbid_unknown_fields=True):
    """OCI runtime-spec, config-linux, "Seccomp": only the members that the profile has a reason to use."""

    defaultAction: Action  # noqa: N815 - the runtime-spec's key
    architectures: list[str]
    syscalls: list[Rule]


def decided(rules: list[Rule], but: tuple[str, ...] = ()) -> set[tuple[str, Action, int | None, tuple[Arg, ...]]]:
    return {(name, r.action, r.errnoRet, tuple(r.args)) for r in rules for name in r.names if name not in but}


@pytest.fixture(scope="module")
def profile() -> Profile:
    path = Path(profiles.__file__).parent / "builtin" / "process-audit.json"
    return msgspec.json.decode(path.read_bytes(), type=Profile)


@pytest.fixture(scope="module")
def runtime_default() -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.json.decode(RUNTIME_DEFAULT.read_bytes())
    facts["rules"] = msgspec.convert([r for rules in facts["syscalls"].values() for r in rules], list[Rule])
    return facts


LOGGED = ("execve", "execveat", "fork", "vfork", "clone")


def test_what_is_not_logged_is_decided_exactly_as_the_runtime_decides_it(
    profile: Profile, runtime_default: dict[str, Any]
) -> None:
    assert profile.defaultAction == runtime_default["defaultAction"]
    assert decided(profile.syscalls, but=LOGGED) == decided(runtime_default["rules"], but=LOGGED)


def test_what_is_logged_is_allowed_by_the_runtime(profile: Profile, runtime_default: dict[str, Any]) -> None:
    allowed = {name for rule in runtime_default["rules"] if rule.action == "SCMP_ACT_ALLOW" for name in rule.names}
    logged = {name for rule in profile.syscalls if rule.action == "SCMP_ACT_LOG" for name in rule.names}
    assert logged == set(LOGGED)
    assert logged <= allowed


def test_it_covers_the_architectures_of_both_kinds_of_node(profile: Profile, runtime_default: dict[str, Any]) -> None:
    assert set(profile.architectures) == {a for kind in runtime_default["architectures"].values() for a in kind}


def clone_action(profile: Profile, flags: int) -> Action:
    rules = [rule for rule in profile.syscalls if "clone" in rule.names]
    matching = [r.action for r in rules for arg in r.args if flags & arg.value == arg.valueTwo]
    assert len(matching) <= 1, "no two rules may decide one call"
    return matching[0] if matching else profile.defaultAction


@pytest.mark.parametrize(
    ("what", "flags", "action"),
    [
        ("fork of glibc", 0x01200011, "SCMP_ACT_LOG"),
        ("posix_spawn", 0x00004111, "SCMP_ACT_LOG"),
        ("bare clone", 0x11, "SCMP_ACT_LOG"),
        ("pthread_create", 0x003D0F00, "SCMP_ACT_ALLOW"),
        ("new user namespace", 0x10000011, "SCMP_ACT_ERRNO"),
        ("new mount namespace", 0x00020011, "SCMP_ACT_ERRNO"),
        ("thread in a new network namespace", 0x40000000 | CLONE_THREAD, "SCMP_ACT_ERRNO"),
    ],
)
def test_clone_is_logged_for_processes_allowed_for_threads_and_refused_for_namespaces(
    profile: Profile, what: str, flags: int, action: Action
) -> None:
    assert clone_action(profile, flags) == action


def test_clone_asks_for_exactly_the_namespace_flags_that_the_runtime_asks_for(
    profile: Profile, runtime_default: dict[str, Any]
) -> None:
    (default,) = (rule for rule in runtime_default["rules"] if rule.names == ["clone"])
    assert default.args[0].value == NAMESPACE_FLAGS
    masks = {arg.value for rule in profile.syscalls if rule.names == ["clone"] for arg in rule.args}
    assert masks == {NAMESPACE_FLAGS | CLONE_THREAD}


def test_clone3_looks_absent_so_that_the_c_library_falls_back_to_clone(profile: Profile) -> None:
    (rule,) = (rule for rule in profile.syscalls if "clone3" in rule.names)
    assert (rule.action, rule.errnoRet) == ("SCMP_ACT_ERRNO", ENOSYS)


def names_with_one_decision(profile: Profile) -> Iterator[str]:
    for rule in profile.syscalls:
        if not rule.args:
            yield from rule.names


def test_no_unconditional_rule_meets_another_rule_for_the_same_call(profile: Profile) -> None:
    # libseccomp refuses or silently widens such pairs, depending on their order.
    plain = list(names_with_one_decision(profile))
    conditional = {name for rule in profile.syscalls if rule.args for name in rule.names}
    assert len(plain) == len(set(plain))
    assert not set(plain) & conditional


def test_every_built_in_profile_has_its_file() -> None:
    folder = Path(profiles.__file__).parent / "builtin"
    assert {path.stem for path in folder.glob("*.json")} == BUILT_IN.keys()
    assert all(path == f"exectrail/{name}.json" for name, path in BUILT_IN.items())
