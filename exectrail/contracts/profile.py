"""The built-in seccomp profiles by name, where the kubelet finds them, and which of them suits a container.

`localhostProfile` is relative to the kubelet's seccomp folder (`/var/lib/kubelet/seccomp`).
"""

from collections.abc import Iterable

PROCESS_AUDIT = "process-audit"
PROCESS_AUDIT_ONLY = "process-audit-only"

VARIANTS: dict[str, frozenset[str]] = {
    f"{PROCESS_AUDIT}{suffix}": frozenset(capabilities.split())
    for suffix, capabilities in {
        "": "",
        "-bpf": "BPF",
        "-dac-read-search": "DAC_READ_SEARCH",
        "-perfmon": "PERFMON",
        "-sys-admin": "SYS_ADMIN",
        "-sys-boot": "SYS_BOOT",
        "-sys-module": "SYS_MODULE",
        "-sys-nice": "SYS_NICE",
        "-sys-pacct": "SYS_PACCT",
        "-sys-ptrace": "SYS_PTRACE",
        "-sys-rawio": "SYS_RAWIO",
        "-sys-time": "SYS_TIME",
        "-sys-tty-config": "SYS_TTY_CONFIG",
        "-syslog": "SYSLOG",
        # What tracers, network agents and clock daemons add together.
        "-bpf-perfmon": "BPF PERFMON",
        "-bpf-perfmon-sys-ptrace": "BPF PERFMON SYS_PTRACE",
        "-sys-admin-sys-ptrace": "SYS_ADMIN SYS_PTRACE",
        "-sys-admin-sys-module": "SYS_ADMIN SYS_MODULE",
        "-sys-nice-sys-time": "SYS_NICE SYS_TIME",
        "-all": "DAC_READ_SEARCH SYS_ADMIN SYS_BOOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_TIME"
        " SYS_TTY_CONFIG",
    }.items()
}
"""Of each variant of `process-audit`, the capabilities with which RuntimeDefault allows the same system calls."""


def _file(name: str) -> str:
    return f"exectrail/{name}.json"


BUILT_IN = {name: _file(name) for name in VARIANTS}
"""The profiles that protect as RuntimeDefault does, and their files."""

UNCONFINED_BUILT_IN = {PROCESS_AUDIT_ONLY: _file(PROCESS_AUDIT_ONLY)}
"""Profiles that log and refuse nothing: installed only with `profiles.allowUnconfined`."""

LOGGING_FILES = frozenset((BUILT_IN | UNCONFINED_BUILT_IN).values())
"""With any of them the kernel logs each new program and process."""

ADDING_SYSTEM_CALLS = frozenset().union(*VARIANTS.values())
"""The capabilities with which RuntimeDefault allows more.

SYS_CHROOT, which runtimes give any container, is no such one: every variant allows chroot. Where a container drops it,
the kernel refuses chroot as RuntimeDefault would.
"""

_PART_OF_SYS_ADMIN = frozenset({"BPF", "PERFMON", "SYSLOG"})
"""Capabilities whose system calls SYS_ADMIN brings as well."""

_BY_CAPABILITIES = {capabilities: name for name, capabilities in VARIANTS.items()}
_BY_FILE = {_file(name): capabilities for name, capabilities in VARIANTS.items()}


def added_capabilities(add: Iterable[str], drop: Iterable[str]) -> frozenset[str]:
    """What a container's `securityContext.capabilities` leave of what they add, as the runtime takes it.

    Names in any case, or `ALL`; those added with or without `CAP_`. A name in both is dropped; `ALL` in both adds
    nothing (containerd, internal/cri/opts, WithCapabilities).
    """
    # A name that is dropped with CAP_ is none to containerd, and what it adds remains: nothing may break by our guess.
    added, dropped = {_name(each) for each in add}, {each.upper() for each in drop}
    if "ALL" in added:
        added |= set() if "ALL" in dropped else ADDING_SYSTEM_CALLS | _PART_OF_SYS_ADMIN
    return frozenset(added - dropped - {"ALL"})


def built_in_for(capabilities: frozenset[str]) -> str | None:
    """The variant of `process-audit` for a container that adds these capabilities.

    It allows exactly the system calls that RuntimeDefault allows the container.

    Args:
        capabilities: As `added_capabilities` gives them. Those that add no system calls make no difference.

    Returns:
        A name in `BUILT_IN`; None where no variant fits: bound to any, the container could lose system calls.

    """
    adding = _adding(capabilities)
    return _BY_CAPABILITIES.get(adding - _PART_OF_SYS_ADMIN if "SYS_ADMIN" in adding else adding)


def is_enough(file: str, capabilities: frozenset[str]) -> bool:
    """Whether a built-in profile allows a container with these capabilities all that RuntimeDefault allows it.

    Args:
        file: One of `BUILT_IN`; any other refuses nothing.
        capabilities: As `added_capabilities` gives them.

    """
    allowed = _BY_FILE.get(file)
    if allowed is None:
        return True
    return _adding(capabilities) <= (allowed | _PART_OF_SYS_ADMIN if "SYS_ADMIN" in allowed else allowed)


def _adding(capabilities: frozenset[str]) -> frozenset[str]:
    names = {_name(each) for each in capabilities}
    return ADDING_SYSTEM_CALLS if "ALL" in names else ADDING_SYSTEM_CALLS & names


def _name(capability: str) -> str:
    return capability.upper().removeprefix("CAP_")
