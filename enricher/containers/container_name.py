"""A container's name, by what the kubelet has mounted into it: it is there a second before the kubelet reports the id.

The kubelet makes a file for each start of a container, `/var/lib/kubelet/pods/<uid>/containers/<name>/<random>`, and
has it mounted as the container's termination log. `/proc/PID/mountinfo` (proc(5)) of any process in there shows its
path within the kubelet's file system, and takes no privilege to be read.
"""

import re
from pathlib import Path

_PROC = Path("/proc")
_MOUNTED = re.compile(r" (?:/[^ ]*)?/pods/([^/ ]+)/containers/([a-z0-9-]{1,63})/[0-9a-f]{8} /", re.ASCII)
_MOST_BYTES = 1 << 20


def container_name(pid: int, pod_uid: str, proc: Path = _PROC) -> str:
    """The name of the container that a process of this pod is in; empty where none or several are found."""
    try:
        with (proc / str(pid) / "mountinfo").open(encoding="utf-8", errors="replace") as file:
            mounts = file.read(_MOST_BYTES)
    except OSError:  # it is gone
        return ""
    names = {name for uid, name in _MOUNTED.findall(mounts) if uid == pod_uid}
    return names.pop() if len(names) == 1 else ""
