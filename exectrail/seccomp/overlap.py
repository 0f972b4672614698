"""Whether two conditions on a system call's arguments can hold for one call."""

import operator
from collections.abc import Callable

from exectrail.seccomp.profile import Arg, Operator

_COMPARISONS: dict[Operator, Callable[[int, int], bool]] = {
    "SCMP_CMP_NE": operator.ne,
    "SCMP_CMP_LT": operator.lt,
    "SCMP_CMP_LE": operator.le,
    "SCMP_CMP_EQ": operator.eq,
    "SCMP_CMP_GE": operator.ge,
    "SCMP_CMP_GT": operator.gt,
}

Conditions = tuple[Arg, ...]
"""All of them hold; sorted, at most one for each argument."""

_WIDTH = 2**64 - 1
_HALF = 2**32 - 1
"""On 32-bit architectures the runtime compares the lower 32 bits only."""


def holds(arg: Arg, argument: int) -> bool:
    """Whether a condition holds for an argument's value."""
    if arg.op == "SCMP_CMP_MASKED_EQ":
        return argument & arg.value == arg.value_two & arg.value  # libseccomp, too, masks both sides
    return _COMPARISONS[arg.op](argument, arg.value)


def may_overlap(one: Conditions, other: Conditions) -> bool:
    """Whether both may hold for one call. True in doubt: False only where no arguments fulfil both."""
    both = [(a, b) for a in one for b in other if a.index == b.index]
    if all(_meet(a, b, _WIDTH) for a, b in both):
        return True
    has_upper_half = any(arg.value > _HALF or arg.value_two > _HALF for pair in both for arg in pair)
    return has_upper_half and all(_meet(_lower(a), _lower(b), _HALF) for a, b in both)


def includes(wide: Conditions, narrow: Conditions) -> bool:
    """Whether `wide` holds for every call that `narrow` holds for. False in doubt."""
    return all(any(arg == own or _implies(own, arg) for own in narrow if own.index == arg.index) for arg in wide)


def _lower(arg: Arg) -> Arg:
    return Arg(arg.index, arg.op, arg.value & _HALF, arg.value_two & _HALF)


def _meet(a: Arg, b: Arg, width: int) -> bool:
    """Whether some value fulfils both conditions; True in doubt."""
    if a.op == "SCMP_CMP_EQ":
        return holds(b, a.value)
    if b.op == "SCMP_CMP_EQ":
        return holds(a, b.value)
    if a.op == b.op == "SCMP_CMP_MASKED_EQ":
        return (a.value_two ^ b.value_two) & a.value & b.value == 0
    (low, high), (other_low, other_high) = _range(a, width), _range(b, width)
    return max(low, other_low) <= min(high, other_high)


def _implies(a: Arg, b: Arg) -> bool:
    """Whether every value that fulfils `a` fulfils `b`; False in doubt."""
    if a.op == "SCMP_CMP_EQ":
        return holds(b, a.value)
    if a.op in _RANGES and b.op in _RANGES:
        (low, high), (wide_low, wide_high) = _range(a, _WIDTH), _range(b, _WIDTH)
        return wide_low <= low and high <= wide_high
    if a.op == b.op == "SCMP_CMP_MASKED_EQ":
        return b.value & ~a.value == 0 and holds(b, a.value_two)
    return b.op == "SCMP_CMP_NE" and not holds(a, b.value)


_RANGES: frozenset[Operator] = frozenset({"SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_GE", "SCMP_CMP_GT"})


def _range(arg: Arg, width: int) -> tuple[int, int]:
    """The values that may fulfil a condition, from and to; empty where the first is higher."""
    match arg.op:
        case "SCMP_CMP_LT":
            return 0, arg.value - 1
        case "SCMP_CMP_LE":
            return 0, arg.value
        case "SCMP_CMP_GE":
            return arg.value, width
        case "SCMP_CMP_GT":
            return arg.value + 1, width
        case "SCMP_CMP_EQ":
            return arg.value, arg.value
        case _:
            return 0, width
