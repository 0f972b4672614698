"""A file that is whole from the moment on that it is there, and that only its owner may read."""

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile


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
    """Write it under another name beside it first.

    Raises:
        NotWritten: It cannot be written, or there is such a file by now.

    """
    try:
        _write(path, pieces, replace=replace)
    except OSError as error:
        raise NotWritten(f"{path}: {error.strerror or error}") from error


def _write(path: Path, pieces: Iterable[str], *, replace: bool) -> None:
    part = NamedTemporaryFile(mode="w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115 - it is renamed
    try:
        with part:
            part.writelines(pieces)
        check(path, replace=replace)
        os.replace(part.name, path)
    except BaseException:  # an interrupt, too, leaves nothing behind
        Path(part.name).unlink()
        raise
