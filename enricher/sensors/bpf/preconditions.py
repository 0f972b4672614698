"""What a node must offer before the eBPF sensor is tried: said by name, instead of libbpf's EPERM or EINVAL."""

import re
from pathlib import Path

from enricher.sensors.unavailable import SensorUnavailable

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")
OWN_STATUS = Path("/proc/self/status")

# include/uapi/linux/capability.h. PERFMON: to trace; BPF: to make maps and load programs. Since Linux 5.8.
_NEEDED = {"CAP_PERFMON": 1 << 38, "CAP_BPF": 1 << 39}
_CAP_SYS_ADMIN = 1 << 21  # includes both

OLDEST = (5, 11)
"""The first Linux that counts the memory of maps to the container, and not to RLIMIT_MEMLOCK, which is too low."""


def check(object_path: Path, kernel_btf: Path = KERNEL_BTF, status: Path = OWN_STATUS) -> None:
    """Raises SensorUnavailable with the first reason that stands against loading `object_path` here."""
    if not object_path.is_file():
        raise SensorUnavailable(f"{object_path} is missing: compile it with `make -C {object_path.parent}`")
    if not kernel_btf.exists():
        raise SensorUnavailable(f"the kernel has no BTF at {kernel_btf} (it needs CONFIG_DEBUG_INFO_BTF)")
    missing = missing_capabilities(status.read_text(encoding="ascii", errors="replace"))
    if missing:
        raise SensorUnavailable(f"missing {' and '.join(missing)} in the container's securityContext.capabilities")


def age(release: str) -> str:
    """What to add to the kernel's own reason for refusing the program, by its release (uname(2)); mostly nothing."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None or (int(numbers[1]), int(numbers[2])) >= OLDEST:
        return ""
    return f"; this is Linux {release}, and it takes {OLDEST[0]}.{OLDEST[1]} or newer"


def missing_capabilities(status: str) -> list[str]:
    """Names of the capabilities that the process with this `/proc/PID/status` lacks (proc(5), CapEff)."""
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    if effective & _CAP_SYS_ADMIN:
        return []
    return [name for name, bit in _NEEDED.items() if not effective & bit]
