"""Reads SECCOMP events from the kernel's audit multicast group (audit(7) netlink, AUDIT_NLGRP_READLOG).

It works with and without auditd, and with `audit_enabled=0`. CAP_AUDIT_READ is enough. The kernel sends to this group
in the initial network namespace only: elsewhere everything succeeds and nothing ever arrives, and no error shows it.
So the agent runs with hostNetwork.
"""

import errno
import socket
import sys
from types import TracebackType
from typing import Final, Self

from enricher import netlink
from enricher.audit import parser
from enricher.audit.datagrams import Datagrams
from enricher.events import SeccompEvent

AUDIT_SECCOMP: Final = 1326

BATCH: Final = 512
"""Most messages taken by one read, so that a flood of events cannot keep the reader from its other work."""

_NETLINK_AUDIT: Final = 9
_READLOG: Final = 1 << 0  # bit mask of group AUDIT_NLGRP_READLOG (1)
_HEADER: Final = netlink.HEADER.size
_TYPE: Final = slice(4, 6)
_SECCOMP: Final = AUDIT_SECCOMP.to_bytes(2, sys.byteorder)
_LARGEST: Final = 16384  # above MAX_AUDIT_MESSAGE_LENGTH (8970) and the header

_REASONS: Final = {
    errno.EPERM: "it needs CAP_AUDIT_READ: add AUDIT_READ to the container's capabilities",
    errno.EPROTONOSUPPORT: "this kernel has no audit: it was built without CONFIG_AUDIT or booted with audit=0",
}


class SourceUnavailable(Exception):
    """An audit source cannot be opened here; the message says why and what would help."""


class AuditSource:
    """SECCOMP events of the whole node, as the kernel sends them.

    The attributes count messages since the start: `foreign` (other types; the socket's filter should let none through),
    `unparsable`, `forged` (not sent by the kernel, refused), and `overruns` (times that the receive buffer was full).
    `behind` says whether more may wait than the last `read` took.
    """

    def __init__(self, audit: socket.socket) -> None:
        self._socket = audit
        self.foreign = 0
        self.unparsable = 0
        self.forged = 0
        self.overruns = 0
        self.behind = False

    @classmethod
    def open(cls, receive_buffer: int) -> Self:
        """Join the group, with a receive buffer in bytes that the kernel caps at `net.core.rmem_max`.

        Raises:
            SourceUnavailable: The kernel refuses; see the message.

        """
        audit = None
        try:
            audit = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_AUDIT)
            # SO_RCVBUFFORCE would lift the cap, but takes CAP_NET_ADMIN.
            audit.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            _keep_seccomp_only(audit)
            audit.bind((0, _READLOG))
        except OSError as error:
            if audit is not None:
                audit.close()
            reason = _REASONS.get(error.errno or 0, error.strerror)
            raise SourceUnavailable(f"audit netlink: {reason}") from error
        return cls(Datagrams(audit, _LARGEST))

    def fileno(self) -> int:
        """The socket, to be polled for reading."""
        return self._socket.fileno()

    def read(self) -> list[SeccompEvent]:
        """Take what has arrived, at most `BATCH` messages, without waiting."""
        # One loop, for its cost: it comes round for every SECCOMP event of the node.
        events: list[SeccompEvent] = []
        self.behind = True
        receive, take = self._socket.recvfrom, events.append
        for _ in range(BATCH):
            try:
                message, (port, _) = receive(_LARGEST)
            except BlockingIOError:
                self.behind = False
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1  # said once per run of drops, then cleared; what did fit is still there
                continue
            if (event := self._event(message, port)) is not None:
                take(event)
        return events

    def receive_buffer(self) -> int:
        """Bytes that the receive buffer really has, by the kernel's accounting (twice what it granted)."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def dropped(self) -> int:
        """How many messages the kernel dropped since the start because the receive buffer was full.

        Exact, and SECCOMP events only (forged ones included): the socket's filter has thrown out the rest before.
        """
        return netlink.dropped(self._socket)

    def close(self) -> None:
        """Leave the group."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _event(self, message: bytes, port: int) -> SeccompEvent | None:
        # A hostNetwork pod with NET_ADMIN can send to this group and to this socket.
        if port != netlink.KERNEL:
            self.forged += 1
            return None
        if message[_TYPE] != _SECCOMP and len(message) >= _HEADER:
            self.foreign += 1
            return None
        try:
            return parser.parse(message[_HEADER:])
        except parser.Unparsable:
            self.unparsable += 1
            return None


def _keep_seccomp_only(audit: socket.socket) -> None:
    """Let the kernel drop other types (classic BPF, socket(7) SO_ATTACH_FILTER).

    A node's own audit rules then neither wake this process nor fill its buffer.
    """
    load_half_word, jump_if_equal = 0x28, 0x15  # BPF_LD|BPF_H|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K
    instructions = (
        (load_half_word, 0, 0, 4),  # nlmsg_type; loads are in network order, the type is in the host's
        (jump_if_equal, 0, 1, socket.htons(AUDIT_SECCOMP)),
        netlink.GIVE_ALL,
        netlink.GIVE_NOTHING,
    )
    netlink.attach_filter(audit, instructions)
