"""Reading a trail: the records of interest from a stream of JSON lines, in memory proportional to those records.

A trail may be large, in use, cut or damaged. Lines that are no records are counted and the rest is read; only a
source without a single record in it is refused, since that is a wrong file and not a damaged one.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO

import msgspec

from exectrail.contracts.record import Record, decode
from exectrail.contracts.unreadable import UNREADABLE

LONGEST_LINE = 1 << 20
"""Bytes. No record comes near it; a longer line is skipped without being held in memory."""

is_session = re.compile(rb'"kind"\s*:\s*"session"').search
"""Whether a line may be a `session` record: cheap, on bytes."""


class Unreadable(Exception):
    """A source cannot be read, or holds no trail; the message says which, where and what to do."""


@dataclass(frozen=True)
class Source:
    """Where lines come from. `pod_log` marks a pod's log, in which an agent's own log lines are expected."""

    name: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    pod_log: bool = False


@dataclass
class Damage:
    """How many lines of all sources were no records."""

    lines: int = 0

    def __str__(self) -> str:
        return "1 line was no record" if self.lines == 1 else f"{self.lines} lines were no records"


def read(source: Source, wanted: Callable[[bytes], object], damage: Damage) -> Iterator[Record]:
    """The records whose lines are wanted, in the order of the source.

    Args:
        source: What to read.
        wanted: A cheap test on a line's bytes. Lines that fail it are not decoded, so it must pass all of interest.
        damage: Where lines that are no records are counted.

    Raises:
        Unreadable: The source cannot be opened or read, or has lines and none of them is a record.

    """
    proven = source.pod_log
    refusal = ""
    try:
        with source.open() as stream:
            for number, line in enumerate(_lines(stream), 1):
                if line.isspace() or (proven and _framed(line) and not wanted(line)):
                    continue
                try:
                    record = decode(line)
                # msgspec raises RecursionError for JSON nested deeper than the interpreter's limit.
                except UNREADABLE as error:
                    if not _is_log_line(line):
                        damage.lines += 1
                        refusal = refusal or f"{source.name}:{number}: not a record of a trail: {error}"
                    continue
                proven = True
                if wanted(line):
                    yield record
    except OSError as error:
        raise Unreadable(f"{source.name}: {error.strerror or error}") from error
    if refusal and not proven:
        raise Unreadable(refusal)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines; of one beyond `LONGEST_LINE` only its beginning, which is no record."""
    overlong = False
    while line := stream.readline(LONGEST_LINE):
        whole = line.endswith(b"\n")
        if not overlong:
            yield line
        overlong = not whole


def _framed(line: bytes) -> bool:
    return line.startswith(b"{") and line.rstrip().endswith(b"}")


class _LogLine(msgspec.Struct):
    """A line of an agent's own log (`exectrail.service.logs`)."""

    level: str
    message: str
    audit_id: msgspec.UnsetType | str = msgspec.field(name="auditID", default=msgspec.UNSET)


_log_line = msgspec.json.Decoder(_LogLine)


def _is_log_line(line: bytes) -> bool:
    try:
        return _log_line.decode(line).audit_id is msgspec.UNSET
    except UNREADABLE:
        return False
