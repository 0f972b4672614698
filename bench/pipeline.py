"""What a record costs from the kernel's bytes to the trail's, over a recording of a real session."""

import json
import random
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec.structs import replace

from bench.figures import Figure, at_most, cpu_us, seen
from enricher.events import ExecEvent, ExitEvent, ForkEvent
from enricher.support import recording
from enricher.support.player import Player
from enricher.support.recording import Audit
from enricher.support.replay import Trail
from exectrail.contracts.record import Record, encode
from exectrail.contracts.seal import seal
from exectrail.contracts.session import TAG_VARIABLE

RECORDING = Path(__file__).parent / "data/session.rec"
_HOLD = 0.5
_KB, _ORDINARY = 1024, 64


def figures() -> Iterator[Figure]:
    """Pipeline, encoding and size of records."""
    records, inputs = (
        recorded(),
        sum(isinstance(item, ForkEvent | ExecEvent | ExitEvent | Audit) for _, item, _ in _ITEMS),
    )
    with tempfile.TemporaryFile() as file:
        line = cpu_us(lambda: _play(file))
    plain = [msgspec.to_builtins(record) for record in records]
    ruler = cpu_us(lambda: len([json.dumps(each) for each in plain]))
    how = f"a recorded session of {inputs} events and SECCOMP records, {len(records)} lines, played to a file"
    # A line is made of up to two records. The stricter reading of "per record" is the line, so it has the bound, too.
    read = f"{how}; by record read, decoding of eBPF samples apart"
    yield at_most(20, "pipeline-cpu-per-record", line * len(records) / inputs, "us", read)
    yield at_most(20, "pipeline-cpu-per-line", line, "us", "the same, by line written")
    how = "CPU for a line, in units of the standard library's json.dumps of it: for comparing machines"
    yield seen("pipeline-cpu-to-json-dumps", line / ruler, "ratio", how)
    yield seen("encode-and-seal-cpu-per-line", cpu_us(lambda: _encode(records)), "us", "JSON and SHA-256 alone")
    yield from _sizes(records)


def _sizes(records: list[Record]) -> Iterator[Figure]:
    """Of lines. A command stands in `cmdLine`, which is SPO's key, and in `argv`: each of its bytes counts twice."""
    every = [len(encode(record)) for record in records]
    ordinary = [len(encode(record)) for record in map(_with_ordinary_command, records)]
    how = (
        f"of the same session's lines, commands cut to {_ORDINARY} bytes beside their tag; "
        f"{sum(size > _KB for size in every)} of {len(every)} have a longer one, up to {max(every)} bytes"
    )
    yield at_most(_KB, "record-size-largest", max(ordinary), "bytes", how)
    yield seen("record-size-median", statistics.median(every), "bytes", "of the same session's lines, nothing cut")


def _with_ordinary_command(record: Record) -> Record:
    if record.request and record.request.command:
        return replace(record, request=replace(record.request, command=_cut(record.request.command)))
    if record.argv:
        argv = _cut(record.argv)
        return replace(record, argv=argv, cmd_line=" ".join(argv))
    return record


def _cut(argv: list[str]) -> list[str]:
    """A command whose last word is cut so that all of it, but for its tag, fits in a line."""
    *words, last = argv
    others = sum(len(word) + 1 for word in words if TAG_VARIABLE not in word)
    return [*words, last[: max(0, _ORDINARY - others)]]


def _items() -> list[tuple[int, recording.Item, bytes]]:
    return [recording.decode(line) for line in RECORDING.read_bytes().splitlines()[1:]]


_ITEMS = _items()
_HEADER = recording.decode_header(RECORDING.read_bytes().splitlines()[0])


def _play(file: BinaryIO) -> int:
    """Play it into a file as fast as it goes; over again into the same one, which no enricher opens anew so often."""
    file.seek(0)
    trail = Trail(file)
    player = Player(_HEADER, trail.write, _HOLD, random.getrandbits)
    for each in _ITEMS:
        player.play(*each)
    player.close()
    file.flush()
    return trail.lines


def recorded() -> list[Record]:
    """The records of the recorded session."""
    records: list[Record] = []

    def take(record: Record) -> bool:
        record.seq, record.prev = 123_456, "0" * 64
        records.append(record)
        return True

    player = Player(_HEADER, take, _HOLD, random.getrandbits)
    for each in _ITEMS:
        player.play(*each)
    player.close()
    return records


def _encode(records: list[Record]) -> int:
    for record in records:
        seal(encode(record))
    return len(records)
