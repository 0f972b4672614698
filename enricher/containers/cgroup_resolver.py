"""Which container a cgroup belongs to."""

import itertools
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from enricher.cgroup import NODE_CGROUP, Cgroup
from enricher.containers import container_id
from enricher.containers.cgroupfs import CgroupIndex, folders_below
from enricher.containers.container_name import container_name
from enricher.containers.containers import NODE, CgroupRef
from enricher.containers.pod_roots import PodRoots
from enricher.events import ExitEvent, ProcessEvent, process_of

_MOST_NAMED = 1024
_MOST_ASKED = 8
"""Processes of a container whose mounts are read for its name at once."""


class CgroupResolver(Protocol):
    """Knows where processes are."""

    def of(self, event: ProcessEvent) -> CgroupRef:
        """Where an event's process is; its pod may not be known yet."""

    def again(self, event: ProcessEvent) -> CgroupRef:
        """The same, once more: its pod may be known by now, and the node is asked for the container's name."""


class NodeCgroups(CgroupResolver, Protocol):
    """The cgroups of this node's containers, as they come and go."""

    @property
    def known(self) -> dict[int, CgroupRef]:
        """Those that were found and are not gone, by the number that events have for them."""

    def is_there(self, container_id: str) -> bool:
        """Whether a container is on the node still."""

    def scan(self) -> None:
        """Take in every cgroup of every pod, where they can be listed."""

    def search(self, containers: Collection[str]) -> dict[str, str]:
        """Look everywhere for containers that are in no known cgroup; of those not understood, where they are."""

    def forget_gone(self, is_populated: Callable[[int], bool]) -> list[CgroupRef]:
        """Drop the cgroups that are no more, and return them.

        Args:
            is_populated: Whether one has processes still, wherever these are by now.

        """


class CgroupfsResolver:
    """Cgroups by the kernel's id, looked up in the cgroup tree of the node.

    Args:
        roots: The cgroups that pods are under.

    """

    def __init__(self, roots: PodRoots) -> None:
        self.on_root: Callable[[Cgroup, Callable[[], list[int]]], None] = lambda _root, _below: None
        """Called with a root that was found, and what lists the cgroups below it; set by `enricher.config`."""
        self.known: dict[int, CgroupRef] = {NODE_CGROUP: NODE}
        """Those that were found, by cgroup id."""
        self.folders: dict[int, Path] = {}
        self._named: dict[int, str] = {}
        """Containers whose folder was gone before it was looked for, as far as its name can be believed."""
        self._roots = roots
        self._index = CgroupIndex(roots.known)

    def of(self, event: ProcessEvent) -> CgroupRef:
        """Where the process of an event is.

        A container that lives only for moments may be gone before its folder is looked for; then the folder's
        name in the event still shows the container. A container can name cgroups inside of its own as it likes, also
        as another container: whose own cgroup is known has no other one.
        """
        if ref := self.known.get(event.cgroup):
            return ref
        if found := self._index.path(event.cgroup):
            return self._take(event.cgroup, *found)
        named, unnamed = self._named.get(event.cgroup), f"cgroup-{event.cgroup}"
        if named is None and not isinstance(event, ExitEvent) and (name := container_id.from_folder(event.cgroup_name)):
            named = unnamed if any(ref.container_id == name for ref in self.known.values()) else name
            self._named[event.cgroup] = named  # the end of its processes is reported without the name
            if len(self._named) > _MOST_NAMED:
                del self._named[next(iter(self._named))]
        return CgroupRef(named or unnamed)

    def again(self, event: ProcessEvent) -> CgroupRef:
        """The same, with the container's name where a process in there still shows it."""
        ref = self.of(event)
        if ref.pod_uid is None or ref.name:
            return ref
        # Also of those inside: crun puts all of a container's processes into one.
        own = [each for each, found in self.known.items() if found.container_id == ref.container_id]
        pids = [process_of(event).pid, *itertools.chain.from_iterable(map(self.pids, own))]
        if name := self._named_by(pids, ref.pod_uid):
            ref = self.known[event.cgroup] = replace(ref, name=name)
        return ref

    def is_there(self, container_id: str) -> bool:
        """Whether a container has a cgroup still."""
        cgroups = [cgroup for cgroup, ref in self.known.items() if ref.container_id == container_id]
        return any(self.folders[cgroup].exists() for cgroup in cgroups if cgroup in self.folders)

    def scan(self) -> None:
        """Take in every cgroup of every pod."""
        for root in self._roots.known:
            for folder, cgroup in folders_below(root.path):
                if cgroup not in self.known and container_id.from_cgroup_path(_path(root.path, folder)):
                    self._take(cgroup, root.path, folder)

    def search(self, containers: Collection[str]) -> dict[str, str]:
        """Look everywhere for containers, and from now on where they are found."""
        fresh, strange = self._roots.search(containers)
        for root in fresh:
            self.on_root(root, partial(_below, root))
        return strange

    def pids(self, cgroup: int) -> list[int]:
        """The processes in a cgroup now (cgroup.procs)."""
        try:
            return [int(line) for line in (self.folders[cgroup] / "cgroup.procs").read_text().split()]
        except (KeyError, OSError):
            return []

    def forget_gone(self, is_populated: Callable[[int], bool] = lambda _cgroup: False) -> list[CgroupRef]:
        """Drop the cgroups whose folders are no more, and return them."""
        gone = [each for each, folder in self.folders.items() if not folder.exists() and not is_populated(each)]
        for cgroup in gone:
            del self.folders[cgroup]
        return [self.known.pop(cgroup) for cgroup in gone]

    def _take(self, cgroup: int, root: Path, folder: Path) -> CgroupRef:
        path = _path(root, folder)
        found, uid = container_id.from_cgroup_path(path), container_id.pod_uid(path)
        inner = found is not None and container_id.from_folder(folder.name) != found
        if inner:  # the runtime's own (crun's `container`), or made before we looked: it goes by the container's
            own = next((each for each in folder.parents if container_id.from_folder(each.name) == found), root)
            with suppress(FileNotFoundError):
                if own != root and (above := own.stat().st_ino) not in self.known:
                    self._take(above, root, own)
        self.folders[cgroup] = folder
        ref = self.known[cgroup] = CgroupRef(
            found or f"cgroup-{cgroup}",
            uid,
            # In a pod and no container: the runtime's own, which watches one from outside and sends in what enters it.
            sandbox=found is None or (not inner and is_sandbox(folder)),
            inner=inner,
            name=self._named_by(self.pids(cgroup), uid) if found and uid else "",
        )
        return ref

    def _named_by(self, pids: list[int], pod_uid: str) -> str:
        return next(filter(None, (container_name(pid, pod_uid) for pid in pids[:_MOST_ASKED])), "")


def _path(root: Path, folder: Path) -> str:
    return f"/{root.name}/{folder.relative_to(root)}"


def _below(root: Cgroup) -> list[int]:
    return [cgroup for _, cgroup in folders_below(root.path)]


def is_sandbox(folder: Path) -> bool:
    """Whether it is the first cgroup of its pod: ids rise, and the runtime makes the sandbox before anything else.

    CRI-O makes none for most pods (`drop_infra_ctr`): the first one is a container there.
    """
    if folder.name.startswith("crio-"):
        return False
    try:
        siblings = [each for each in folder.parent.iterdir() if container_id.from_folder(each.name)]
        if pod := container_id.pod_uid(f"/{folder.name}"):  # the folder is both pod's and container's
            siblings = [each for each in siblings if container_id.pod_uid(f"/{each.name}") == pod]
        return folder in siblings and folder == min(siblings, key=lambda each: each.stat().st_ino)
    except FileNotFoundError:  # one of them ended meanwhile: ours is not the first, or will be looked at no more
        return False
