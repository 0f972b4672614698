"""Trails given on the command line: files, folders of them, and standard input as `-`; any may be compressed (gzip)."""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from exectrail.reading.blocks import is_utf16
from exectrail.reading.gzipped import is_gzip, unpacked
from exectrail.reading.segments import GZ, closed_before, is_closed
from exectrail.reading.shell import visible
from exectrail.reading.trail import Source

_TRAILS = (".jsonl", ".jsonl.gz", ".log", ".log.gz", ".json", ".json.gz")
"""How the files are named that are read of a folder."""


def sources(names: list[str], since: datetime | None = None, *, closed: bool = True) -> list[Source]:
    """What the names stand for, in their order and once each; of a folder its trails by their names.

    Args:
        names: Files, folders, and `-`.
        since: A folder's segments that were closed before are left out.
        closed: Whether a folder's closed segments count as well as the files that are being written.

    """
    found: dict[str, Source] = {}
    for name in names:
        if name == "-":
            found[name] = Source("standard input", _standard_input)
        elif not os.path.isdir(path := Path(name)):  # nor an error, where that cannot be seen
            found[str(path)] = _file(path)
        else:
            found |= _folder(path, since, closed=closed)
    return list(found.values())


def _folder(path: Path, since: datetime | None, *, closed: bool) -> dict[str, Source]:
    """What is read of a folder; where that is nothing, what says why."""
    try:
        trails = _in_folder(path, closed=closed)
        left_out = closed_before(since, path, [each.name for each in trails])
    except OSError as error:
        return {str(path): _refused(path, error)}
    if not trails:
        why = f"a folder without a trail: names of trails end in {', '.join(_TRAILS)}"
        return {str(path): _refused(path, OSError(errno.ENOENT, why))}
    return {str(each): _file(each) for each in trails if each.name.removesuffix(GZ) not in left_out}


def _in_folder(path: Path, *, closed: bool) -> list[Path]:
    """Its trails, each in one form."""
    names = {each.name for each in path.iterdir() if each.name.endswith(_TRAILS) and each.is_file()}
    return [
        path / name
        for name in sorted(names)
        if name.removesuffix(GZ) not in names - {name} and (closed or not is_closed(name))
    ]


def _refused(path: Path, error: OSError) -> Source:
    def refuse() -> AbstractContextManager[IO[bytes]]:
        raise error

    return Source(visible(str(path)), refuse)


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
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    yield unpacked(sys.stdin.buffer)
