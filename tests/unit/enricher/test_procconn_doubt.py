"""When the arguments that /proc showed are believed to be those of an exec."""

import time

import pytest
from msgspec.structs import replace

from enricher.events import ExecEvent, Process
from enricher.procfs import Stat
from enricher.sensors.proc_snapshot import ProcSnapshot
from enricher.sensors.procconn.doubt import UNSURE_NS, Delayed, DelayedEvents, doubt

SHELL = Process(7, 70)
READ_AT = 1_000_000_000
EXEC = ExecEvent(0, 1, "", SHELL, Process(1, 1), 0, 0, False, b"/bin/env", b"env\0sh\0", False)


def seen(comm: bytes, read_at: int = READ_AT) -> ProcSnapshot:
    return ProcSnapshot(Stat(SHELL, comm, 1, 0, gone=False), b"env\0sh\0", False, b"/bin/env", b"/", read_at)


@pytest.mark.parametrize(
    ("next_exec", "then", "argv", "weak"),
    [
        (READ_AT + UNSURE_NS + 1, seen(b"env"), EXEC.argv, False),
        (READ_AT + 1, seen(b"sh"), EXEC.argv, False),  # it still had the old name
        (READ_AT + 1, seen(b"env"), EXEC.argv, True),
        (READ_AT + 1, None, EXEC.argv, True),
        (READ_AT, seen(b"sh"), b"", True),
        (READ_AT - 1, None, b"", True),
    ],
)
def test_arguments_that_may_be_the_next_execs_are_weak_and_those_that_are_go(
    next_exec: int, then: ProcSnapshot | None, argv: bytes, weak: bool
) -> None:
    delayed = Delayed(EXEC, 0, seen(b"env"))

    doubt(delayed, next_exec, then)

    assert isinstance(delayed.event, ExecEvent)
    assert delayed.event.argv == argv
    assert ("argv" in delayed.event.weak) == weak


def test_an_exec_is_given_on_once_the_next_one_would_have_been_reported() -> None:
    events = DelayedEvents()
    before = time.monotonic_ns()
    last_of_its_process = events.add(EXEC, seen(b"env"))

    assert events.certain(before + UNSURE_NS - 1) == []
    assert events.certain(time.monotonic_ns() + UNSURE_NS) == [EXEC]
    assert len(events) == 0
    assert last_of_its_process == Delayed(None, last_of_its_process.due, None, len(EXEC.argv + EXEC.filename))


def test_what_comes_later_waits_behind() -> None:
    events = DelayedEvents()
    before = time.monotonic_ns()
    events.add(EXEC, seen(b"env"))
    other = ExecEvent(0, 1, "", SHELL, Process(1, 1), 0, 0, False, b"", b"", False)
    events.add(other)

    assert events.certain(before + UNSURE_NS - 1) == []
    assert events.certain(time.monotonic_ns() + UNSURE_NS) == [EXEC, other]


@pytest.mark.parametrize(("size", "kept"), [(0, 50_000), (1 << 20, 15)], ids=["number", "bytes"])
def test_in_a_flood_the_oldest_are_delayed_no_longer(size: int, kept: int) -> None:
    events = DelayedEvents()
    event = replace(EXEC, argv=b"x" * size)
    for _ in range(kept + 10):
        events.add(event, seen(b"env"))

    assert len(events.certain(0)) == 10
    assert len(events) == kept


def test_what_turned_out_to_be_none_is_left_out() -> None:
    events = DelayedEvents()
    events.add(EXEC).event = None

    assert events.certain(time.monotonic_ns()) == []
    assert len(events) == 0
