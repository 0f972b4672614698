"""The file that the container runtime reads (OCI runtime-spec, config-linux, "Seccomp")."""

import msgspec

from exectrail.seccomp.overlap import Conditions, includes
from exectrail.seccomp.profile import Architecture, Profile, ProfileError, Rule
from exectrail.seccomp.rules import Decision, Outcome, decisions, default
from exectrail.seccomp.written import written

_UNKNOWN_TO_RUNTIMES: frozenset[Architecture] = frozenset(
    {"SCMP_ARCH_NATIVE", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64"}
)
"""runc refuses a file that names them. The machine's own architecture is always in the filter."""


def runtime_file(profile: Profile) -> bytes:
    """The runtime's file of a profile whose bases are merged; the same bytes for the same meaning.

    Each rule has at most one condition for an argument: several become rules of their own, as in runc and crun. Rules
    that repeat the default action are left out, since libseccomp refuses them. So are those that lie within a wider
    one with the same action: libseccomp makes wrong filters of some (2.5.4: `a0 <= 5` beside `a0 < 2**32`).

    Raises:
        ProfileError: `InvalidSeccompProfile`, see `exectrail.seccomp.rules.decisions`; also where runc would start no
            container with the file.

    """
    by_default = default(profile)
    decided = {
        name: Decision(
            None if decision.always == by_default else decision.always,
            _widest({conditions: made for conditions, made in decision.when.items() if made != by_default}),
        )
        for name, decision in decisions(profile).items()
    }
    rules = written(profile, decided).syscalls
    _check_notify(profile, rules)
    document = {
        "defaultAction": profile.default_action,
        "defaultErrnoRet": profile.default_errno_ret,
        "architectures": sorted(set(profile.architectures) - _UNKNOWN_TO_RUNTIMES),
        "flags": sorted(set(profile.flags)),
        "listenerPath": profile.listener_path,
        "listenerMetadata": profile.listener_metadata,
        "syscalls": [_rule(rule) for rule in rules],
    }
    return msgspec.json.encode({key: value for key, value in document.items() if value not in (None, "", [])}) + b"\n"


def _check_notify(profile: Profile, rules: list[Rule]) -> None:
    """Refuse what runc refuses of SCMP_ACT_NOTIFY (libcontainer: seccomp/seccomp_linux.go, process_linux.go)."""
    notified = [name for rule in rules if rule.action == "SCMP_ACT_NOTIFY" for name in rule.names]
    # runc hands over the listener by a write under the filter, so the listener must not decide on that.
    if profile.default_action == "SCMP_ACT_NOTIFY":
        raise _starts_none("defaultAction SCMP_ACT_NOTIFY", "use another, and SCMP_ACT_NOTIFY in rules")
    if "write" in notified:
        raise _starts_none("syscalls: 'write' is SCMP_ACT_NOTIFY", "use another action for it")
    if notified and not profile.listener_path:
        raise _starts_none(
            f"listenerPath: missing, and {notified[0]!r:.80} is SCMP_ACT_NOTIFY",
            "name the listener's socket in this profile, for a base's does not count",
        )


def _starts_none(what: str, remedy: str) -> ProfileError:
    return ProfileError("InvalidSeccompProfile", f"{what}: runc starts no container with that; {remedy}")


def _widest(when: dict[Conditions, Outcome]) -> dict[Conditions, Outcome]:
    """The rules but those that another one with the same outcome includes."""
    # One that asks for equality only includes no rule but longer ones, which do no harm beside it.
    wide = [each for each in when if any(arg.op != "SCMP_CMP_EQ" for arg in each)]
    kept = dict(when)
    for narrow, made in when.items():
        if any(other != narrow and kept.get(other) == made and includes(other, narrow) for other in wide):
            del kept[narrow]
    return kept


def _rule(rule: Rule) -> dict[str, object]:
    # The specification requires every member of an argument; crun refuses a file without.
    args = [{"index": arg.index, "value": arg.value, "valueTwo": arg.value_two, "op": arg.op} for arg in rule.args]
    made: dict[str, object] = {"names": rule.names, "action": rule.action}
    if rule.errno_ret is not None:
        made["errnoRet"] = rule.errno_ret
    return made | {"args": args} if args else made
