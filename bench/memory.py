"""How much memory a process has to itself."""

from pathlib import Path

_PRIVATE = ("Private_Clean:", "Private_Dirty:")


def private_mib(pid: int) -> float:
    """MiB that would be free without this process (`/proc/PID/smaps_rollup`, proc(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(_PRIVATE)) / 1024
