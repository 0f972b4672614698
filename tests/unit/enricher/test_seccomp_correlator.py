"""Which of the waiting SECCOMP records is the other half of an event."""

import pytest

from enricher.audit.parser import parse
from enricher.correlate.seccomp_correlator import Key, SeccompCorrelator
from enricher.events import SeccompEvent

SHELL: Key = (26255, "fork")
PROGRAM: Key = (26255, "exec")


def record(serial: int, comm: bytes = b"sh", wall_ms: int = 1_000) -> SeccompEvent:
    return parse(
        b'audit(%d.%03d:%d): uid=0 gid=0 pid=26255 comm="%b" exe="/bin/busybox" sig=0 arch=c000003e syscall=59 '
        b"compat=0 ip=0x461857 code=0x7ffc0000" % (wall_ms // 1000, wall_ms % 1000, serial, comm)
    )


def waiting(key: Key, *records: SeccompEvent, reports_failed_execs: bool = True) -> SeccompCorrelator:
    correlator = SeccompCorrelator(reports_failed_execs=reports_failed_execs)
    for each in records:
        correlator.add(key, each, "execve", 2.0)
    return correlator


def serial(taken: SeccompEvent | None) -> int | None:
    return taken.serial if taken else None


def test_the_forks_of_one_shell_take_its_records_in_their_order() -> None:
    correlator = waiting(SHELL, *map(record, range(100)))
    assert [serial(correlator.take(SHELL, 1_001, None)) for _ in range(101)] == [*range(100), None]
    assert len(correlator) == 0


@pytest.mark.parametrize("later", [1, 3])
def test_a_record_that_is_later_than_the_event_is_left(later: int) -> None:
    correlator = waiting(SHELL, *(record(number, wall_ms=1_500) for number in range(later)))
    assert correlator.take(SHELL, 1_001, None) is None
    assert len(correlator) == later


@pytest.mark.parametrize(
    ("reports_failed_execs", "caller", "expected"),
    [
        (True, None, 1),
        (True, b"/bin/sh", 1),
        (True, b"/bin/env", 3),
        (True, b"/bin/busybox", 1),
        (False, None, 2),
        (False, b"/bin/env", 4),
        (False, b"/bin/busybox", 2),
    ],
)
def test_of_several_the_callers_own_is_taken_and_of_its_tries_the_last_unless_failures_are_reported(
    reports_failed_execs: bool, caller: bytes | None, expected: int
) -> None:
    records = (record(1), record(2), record(3, b"env"), record(4, b"env"))
    correlator = waiting(PROGRAM, *records, reports_failed_execs=reports_failed_execs)
    assert serial(correlator.take(PROGRAM, 1_001, caller)) == expected
    assert len(correlator) == 3


def test_records_without_an_event_expire() -> None:
    correlator = waiting(SHELL, record(1), record(2))
    assert correlator.expired(1.9) == []
    assert [each.serial for each, _ in correlator.expired(2.0)] == [1, 2]
    assert len(correlator) == 0
