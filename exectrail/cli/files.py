"""Trails given on the command line: files, and standard input as `-`."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import IO

from exectrail.shell import visible
from exectrail.trail import Source


def sources(names: list[str]) -> list[Source]:
    """What the names stand for, in their order."""
    return [Source("standard input", _standard_input) if name == "-" else _file(name) for name in names]


def _file(name: str) -> Source:
    opened: partial[AbstractContextManager[IO[bytes]]] = partial(open, name, "rb")
    return Source(visible(name), opened)


@contextmanager
def _standard_input() -> Iterator[IO[bytes]]:
    yield sys.stdin.buffer
