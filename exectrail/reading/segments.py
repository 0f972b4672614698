"""The segments of a trail: the file that is being written, and beside it the older ones that rotation closed.

`trail.jsonl` is closed as `trail-2026-11-23T14-58-03.120.jsonl`: the time in UTC, in the form that SPO's rotation
(lumberjack) gives it; compressed it ends in `.gz` as well. No time is given twice or goes back, so that names sort by
age. A node's name has no capital letter, hence no `T`: `trail-a.jsonl` never claims a segment of `trail-a-b.jsonl`.
"""

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import IO, Any

from msgspec import Struct

from exectrail.reading.gzipped import unpacked

GZ = ".gz"
_STAMP = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}"
_FORMAT = "%Y-%m-%dT%H-%M-%S.%f"
_TRIES = 100
CLOCK_SLACK = timedelta(minutes=1)
"""So much a node's clock may be set back, or be behind that of the API's sessions, and no record is left out for it."""
_segment = re.compile(rf"(.+)-{_STAMP}((?:\.[^.]+)?)(?:{re.escape(GZ)})?").fullmatch


class Segment(Struct, frozen=True, order=True):
    """A closed segment; sorts by age."""

    stamp: str
    """When it was closed, as in its name."""
    name: str
    """Its file, without `.gz`."""

    @property
    def closed(self) -> datetime:
        """When it was closed."""
        return _moment(self.stamp)


class Names:
    """The names of one trail's segments.

    Args:
        file: The name of the file that is being written.

    """

    def __init__(self, file: str) -> None:
        self._before, self._after = Path(file).stem, Path(file).suffix
        self._pattern = re.compile(f"{re.escape(self._before)}-({_STAMP}){re.escape(self._after)}(?:{re.escape(GZ)})?")

    def among(self, files: Iterable[str]) -> list[Segment]:
        """The segments among a folder's files, oldest first; one that is there compressed and not counts once."""
        found = filter(None, map(self._pattern.fullmatch, files))
        return sorted({Segment(match[1], match[0].removesuffix(GZ)) for match in found})

    def following(self, segments: list[Segment], now: datetime) -> Segment:
        """The name to close a segment under: after all others, also where the clock was set back."""
        if segments:
            now = max(now, segments[-1].closed + timedelta(milliseconds=1))
        stamp = now.strftime(_FORMAT)[:-3]
        return Segment(stamp, f"{self._before}-{stamp}{self._after}")


def is_closed(name: str) -> bool:
    """Whether a file is a closed segment, by its name."""
    return re.search(rf"-{_STAMP}(?:\.|\Z)", name) is not None


def closed_before(since: datetime | None, folder: Path, files: Iterable[str]) -> set[str]:
    """The closed segments in which nothing happened since then: their names, without `.gz`.

    A record may be written later than what it is about, never before. So a segment that was closed before has nothing
    of it. The time in its name says when that was; a later modification time counts, as that of a copy. Only a trail's
    oldest segments are left out, up to the first that is needed: no number is missing in between. The file that is
    being written is never left out.

    This holds while the clock goes on. Where it was set back by more than `CLOCK_SLACK`, records from before that have
    times that came again. Such a record can be left out though its time is later than `since`.

    Args:
        since: The time; None leaves out nothing.
        folder: Where the segments are.
        files: The names of the folder's files.

    """
    if since is None:
        return set()
    names = set(files)
    trails = {match[1] + match[2] for match in map(_segment, names) if match}
    return {
        segment.name
        for trail in trails
        for segment in takewhile(lambda each: _closed(folder, each) <= since - CLOCK_SLACK, Names(trail).among(names))
    }


def _closed(folder: Path, segment: Segment) -> datetime:
    """When nothing more was written to a segment."""
    times = [segment.closed]
    for name in (segment.name, segment.name + GZ):
        with suppress(FileNotFoundError):  # it has the other form, or was removed meanwhile
            times.append(datetime.fromtimestamp((folder / name).stat().st_mtime, UTC))
    return max(times)


def _moment(stamp: str) -> datetime:
    try:
        return datetime.strptime(stamp, _FORMAT).replace(tzinfo=UTC)
    except ValueError:  # digits that are no date: a file of another program, the oldest of all
        return datetime.min.replace(tzinfo=UTC)


def read(file: Path, since: datetime | None = None) -> Iterator[IO[bytes]]:
    """The contents of a trail's segments, oldest first, the one being written last; each closed when the next comes.

    Each has its path as its `name`. One that cannot be opened raises that when it is read, and the next ones come.

    Args:
        file: The one that is being written.
        since: Segments that were closed before are left out.

    Raises:
        OSError: There is no such trail, or it cannot be read.

    """
    with ExitStack() as stack:
        segments, newest = _as_of_now(file)
        if newest:
            stack.enter_context(newest)
        elif not segments:
            raise FileNotFoundError(2, "No such file or directory", str(file))
        left_out = closed_before(since, file.parent, [segment.name for segment in segments])
        for segment in segments:
            if segment.name in left_out:
                continue
            if stream := _contents(file.with_name(segment.name)):
                with stream:
                    yield stream
        if newest:
            yield newest


def _as_of_now(file: Path) -> tuple[list[Segment], IO[bytes] | None]:
    """The closed segments and, open, the one being written: of one moment, while rotation may go on."""
    names = Names(file.name)
    for _ in range(_TRIES):
        before = names.among(each.name for each in file.parent.iterdir())
        newest = _open_plain(file)
        if before == names.among(each.name for each in file.parent.iterdir()):
            return before, newest
        if newest:
            newest.close()
    raise OSError(f"{file}: is rotated faster than it can be read")


class _Unopened(io.RawIOBase):
    """Stands for a segment that cannot be opened: reading it raises why."""

    def __init__(self, path: Path, error: OSError) -> None:
        self.name = str(error.filename or path)
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401, ARG002 - as in RawIOBase
        raise self._error


def _contents(path: Path) -> IO[bytes] | None:
    """Of a closed segment, unpacked; None where it has been removed meanwhile."""
    try:
        stream = _open(path)
        return stream and unpacked(stream)
    except OSError as error:
        return io.BufferedReader(_Unopened(path, error))


def _open(path: Path) -> io.BufferedReader | None:
    """A closed segment, compressed or not yet; None where it has been removed meanwhile."""
    return _open_plain(path) or _open_plain(path.with_name(path.name + GZ))


def _open_plain(path: Path) -> io.BufferedReader | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None
