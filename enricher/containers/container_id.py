"""Finds the container in a cgroup path, as the kubelet's and the runtimes' cgroup drivers lay it out.

The kubelet gives each pod a folder under `kubepods`, the runtime each container one below it:

    cgroupfs  /kubepods/burstable/pod<uid>/<id>
    systemd   /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope
    mixed     /system.slice/containerd.service/kubepods-burstable-pod<uid>.slice:cri-containerd:<id>

Above, there may be more (kind, k3s: `/kubelet.slice/kubelet-kubepods.slice/...`); below, whatever the container makes
for itself, which counts for nothing: the outermost pod and the folder right under it decide. A pod's sandbox (pause)
looks like any other container. A reader in a cgroup namespace of its own sees paths relative to itself, `/../../...`.
"""

import re

_ID = r"([0-9a-f]{64})"
# In systemd's names `-` is a level, so the kubelet writes `_`; a static pod's uid is a hash without either.
_UID = r"([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})"

_POD = re.compile(
    r"(?:"
    r"(?:^|/)kubepods/(?:besteffort/|burstable/)?pod" + _UID + r"|"
    # Seen from a container's own namespace, `kubepods` itself may be among the levels that `..` stands for.
    r"^/(?:\.\./)+(?:besteffort/|burstable/)?pod" + _UID + r"|"
    r"(?:^|/)(?:[^/]+-)?kubepods(?:-besteffort|-burstable)?-pod" + _UID + r"\.slice"
    r")(?=[/: ]|$)"
)

# crio-conmon-<id>.scope is not among them: conmon watches the container from outside.
_FOLDER = re.compile(r"(?:(?:cri-containerd|crio|docker)-" + _ID + r"\.scope|(?:crio-)?" + _ID + r")(?: \(deleted\))?")
_MIXED = re.compile(r":(?:cri-containerd|crio|docker):" + _ID + r"(?: \(deleted\))?")


def from_cgroup_path(path: str) -> str | None:
    """The container whose cgroup, or a cgroup inside it, this is; None outside of the kubelet's pods."""
    pod = _pod(path)
    if pod is None:
        return None
    rest = path[pod.end() :]
    if rest.startswith(":"):
        return _only_group(_MIXED.fullmatch(rest.split("/", 1)[0]))
    return from_folder(rest.split("/", 2)[1]) if rest.startswith("/") else None


def from_cgroup_file(text: str) -> str | None:
    """The container of a process, by its `/proc/PID/cgroup` (cgroups(7)): v1, v2, or both at once.

    A process can be moved in one hierarchy and not in the others; where they disagree, the answer is None.
    """
    # Not splitlines: a cgroup's name may hold what Unicode takes for a line end, only never a newline.
    paths = (line.split(":", 2)[2] for line in text.split("\n") if line.count(":") >= 2)
    containers = {container for path in paths if (container := from_cgroup_path(path))}
    return containers.pop() if len(containers) == 1 else None


def from_folder(name: str) -> str | None:
    """The container by its own folder's name alone, e.g. `cri-containerd-<id>.scope`.

    Weaker than the whole path: any process that may make cgroups can choose such a name.
    """
    return from_cgroup_path(f"/{name}") if ":" in name else _only_group(_FOLDER.fullmatch(name))


def pod_uid(path: str) -> str | None:
    """The uid of the pod whose cgroup, or a cgroup inside it, this is; of a static pod, the hash of its manifest."""
    pod = _pod(path)
    uid = _only_group(pod)
    return uid.replace("_", "-") if uid else None


def _pod(path: str) -> re.Match[str] | None:
    """The outermost pod's folder, unless a login user's own systemd made it (`systemctl --user`)."""
    pod = _POD.search(path)
    return None if pod is None or "/user.slice/" in path[: pod.start() + 1] else pod


def _only_group(match: re.Match[str] | None) -> str | None:
    return next(filter(None, match.groups()), None) if match else None
