"""What users' profiles may allow: the Security Profiles Operator's `allowedSyscalls` and `allowedSeccompActions`."""

from collections.abc import Sequence

from exectrail.seccomp.profile import Profile, ProfileError

PERMITTING = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY")
"""The actions by which a profile allows a system call."""


def check(profile: Profile, allowed_syscalls: Sequence[str], allowed_actions: Sequence[str]) -> None:
    """Refuse a profile that allows more than it may. Its bases are merged into it.

    Args:
        profile: The profile.
        allowed_syscalls: What a profile may allow; empty for everything: nothing is checked.
        allowed_actions: Of `PERMITTING`, those whose rules and default are checked; empty for all of them.

    Raises:
        ProfileError: `ProfileNotAllowed`.

    """
    if not allowed_syscalls:
        return
    actions = set(allowed_actions or PERMITTING)
    for action in sorted(actions.difference(PERMITTING)):
        raise _not_allowed(f"seccomp action not allowed: {action}", f"allowedSeccompActions takes {_any(PERMITTING)}")
    if profile.default_action in actions:
        raise _not_allowed(
            f"seccomp profile not allowed: defaultAction {profile.default_action} allows system calls that are not in"
            " allowedSyscalls",
            "use SCMP_ACT_ERRNO",
        )
    for rule in profile.syscalls:
        for name in rule.names:
            if rule.action in actions and name not in allowed_syscalls:
                raise _not_allowed(
                    f"syscall not allowed: {name:.80} ({rule.action})", "remove it, or add it to allowedSyscalls"
                )


def _not_allowed(what: str, remedy: str) -> ProfileError:
    return ProfileError("ProfileNotAllowed", f"{what}; {remedy}")


def _any(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
