"""The Security Profiles Operator's configuration object, and how a field is read: nested, or flat as it once was."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from profiles.controller.objects import Condition, Meta

Values = Mapping[str, Any]
"""The release's values by their paths, e.g. `logs.auditLogMaxSize`."""

SET_BY_VALUES, NO_EQUIVALENT, INVALID = "SetByValues", "NoEquivalent", "Invalid"
FOLLOWED, NOT_WRITTEN = "Followed", "NotWritten"
"""Reasons of conditions."""

_MOST_SHOWN = 80


class DaemonStatus(Struct, frozen=True, omit_defaults=True):
    """The status of a SecurityProfilesOperatorDaemon."""

    state: str = ""
    conditions: list[Condition] = []


class Daemon(Struct, frozen=True):
    """A SecurityProfilesOperatorDaemon."""

    metadata: Meta
    spec: dict[str, Any] = {}
    status: DaemonStatus = DaemonStatus()


class Finding(NamedTuple):
    """What is to be said of a field: a condition of its name."""

    name: str
    reason: str
    message: str
    status: str = "False"


def asked(spec: Mapping[str, Any], nested: str, flat: str) -> tuple[str, Any]:
    """What is set, and by which path; an empty path where nothing is. The nested form counts where both are set."""
    for path in (nested, flat):
        found: Any = spec
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if not _unset(found):
            return f"spec.{path}", found
    return "", None


def shown(value: object) -> str:
    """A value as messages show it."""
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"


def _unset(found: object) -> bool:
    if isinstance(found, dict):
        return all(_unset(each) for each in found.values())
    return found is None or found is False or found in ("", [])  # 0 is set: it often means without a bound
