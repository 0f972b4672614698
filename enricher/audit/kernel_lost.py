"""How many audit records the kernel itself lost: its backlog was full, or its rate limit reached.

They have no serial and leave no trace but the counter `lost` of AUDIT_GET (linux/audit.h, struct audit_status), which
takes CAP_AUDIT_CONTROL and the initial pid namespace. It counts records of every type: an upper bound of ours.
"""

import contextlib
import select
import socket
import struct
from typing import Final, Self

from enricher import netlink
from enricher.audit.netlink_socket import SourceUnavailable

EVERY: Final = 5.0
"""Seconds between two questions."""

_NETLINK_AUDIT: Final = 9
_AUDIT_GET: Final = 1000
_NLMSG_ERROR: Final = 2
_NLM_F_REQUEST: Final = 1
_LOST: Final = struct.Struct("=24xI")  # after mask, enabled, failure, pid, rate_limit, backlog_limit
_ERRNO: Final = struct.Struct("=i")
_WITHIN: Final = 2.0


class KernelLost:
    """Asks the kernel. Attribute `lost` counts since the first answer; the kernel's counter can be set to 0.

    Args:
        audit: A socket of its own: the answers would be filtered out of the one that events come by.

    """

    def __init__(self, audit: socket.socket) -> None:
        self.lost = 0
        self._socket = audit
        self._last: int | None = None
        self._next = 0.0

    @classmethod
    def open(cls) -> Self:
        """Ask for the first time, and wait for the answer.

        Raises:
            SourceUnavailable: The kernel does not answer.

        """
        try:
            audit = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_AUDIT)
        except OSError as error:
            raise SourceUnavailable(f"the kernel's count of lost records: {error.strerror}") from error
        kernel = cls(audit)
        try:
            kernel._ask()
            while kernel._last is None and select.select([audit], [], [], _WITHIN)[0]:
                kernel._take()
        except OSError as error:
            audit.close()
            reason = "it needs CAP_AUDIT_CONTROL, and the node's pid namespace"
            raise SourceUnavailable(f"the kernel's count of lost records: {error.strerror}: {reason}") from error
        return kernel

    def tick(self, now: float) -> None:
        """Take what was answered, and ask again when it is time. The kernel answers from a thread of its own."""
        if now >= self._next:
            self._next = now + EVERY
            for each in (self._take, self._ask):
                with contextlib.suppress(OSError):  # the next answer covers this time as well
                    each()

    def close(self) -> None:
        """Ask no more."""
        self._socket.close()

    def _ask(self) -> None:
        self._socket.sendto(
            netlink.HEADER.pack(netlink.HEADER.size, _AUDIT_GET, _NLM_F_REQUEST, 1, 0), (netlink.KERNEL, 0)
        )

    def _take(self) -> None:
        while True:
            try:
                message, (port, _) = self._socket.recvfrom(8192)
            except BlockingIOError:
                return
            if port == netlink.KERNEL and len(message) >= netlink.HEADER.size:
                self._answer(netlink.HEADER.unpack_from(message)[1], message[netlink.HEADER.size :])

    def _answer(self, kind: int, body: bytes) -> None:
        if kind == _NLMSG_ERROR and (error := -_ERRNO.unpack_from(body)[0]):
            raise OSError(error, "the kernel refuses it")
        if kind != _AUDIT_GET or len(body) < _LOST.size:
            return
        (lost,) = _LOST.unpack_from(body)
        if self._last is not None:
            self.lost += lost - self._last if lost >= self._last else lost
        self._last = lost
