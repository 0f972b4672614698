"""What netlink sockets of the kernel have in common, whichever protocol they speak (netlink(7), socket(7))."""

import ctypes
import socket
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

KERNEL: Final = 0
"""The port id that only the kernel has. Root in the same network namespace can send to a socket or a group as well, and
writes the header of its message; only the sender's address comes from the kernel."""

HEADER: Final = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port id."""

GIVE_ALL: Final = (0x06, 0, 0, 0xFFFFFFFF)  # BPF_RET|BPF_K
"""The instruction of a filter that takes all of the message."""
GIVE_NOTHING: Final = (0x06, 0, 0, 0)
"""The instruction of a filter that drops the message."""

_SO_ATTACH_FILTER: Final = 26
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("=9I")
_MEMINFO_DROPS: Final = 8

Instruction = tuple[int, int, int, int]
"""One of classic BPF: code, where to jump if true and if false, and its number (struct sock_filter)."""


class SocketCounters(NamedTuple):
    """What befell a socket of the kernel's since the start."""

    forged: int = 0
    """Messages that the kernel did not send, and that were refused."""
    overruns: int = 0
    """How often its buffer was full; what was dropped for it is among the losses."""


def attach_filter(to: socket.socket, instructions: Iterable[Instruction]) -> None:
    """Let the kernel drop messages that a program in classic BPF does not give (socket(7), SO_ATTACH_FILTER).

    Its loads are in network order. Raises OSError where the kernel refuses it.
    """
    packed = [struct.pack("=HBBI", *each) for each in instructions]
    program = ctypes.create_string_buffer(b"".join(packed))
    sock_fprog = struct.pack("@HP", len(packed), ctypes.addressof(program))
    to.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, sock_fprog)  # copies the program


def dropped(of: socket.socket) -> int:
    """How many messages the kernel dropped since the start because the receive buffer was full.

    Exact, and of those only that pass the socket's filter: it throws out the rest before.
    """
    meminfo = of.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    return int(_MEMINFO.unpack(meminfo)[_MEMINFO_DROPS])
