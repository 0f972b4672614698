"""What the node's trail has of a load."""

import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from bench.agent import Counters
from bench.load import Load
from exectrail.contracts.record import Exit
from tests.cluster.product import TRAIL

_TRAIL = Path(TRAIL)


class _Resource(Struct):
    namespace: str


class _Line(Struct, rename="camel"):
    kind: str
    seq: int
    resource: _Resource | None = None
    argv: list[str] = []
    process_key: str = ""
    exit: Exit | None = None
    weak: list[str] = []


class Seen(Struct):
    """How much of a load is there: execs with all of their arguments, and ends with the right code."""

    execs: int
    exits: int
    wrong: int
    """Execs that are told with arguments which were not run, or were another's, and nothing that says so."""
    weak: int
    """Execs in the load's namespace whose arguments the record marks as weak."""


class Tail:
    """What is added to the trail from now on."""

    def __init__(self) -> None:
        self._from, self._began = Counters().total("sequence"), time.time()

    def of(self, load: Load) -> Seen:
        """Compare with what was run."""
        numbers: dict[str, int] = {}
        exits: dict[str, int | None] = {}
        weak = 0
        for line in self._lines():
            if line.kind == "exec" and "argv" in line.weak:
                weak += line.resource is not None and line.resource.namespace == load.namespace
            elif line.kind == "exec" and line.argv[1:2] == [load.mark]:
                numbers[line.process_key] = int(line.argv[2])
            elif line.kind == "exit" and line.process_key in numbers:
                exits[line.process_key] = line.exit.code if line.exit else None
        right = sum(exits.get(key) == number % 2 for key, number in numbers.items())
        told = set(numbers.values()) & set(range(load.execs))
        return Seen(len(told), right, len(numbers) - len(told), weak)

    def execs(self, load: Load) -> int:
        """How many execs of it are there."""
        return sum(line.kind == "exec" and line.argv[1:2] == [load.mark] for line in self._lines())

    def _lines(self) -> Iterator[_Line]:
        """Also those in segments that were closed, and compressed, meanwhile."""
        decode = msgspec.json.Decoder(_Line).decode
        closed = [each for each in _TRAIL.parent.glob("trail-*.jsonl*") if each.stat().st_mtime >= self._began]
        for path in (*sorted(closed), _TRAIL):
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                yield from (line for line in map(decode, file) if line.seq > self._from)
