"""Trails given on the command line: files, folders of them, and standard input as `-`; any may be compressed (gzip)."""

import errno
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from exectrail.reading.blocks import is_utf16
from exectrail.reading.gzipped import is_gzip, unpacked
from exectrail.reading.segments import GZ, is_closed
from exectrail.reading.shell import visible
from exectrail.reading.trail import Source

_TRAILS = (".jsonl", ".jsonl.gz", ".log", ".log.gz", ".json", ".json.gz")
"""How the files are named that are read of a folder."""


def sources(names: list[str], *, closed: bool = True) -> list[Source]:
    """What the names stand for, in their order and once each; of a folder its trails by their names.

    Args:
        names: Files, folders, and `-`.
        closed: Whether a folder's closed segments count as well as the files that are being written.

    """
    found: dict[str, Source] = {}
    for name in names:
        if name == "-":
            found[name] = Source("standard input", _standard_input)
        else:
            path = Path(name)
            trails = _in_folder(path, closed=closed) if path.is_dir() else [path]
            found |= {str(each): _file(each) for each in trails} or {name: _empty(path)}
    return list(found.values())


def _in_folder(path: Path, *, closed: bool) -> list[Path]:
    """Its trails, each in one form."""
    names = {each.name for each in path.iterdir() if each.name.endswith(_TRAILS) and each.is_file()}
    return [
        path / name
        for name in sorted(names)
        if name.removesuffix(GZ) not in names - {name} and (closed or not is_closed(name))
    ]


def _empty(path: Path) -> Source:
    def refuse() -> AbstractContextManager[IO[bytes]]:
        raise OSError(errno.ENOENT, f"a folder without a trail: names of trails end in {', '.join(_TRAILS)}")

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
    yield unpacked(sys.stdin.buffer)
