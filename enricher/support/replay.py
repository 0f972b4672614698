"""`python -m enricher replay`: the pipeline over what was recorded before, in the time of the recording.

It reads recordings of `capture`, and logs of auditd from anywhere. Replayed twice, the same files give the same lines.
"""

import argparse
import itertools
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO

import msgspec
from msgspec import Struct

from enricher import config
from enricher.support.log_reader import LogReader
from enricher.support.player import Player
from enricher.support.recording import Broken, decode_header
from exectrail.contracts.line import line_of
from exectrail.contracts.record import Record
from exectrail.contracts.seal import GENESIS, seal
from exectrail.contracts.unreadable import UNREADABLE
from exectrail.reading.gzipped import unpacked

_SHOWN = 5
"""How many broken lines are shown; the others are counted."""

_LONGEST = 4 << 20
_QUOTED = 80
_EXPECTED = (
    "a recording of `python -m enricher capture`, or auditd's log, plain or compressed by gzip, "
    "with lines like `type=SECCOMP msg=audit(TIME:SERIAL): ...`"
)
OK, NOTHING_READ = 0, 1


class Trail:
    """Writes records as an enricher's trail: one chain over all files."""

    def __init__(self, out: BinaryIO) -> None:
        self.lines = 0
        self._out, self._prev = out, GENESIS

    def write(self, record: Record) -> bool:
        """Seal a record and write its line."""
        record.seq, record.prev = self.lines, self._prev
        line = line_of(record)
        self._prev = seal(line)
        self._out.write(line)
        self.lines += 1
        return True


class Result(Struct):
    """What became of a file's lines."""

    read: int = 0
    broken: int = 0
    found: str = ""
    """What the file seems to be, where none of its lines could be read."""


def main(argv: list[str]) -> int:
    """Replay; 1 if nothing could be read, 2 for wrong usage."""
    args = _parser().parse_args(argv)
    trail = Trail(sys.stdout.buffer)
    random_bits = random.Random(args.seed).getrandbits  # noqa: S311 - ids that are the same each time
    try:
        results = [_file(name, args, trail.write, random_bits) for name in args.files]
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return OK if any(result.read for result in results) else NOTHING_READ


def _file(
    name: str, args: argparse.Namespace, write: Callable[[Record], bool], random_bits: Callable[[int], int]
) -> Result:
    result = Result()
    try:
        with _open(name) as file:
            _play(unpacked(file), name, result, partial(_reader, args=args, write=write, random_bits=random_bits))
    except (OSError, Broken) as error:
        sys.stderr.write(f"{name}: {error}\n")
    sys.stderr.write(f"{name}: {result.read} lines read, {result.broken} broken\n")
    if result.found:
        sys.stderr.write(f"{name}: found {result.found}, expected {_EXPECTED}\n")
    return result


def _play(file: IO[bytes], name: str, result: Result, open_reader: Callable[[bytes], Player | LogReader]) -> None:
    lines: Iterator[bytes] = iter(lambda: file.readline(_LONGEST), b"")
    first = next(lines, b"")
    reader = open_reader(first)
    is_log = isinstance(reader, LogReader)
    for number, line in enumerate(itertools.chain([first] if is_log and first else [], lines), 1 if is_log else 2):
        try:
            reader.take(line)
            result.read += 1
        except Broken as error:
            result.broken += 1
            if result.broken <= _SHOWN:
                sys.stderr.write(f"{name}:{number}: {error}\n")
    reader.close()
    if result.broken and not result.read:
        result.found = _what_is(first)


def _what_is(first: bytes) -> str:
    """What another tool's file looks like by its first line."""
    try:
        keys = list(msgspec.json.decode(first, type=dict[str, object]))
    except UNREADABLE:
        pass
    else:
        return f"JSON with the keys {', '.join(keys[:_SHOWN])}"
    text = first[:_QUOTED].decode("utf-8", "replace").strip()
    return f"lines like {text!r}" if text.isprintable() else "bytes that are no text"


def _reader(
    first: bytes, args: argparse.Namespace, write: Callable[[Record], bool], random_bits: Callable[[int], int]
) -> Player | LogReader:
    if first.startswith(b"{"):
        try:
            return Player(decode_header(first), write, args.hold_ms / 1000, random_bits)
        except Broken as error:
            if b'"recording"' in first:
                raise
            raise Broken(f"{error}; found {_what_is(first)}, expected {_EXPECTED}") from error
    return LogReader(write, args.node, random_bits)


def _open(name: str) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m enricher replay",
        description="Run the enricher over recordings, and write the trail to standard output.",
    )
    add = parser.add_argument
    add(
        "files",
        nargs="+",
        metavar="FILE",
        help="recording of `capture`, or log of auditd, also compressed by gzip; - is standard input",
    )
    add(
        "--seed", type=int, default=0, help="seed for auditID: the same seed gives the same lines (default %(default)s)"
    )
    add("--node", default="unknown", help="name of the node for logs that do not have it (default %(default)s)")
    add("--hold-ms", type=config.positive, default=500, help="hold time in milliseconds (default %(default)s)")
    return parser
