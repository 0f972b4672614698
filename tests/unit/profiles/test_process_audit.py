"""The built-in profiles: the runtime's default protection, plus a log of new programs and processes."""

from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

import profiles
from exectrail.contracts.profile import (
    ADDING_SYSTEM_CALLS,
    BUILT_IN,
    UNCONFINED_BUILT_IN,
    VARIANTS,
    added_capabilities,
    built_in_for,
)
from exectrail.seccomp.profile import Action, Profile, decode
from exectrail.seccomp.rules import action_for, decisions, default
from exectrail.seccomp.runtime_default import published, runtime_default
from exectrail.seccomp.syscall_names import NAMES
from profiles.builtin.generate import files

FOLDER = Path(profiles.__file__).parent / "builtin"
ALLOW: Action = "SCMP_ACT_ALLOW"
LOG: Action = "SCMP_ACT_LOG"
ERRNO: Action = "SCMP_ACT_ERRNO"
ENOSYS = 38
LOGGED = ("execve", "execveat", "fork", "vfork", "clone")

# Capabilities with names of CAP_, besides those of RuntimeDefault's table: they add no system calls.
OTHERS = ("NET_ADMIN", "IPC_LOCK", "SYS_RESOURCE", "CHECKPOINT_RESTORE", "SYS_CHROOT", "KILL")


@cache
def read(name: str) -> Profile:
    return decode((FOLDER / f"{name}.json").read_bytes())


@pytest.fixture(params=VARIANTS)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def test_every_committed_file_is_the_one_that_is_generated() -> None:
    made = dict(files())
    assert {path.name for path in FOLDER.glob("*.json")} == made.keys()
    for file, content in made.items():
        assert (FOLDER / file).read_text() == content, f"{file}: run python -m profiles.builtin.generate"


def test_every_built_in_profile_has_its_file() -> None:
    tables = BUILT_IN | UNCONFINED_BUILT_IN
    assert {path.stem for path in FOLDER.glob("*.json")} == tables.keys()
    assert all(path == f"exectrail/{name}.json" for name, path in tables.items())
    assert not BUILT_IN.keys() & UNCONFINED_BUILT_IN.keys()


def test_everything_but_new_programs_and_processes_is_decided_exactly_as_by_the_runtime(name: str) -> None:
    ours, theirs = read(name), runtime_default(VARIANTS[name])
    mine, runtimes = decisions(ours), decisions(theirs)
    assert default(ours) == default(theirs)
    assert mine.keys() == runtimes.keys()
    different = {syscall for syscall in mine if mine[syscall] != runtimes[syscall]}
    assert different <= {*LOGGED, "clone3"}


CLONE_FLAGS = {
    "fork of glibc": 0x01200011,
    "posix_spawn": 0x00004111,
    "bare clone": 0x11,
    "pthread_create": 0x003D0F00,
    "new user namespace": 0x10000011,
    "new mount namespace": 0x00020011,
    "thread in a new network namespace": 0x40010000,
    "in a new cgroup namespace": 0x02000011,
}


@pytest.mark.parametrize("syscall", [*LOGGED, "clone3"])
@pytest.mark.parametrize("flags", CLONE_FLAGS.values(), ids=CLONE_FLAGS)
def test_programs_and_processes_are_allowed_where_the_runtime_allows_them(name: str, syscall: str, flags: int) -> None:
    ours = action_for(read(name), syscall, [flags])
    theirs = action_for(runtime_default(VARIANTS[name]), syscall, [flags])
    is_thread = syscall == "clone" and flags & 0x10000
    assert ours == (LOG if theirs == ALLOW and not is_thread else theirs)


@pytest.mark.parametrize(
    ("what", "action", "with_sys_admin"),
    [
        ("fork of glibc", LOG, LOG),
        ("posix_spawn", LOG, LOG),
        ("bare clone", LOG, LOG),
        ("pthread_create", ALLOW, ALLOW),
        ("new user namespace", ERRNO, LOG),
        ("new mount namespace", ERRNO, LOG),
        ("thread in a new network namespace", ERRNO, ALLOW),
        ("in a new cgroup namespace", ERRNO, LOG),
    ],
)
def test_clone_is_logged_for_processes_allowed_for_threads_and_refused_for_namespaces(
    what: str, action: Action, with_sys_admin: Action
) -> None:
    assert action_for(read("process-audit"), "clone", [CLONE_FLAGS[what]]) == action
    assert action_for(read("process-audit-sys-admin"), "clone", [CLONE_FLAGS[what]]) == with_sys_admin


def test_clone3_looks_absent_so_that_the_c_library_falls_back_to_clone() -> None:
    decision = decisions(read("process-audit"))["clone3"]
    assert decision.always
    assert (decision.always.action, decision.always.data) == (ERRNO, ENOSYS)


def test_it_covers_the_architectures_of_both_kinds_of_node(name: str) -> None:
    assert set(read(name).architectures) == {a for kind in published().architectures.values() for a in kind}


def test_every_system_call_of_the_runtime_is_one_that_exists() -> None:
    of = published()
    named = {name for rules in of.syscalls.values() for rule in rules for name in rule.names}
    assert named | {name for names in of.capabilities.values() for name in names} <= NAMES


def test_no_unconditional_rule_meets_another_rule_for_the_same_call(name: str) -> None:
    # libseccomp refuses or silently widens such pairs, depending on their order.
    rules = read(name).syscalls
    plain = [each for rule in rules if not rule.args for each in rule.names]
    conditional = {each for rule in rules if rule.args for each in rule.names}
    assert len(plain) == len(set(plain))
    assert not set(plain) & conditional


# ---- which of them ----


def test_a_container_gets_the_variant_that_allows_exactly_what_its_capabilities_do() -> None:
    capabilities = sorted(published().capabilities)
    found = 0
    for several in (set(each) for count in range(4) for each in combinations(capabilities, count)):
        chosen = built_in_for(frozenset(several))
        same = [each for each in VARIANTS if decisions_of(frozenset(several)) == decisions_of(VARIANTS[each])]
        assert [chosen] == same or (chosen is None and not same), several
        found += chosen is not None
    assert found > len(VARIANTS)


@cache
def decisions_of(capabilities: frozenset[str]) -> object:
    return {name: str(decision) for name, decision in decisions(runtime_default(capabilities)).items()}


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ([], [], "process-audit"),
        ([], ["ALL"], "process-audit"),
        (["NET_BIND_SERVICE"], ["ALL"], "process-audit"),
        (OTHERS, [], "process-audit"),
        (["SYS_ADMIN"], [], "process-audit-sys-admin"),
        (["CAP_SYS_ADMIN"], [], "process-audit-sys-admin"),
        (["sys_admin"], [], "process-audit-sys-admin"),
        (["SYS_ADMIN", "BPF", "PERFMON", "SYSLOG"], [], "process-audit-sys-admin"),
        (["SYS_ADMIN", "NET_ADMIN"], ["SYS_ADMIN"], "process-audit"),
        (["SYS_ADMIN", "NET_ADMIN"], ["sys_admin"], "process-audit"),
        # Not what containerd knows it by: it keeps the capability.
        (["SYS_ADMIN"], ["CAP_SYS_ADMIN"], "process-audit-sys-admin"),
        (["SYS_TIME"], ["ALL"], "process-audit-sys-time"),
        (["SYS_TIME", "SYS_BOOT"], ["SYS_BOOT"], "process-audit-sys-time"),
        ([], ["SYS_CHROOT"], "process-audit"),
        (["ALL"], [], "process-audit-all"),
        (["ALL"], ["NET_RAW"], "process-audit-all"),
        (["ALL"], ["SYS_ADMIN"], None),
        (["ALL"], ["ALL"], "process-audit"),
        (["ALL", "SYS_TIME"], ["ALL"], "process-audit-sys-time"),
        (["SYS_TIME", "SYS_BOOT"], [], None),
        (["NO_SUCH"], [], "process-audit"),
    ],
)
def test_what_a_container_adds_and_drops_chooses_its_variant(
    add: list[str], drop: list[str], expected: str | None
) -> None:
    assert built_in_for(added_capabilities(add, drop)) == expected


def test_the_capability_all_chooses_the_variant_for_all() -> None:
    assert built_in_for(frozenset({"ALL"})) == "process-audit-all"


def test_the_capabilities_with_variants_are_those_that_add_system_calls() -> None:
    assert ADDING_SYSTEM_CALLS | {"SYS_CHROOT"} == published().capabilities.keys()


# ---- the one that only logs ----


@pytest.mark.parametrize("syscall", ["execve", "execveat", "fork", "vfork", "clone", "clone3"])
def test_process_audit_only_logs_programs_and_processes(syscall: str) -> None:
    assert action_for(read("process-audit-only"), syscall, [0x11]) == LOG


def test_process_audit_only_allows_everything_else() -> None:
    only = read("process-audit-only")
    assert {action_for(only, name, [0x3D0F00]) for name in NAMES - {*LOGGED, "clone3"}} == {ALLOW}
    assert action_for(only, "clone", [CLONE_FLAGS["pthread_create"]]) == ALLOW
