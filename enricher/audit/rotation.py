"""A log and the files that it was before: which came after which.

auditd numbers them, and so does logrotate (`audit.log.1` is the newest). With `dateext` they have a date, in any form a
site likes, `audit.log.23092024` too: then each file's first record says when it was begun, or else its last write. One
that is compressed is left out: it was read to its end before.
"""

import os
import re
import stat
from pathlib import Path
from typing import Final

from msgspec import Struct

TAIL: Final = 512
"""Bytes before a place that say whether a file still is what was read: more than two lines have in common, as each has
its own serial number and, in the ENRICHED format, the same long end."""

_NUMBERED = re.compile(r"\.(\d{1,3})")
"""More digits are a date; auditd keeps at most 999 files (auditd.conf(5), num_logs)."""
_STAMP = re.compile(rb"msg=audit\((\d{1,15})\.(\d{3}):(\d+)\):")
_HEAD: Final = 4096
"""Bytes at the start of a file that have its first record, unless that is uncommonly long."""
_COMPRESSED: Final = (".gz", ".xz", ".bz2", ".zst")


class Generation(Struct, frozen=True):
    """One of the files."""

    path: Path
    device: int
    inode: int
    size: int
    written: int
    """Time of the last write, nanoseconds since the epoch."""


def generation(path: Path) -> Generation | None:
    """The file of this name; None if there is none: a folder or a pipe is no log."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return of_stat(path, found) if stat.S_ISREG(found.st_mode) else None


def of_stat(path: Path, found: os.stat_result) -> Generation:
    """What is known of an open file."""
    return Generation(path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def generations(path: Path) -> list[Generation]:
    """The log and what is left of what it was before, oldest first."""
    names = [name for name in os.listdir(path.parent) if name.startswith(path.name) and not name.endswith(_COMPRESSED)]
    files = [found for name in names if (found := generation(path.parent / name))]
    ages = [_number(path, each.path) for each in files]
    if None not in ages:
        return [each for _, each in sorted(zip(ages, files, strict=True), key=lambda pair: -(pair[0] or 0))]
    return sorted(files, key=lambda each: (each.path == path, *_begun(each), each.path.name))


def successor(path: Path, read: Generation) -> Generation | None:
    """What was written after a file that has been read to its end; None while that is the log itself.

    A log that was made anew but is empty does not count: auditd may not have noticed yet.
    """
    now = generation(path)
    if now is None or _same(now, read):
        return None
    files = generations(path)
    places = [place for place, each in enumerate(files) if _same(each, read)]
    after = files[places[0] + 1 :] if places else [each for each in files if each.written >= read.written]
    following = after[0] if after else now
    return None if following.path == path and following.size == 0 else following


def copy_with(path: Path, at: int, data: bytes) -> Generation | None:
    """The newest of the files that were before, which has these bytes at this place: a copy of the log."""
    others = (each for each in reversed(generations(path)) if each.path != path)
    return next((each for each in others if _read(each.path, at, len(data)) == data), None)


def tail_of(path: Path, at: int) -> bytes | None:
    """The bytes before a place in a file; None if it ends before, or cannot be read."""
    begin = max(0, at - TAIL)
    return _read(path, begin, at - begin)


def _read(path: Path, at: int, size: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            data = os.pread(file.fileno(), size, at)
    except OSError:
        return None
    return data if len(data) == size else None


def _begun(file: Generation) -> tuple[int, int]:
    """Time of a file's first record, in nanoseconds since the epoch, and its serial; else that of the last write."""
    try:
        with file.path.open("rb") as opened:
            stamp = _STAMP.search(opened.read(_HEAD))
    except OSError:
        stamp = None
    if stamp is None:
        return file.written, 0
    return (int(stamp[1]) * 1000 + int(stamp[2])) * 1_000_000, int(stamp[3])


def _same(one: Generation, other: Generation) -> bool:
    return (one.device, one.inode) == (other.device, other.inode)


def _number(path: Path, file: Path) -> int | None:
    if file == path:
        return 0
    match = _NUMBERED.fullmatch(file.name[len(path.name) :])
    return int(match[1]) if match else None
