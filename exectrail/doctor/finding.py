"""What the doctor says: findings, and what could not be looked at."""

from typing import Literal

from msgspec import Struct

Severity = Literal["error", "warning", "notice"]
"""`error`: something is not recorded; `warning`: something may not be, or was not; `notice`: it is as a user chose."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "notice")
"""The worst first."""

Area = Literal["release", "nodes", "pods", "webhook", "certificate", "clocks", "losses", "requests"]


class Finding(Struct, frozen=True):
    """Something that is amiss."""

    area: Area
    name: str
    """A word for programs, e.g. `stale-heartbeat`; docs/tasks/doctor.md lists them."""
    severity: Severity
    summary: str
    """What was found, in a sentence."""
    found: list[str]
    """Where: an object, its field, and its value, for each place."""
    meaning: str
    remedy: str


class Kind(Struct, frozen=True):
    """What is the same in all findings of a name that count places."""

    severity: Severity
    summary: str
    """With `{}` for how many places of what."""
    meaning: str
    remedy: str


class NotChecked(Struct, frozen=True, rename="camel"):
    """Something that could not be looked at."""

    what: str
    why: str
    """In kubectl's words, with the right that is missing."""


class Checked(Struct, frozen=True):
    """What came of an area."""

    area: Area
    summary: str
    """What was looked at, in a sentence."""
    findings: list[Finding] = []
