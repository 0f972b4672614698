"""What auditd's log costs: a line that is not ours, one that is, and a backlog at the start."""

import itertools
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bench.figures import Figure, at_least, at_most, cpu_us
from bench.memory import private_mib
from bench.pipeline import RECORDING
from enricher.audit.follower import Follower
from enricher.audit.log_tail import LogTail, MaybeWritten
from enricher.audit.serials import Serials
from enricher.events import SeccompEvent
from enricher.support import recording
from enricher.support.player import Player
from enricher.support.recording import Audit
from enricher.support.replay import Trail

_MB = 1_000_000
_LINES = 20_000
_FOREIGN = (
    b"type=SYSCALL msg=audit(1795424943.092:%d): arch=c000003e syscall=59 success=yes exit=0 a0=55d0c8 a1=55d0c9 "
    b'a2=55d0d0 a3=8 items=2 ppid=812 pid=26255 auid=1000 uid=0 gid=0 comm="sh" exe="/usr/bin/dash" key="exec"'
    b'\x1dARCH=x86_64 SYSCALL=execve AUID="alice" UID="root" GID="root"\n'
)
_ENRICHED = b'\x1dAUID="unset" UID="root" GID="root" ARCH=x86_64 SYSCALL=execve\n'


def figures(backlog_mb: int) -> Iterator[Figure]:
    """One line each, then many of them."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "audit.log"
        log.write_bytes(b"".join(_FOREIGN % serial for serial in range(_LINES)))
        how = f"{_LINES} lines of other types, read from a file"
        yield at_most(0.3, "auditlog-foreign-line", cpu_us(lambda: _drain(log) + _LINES, rounds=20), "us", how)
        log.write_bytes(b"".join(_ours()))
        how = "ENRICHED lines of SECCOMP records, from auditd's log to sealed lines of a trail"
        with tempfile.TemporaryFile() as trail:
            yield at_most(20, "auditlog-seccomp-line", cpu_us(lambda: _record(log, trail), rounds=20), "us", how)
        yield from _backlog(log, backlog_mb)


def _backlog(log: Path, megabytes: int) -> Iterator[Figure]:
    block = b"".join(_FOREIGN % serial for serial in range(_LINES))
    with log.open("wb") as file:
        for _ in range(megabytes * _MB // len(block)):
            file.write(block)
    how = f"a backlog of {megabytes} MB of other types, in the page cache"
    began = time.monotonic()
    _drain(log)
    took = time.monotonic() - began
    yield at_least(100, "auditlog-backlog", log.stat().st_size / _MB / took, "MB/s", how)
    before = private_mib(os.getpid())
    most = max(private_mib(os.getpid()) for number, _ in enumerate(_rounds(log)) if number % 16 == 0)
    yield at_most(2, "auditlog-backlog-memory", most - before, "MiB", f"most private memory that it added; {how}")


def _ours() -> Iterator[bytes]:
    texts = [recording.raw(item.text) for item in _items() if isinstance(item, Audit)]
    for serial, text in zip(range(_LINES), itertools.cycle(texts), strict=False):
        stamp, _, rest = text.partition(b": ")
        yield b"type=SECCOMP msg=%b:%d): %b%b" % (stamp.rpartition(b":")[0], serial, rest, _ENRICHED)


def _items() -> Iterator[recording.Item]:
    for line in RECORDING.read_bytes().splitlines()[1:]:
        yield recording.decode(line)[1]


def _rounds(log: Path) -> Iterator[list[SeccompEvent]]:
    tail = LogTail(Follower.since(log, 0), Serials(), lambda _: True, MaybeWritten(), lambda: True)
    yield tail.read()
    while tail.behind:
        yield tail.read()
    tail.close()


def _drain(log: Path) -> int:
    return sum(map(len, _rounds(log)))


def _record(log: Path, file: BinaryIO) -> int:
    file.seek(0)
    trail = Trail(file)
    header = recording.decode_header(RECORDING.read_bytes().splitlines()[0])
    player = Player(header, trail.write, 0.5, random.getrandbits)
    for records in _rounds(log):
        for each in records:
            player.core.correlator.take_earlier_seccomp(each)
        player.core.step(0.0)
    file.flush()
    return trail.lines
