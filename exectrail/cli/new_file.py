"""A file that a user names for what a command writes."""

from collections.abc import Iterable
from pathlib import Path

from exectrail.service.whole_file import whole


class NotWritten(Exception):
    """The file cannot be written, or is not to be replaced; the message says why and what to do."""


def check(path: Path, *, replace: bool) -> None:
    """Find out before all the work whether the file may be written.

    Raises:
        NotWritten: It is there already, something is that is no file, or there is no folder for it.

    """
    if not path.parent.is_dir():
        raise NotWritten(f"{path}: there is no folder {path.parent}")
    if path.exists() and not path.is_file():
        raise NotWritten(f"{path} is no file")
    if path.exists() and not replace:
        raise NotWritten(f"{path} is there already: name another file, or give --force to replace it")


def write(path: Path, pieces: Iterable[str], *, replace: bool) -> None:
    """Write it; it is there once it is whole, and only its owner may read it.

    Raises:
        NotWritten: It cannot be written, or there is such a file by now.

    """
    try:
        with whole(path) as file:
            file.writelines(piece.encode() for piece in pieces)
            check(path, replace=replace)
    except OSError as error:
        raise NotWritten(f"{path}: {error.strerror or error}") from error
