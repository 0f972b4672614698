"""The machines: which kernel, which cgroups, which tests, and why others are left out."""

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["amd64", "arm64"]
Cgroups = Literal["v2", "v1", "hybrid"]

USERLAND = "bookworm"
PYTHON = "3.11"
"""That suite's."""

PACKAGES = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "grep", "libc-bin", "mawk", "sed"),
    *("mount", "util-linux", "procps", "iproute2", "auditd", "python3", "libbpf1", "libseccomp2"),
    *("make", "clang", "libbpf-dev", "linux-libc-dev", "libc6-dev"),  # the tests compile
)
REQUIREMENTS = (
    *("pytest", "iniconfig", "packaging", "pluggy", "pygments", "pytest-timeout", "pytest-xdist", "execnet"),
    *("hypothesis", "sortedcontainers", "msgspec", "prometheus-client", "urllib3", "google-re2", "isal", "rich"),
)
"""Of those in requirements/dev.txt what the kernel's tests import, with what that needs."""


@dataclass(frozen=True)
class Machine:
    """A virtual machine that runs all tests but `left_out`: files, or single tests, each with the reason.

    `kernel` is the metapackage of one in `suite`. `sensor` is the best that the enricher can have there, `missing`
    what it says of those before it, one each. `minutes` is how long it may take, emulated.
    """

    name: str
    architecture: Architecture
    suite: str
    kernel: str
    cgroups: Cgroups
    left_out: dict[str, str]
    sensor: str = "bpf"
    missing: tuple[str, ...] = ()
    minutes: int = 60


def _files(*names: str, why: str) -> dict[str, str]:
    return {f"tests/kernel/test_{name}.py": why for name in names}


_LEDGER = (
    *("bpf_compat", "bpf_evasion", "bpf_exec", "bpf_failed", "bpf_filter", "bpf_fork_exit", "bpf_on_node"),
    *("bpf_older_kernels", "bpf_paths", "bpf_runtime", "entering", "many_at_once", "nested_node"),
)
_V1 = _files("bpf_cgroup_v1", why="there is no tree of v1")
_ALWAYS = _files("sink_faults", why="it is about file systems, and the same on every kernel") | {
    "tests/kernel/test_bpf_exec.py::test_all_of_5000_execs_in_a_row_are_captured": "emulated, it takes too long",
    "tests/kernel/test_procconn.py::test_arguments_are_those_of_the_exec_or_marked_weak": "emulated, it takes too long",
}

MACHINES = (
    Machine("linux-6.1", "amd64", "bookworm", "linux-image-amd64", "v2", _V1 | _ALWAYS),
    Machine(
        "linux-6.1-cgroup-v1", "amd64", "bookworm", "linux-image-amd64", "v1",
        _files(*_LEDGER, "procconn", "restart", "auditd_agent", why="their pods are in a tree of v2") | _ALWAYS,
    ),
    Machine("linux-6.12", "amd64", "trixie", "linux-image-amd64", "v2", _V1 | _ALWAYS),
    Machine(
        "linux-5.10", "amd64", "bullseye", "linux-image-amd64", "hybrid",
        _files(*_LEDGER, "bpf_cgroup_v1", "restart", "auditd_agent", why="they need eBPF, so Linux 5.11") | _ALWAYS,
        sensor="procconn", missing=("and it takes 5.11 or newer",),
    ),
    Machine("linux-6.1-arm64", "arm64", "bookworm", "linux-image-arm64", "v2", _V1 | _ALWAYS),
)  # fmt: skip
