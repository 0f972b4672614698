"""The cgroups that the pods of this node are under: found by name first, and by the pods themselves where that fails.

The kubelet has one, `kubepods` or `kubepods.slice`, at the top, some folders deep (`--cgroup-root`) or in the slice of
a login (rootless k3s). One that is empty may be left of another cgroup driver. A runtime with another driver than the
kubelet's puts containers elsewhere, e.g. into `/system.slice/containerd.service`.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from enricher.cgroup import MOST_ROOTS, Cgroup, Hierarchy
from enricher.containers import container_id
from enricher.containers.cgroupfs import folders_below, trees
from enricher.sensors.unavailable import SensorUnavailable

_DEEPEST: Final = 12
"""Levels below the tree's root that are searched: rootless k3s has its pods some six levels deep."""
_LAYOUT: Final = 4
"""The most folders from a root to a container, both included: kubepods, the class, the pod, the container."""
_ID: Final = re.compile(r"[0-9a-f]{64}")
_LOGINS: Final = "user.slice"

EXPECTED: Final = "a folder of its pod below `kubepods` or `kubepods.slice`"


class PodRoots:
    """The roots, of one tree.

    Args:
        cgroup_root: The node's `/sys/fs/cgroup`.

    Raises:
        SensorUnavailable: No tree there has any.

    """

    def __init__(self, cgroup_root: Path) -> None:
        self.tree, self.known = _best(cgroup_root)

    @property
    def in_logins(self) -> list[Path]:
        """Those in the slices of login users, relative to the tree."""
        relative = (root.path.relative_to(self.tree) for root in self.known)
        return [path for path in relative if _LOGINS in path.parts]

    def search(self, containers: Collection[str]) -> tuple[list[Cgroup], dict[str, str]]:
        """Look everywhere for these containers.

        Returns:
            Roots that are known from now on, and of containers whose place is not understood where they are.

        """
        found: dict[str, Path] = {}
        known = {root.path for root in self.known}
        for folder in _folders(self.tree):
            for each in _ID.findall(folder.name):
                # Who has logged in may make cgroups of any name: what is elsewhere goes before.
                if each in containers and not (each in found and _LOGINS in folder.parts):
                    found[each] = folder
        fresh: list[Cgroup] = []
        strange: dict[str, str] = {}
        for each, folder in found.items():
            root = self._root_of(each, folder)
            if root is None or (root not in known and len(self.known) >= MOST_ROOTS):
                strange[each] = f"/{folder.relative_to(self.tree)}"
            elif root not in known and (there := _cgroup(root, self.known[0].hierarchy)):
                known.add(root)
                fresh.append(there)
                self.known.append(there)
        return fresh, strange

    def _root_of(self, container: str, folder: Path) -> Path | None:
        """The root for a container's folder; None where the kubelet's layout is not there."""
        own = folder.relative_to(self.tree).parts[-_LAYOUT:]
        if container_id.from_cgroup_path("/" + "/".join(own)) != container:
            return None
        named = next((each for each in folder.parents if _is_kubepods(each.name) and each != self.tree), None)
        root = named or (folder.parent if ":" in folder.name else folder.parent.parent)
        return None if root == self.tree else root  # the eBPF program takes none that all processes are below


def _best(cgroup_root: Path) -> tuple[Path, list[Cgroup]]:
    """The first tree that has pods, or else the first with a root; and its roots."""
    there = trees(cgroup_root)
    if not there:
        raise SensorUnavailable(f"no cgroup tree at {cgroup_root}, neither v2 nor v1: is /sys/fs/cgroup mounted there?")
    by_tree = {hierarchy: _by_name(tree) for hierarchy, tree in there.items()}
    with_roots: list[Hierarchy] = [hierarchy for hierarchy, roots in by_tree.items() if roots]
    if not with_roots:
        looked_at = ", ".join(map(str, there.values()))
        raise SensorUnavailable(f"no kubepods cgroup in {looked_at}; is this a node with a kubelet?")
    best = next((each for each in with_roots if any(map(_has_pods, by_tree[each]))), with_roots[0])
    roots = [found for root in by_tree[best] if (found := _cgroup(root, best))]
    return there[best], roots[:MOST_ROOTS]


def _cgroup(folder: Path, hierarchy: Hierarchy) -> Cgroup | None:
    """None where it is gone meanwhile."""
    try:
        return Cgroup(folder.stat().st_ino, folder, hierarchy)
    except FileNotFoundError:
        return None


def _by_name(tree: Path) -> list[Path]:
    """Those nearest to the top; where they have no pods, those that do come first. Logins' own come last."""
    found: list[Path] = []
    for folder in _folders(tree):
        if _is_kubepods(folder.name) and not any(above in folder.parents for above in found):
            found.append(folder)
    own = [each for each in found if _LOGINS not in each.parts] or found
    nearest = [each for each in own if len(each.parts) == len(own[0].parts)]
    for candidates in (nearest, own, found):
        if with_pods := [each for each in candidates if _has_pods(each)]:
            return [*with_pods, *(each for each in nearest if each not in with_pods)]
    return nearest


def _has_pods(root: Path) -> bool:
    return any(container_id.pod_uid(f"/{root.name}/{each.relative_to(root)}") for each, _ in folders_below(root, 2))


def _is_kubepods(name: str) -> bool:
    return name == "kubepods" or name.endswith("kubepods.slice")


def _folders(tree: Path) -> Iterator[Path]:
    """Folders of the tree, the nearest first, but none inside a container: that may be a node itself (kind)."""
    below = folders_below(tree, _DEEPEST, lambda each: not container_id.from_folder(each.name))
    return (folder for folder, _ in below)
