"""The cgroup trees of this machine: the one of v2, or those of v1's controllers, or both."""

from collections.abc import Collection
from pathlib import Path
from typing import Final, NamedTuple

CGROUPS: Final = Path("/sys/fs/cgroup")


class Tree(NamedTuple):
    """A tree, as mount(8) takes it."""

    point: Path
    kind: str
    """`cgroup2`, or `cgroup` for v1."""
    controllers: str
    """The options that say which tree it is; empty for v2."""


def mounted() -> list[Tree]:
    """Those below `CGROUPS`."""
    names = {line.split()[0] for line in Path("/proc/cgroups").read_text().splitlines()[1:]}
    return parse_mounts(Path("/proc/self/mounts").read_text(), names)


def parse_mounts(text: str, controllers: Collection[str]) -> list[Tree]:
    """The trees in a file of mounts (proc(5)).

    Args:
        text: The file's.
        controllers: Names of v1's controllers.

    """
    found = []
    for line in text.splitlines():
        _, point, kind, options, *_ = line.split()
        if kind in ("cgroup", "cgroup2") and Path(point).is_relative_to(CGROUPS):
            own = [each for each in options.split(",") if each in controllers or each.startswith("name=")]
            found.append(Tree(Path(point), kind, ",".join(own) if kind == "cgroup" else ""))
    return found
