"""Makes records of a log of auditd from anywhere, for `replay`."""

from collections.abc import Callable
from functools import cache
from typing import Final

from enricher.clock import Clock
from enricher.compose import Composer
from enricher.events import Seccomp
from enricher.sources import audit_record
from enricher.sources.auditlog import read_line
from enricher.support.recording import Broken
from exectrail.record import Record

_QUOTED: Final = 200


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
        if read.seccomp:
            self._write(self._composer(read.node or self._node).lone(_parsed(read.text)))

    def close(self) -> None:
        """Nothing waits."""


def _parsed(text: bytes) -> Seccomp:
    try:
        return audit_record.parse(text)
    except audit_record.Unparsable as error:
        raise Broken(str(error)) from error
