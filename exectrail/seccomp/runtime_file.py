"""The file that the container runtime reads (OCI runtime-spec, config-linux, "Seccomp")."""

import msgspec

from exectrail.seccomp.profile import Architecture, Profile, Rule
from exectrail.seccomp.rules import Decision, decisions, default
from exectrail.seccomp.written import written

_UNKNOWN_TO_RUNTIMES: frozenset[Architecture] = frozenset(
    {"SCMP_ARCH_NATIVE", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64"}
)
"""runc refuses a file that names them. The machine's own architecture is always in the filter."""


def runtime_file(profile: Profile) -> bytes:
    """The runtime's file of a profile whose bases are merged; the same bytes for the same meaning.

    Each rule has at most one condition for an argument: several become rules of their own, as in runc and crun. Rules
    that repeat the default action are left out, since libseccomp refuses them.

    Raises:
        ProfileError: `InvalidSeccompProfile`, see `exectrail.seccomp.rules.decisions`.

    """
    by_default = default(profile)
    decided = {
        name: Decision(
            None if decision.always == by_default else decision.always,
            {conditions: made for conditions, made in decision.when.items() if made != by_default},
        )
        for name, decision in decisions(profile).items()
    }
    document = {
        "defaultAction": profile.default_action,
        "defaultErrnoRet": profile.default_errno_ret,
        "architectures": sorted(set(profile.architectures) - _UNKNOWN_TO_RUNTIMES),
        "flags": sorted(set(profile.flags)),
        "listenerPath": profile.listener_path,
        "listenerMetadata": profile.listener_metadata,
        "syscalls": [_rule(rule) for rule in written(profile, decided).syscalls],
    }
    return msgspec.json.encode({key: value for key, value in document.items() if value not in (None, "", [])}) + b"\n"


def _rule(rule: Rule) -> dict[str, object]:
    # The specification requires every member of an argument; crun refuses a file without.
    args = [{"index": arg.index, "value": arg.value, "valueTwo": arg.value_two, "op": arg.op} for arg in rule.args]
    made: dict[str, object] = {"names": rule.names, "action": rule.action}
    if rule.errno_ret is not None:
        made["errnoRet"] = rule.errno_ret
    return made | {"args": args} if args else made
