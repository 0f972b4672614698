"""How much memory a process has to itself, and what a full node takes of it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, at_most

_PRIVATE = ("Private_Clean:", "Private_Dirty:")


def private_mib(pid: int) -> float:
    """MiB that would be free without this process (`/proc/PID/smaps_rollup`, proc(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(_PRIVATE)) / 1024


def resident_mib(pid: int, line: str = "VmRSS") -> float:
    """MiB in memory, shared ones as well; `VmHWM` for the most that there were (`/proc/PID/status`, proc(5))."""
    status = dict(each.split(":", 1) for each in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status[line].split()[0]) / 1024


def figures() -> Iterator[Figure]:
    """Of the program alone; of a full node; what a load, played as fast as it goes, leaves behind."""
    yield at_most(32, "memory-of-the-program", _imported(), "MiB", "private memory after importing all of the enricher")
    module = [sys.executable, "-m", "bench.crowd"]
    answer = subprocess.run(module, check=True, capture_output=True, text=True, timeout=300).stdout
    listed, _, early, late = map(float, answer.split())
    how = "private memory that is left of mirroring 10,000 closed sessions of a cluster"
    yield at_most(4, "memory-of-closed-sessions", listed, "MiB", how)
    how = "private memory with these, 110 synthetic pods of 20 processes and 50 open sessions, after 100,000 execs"
    yield at_most(32, "memory-of-a-full-node", late, "MiB", f"{how}; the sensor's own, 8 MiB at most with bpf, apart")
    how = "growth from the first 50,000 execs of that load to the second"
    yield at_most(1, "memory-growth-under-load", late - early, "MiB", how)


def _imported() -> float:
    program = "import enricher.__main__, sys; print(flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("no pipes")
        process.stdout.readline()
        mib = private_mib(process.pid)
        process.stdin.close()
    return mib
