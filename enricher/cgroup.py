"""A cgroup, as the kernel knows it: by its id, which is the inode number of its folder."""

from pathlib import Path
from typing import Final, Literal, NamedTuple

NODE_CGROUP: Final = 0
"""No cgroup has this id: it stands for the node outside of all pods."""

MOST_ROOTS: Final = 4
"""How many cgroups with pods under them a node may have; `MOST_ROOTS` of the eBPF program."""

Hierarchy = Literal["v2", "memory", "pids"]
"""The v2 tree, or that of a v1 controller."""


class Cgroup(NamedTuple):
    """A cgroup of one of the node's trees."""

    id: int
    path: Path
    hierarchy: Hierarchy = "v2"
