"""Mounts of this machine, read from /proc/self/mountinfo, see proc(5)."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path


def mounted() -> list[tuple[Path, str]]:
    """Mount point and file system type of every mount, in the order of mounting."""
    return parse_mountinfo(Path("/proc/self/mountinfo").read_text())


def parse_mountinfo(text: str) -> list[tuple[Path, str]]:
    """Mount point and type of each line."""
    entries = []
    for line in text.splitlines():
        # The number of optional fields varies; a lone dash ends them.
        before, _, after = line.partition(" - ")
        entries.append((Path(_unescape(before.split()[4])), after.split()[0]))
    return entries


def within(folders: Iterable[Path], but: Iterable[Path] = ()) -> list[Path]:
    """The mount points at and below `folders`, innermost first, but not those of `but`.

    Several mounts on one point are listed as often, and each entry of `but` takes away one.
    """
    roots = list(folders)
    points = Counter(point for point, _ in mounted() if any(point.is_relative_to(root) for root in roots))
    points.subtract(Counter(but))
    return sorted(points.elements(), reverse=True)


def _unescape(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
