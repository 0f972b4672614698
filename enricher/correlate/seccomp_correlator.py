"""Joins each exec and fork with its SECCOMP event, which the same system call made.

The record is made before the call runs and names the caller; the event comes after it and names the outcome. They
arrive through different sockets, in either order. A shell that looks for a program on PATH makes one record for each
folder it tries; only sensors that tell of failed execs have an event for each.
"""

import itertools
from functools import lru_cache
from typing import Final, Literal

from enricher import syscalls
from enricher.clock import CALL_SLACK_MS
from enricher.events import ExecEvent, ExecFailedEvent, ForkEvent, SeccompEvent

_EXEC = frozenset({"execve", "execveat"})
_FORK = frozenset({"fork", "vfork", "clone", "clone3"})
_CALLS = 1024
"""How many system calls are remembered."""
_COMM = 15
"""Bytes of a program's name that the kernel keeps (TASK_COMM_LEN without NUL)."""

Call = Literal["exec", "fork", "other"]
"""A group of system calls that mean the same here."""

Key = tuple[int, Call]
"""The calling process's pid, and what it calls."""

PROFILED: Final = (ForkEvent, ExecEvent, ExecFailedEvent)
"""The events whose system call may have a SECCOMP event as well."""

Waiting = tuple[SeccompEvent, str, float]
"""A record, its system call, and until when it waits."""


@lru_cache(_CALLS)
def called(arch: int, number: int) -> tuple[str, Call]:
    """A system call's name, and which process event it may make; `other` for those that a profile may log as well."""
    syscall = syscalls.name(arch, number)
    return syscall, "exec" if syscall in _EXEC else "fork" if syscall in _FORK else "other"


def key_of_event(event: ForkEvent | ExecEvent | ExecFailedEvent) -> Key:
    """Where an event's record is to be found: the caller of a fork is the parent."""
    if type(event) is ForkEvent:
        return event.parent.pid, "fork"
    return event.process.pid, "exec"


class SeccompCorrelator:
    """Records that wait for their events, by caller.

    Args:
        reports_failed_execs: Whether the sensor tells of failed execs as well, so that each record has its event.

    """

    def __init__(self, *, reports_failed_execs: bool = False) -> None:
        self._reports_failed_execs = reports_failed_execs
        self._waiting: dict[Key, list[Waiting]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: Key, record: SeccompEvent, syscall: str, deadline: float) -> None:
        """A record whose event may follow until `deadline`."""
        if (waiting := self._waiting.get(key)) is None:
            self._waiting[key] = [(record, syscall, deadline)]
        else:
            waiting.append((record, syscall, deadline))
        self._count += 1

    def take(self, key: Key, wall_ms: int, caller: bytes | None) -> SeccompEvent | None:
        """The SECCOMP event that belongs to a process event.

        Args:
            key: From `key_of_event`.
            wall_ms: When the event was.
            caller: The program that the caller ran, where known.

        """
        waiting = self._waiting.get(key)
        if waiting is None:
            return None
        latest, found = wall_ms + CALL_SLACK_MS, waiting[0]
        if len(waiting) == 1 and found[0].time <= latest:  # nearly always
            del self._waiting[key]
        elif caller is None and key[1] == "fork" and found[0].time <= latest:  # a shell that forks a lot has many
            del waiting[0]
        elif chosen := self._choose(waiting, key, latest, caller):
            found = chosen
            waiting.remove(found)
        else:
            return None
        self._count -= 1
        return found[0]

    def _choose(self, waiting: list[Waiting], key: Key, latest: int, caller: bytes | None) -> Waiting | None:
        # One at a time: a shell that forks a lot has many waiting, and the first one is nearly always it.
        in_time = (each for each in waiting if each[0].time <= latest)
        first = next(in_time, None)
        if first is None:
            return None
        comm = None if caller is None else caller.rpartition(b"/")[2][:_COMM]
        if key[1] == "exec" and not self._reports_failed_execs:
            return _last_try([first, *in_time], comm)
        if comm is None or first[0].comm == comm:
            return first
        return next((each for each in in_time if each[0].comm == comm), first)

    def oldest(self) -> SeccompEvent:
        """Take out one of the oldest records, where too many wait."""
        key = next(iter(self._waiting))
        record, *_ = self._waiting[key].pop(0)
        if not self._waiting[key]:
            del self._waiting[key]
        self._count -= 1
        return record

    def expired(self, now: float) -> list[tuple[SeccompEvent, str]]:
        """Take out the records for which no event came."""
        late: list[tuple[SeccompEvent, str]] = []
        for key in [key for key, waiting in self._waiting.items() if waiting[0][2] <= now]:
            waiting = self._waiting[key]
            while waiting and waiting[0][2] <= now:
                record, syscall, _ = waiting.pop(0)
                late.append((record, syscall))
            if not waiting:
                del self._waiting[key]
        self._count -= len(late)
        return late


def _last_try(waiting: list[Waiting], comm: bytes | None) -> Waiting:
    """Of one caller's tries along PATH only the last one has an event."""
    of_caller = [each for each in waiting if each[0].comm == comm] if comm is not None else []
    tries = of_caller or waiting
    *_, last = itertools.takewhile(lambda each: each[0].comm == tries[0][0].comm, tries)
    return last
