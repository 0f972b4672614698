"""What a record costs from the kernel's bytes to the trail's, over a recording of a real session."""

import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.figures import Figure, at_most, cpu_us, seen
from bench.memory import private_mib
from enricher.events import Exec, Exit, Fork
from enricher.support import recording
from enricher.support.player import Player
from enricher.support.recording import Audit
from enricher.support.replay import Trail
from exectrail.record import Record, encode
from exectrail.seal import seal

RECORDING = Path(__file__).parent / "data/session.rec"
_HOLD = 0.5


def figures() -> Iterator[Figure]:
    """Pipeline, encoding and size of records, memory of the imported program."""
    records, inputs = _records(), sum(isinstance(item, Fork | Exec | Exit | Audit) for _, item, _ in _ITEMS)
    with tempfile.TemporaryDirectory() as folder:
        line = cpu_us(lambda: _play(Path(folder) / "trail.jsonl"))
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
    sizes = [len(encode(record)) for record in records]
    yield at_most(1024, "record-size-largest", max(sizes), "bytes", "of the same session's lines")
    yield seen("record-size-median", statistics.median(sizes), "bytes", "of the same session's lines")
    yield at_most(32, "memory-of-the-program", _imported(), "MiB", "private memory after importing all of the enricher")


def _items() -> list[tuple[int, recording.Item, bytes]]:
    return [recording.decode(line) for line in RECORDING.read_bytes().splitlines()[1:]]


_ITEMS = _items()
_HEADER = recording.decode_header(RECORDING.read_bytes().splitlines()[0])


def _play(path: Path) -> int:
    """Play it into a file as fast as it goes."""
    with path.open("wb") as file:
        trail = Trail(file)
        player = Player(_HEADER, trail.write, _HOLD, random.getrandbits)
        for each in _ITEMS:
            player.play(*each)
        player.close()
    return trail.lines


def _records() -> list[Record]:
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


def _imported() -> float:
    program = "import enricher.__main__, sys; print(flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("no pipes")
        process.stdout.readline()
        mib = private_mib(process.pid)
        process.stdin.close()
    return mib
