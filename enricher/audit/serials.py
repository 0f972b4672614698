"""Which audit events have been taken already: each counts once, by whichever way it comes.

The kernel numbers the events of a boot (`audit(TIME:SERIAL)`, kernel/audit.c audit_serial); the numbers are 32 bits
wide and wrap. They arrive slightly out of order.
"""

from collections.abc import Collection
from typing import Final

RECENT: Final = 256
"""How far serials may be out of order over a restart."""
WINDOW: Final = 1 << 18
"""How far back is remembered which ones were taken; what is older counts as taken. A byte each, so memory is flat."""

_WIDTH: Final = 1 << 32


class Serials:
    """Remembers the last serials.

    Args:
        highest: The last one that an enricher before this one took.
        recent: Those of the `RECENT` up to it that it took; all before them count as taken.
        window: See `WINDOW`; a power of 2.

    """

    def __init__(self, highest: int | None = None, recent: Collection[int] = (), window: int = WINDOW) -> None:
        self.highest = highest
        self.repeated = 0
        """Events that came once more."""
        self._window = window
        self._taken = bytearray(window) if highest is None else bytearray(b"\1") * window
        for serial in self._before(RECENT):
            self._taken[serial % window] = serial in recent

    def take(self, serial: int) -> bool:
        """Whether an event comes for the first time."""
        if self.highest is not None and serial == self.highest + 1:  # nearly always
            self.highest = serial
            self._taken[serial % self._window] = True
            return True
        ahead = (serial - self.highest) % _WIDTH if self.highest is not None else 1
        if 0 < ahead < _WIDTH // 2:
            if ahead > 1:
                self._skip(serial, ahead)
            self.highest = serial
        elif -ahead % _WIDTH >= self._window or self._taken[serial % self._window]:
            self.repeated += 1
            return False
        self._taken[serial % self._window] = True
        return True

    def is_behind(self, serial: int) -> bool:
        """Whether a serial is too old for it to be remembered whether it was taken."""
        return self.highest is not None and self._window <= (self.highest - serial) % _WIDTH < _WIDTH // 2

    def recent(self) -> list[int]:
        """Those taken of the `RECENT` up to the highest."""
        return [serial for serial in self._before(RECENT) if self._taken[serial % self._window]]

    def _before(self, number: int) -> list[int]:
        if self.highest is None:
            return []
        return [(self.highest - back) % _WIDTH for back in range(min(number, self._window))]

    def _skip(self, to: int, ahead: int) -> None:
        """The serials in between have not come."""
        if ahead >= self._window:
            self._taken = bytearray(self._window)
            return
        begin, end = (to - ahead + 1) % self._window, to % self._window
        if begin <= end:
            self._taken[begin:end] = bytes(end - begin)
        else:
            self._taken[begin:] = bytes(self._window - begin)
            self._taken[:end] = bytes(end)
