"""What the doctor says: findings, and what could not be looked at."""

from typing import Literal, get_args

from msgspec import Struct

Severity = Literal["error", "warning", "notice"]
"""`error`: something is not recorded; `warning`: something may not be, or was not; `notice`: it is as a user chose."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "notice")
"""The worst first."""

Area = Literal["release", "nodes", "pods", "webhook", "certificate", "clocks", "losses", "requests"]

Name = Literal[
    "part-missing",
    "part-not-ready",
    "pod-security",
    "several-releases",
    "no-agent",
    "agent-not-ready",
    "no-nodetrail",
    "stale-heartbeat",
    "weak-sensor",
    "no-ebpf",
    "windows",
    "configuration-missing",
    "ca-bundle",
    "configuration-changed",
    "not-reached",
    "not-watched",
    "past-outages",
    "later-webhook",
    "single-replica",
    "certificate-not-ready",
    "not-yet-valid",
    "expired",
    "expires-soon",
    "renewal-overdue",
    "pods-not-recorded",
    "pods-uncovered",
    "pods-without-profile",
    "pods-without-bound-profile",
    "unknown-profile",
    "pods-beyond-profile",
    "clock-apart",
    "lost",
    "lag",
    "unwritten-sessions",
]
"""A word for programs, and for `--ignore`; docs/tasks/doctor.md says of each what it looks at."""
NAMES: tuple[Name, ...] = get_args(Name)


class Finding(Struct, frozen=True):
    """Something that is amiss."""

    area: Area
    name: Name
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
