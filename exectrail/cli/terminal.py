"""Standard output: its width, and colours on a terminal only."""

import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

_UNBOUNDED = 1 << 16
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "bold red": "1;31"}


def width() -> int | None:
    """Columns of the terminal; None where it is none: lines are for grep and for files."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def coloured() -> bool:
    """Whether colours are wanted (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str) -> str:
    """The text in a colour of `_CODES`."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style else text


def cells(text: str) -> int:
    """How many columns a text takes: in some scripts a character takes two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - mostly not needed

    return cell_len(text)


def show(what: "RenderableType") -> None:
    """Print it, taking text literally. Rich fills up tables with spaces: none of them reach a file."""
    from rich.console import Console  # noqa: PLC0415 - costs more than the rest of the command

    console = Console(width=width() or _UNBOUNDED, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(what)
    for line in capture.get().splitlines():
        print(line.rstrip())
