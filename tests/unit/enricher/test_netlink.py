import errno
import os
import socket
import struct
from typing import Never, cast

import pytest

from enricher.audit.netlink_socket import AUDIT_SECCOMP, BATCH, AuditSource, SourceUnavailable

TEXT = (
    b"audit(1795424943.092:9842): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=26255 "
    b'comm="env" exe="/bin/busybox" sig=0 arch=c000003e syscall=59 compat=0 ip=0x461857 code=0x7ffc0000'
)
AUDIT_USER_AVC = 1107


class Arrived:
    """A socket that hands out, in order, messages of (type, text, sender's port) or errors."""

    def __init__(self, *arrivals: tuple[int, bytes, int] | bytes | OSError) -> None:
        self._arrivals = list(arrivals)

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[int, int]]:
        if not self._arrivals:
            raise BlockingIOError
        arrival = self._arrivals.pop(0)
        if isinstance(arrival, OSError):
            raise arrival
        if isinstance(arrival, bytes):
            return arrival, (0, 1)
        kind, text, port = arrival
        return struct.pack("=IHHII", 16 + len(text), kind, 0, 0, 0) + text, (port, 1)


def source(*arrivals: tuple[int, bytes, int] | bytes | OSError) -> AuditSource:
    return AuditSource(cast("socket.socket", Arrived(*arrivals)))


def counts(audit: AuditSource) -> dict[str, int]:
    names = ("foreign", "unparsable", "forged", "overruns")
    return {name: count for name in names if (count := getattr(audit, name))}


RECORD = (AUDIT_SECCOMP, TEXT, 0)


def test_events_of_the_kernel_are_read_until_there_are_no_more() -> None:
    audit = source(RECORD, RECORD)
    assert [record.pid for record in audit.read()] == [26255, 26255]
    assert audit.read() == []
    assert counts(audit) == {}


@pytest.mark.parametrize(
    ("arrival", "counter"),
    [
        ((AUDIT_USER_AVC, TEXT, 0), "foreign"),
        ((AUDIT_SECCOMP, TEXT, 4242), "forged"),
        ((AUDIT_USER_AVC, TEXT, 4242), "forged"),
        ((AUDIT_SECCOMP, b"nonsense", 0), "unparsable"),
        ((AUDIT_SECCOMP, b"", 0), "unparsable"),
        (b"", "unparsable"),
        (b"short", "unparsable"),
        (OSError(errno.ENOBUFS, "No buffer space available"), "overruns"),
    ],
)
def test_what_is_no_event_of_the_kernel_is_counted_and_the_next_event_is_read(
    arrival: tuple[int, bytes, int] | bytes | OSError, counter: str
) -> None:
    audit = source(arrival, RECORD)
    assert len(audit.read()) == 1
    assert counts(audit) == {counter: 1}


def test_one_read_takes_a_bounded_batch_and_leaves_the_rest_for_the_next() -> None:
    audit = source(*[RECORD] * (BATCH + 1))
    assert len(audit.read()) == BATCH
    assert len(audit.read()) == 1


def test_another_error_of_the_socket_is_not_swallowed() -> None:
    audit = source(OSError(errno.EBADF, os.strerror(errno.EBADF)))
    with pytest.raises(OSError, match="Bad file descriptor"):
        audit.read()


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (errno.EPERM, "CAP_AUDIT_READ"),
        (errno.EPROTONOSUPPORT, "CONFIG_AUDIT"),
        (errno.EAFNOSUPPORT, "Address family not supported"),
    ],
)
def test_a_kernel_that_refuses_is_explained(monkeypatch: pytest.MonkeyPatch, error: int, remedy: str) -> None:
    def refuse(*_: object) -> Never:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(SourceUnavailable, match=remedy):
        AuditSource.open(1 << 20)
