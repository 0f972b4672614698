"""The pods' control groups, by which their processes are found."""

import os
from functools import partial
from pathlib import Path

from .container_runtimes import TOPS
from .mounts import mounted
from .process import Process, end, find, wait_until

# kubelet's cgroupDriver cgroupfs puts all pods below it, in each v1 hierarchy and in the v2 tree.
_GROUP = "kubepods"


def kubepods() -> list[Path]:
    """The kubelet's top groups that exist, one per mounted hierarchy."""
    return _existing(_GROUP)


def pod_groups() -> list[Path]:
    """All top groups with pods that exist: the kubelet's, and those of runtimes that put theirs elsewhere."""
    return _existing(_GROUP, *TOPS)


def _existing(*groups: str) -> list[Path]:
    points = [point for point, kind in mounted() if kind in {"cgroup", "cgroup2"}]
    return [point / group for point in points for group in groups if (point / group).is_dir()]


def pod_processes() -> set[Process]:
    """The processes of all pods."""
    folders = [folder for top in pod_groups() for folder, _, _ in os.walk(top)]
    pids = {pid for folder in folders for pid in Path(folder, "cgroup.procs").read_text().split()}
    return {process for pid in pids if (process := find(int(pid)))}


def end_pods() -> None:
    """Kill the processes of all pods and remove their groups."""
    # A process may fork between the look and the kill: look again until there is none.
    wait_until(lambda: not _kill_all(), 20)
    for top in pod_groups():
        for folder, _, _ in os.walk(top, topdown=False):
            # A group of a process that is on its way out is busy for a moment.
            wait_until(partial(_removed, folder), 2)


def _kill_all() -> bool:
    """Kill the processes that the groups list; whether there were any."""
    processes = pod_processes()
    for process in processes:
        end(process, grace=0)
    return bool(processes)


def _removed(group: str) -> bool:
    try:
        os.rmdir(group)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
