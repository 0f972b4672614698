"""Styled text in lines of a width, with nothing lost: a character that does not fit goes on in the next line.

The libraries that wrap text drop the spaces at which they do; in arguments each of them counts.
"""

from collections.abc import Iterable, Iterator

from exectrail.cli.terminal import cells, styled

Part = tuple[str, str]
"""Text and its style."""


def wrapped(parts: Iterable[Part], width: int | None) -> Iterator[list[Part]]:
    """The lines; one, where there is no width. A line ends after a space where one is near enough."""
    if width is None:
        yield list(parts)
        return
    line: list[Part] = []
    taken = 0
    for text, style in parts:
        rest = text
        while rest:
            fits = _fitting(rest, width - taken)
            if fits < len(rest):
                fits = _at_a_space(rest, fits, width) if fits else 0
            if fits:
                line.append((rest[:fits], style))
                taken += cells(rest[:fits])
                rest = rest[fits:]
            if rest:
                if not line:  # wider than the whole line
                    line.append((rest[0], style))
                    rest = rest[1:]
                yield line
                line, taken = [], 0
    if line:
        yield line


def filled(facts: Iterable[Part], width: int | None, gap: str) -> Iterator[list[Part]]:
    """Facts side by side, in as few lines as they need: one that does not fit begins the next line.

    Only a fact that is wider than a whole line goes on in another one. None is empty.
    """
    line: list[Part] = []
    taken = 0
    for text, style in facts:
        before = gap if line else ""
        if before and width is not None and taken + len(gap) + cells(text) > width:
            yield line
            line, taken, before = [], 0, ""
        *full, rest = wrapped([(text, style)], width)
        yield from full
        line += [(before, ""), *rest]
        taken += sum(cells(part) for part, _ in [(before, ""), *rest])
    if line:
        yield line


def painted(parts: Iterable[Part], *, coloured: bool) -> str:
    """A line as it is printed."""
    return "".join(styled(text, style) if coloured else text for text, style in parts)


def _fitting(text: str, room: int) -> int:
    """How many characters fit."""
    if text.isascii():
        return max(0, min(len(text), room))
    taken = 0
    for at, char in enumerate(text):
        taken += cells(char)
        if taken > room:
            return at
    return len(text)


def _at_a_space(text: str, fits: int, width: int) -> int:
    """Where to end a line that is full: after a space in its last third, or where it is full."""
    space = text.rfind(" ", 0, fits) + 1
    return space if space > fits - width // 3 and space > 0 else fits
