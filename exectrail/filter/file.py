"""A filter set in a file that changes while it is in use: a key of a ConfigMap mounted as a volume."""

from contextlib import suppress
from pathlib import Path

from exectrail.filter.filters import FilterError, Filters, load

LARGEST = 1 << 20
"""Bytes. A ConfigMap holds no more."""

_State = tuple[object, ...]
_NO_FILE: _State = ()


class FilterFile:
    """The filters of a file, or of another one that stands in for it while it is there.

    After a change that cannot be read or holds a mistake, the filters before it stay. The kubelet brings a changed
    ConfigMap by a rename within a minute or so, but never to a `subPath` mount.

    Args:
        path: The file; None where there is none.
        instead: What stands in for it. A mistake in it at the start does not end the start: the file counts then.

    Raises:
        OSError: The file cannot be read now.
        FilterError: It has a mistake now.

    """

    def __init__(self, path: Path | None, instead: Path | None = None) -> None:
        self._path, self._instead = path, instead
        self._seen: _State | None = _NO_FILE
        self.filters: Filters | None = None
        """None where there is no file: everything is kept."""
        self.reloads = 0
        """How often other filters took over."""
        self.failures = 0
        """How often a change was refused."""
        self.problem: str | None = None
        """Why the filters in use are not those of the file; None where they are."""
        if path:
            self._seen = _state(path)
            self.filters = load(_read(path))
        if instead:
            self.refresh()
            self.reloads = 0

    def refresh(self) -> bool:
        """Look after the file, and read it if it is another than before; whether anything changed.

        Then either `filters` is another object, whose hits begin at zero, or `problem` says what is wrong.
        """
        try:
            path, state = self._look()
            if state == self._seen:
                return False
            self._seen = state
            self.filters = load(_read(path)) if path else None
        except (OSError, FilterError) as error:
            return self._refuse(error)
        self.reloads, self.problem = self.reloads + 1, None
        return True

    def _look(self) -> tuple[Path | None, _State]:
        """The file that counts."""
        if self._instead:
            with suppress(FileNotFoundError):
                return self._instead, _state(self._instead)
        return (self._path, _state(self._path)) if self._path else (None, _NO_FILE)

    def _refuse(self, error: Exception) -> bool:
        if isinstance(error, OSError):
            self._seen = None  # so that it is read when it is back, even as it was
        news = str(error) != self.problem
        self.failures += news
        self.problem = str(error)
        return news


def _state(path: Path) -> _State:
    found = path.stat()
    return path, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise FilterError(f"the file is larger than {LARGEST} bytes", 1, 1)
    return data
