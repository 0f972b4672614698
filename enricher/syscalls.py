"""Names for the numbers in an audit record: system calls, and what a seccomp filter decided."""

from functools import cache, lru_cache
from typing import Final

# AUDIT_ARCH_* (linux/audit.h): the ABI that the call was made with. A 32-bit program on a 64-bit node has its own
# numbers: 11 is execve for i386 and munmap for x86_64.
X86_64: Final = 0xC000003E
I386: Final = 0x40000003
AARCH64: Final = 0xC00000B7
ARM: Final = 0x40000028

# __X32_SYSCALL_BIT: x32 shares AUDIT_ARCH_X86_64 and most numbers; those of its own are from 512 on.
_X32_BIT: Final = 0x40000000

_ACTION_FULL: Final = 0xFFFF0000
_ACTIONS: Final = {
    0x80000000: "kill_process",
    0x00000000: "kill_thread",
    0x00030000: "trap",
    0x00050000: "errno",
    0x7FC00000: "user_notif",
    0x7FF00000: "trace",
    0x7FFC0000: "log",
    0x7FFF0000: "allow",
}


@lru_cache(maxsize=1024)
def name(arch: int, number: int) -> str:
    """A system call's name, e.g. `execve`; `syscall_<n>` for a number or an architecture not in the tables."""
    plain = number & ~_X32_BIT if arch == X86_64 and number > 0 else number
    return _names().get((arch, plain)) or f"syscall_{number}"


def action(code: int) -> str:
    """What the filter decided: SECCOMP_RET_* of seccomp(2) in lower case, or the number where it is none of them."""
    return _ACTIONS.get(code & _ACTION_FULL) or f"0x{code:08x}"


@cache
def _names() -> dict[tuple[int, int], str]:
    from enricher import syscalls_table  # noqa: PLC0415 - only who names calls pays for the tables

    tables = {
        X86_64: syscalls_table.X86_64,
        I386: syscalls_table.I386,
        AARCH64: syscalls_table.AARCH64,
        ARM: syscalls_table.ARM,
    }
    return {(arch, number): called for arch, table in tables.items() for number, called in _numbered(table)}


def _numbered(table: str) -> list[tuple[int, str]]:
    numbered: list[tuple[int, str]] = []
    number = 0
    for word in table.split():
        if word.isdigit():
            number = int(word)
        else:
            numbered.append((number, word))
            number += 1
    return numbered
