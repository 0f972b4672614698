"""What reading one message of the kernel costs, before anything is made of it."""

import socket
import struct
from collections.abc import Iterator
from typing import cast

from bench.figures import Figure, at_most, cpu_us, seen
from bench.pipeline import RECORDING
from enricher.audit import parser
from enricher.audit.netlink_socket import AUDIT_SECCOMP, BATCH, AuditSource
from enricher.sensors.bpf.decode import decode
from enricher.support import recording
from enricher.support.recording import Audit
from tests.unit.enricher.test_bpf_decode import exec_sample, exit_sample, fork_sample

_MANY = 2_000
_SYSCALL = 1300
_HEADER = struct.Struct("=IHHII")


def figures() -> Iterator[Figure]:
    """One message each, of every kind."""
    texts = [recording.raw(item.text) for item in _recorded() if isinstance(item, Audit)]
    how = f"{len(texts)} recorded texts, over and over"
    yield seen("parse-cpu-per-seccomp-record", cpu_us(lambda: _parse(texts)), "us", how)
    how = "without the system call; the socket's filter drops most of these in the kernel already"
    yield at_most(3, "foreign-netlink-message", cpu_us(lambda: _read(_SYSCALL, b"audit(1.000:1): x")), "us", how)
    how = "netlink message to parsed record, without the system call"
    yield seen("own-netlink-message", cpu_us(lambda: _read(AUDIT_SECCOMP, texts[0])), "us", how)
    samples = [fork_sample(), exec_sample(), exit_sample()]
    yield seen(
        "decode-cpu-per-bpf-event", cpu_us(lambda: _decode(samples)), "us", "a fork, an exec and an exit in turn"
    )


def _recorded() -> Iterator[recording.Item]:
    for line in RECORDING.read_bytes().splitlines()[1:]:
        yield recording.decode(line)[1]


def _parse(texts: list[bytes]) -> int:
    done = 0
    while done < _MANY:
        for text in texts:
            parser.parse(text)
        done += len(texts)
    return done


def _decode(samples: list[bytes]) -> int:
    for _ in range(_MANY // len(samples)):
        for sample in samples:
            decode(sample)
    return _MANY


class _Endless:
    """Stands for a netlink socket on which the same message arrives for ever."""

    def __init__(self, message: bytes) -> None:
        self._answer = message, (0, 0)

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[int, int]]:
        return self._answer


def _read(kind: int, text: bytes) -> int:
    message = _HEADER.pack(_HEADER.size + len(text), kind, 0, 0, 0) + text
    source = AuditSource(cast("socket.socket", _Endless(message)))
    for _ in range(_MANY // BATCH):
        source.read()
    return _MANY // BATCH * BATCH
