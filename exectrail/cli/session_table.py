"""Sessions as a table that is printed while it is read, in which no user, target or UID is ever cut.

On a terminal, a session is a line where it fits; the command gives way first. Where the rest does not fit either, a
session has a few lines, wrapped. For files and pipes a line has one tab between two columns and holds everything.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

from exectrail.cli import terminal, text
from exectrail.reading import words
from exectrail.reading.shell import join, visible
from exectrail.reading.summary import Summary

_LOOKED_AT = 200
"""So many sessions set the columns' widths; those of later ones may be wider, and push what follows."""
_LEAST_COMMAND = 16
"""Columns below which a cut command says nothing."""
_GAP = 2
_CELL = Callable[[Summary], str]


class Table:
    """Makes the lines.

    Args:
        clock: How times are shown.
        wide: Whether to show all columns, each in full, whatever the width.
        width: Columns of the terminal; None for files and pipes.
        coloured: Whether to mark results by colours.

    """

    def __init__(self, clock: text.Clock, *, wide: bool, width: int | None, coloured: bool) -> None:
        self._width, self._coloured, self._wide = width, coloured, wide
        self._columns: dict[str, _CELL] = {
            clock.header: lambda it: clock.when(it.start_time),
            "USER": lambda it: visible(it.user or ""),
            "VERB": lambda it: visible(it.verb or ""),
            "TARGET": words.target,
            "RESULT": words.outcome,
            "DURATION": lambda it: words.span(it.duration_ms),
            "UID": lambda it: visible(it.request_uid),
        }
        if wide:
            self._columns |= {
                "NODE": lambda it: visible(it.node or ""),
                "STATE": lambda it: it.state or "",
                "PROCESSES": lambda it: "" if it.processes is None else str(it.processes),
                "IMAGE": lambda it: visible(it.image or ""),
            }

    def lines(self, sessions: Iterable[Summary], *, headers: bool) -> Iterator[str]:
        """The lines of these sessions; none for none."""
        rows = iter(sessions)
        first = list(islice(rows, 1 if self._width is None else _LOOKED_AT))
        if not first:
            return
        every = chain(first, rows)
        if self._width is None:
            yield from self._tabbed(every, headers=headers)
            return
        widths = [
            max(terminal.cells(header) * headers, *(terminal.cells(cell(it)) for it in first))
            for header, cell in self._columns.items()
        ]
        taken = sum(widths) + _GAP * (len(widths) - 1)
        if self._wide or taken <= self._width:
            yield from self._rows(every, widths, headers=headers)
        else:
            for summary in every:
                yield from self._block(summary, self._width)

    def _tabbed(self, sessions: Iterable[Summary], *, headers: bool) -> Iterator[str]:
        cells = list(self._columns.values())
        if headers:
            yield "\t".join([*self._columns, "COMMAND"])
        for it in sessions:
            yield "\t".join([*[cell(it) for cell in cells], join(it.command or [])])

    def _rows(self, sessions: Iterable[Summary], widths: list[int], *, headers: bool) -> Iterator[str]:
        room = self._room(sum(widths) + _GAP * len(widths))
        if headers:
            names = [*self._columns, *(["COMMAND"] if room else [])]
            line = "".join(_padded(name, width) for name, width in zip(names, [*widths, 0], strict=False)).rstrip()
            yield terminal.styled(line, "bold") if self._coloured else line
        for it in sessions:
            line = "".join(
                _padded(self._styled(header, cell(it), it), width, cell(it))
                for (header, cell), width in zip(self._columns.items(), widths, strict=True)
            )
            yield (line + _cut(join(it.command or []), room)).rstrip() if room else line.rstrip()

    def _room(self, taken: int) -> int | None:
        """Columns for the command; None for none."""
        if self._wide or self._width is None:
            return 1 << 30
        return self._width - taken if self._width - taken >= _LEAST_COMMAND else None

    def _styled(self, header: str, cell: str, it: Summary) -> str:
        return terminal.styled(cell, text.outcome_style(it)) if self._coloured and header == "RESULT" else cell

    def _block(self, it: Summary, width: int) -> Iterator[str]:
        when, user, verb, target, result, duration, uid = (cell(it) for cell in list(self._columns.values())[:7])
        said = [when, verb, result, duration]
        shown = [when, verb, self._styled("RESULT", result, it), duration]
        gap = " " * _GAP
        head = gap.join(filter(None, shown))
        fits = terminal.cells(gap.join([*filter(None, said), uid])) <= width
        yield f"{head}{gap}{uid}" if fits else head
        inside = width - _GAP
        facts = [] if fits else [uid]
        facts += [f"{user}{gap}{target}"] if terminal.cells(f"{user}{gap}{target}") <= inside else [user, target]
        for line in chain.from_iterable(_wrapped(fact, inside) for fact in facts if fact):
            yield gap + line
        if it.command:
            yield gap + _cut(f"$ {join(it.command)}", inside)


def _padded(shown: str, width: int, cell: str | None = None) -> str:
    """A cell and the gap after it; `cell` is what is shown without colours."""
    return shown + " " * (width - terminal.cells(shown if cell is None else cell) + _GAP)


def _cut(command: str, room: int) -> str:
    """A command as far as it fits: all of it is in `exectrail show`."""
    if terminal.cells(command) <= room:
        return command
    return f"{next(iter(_wrapped(command, room - 1)))}…"


def _wrapped(words: str, width: int) -> Iterator[str]:
    """Text in lines of at most so many columns."""
    line, taken = "", 0
    for char in words:
        size = terminal.cells(char)
        if taken + size > width and line:
            yield line
            line, taken = "", 0
        line, taken = line + char, taken + size
    if line:
        yield line
