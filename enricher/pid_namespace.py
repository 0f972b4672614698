"""This agent's pid namespace: with hostPID the node's, which is not the machine's where the node is a container."""

from pathlib import Path
from typing import Final

INITIAL: Final = 0xEFFFFFFC
"""The inode number of the machine's own one: a constant of the kernel (PROC_PID_INIT_INO, include/linux/proc_ns.h)."""

OWN: Final = Path("/proc/self/ns/pid")

NESTED: Final = "this node is itself a container (as with kind and k3d), or the enricher has no hostPID"


def own() -> int:
    """The inode number of this process's."""
    return OWN.stat().st_ino


def is_nested() -> bool:
    """Whether processes have other ids here than the kernel reports where it knows the machine's only."""
    return own() != INITIAL
