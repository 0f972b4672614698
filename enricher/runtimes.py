"""The container runtimes that run a container's processes on the node, by the names of their programs."""

from typing import Final

RUNTIMES: Final = ("crun", "runc", "youki")
"""Low-level runtimes (OCI): the kubelet's containerd or CRI-O runs one of them to start or to enter a container."""

_PROGRAMS: Final = frozenset(name.encode() for name in RUNTIMES)
_COMMANDS: Final = frozenset({b"init", b"exec", b"create"})


def is_runtime_name(comm: bytes) -> bool:
    """Whether a process with this name (comm, proc(5)) may be a runtime's own."""
    return comm in _PROGRAMS


def is_runtime(argv: bytes) -> bool:
    """Whether these are the arguments of the container runtime's own process, on its way into a container.

    Without any, it is in the middle of an exec, or has ended and waits for its parent.
    """
    if not argv:
        return True
    words = argv.split(b"\0", 2)
    return words[0].rpartition(b"/")[2] in _PROGRAMS and len(words) > 1 and words[1] in _COMMANDS
