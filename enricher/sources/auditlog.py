"""Reads a line of auditd's log (auditd(8), auditd.conf(5)), in whichever of its formats.

    node=web1 type=SECCOMP msg=audit(1795424943.092:9842): auid=... code=0x7ffc0000<1D>ARCH=x86_64 SYSCALL=execve ...

What follows `msg=` is the kernel's text. `log_format = ENRICHED` appends what auditd made of it, after a byte 0x1D;
`name_format` puts the node's name in front.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Final

from msgspec import Struct

from enricher.attribute.tree import Node
from enricher.clock import Clock
from enricher.compose import Composer, Facts
from enricher.events import Process, Seccomp
from enricher.sources import audit_record
from enricher.support.recording import Broken
from exectrail.record import Record

_QUOTED: Final = 200

# Anchored at the start: the text of other types (type=USER_CMD) is user space's to choose, and could hold all of this.
_LINE: Final = re.compile(rb"(?:node=(\S+) )?type=(\S+) msg=(audit\(\d+\.\d+:\d+\):.*)", re.DOTALL)
_ENRICHMENT: Final = b"\x1d"
_SECCOMP: Final = frozenset({b"SECCOMP", b"1326", b"UNKNOWN[1326]"})


class LogLine(Struct, frozen=True):
    """A line of the log: a record of one type."""

    node: str | None
    seccomp: bool
    text: bytes
    """The kernel's own words, as over netlink."""


def read_line(line: bytes) -> LogLine | None:
    """Read one line, with or without its newline; None if it is not of this log."""
    match = _LINE.fullmatch(line.rstrip(b"\r\n"))
    if match is None:
        return None
    node, type_, message = match.groups()
    # A trailing space is what some versions of auditd leave before the enrichment.
    text = message.partition(_ENRICHMENT)[0].rstrip(b" ")
    return LogLine(node.decode("ascii", "backslashreplace") if node else None, type_ in _SECCOMP, text)


class LogReader:
    """Makes records of a log. There is no process ledger: each record stands for itself, with what it says.

    Args:
        write: Takes the records.
        node: The node's name where the log does not say it.
        random_bits: For `auditID`.

    """

    def __init__(self, write: Callable[[Record], bool], node: str, random_bits: Callable[[int], int]) -> None:
        self._write, self._node = write, node
        self._composer = cache(lambda name: Composer(name, "", Clock(), "auditlog", random_bits))

    def take(self, line: bytes) -> None:
        """Read one line; those of other types than SECCOMP leave nothing.

        Raises:
            Broken: It is no line of such a log, or a SECCOMP record that cannot be read.

        """
        read = read_line(line)
        if read is None:
            raise Broken(f"not a line of auditd's log: {line[:_QUOTED]!r}")
        if not read.seccomp:
            return
        try:
            seccomp = audit_record.parse(read.text)
        except audit_record.Unparsable as error:
            raise Broken(str(error)) from error
        self._write(self._record(seccomp, self._composer(read.node or self._node)))

    def close(self) -> None:
        """Nothing waits."""

    def _record(self, seccomp: Seccomp, composer: Composer) -> Record:
        unknown = Process(0, 0)
        node = Node(Process(seccomp.pid, 0), unknown, "", 0)
        record = composer.syscall(seccomp, node, Facts(None, "", None))
        record.process_key = record.parent_key = None  # a pid alone is no identity
        record.source, record.reason = "auditlog", "no-ledger"
        record.weak = ["pid"]  # the thread's
        return record
