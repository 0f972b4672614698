"""Trails given on the command line: files, folders of them, and standard input as `-`; any may be compressed (gzip)."""

import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from exectrail.reading.blocks import is_utf16
from exectrail.reading.gzipped import is_gzip, unpacked
from exectrail.reading.shell import visible
from exectrail.reading.trail import Source

_TRAILS = (".jsonl", ".jsonl.gz", ".log", ".log.gz", ".json", ".json.gz")
"""How the files are named that are read of a folder."""


def sources(names: list[str]) -> list[Source]:
    """What the names stand for, in their order; of a folder its trails by their names."""
    found: list[Source] = []
    for name in names:
        if name == "-":
            found.append(Source("standard input", _standard_input))
        elif trails := _in_folder(Path(name)):
            found += map(_file, trails)
        else:
            found.append(_file(Path(name)))
    return found


def _in_folder(path: Path) -> list[Path]:
    """Its trails; none where it is no folder, or has none: then to read it says what is wrong."""
    try:
        return sorted(each for each in path.iterdir() if each.name.endswith(_TRAILS) and each.is_file())
    except OSError:
        return []


def _file(path: Path) -> Source:
    again, plain = _kind(path)
    return Source(visible(str(path)), lambda: unpacked(path.open("rb")), path=path if plain else None, again=again)


def _kind(path: Path) -> tuple[bool, bool]:
    """Whether a file can be opened more than once, and whether it can be read from its end as well."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False, False
        with path.open("rb") as file:
            return True, not (is_gzip(file) or is_utf16(file.peek(2)))
    except OSError:  # to be said when it is read
        return False, False


@contextmanager
def _standard_input() -> Iterator[IO[bytes]]:
    yield unpacked(sys.stdin.buffer)
