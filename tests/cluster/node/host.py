"""What the node changes on its host, and how the host is put back.

What was there before is written down at the first `up`, so that `down` removes what the node made and
nothing else. cgroup mounts are never touched.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from . import firewall, mounts
from .cgroups import pod_groups, pod_processes
from .config import BRIDGE
from .errors import NodeError
from .paths import HOST_BEFORE, RUN, STATE
from .pki import NODE_ADDRESS
from .run import run, succeeds

# Where kubelet, containerd, CNI and the product's chart write on a node.
FOLDERS = (
    Path("/etc/cni"),
    Path("/opt/cni"),
    Path("/opt/containerd"),
    Path("/run/containerd"),
    Path("/var/lib/cni"),
    Path("/var/lib/exectrail"),
    Path("/var/lib/kubelet"),
    Path("/var/log/containers"),
    Path("/var/log/pods"),
    Path("/var/log/security-profiles-operator"),
)
# Set by kubelet (https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/, protectKernelDefaults),
# kube-proxy, the CNI bridge and us.
SYSCTLS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
TRACEFS = Path("/sys/kernel/tracing")


@dataclass(frozen=True)
class Before:
    """The host before the node. `folders` maps each of FOLDERS to its entries, or None where it was absent."""

    boot: str
    folders: dict[str, list[str] | None]
    mounts: list[str]
    sysctls: dict[str, str]
    address: bool
    tracefs: bool
    chains: dict[str, list[str]]


def remember() -> None:
    """Write down what the host is like, unless that was done. Raises NodeError if a kubelet runs here already."""
    if HOST_BEFORE.exists():
        return
    if pod_processes():
        raise NodeError("another kubelet has pods on this machine (cgroup kubepods): the node needs one without")
    before = Before(
        boot=_boot(),
        folders={str(folder): _entries(folder) for folder in FOLDERS},
        # Also RUN: a container that is the node has mounted its own there, over that of the machine.
        mounts=[str(point) for point in mounts.within((RUN, *FOLDERS))],
        sysctls={name: value for name in SYSCTLS if (value := _sysctl(name)) is not None},
        address=_has_address(),
        tracefs=_has_tracefs(),
        chains={command: sorted(firewall.chains(command)) for command in firewall.COMMANDS},
    )
    STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = HOST_BEFORE.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(before), indent=2))
    partial.rename(HOST_BEFORE)


def rebooted() -> bool:
    """Whether the machine was restarted since: then processes, mounts and network are gone, and files are not."""
    return HOST_BEFORE.exists() and _read().boot != _boot()


def prepare() -> None:
    """Give the host what the node needs and a distribution has."""
    if not _has_address():
        # An address of its own, since the API server refuses to advertise a loopback one.
        run("ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", "lo")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    # Where it is missing as a module it is built in, or kube-proxy says so.
    succeeds("modprobe", "br_netfilter")
    if TRACEFS.is_dir() and not _has_tracefs():
        run("mount", "-t", "tracefs", "tracefs", TRACEFS)
    RUN.mkdir(mode=0o711, exist_ok=True)


def restore() -> None:
    """Put the host back to what `remember` saw. The node's processes have ended before."""
    before = _read()
    for point in _new_mounts(before):
        # Lazily: a process in another mount namespace may still look into it.
        run("umount", "--lazy", point)
    if before.tracefs is False and _has_tracefs():
        run("umount", TRACEFS)
    _remove_network(before)
    for folder, entries in before.folders.items():
        _remove_new(Path(folder), entries)
    shutil.rmtree(RUN, ignore_errors=True)
    for name, value in before.sysctls.items():
        with contextlib.suppress(FileNotFoundError):  # of a module that was unloaded
            Path("/proc/sys", name).write_text(value)


def leftovers() -> Iterator[str]:
    """What of the node is still on the host, one line each."""
    before = _read()
    yield from (f"mount {point}" for point in _new_mounts(before))
    yield from (f"cgroup {cgroup}" for cgroup in pod_groups())
    for folder, entries in before.folders.items():
        yield from (f"file {path}" for path in _new(Path(folder), entries))
    for command, keep in before.chains.items():
        yield from (f"{command} chain {chain}" for chain in firewall.chains(command) - set(keep))
    if Path("/sys/class/net", BRIDGE).exists():
        yield f"network device {BRIDGE}"
    if _has_address() and not before.address:
        yield f"address {NODE_ADDRESS} on lo"


def _read() -> Before:
    return Before(**json.loads(HOST_BEFORE.read_text()))


def _new_mounts(before: Before) -> list[Path]:
    return mounts.within([RUN, STATE, *FOLDERS], but=map(Path, before.mounts))


def _remove_network(before: Before) -> None:
    if Path("/sys/class/net", BRIDGE).exists():
        run("ip", "link", "delete", BRIDGE)
    if _has_address() and not before.address:
        run("ip", "address", "delete", f"{NODE_ADDRESS}/32", "dev", "lo")
    for command, keep in before.chains.items():
        firewall.remove_chains(command, keep)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _entries(folder: Path) -> list[str] | None:
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else None


def _new(folder: Path, entries: list[str] | None) -> list[Path]:
    """What is at `folder` and was not before: the folder itself if it was absent, else its new entries."""
    if not folder.is_dir():
        return []
    if entries is None:
        return [folder]
    return [entry for entry in folder.iterdir() if entry.name not in entries]


def _remove_new(folder: Path, entries: list[str] | None) -> None:
    for path in _new(folder, entries):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)  # `leftovers` reports it
        else:
            path.unlink(missing_ok=True)


def _sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except FileNotFoundError:
        return None


def _has_address() -> bool:
    return f"inet {NODE_ADDRESS}/32 " in run("ip", "address", "show", "dev", "lo")


def _has_tracefs() -> bool:
    return any(point == TRACEFS and kind == "tracefs" for point, kind in mounts.mounted())
