"""A seccomp profile: the `spec` of a SeccompProfile, which is also the JSON that a container runtime reads.

Sources: the Security Profiles Operator's CRD, and the OCI runtime-spec, config-linux, "Seccomp".
"""

import re
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr, replace

Action = Literal[
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
]
Operator = Literal[
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
]
Architecture = Literal[
    "SCMP_ARCH_NATIVE",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
]
Flag = Literal[
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
]
Reason = Literal[
    "InvalidSeccompProfile",
    "ProfileNotAllowed",
    "BaseProfileNotFound",
    "BaseProfileCycle",
    "BaseProfileTooDeep",
    "Unsupported",
]
"""Why a profile cannot be used: the operator's own reasons of Events where it has one."""

_Name = Annotated[str, Meta(min_length=1)]
_Errno = Annotated[int, Meta(ge=0, le=0xFFFF)]  # SECCOMP_RET_DATA has 16 bits
_UINT64 = 2**64 - 1
_MOST_NAMES = 4096
_MOST_CONDITIONS = 1000
_MOST_SHOWN = 80


class ProfileError(ValueError):
    """A profile cannot be used. The message names the field, its value and what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Arg(Struct, rename="camel", omit_defaults=True, frozen=True, order=True):
    """A condition on one argument of a system call, as unsigned 64-bit values.

    `SCMP_CMP_MASKED_EQ` asks `argument & value == value_two`; the other operators compare the argument with `value`.
    """

    index: Annotated[int, Meta(ge=0, le=5)]
    op: Operator
    value: Annotated[int, Meta(ge=0)] = 0
    value_two: Annotated[int, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if max(self.value, self.value_two) > _UINT64:
            raise ValueError(f"value and valueTwo are at most {_UINT64} (64 bits)")


class Rule(Struct, rename="camel", omit_defaults=True, frozen=True):
    """What happens to the system calls `names`, where all of `args` hold.

    Of several conditions on one argument, one is enough: the runtime makes a rule of each (`exectrail.seccomp.rules`).
    """

    names: Annotated[list[_Name], Meta(min_length=1)]
    action: Action
    errno_ret: _Errno | None = None
    args: Annotated[list[Arg], Meta(max_length=6)] = []


class Profile(Struct, rename="camel", omit_defaults=True, frozen=True):
    """The `spec` of a SeccompProfile. `default_errno_ret` is the runtime's alone."""

    default_action: Action
    state: Literal["Enabled", "Disabled"] = "Enabled"
    disabled: bool = False
    """The older form of `state`, which counts as well."""
    base_profile_name: str = ""
    default_errno_ret: _Errno | None = None
    architectures: list[Architecture] = []
    flags: list[Flag] = []
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: list[Rule] = []

    def __post_init__(self) -> None:
        if self.disabled:
            force_setattr(self, "state", "Disabled")
        # The kernel takes filters of 4096 instructions: beyond these, containers would not start.
        if (names := sum(len(rule.names) for rule in self.syscalls)) > _MOST_NAMES:
            raise ValueError(f"syscalls: {names} names, at most {_MOST_NAMES} fit into a filter; remove some")
        if (conditions := sum(len(rule.names) * len(rule.args) for rule in self.syscalls)) > _MOST_CONDITIONS:
            raise ValueError(f"syscalls: {conditions} args, at most {_MOST_CONDITIONS} fit into a filter; remove some")


RUNTIME_FIELDS = frozenset(Profile.__struct_encode_fields__)
"""What is read of a file for a container runtime."""
SPEC_FIELDS = RUNTIME_FIELDS - {"defaultErrnoRet"}
"""What is read of a SeccompProfile's `spec`."""


def decode(data: bytes | msgspec.Raw) -> Profile:
    """Read a SeccompProfile's `spec`, or a file that a container runtime reads. Unknown fields are ignored.

    Raises:
        ProfileError: `InvalidSeccompProfile`, with the field, its value and what is allowed there.

    """
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProfileError("InvalidSeccompProfile", f"not JSON: {error}; write a JSON object") from error
    try:
        return msgspec.convert(document, Profile)
    except msgspec.ValidationError as error:
        raise ProfileError("InvalidSeccompProfile", _mistake(str(error), document)) from error


def decode_spec(data: bytes | msgspec.Raw) -> Profile:
    """Read the `spec` of a SeccompProfile: without `defaultErrnoRet`, and `errnoRet: 0` means none.

    The runtime's EPERM applies in both cases. The API server drops a `defaultErrnoRet`, for the CRD has none. The
    Security Profiles Operator's type leaves a 0 out (`omitempty`). In a file that a container runtime reads, a 0
    stands: the refused call then looks as if it had succeeded.

    Raises:
        ProfileError: As `decode`.

    """
    profile = decode(data)
    rules = [replace(rule, errno_ret=rule.errno_ret or None) for rule in profile.syscalls]
    return replace(profile, default_errno_ret=None, syscalls=rules)


_CHOICES: dict[str, tuple[str, ...]] = {
    "defaultAction": get_args(Action),
    "action": get_args(Action),
    "op": get_args(Operator),
    "architectures": get_args(Architecture),
    "flags": get_args(Flag),
    "state": ("Enabled", "Disabled"),
}


def _mistake(said: str, document: Any) -> str:  # noqa: ANN401 - any JSON
    """What msgspec said of a document, with the value that it means and the values that would do."""
    text, _, path = said.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    steps = re.findall(r"\w+", path)
    for step in steps:
        document = document[int(step)] if isinstance(document, list) else document[step]
    field = next((step for step in reversed(steps) if not step.isdigit()), "")
    remedy = f"; use one of {', '.join(_CHOICES[field])}" if field in _CHOICES else ""
    is_whole = not path or "missing required field" in text
    shown = "" if is_whole else f" {msgspec.json.encode(document).decode():.{_MOST_SHOWN}}"
    return f"{path}{shown}: {text}{remedy}".lstrip(": ")
