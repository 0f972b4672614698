"""Which container a process is in, by its `/proc/PID/cgroup`: for sensors that learn no cgroup id from the kernel.

Each container gets a number, which its events carry as `cgroup`.
"""

import itertools
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from enricher.containers import container_id
from enricher.containers.cgroup_resolver import is_sandbox
from enricher.containers.container_name import container_name
from enricher.containers.containers import CgroupRef
from enricher.containers.pod_roots import PodRoots
from enricher.events import ProcessEvent, process_of
from enricher.sensors.unavailable import SensorUnavailable

OUTSIDE: Final = 0
"""The number of all that is in no pod's container."""
_MOST_TEXTS: Final = 16_384


class ProcCgroupResolver:
    """Containers by number.

    Args:
        cgroup_root: The node's `/sys/fs/cgroup`: shows which container is a pod's sandbox, and which is gone. On nodes
            with cgroup v1 only nothing does, until the kubelet has reported the others' ids.

    """

    def __init__(self, cgroup_root: Path) -> None:
        self.known: dict[int, CgroupRef] = {}
        """Those that were found, by number."""
        self._numbers: dict[str, int] = {}
        self._folders: dict[int, Path] = {}
        self._fresh = itertools.count(OUTSIDE + 1)
        self._by_text: dict[str, int] = {}
        self._roots: PodRoots | None
        try:
            self._roots = PodRoots(cgroup_root)
        except SensorUnavailable:
            self._roots = None

    def of(self, event: ProcessEvent) -> CgroupRef:
        """Where an event's process is."""
        return self.known.get(event.cgroup) or CgroupRef("unknown")

    def again(self, event: ProcessEvent) -> CgroupRef:
        """The same, with the container's name where the process still shows it."""
        ref = self.of(event)
        if ref.pod_uid is None or ref.name or event.cgroup not in self.known:
            return ref
        if name := container_name(process_of(event).pid, ref.pod_uid):
            ref = self.known[event.cgroup] = replace(ref, name=name)
        return ref

    def is_there(self, container_id: str) -> bool:
        """Whether a container is known, and has a cgroup still where that is to be seen."""
        number = self._numbers.get(container_id)
        if number is None:
            return False
        folder = self._folders.get(number)
        return folder is None or folder.exists()

    def scan(self) -> None:
        """Nothing to list: a container is found with its first process."""

    def search(self, containers: Collection[str]) -> dict[str, str]:
        """Look everywhere for containers, for the folders that they and their pods' sandboxes have."""
        if self._roots is None:
            return {}
        fresh, strange = self._roots.search(containers)
        if fresh:
            self._by_text.clear()
        return strange

    def number(self, text: str) -> int:
        """The number of the container that a cgroup file's text shows; `OUTSIDE` for none."""
        found = self._by_text.get(text)
        if found is None:
            if len(self._by_text) >= _MOST_TEXTS:
                self._by_text.clear()
            found = self._by_text[text] = self._take(text)
        return found

    def forget_gone(self, is_populated: Callable[[int], bool]) -> list[CgroupRef]:
        """Drop the containers without processes, and return them. No number is used again."""
        gone = [number for number in self.known if not is_populated(number)]
        refs = [self.known.pop(number) for number in gone]
        for number, ref in zip(gone, refs, strict=True):
            del self._numbers[ref.container_id]
            self._folders.pop(number, None)
        if gone:
            self._by_text.clear()
        return refs

    def _take(self, text: str) -> int:
        for login in self._roots.in_logins if self._roots else ():
            text = text.replace(f":/{login.parent}/", ":/")  # it was found by a pod of this node
        found = container_id.from_cgroup_file(text)
        if found is None:
            return OUTSIDE
        if found not in self._numbers:
            number = self._numbers[found] = next(self._fresh)
            paths = [line.split(":", 2)[2] for line in text.split("\n") if line.count(":") >= 2]
            uids = {uid for path in paths if (uid := container_id.pod_uid(path))}
            folder = next(filter(None, (self._folder(path, found) for path in paths)), None)
            if folder:
                self._folders[number] = folder
            uid = uids.pop() if len(uids) == 1 else None
            self.known[number] = CgroupRef(found, uid, sandbox=folder is not None and is_sandbox(folder))
        return self._numbers[found]

    def _folder(self, path: str, found: str) -> Path | None:
        # Paths begin at the reader's own cgroup, `/../../burstable/...` in a container, and may go on inside the
        # container: sure is what is between.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        own = next((index for index, part in enumerate(parts) if container_id.from_folder(part) == found), -1)
        tops = [root.path for root in self._roots.known] if self._roots else []
        folders = (top.joinpath(*parts[start : own + 1]) for top in tops for start in range(own + 1))
        return next((each for each in folders if each.is_dir()), None)
