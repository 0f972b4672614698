"""The proc connector: the kernel reports over netlink every fork, exec and exit on the node (CN_IDX_PROC).

See Documentation/driver-api/connector.rst and include/uapi/linux/cn_proc.h. It reports pids and exit codes, never what
a process runs: that has to be read from /proc right after. It works in the initial network, pid and user namespaces
only. Since Linux 6.6 the kernel lets any process listen. The capability that older ones want is required on all of
them, so that one configuration has the same sensor on every node, and because a receive buffer above
`net.core.rmem_max` takes it on all of them.
"""

import errno
import os
import socket
import struct
import time
from typing import Final, NamedTuple, Self

from enricher import netlink
from enricher.sensors.unavailable import SensorUnavailable

BATCH: Final = 256
"""Most events taken by one read."""

_NETLINK_CONNECTOR: Final = 11
_CN_IDX_PROC, _CN_VAL_PROC = 1, 1
_LISTEN, _IGNORE = 1, 2  # enum proc_cn_mcast_op
_NONE, _FORK, _EXEC, _UID, _GID, _EXIT = 0, 1, 2, 4, 0x40, 0x80000000  # enum proc_cn_event
_NLMSG_DONE: Final = 3
_CN_MSG: Final = struct.Struct("=IIIIHH")  # struct cn_msg: idx, val, seq, ack, length, flags
_EVENT: Final = struct.Struct("=IIQ6I")  # struct proc_event: what, cpu, timestamp, then what it is about
_AT: Final = netlink.HEADER.size + _CN_MSG.size
_CHILD_PID, _CHILD_TGID = _AT + 24, _AT + 28
_ACK_WITHIN: Final = 2.0
_CAP_NET_ADMIN: Final = 12

_SO_RCVBUFFORCE: Final = 33


class Forked(NamedTuple):
    """A new process. Of one that was made with CLONE_PARENT the parent is its creator's."""

    time: int
    """Nanoseconds of CLOCK_MONOTONIC, here and below."""
    parent: int
    child: int


class Execed(NamedTuple):
    """A process runs another program; sent when that is in place."""

    time: int
    pid: int


class Exited(NamedTuple):
    """A thread has ended; a process has when its last thread has."""

    time: int
    thread: int
    pid: int
    status: int
    """As of wait(2)."""


class IdChanged(NamedTuple):
    """A process has another real user or group."""

    time: int
    pid: int
    is_group: bool
    real: int


Event = Forked | Execed | Exited | IdChanged


class ProcConnector:
    """All processes of the node, as the kernel sends them.

    The attributes count messages since the start: `forged` (not sent by the kernel, refused) and `overruns` (times
    that the receive buffer was full). `behind` says whether more may wait than the last `read` took.
    """

    def __init__(self, connector: socket.socket) -> None:
        self._socket = connector
        self.forged = 0
        self.overruns = 0
        self.behind = False

    @classmethod
    def open(cls, receive_buffer: int) -> Self:
        """Listen, with a receive buffer in bytes.

        Raises:
            SensorUnavailable: With what is missing.

        """
        if not _has_capability(_CAP_NET_ADMIN):
            raise SensorUnavailable(
                "the proc connector needs CAP_NET_ADMIN: add NET_ADMIN to the container's capabilities "
                "(enricher.capabilities.netAdmin=true)"
            )
        connector = None
        try:
            connector = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _NETLINK_CONNECTOR)
            connector.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer)
            connector.bind((0, _CN_IDX_PROC))
            _ask(connector, _LISTEN)
            _wait_for_acknowledgement(connector)
            _keep_processes_only(connector)
        except OSError as error:
            if connector is not None:
                connector.close()
            raise SensorUnavailable(f"proc connector: {_reason(error)}") from error
        return cls(connector)

    def fileno(self) -> int:
        """The socket, to be polled for reading."""
        return self._socket.fileno()

    def read(self) -> list[Event]:
        """Take what has arrived, at most `BATCH` messages, without waiting."""
        events: list[Event] = []
        self.behind = True
        for _ in range(BATCH):
            try:
                message, (port, _) = self._socket.recvfrom(256)
            except BlockingIOError:
                self.behind = False
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1
                continue
            if port != netlink.KERNEL:
                self.forged += 1
            elif event := decode(message):
                events.append(event)
        return events

    def dropped(self) -> int:
        """How many events the kernel dropped since the start because the receive buffer was full; exact."""
        return netlink.dropped(self._socket)

    def close(self) -> None:
        """Stop listening. Kernels before 6.6 go on making events unless they are stopped."""
        _ask(self._socket, _IGNORE)
        self._socket.close()


def decode(message: bytes) -> Event | None:
    """The event in a netlink message; None for threads' births and for what is nothing to a sensor."""
    if len(message) < _AT + _EVENT.size or _CN_MSG.unpack_from(message, netlink.HEADER.size)[:2] != (
        _CN_IDX_PROC,
        _CN_VAL_PROC,
    ):
        return None
    what, _cpu, at, first, second, third, fourth, _, _ = _EVENT.unpack_from(message, _AT)
    if what == _FORK:
        return Forked(at, second, fourth) if third == fourth else None
    if what == _EXEC:
        return Execed(at, second)
    if what == _EXIT:
        return Exited(at, first, second, third)
    # A thread may have ids of its own; those of the process are its first thread's.
    return IdChanged(at, second, what == _GID, third) if what in (_UID, _GID) and first == second else None


def _has_capability(number: int) -> bool:
    with open("/proc/self/status", "rb") as status:
        effective = next(line for line in status if line.startswith(b"CapEff:"))
    return bool(int(effective.split()[1], 16) >> number & 1)


def _ask(connector: socket.socket, operation: int) -> None:
    payload = struct.pack("=I", operation)
    cn_msg = _CN_MSG.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, os.getpid(), len(payload), 0) + payload
    connector.send(netlink.HEADER.pack(netlink.HEADER.size + len(cn_msg), _NLMSG_DONE, 0, 0, 0) + cn_msg)


def _wait_for_acknowledgement(connector: socket.socket) -> None:
    """In another pid or user namespace the kernel says nothing at all: without an answer nothing will ever come."""
    deadline = time.monotonic() + _ACK_WITHIN
    while time.monotonic() < deadline:
        try:
            message = connector.recv(256)
        except BlockingIOError:
            time.sleep(0.001)
            continue
        _, _, _, answered, *_ = _CN_MSG.unpack_from(message, netlink.HEADER.size)
        what, _cpu, _at, failure, *_ = _EVENT.unpack_from(message, _AT)
        if what == _NONE and answered == os.getpid() + 1:
            if failure:
                raise OSError(failure, os.strerror(failure))
            return
    raise OSError(errno.ETIMEDOUT, "no answer: it works in the initial pid and user namespaces only (hostPID: true)")


def _reason(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "it is there in the initial network namespace only: hostNetwork: true"
    if error.errno == errno.EPROTONOSUPPORT:
        return "this kernel was built without CONFIG_CONNECTOR"
    return error.strerror or str(error)


def _keep_processes_only(connector: socket.socket) -> None:
    """Let the kernel drop births of threads, and all that is neither fork, exec, exit nor a change of ids."""
    load, to_x, if_equal, if_equal_x = 0x20, 0x07, 0x15, 0x1D
    instructions = (
        (load, 0, 0, _AT),
        (if_equal, 4, 0, socket.htonl(_FORK)),
        (if_equal, 7, 0, socket.htonl(_EXEC)),
        (if_equal, 6, 0, socket.htonl(_UID)),
        (if_equal, 5, 0, socket.htonl(_GID)),
        (if_equal, 4, 5, socket.htonl(_EXIT)),
        (load, 0, 0, _CHILD_PID),
        (to_x, 0, 0, 0),
        (load, 0, 0, _CHILD_TGID),
        (if_equal_x, 0, 1, 0),
        netlink.GIVE_ALL,
        netlink.GIVE_NOTHING,
    )
    netlink.attach_filter(connector, instructions)
