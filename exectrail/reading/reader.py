"""What runs in the container `reader`: prints a node's trail, or what is in it of one session, and marks the end.

`python -m exectrail.reading.reader FILE [--about UID | --only WHAT] [--since TIME]`. The last line is the end mark:
without it the stream was cut. It also says which numbers were read, so that a selection shows as well as the whole
whether records are missing. `--since` leaves out segments that were closed before. `--follow [--after SEQ]` prints what
is added; its first line says after which number it begins.
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import IO

import msgspec

from exectrail.reading import segments, tail
from exectrail.reading.report import Report
from exectrail.reading.trail import GAP, SELECTIONS, Follows, Source, Unreadable, end_marks, lines

MODULE = "exectrail.reading.reader"


_POLL = 0.2
_SPEAK = 5.0
"""Seconds."""


def of_file(
    file: Path, needles: tuple[bytes, ...] | None, report: Report, since: datetime | None = None
) -> Iterator[bytes]:
    """The lines of a trail with its closed segments, but for those that were closed before `since`.

    A segment that cannot be read, or is none, is in the report; the others are read all the same.

    Raises:
        Unreadable: There is no such trail, or nothing of it can be read.

    """
    refused: list[Unreadable] = []
    try:
        for stream in segments.read(file, since):
            try:
                yield from lines(_source(file, stream), needles, report)
            except Unreadable as error:
                refused.append(error)
    except OSError as error:
        raise Unreadable(f"{error.filename or file}: {error.strerror or error}") from error
    if refused and not report.records:
        raise refused[0]
    report.problems += map(str, refused)


def follow(file: Path, after: int | None, since: datetime | None) -> int:
    """Print what is added, until the one who reads has gone: an empty line now and then finds that out."""
    out = sys.stdout.buffer
    try:
        newest = tail.last(file)
        begins = _begins(newest, after)
        out.write(msgspec.json.encode(begins) + b"\n")
        out.flush()
        threading.Thread(target=_speak, args=(out,), daemon=True).start()
        for line in tail.added(file, _number(newest) if after is None else after, since):
            if line is tail.IDLE:
                out.flush()
                time.sleep(_POLL)
            else:
                out.write(line + b"\n")
    except BrokenPipeError:
        os._exit(0)  # without another try to write what is left
    except OSError as error:
        print(f"{error.filename or file}: {error.strerror or error}", file=sys.stderr)
    return 1


def _begins(newest: tail.Cursor, after: int | None) -> Follows:
    if after is None:
        return Follows(newest.after, newest.time)
    return Follows(tail.ALL) if tail.begun_anew(newest, after) else Follows(after)


def _number(newest: tail.Cursor) -> int | None:
    return None if newest.after == tail.ALL else newest.after


def _speak(out: IO[bytes]) -> None:
    """Show that this lives, also while it looks for the place after a number in a large segment."""
    try:
        while True:
            time.sleep(_SPEAK)
            out.write(b"\n")
            out.flush()
    except BrokenPipeError:
        os._exit(0)


def _source(file: Path, stream: IO[bytes]) -> Source:
    name = str(stream.name)
    return Source(name, lambda: nullcontext(stream), growing=name == str(file), goes_on=True)


def main(arguments: list[str]) -> int:
    """Print; 1 when the trail cannot be read."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}")
    parser.add_argument("file", type=Path)
    parser.add_argument("--about", metavar="UID")
    parser.add_argument("--only", choices=SELECTIONS)
    parser.add_argument("--since", metavar="TIME", type=datetime.fromisoformat)
    parser.add_argument("--follow", action="store_true")
    parser.add_argument("--after", metavar="SEQ", type=int)
    given = parser.parse_args(arguments)
    if given.follow:
        return follow(given.file, given.after, given.since)
    needles = (given.about.encode(errors="surrogateescape"), GAP) if given.about else SELECTIONS.get(given.only)
    report = Report()
    try:
        for line in of_file(given.file, needles, report, given.since):
            sys.stdout.buffer.write(line + b"\n")
    except Unreadable as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(end_marks(report))
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
