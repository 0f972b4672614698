"""Trails given on the command line: files, and standard input as `-`; any of them may be compressed (gzip)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from exectrail.reading.gzipped import unpacked
from exectrail.reading.shell import visible
from exectrail.reading.trail import Source


def sources(names: list[str]) -> list[Source]:
    """What the names stand for, in their order."""
    return [Source("standard input", _standard_input) if name == "-" else _file(name) for name in names]


def _file(name: str) -> Source:
    return Source(visible(name), lambda: unpacked(open(name, "rb")))


@contextmanager
def _standard_input() -> Iterator[IO[bytes]]:
    yield unpacked(sys.stdin.buffer)
