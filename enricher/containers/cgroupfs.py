"""The cgroup trees of the node, and which folder a cgroup id belongs to.

A cgroup's id, as the kernel reports it, is the inode number of its folder. See
https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/cgroups.html and,
for the folders' names, the kubelet's `--cgroup-driver`.
"""

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from enricher.cgroup import Cgroup, Hierarchy

SCAN_INTERVAL = 0.1
"""Seconds between two scans at least: processes outside every container must not cost a scan each."""

UNKNOWN_FOR = 1.0
"""Seconds that an id stays unknown without another look."""

MOST_PATHS = 16_384
"""Folders that are remembered, also after they are gone: ids are never used again."""

_CHILDLESS = 2
"""Links of a folder without folders in it (kernfs_refresh_inode): most are containers, and hold only files."""


def trees(cgroup_root: Path) -> dict[Hierarchy, Path]:
    """The trees mounted at `cgroup_root` (the node's `/sys/fs/cgroup`), the best first.

    That of v2, and those of v1 controllers that every kubelet uses.
    """
    # Pure v2 mounts the tree at the root itself; systemd's hybrid layout puts it beside the v1 controllers.
    candidates: list[tuple[Hierarchy, Path, str]] = [
        ("v2", cgroup_root, "cgroup.controllers"),
        ("v2", cgroup_root / "unified", "cgroup.controllers"),
        ("memory", cgroup_root / "memory", "cgroup.procs"),
        ("pids", cgroup_root / "pids", "cgroup.procs"),
    ]
    found: dict[Hierarchy, Path] = {}
    for hierarchy, tree, mark in candidates:
        if (tree / mark).exists():
            found.setdefault(hierarchy, tree)
    return found


def folders_below(
    root: Path, deepest: int | None = None, enter: Callable[[Path], bool] = lambda _folder: True
) -> Iterator[tuple[Path, int]]:
    """Folders and their inode numbers, level by level, so that the one nearest to the root comes first.

    Args:
        root: Where to begin.
        deepest: How many levels below it.
        enter: Whether to look into a folder.

    """
    waiting = deque([(root, 0)])
    while waiting:
        folder, level = waiting.popleft()
        for child, inode in _children(folder):
            yield child, inode
            if (deepest is None or level + 1 < deepest) and enter(child):
                waiting.append((child, level + 1))


def _children(folder: Path) -> list[tuple[Path, int]]:
    try:
        if folder.stat().st_nlink == _CHILDLESS:
            return []
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.inode()) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        # A container ended while we looked, or a privileged one has made cgroups below each other beyond 4 KiB.
        if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            return []
        raise
    return [(folder / name, inode) for name, inode in found]


class CgroupIndex:
    """Finds the folder of a cgroup by its id, for processes whose cgroup is not itself a container's.

    Looks into the tree only when it meets an id it does not know, and not more often than `SCAN_INTERVAL`.

    Args:
        roots: What pods are under; read again at each look.
        clock: Seconds that never go back.

    """

    def __init__(self, roots: Iterable[Cgroup], clock: Callable[[], float] = time.monotonic) -> None:
        self._roots = roots
        self._clock = clock
        self._paths: dict[int, tuple[Path, Path]] = {}
        self._unknown: dict[int, float] = {}
        self._next_scan = float("-inf")

    def path(self, cgroup: int) -> tuple[Path, Path] | None:
        """The root and the folder of this id; None if unknown."""
        known = self._paths.get(cgroup)
        if known is not None or not self._worth_a_scan(cgroup):
            return known
        self._scan()
        if cgroup not in self._paths:
            self._unknown[cgroup] = self._clock() + UNKNOWN_FOR
        return self._paths.get(cgroup)

    def _worth_a_scan(self, cgroup: int) -> bool:
        now = self._clock()
        return now >= self._next_scan and now >= self._unknown.get(cgroup, now)

    def _scan(self) -> None:
        now = self._clock()
        self._next_scan = now + SCAN_INTERVAL
        self._unknown = {cgroup: until for cgroup, until in self._unknown.items() if until > now}
        for root in self._roots:
            self._paths.update((inode, (root.path, folder)) for folder, inode in folders_below(root.path))
        while len(self._paths) > MOST_PATHS:
            del self._paths[next(iter(self._paths))]
