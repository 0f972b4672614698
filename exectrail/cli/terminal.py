"""Standard output as Rich sees it: colours and wrapping on a terminal only."""

import sys

from rich.console import Console, RenderableType

_UNBOUNDED = 1 << 16


def width() -> int:
    """Columns of the output. Not on a terminal nothing is wrapped: lines are for grep and for files."""
    return Console().width if sys.stdout.isatty() else _UNBOUNDED


def show(what: RenderableType) -> None:
    """Print it, taking text literally. Rich fills up tables with spaces: none of them reach a file."""
    console = Console(width=width(), highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(what)
    for line in capture.get().splitlines():
        print(line.rstrip())
