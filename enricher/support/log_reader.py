"""Makes records of a log of auditd from anywhere, for `replay`."""

from collections.abc import Callable
from functools import cache
from typing import Final

from enricher.audit import parser
from enricher.audit.log_lines import read_line
from enricher.clock import Clock
from enricher.correlate.pending_event import Correlated
from enricher.emit.record_builder import RecordBuilder
from enricher.events import SeccompEvent
from enricher.support.recording import Broken
from exectrail.contracts.record import Record

_QUOTED: Final = 200


class LogReader:
    """Makes records of a log. There is no sensor: each record stands for itself, with what it says.

    Args:
        write: Takes the records.
        node: The node's name where the log does not say it.
        random_bits: For `auditID`.

    """

    def __init__(self, write: Callable[[Record], bool], node: str, random_bits: Callable[[int], int]) -> None:
        self._write, self._node = write, node
        self._record_builder = cache(lambda name: RecordBuilder(name, "", Clock(), "auditlog", random_bits))

    def take(self, line: bytes) -> None:
        """Read one line; those of other types than SECCOMP leave nothing.

        Raises:
            Broken: It is no line of such a log, or a SECCOMP record that cannot be read.

        """
        read = read_line(line)
        if read is None:
            raise Broken(f"not a line of auditd's log: {line[:_QUOTED]!r}")
        if read.seccomp:
            self._write(self._record_builder(read.node or self._node).build(Correlated(event=_parsed(read.text))))

    def close(self) -> None:
        """Nothing waits."""


def _parsed(text: bytes) -> SeccompEvent:
    try:
        return parser.parse(text)
    except parser.Unparsable as error:
        raise Broken(str(error)) from error
