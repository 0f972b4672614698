"""What `spod` asks of the running parts: the content of the ConfigMap that brings it to the nodes.

Pure. A field with a mistake is never handed on: what the ConfigMap has of it stays.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from exectrail.contracts import settings
from exectrail.filter import filters
from profiles.controller.objects import Meta
from profiles.controller.spod_spec import FOLLOWED, INVALID, NOT_WRITTEN, Finding, asked, shown

_WORD = re.compile(r"\w+", re.ASCII)
_SETTINGS = "Settings"


class ConfigMap(Struct, frozen=True):
    """core/v1 ConfigMap."""

    metadata: Meta
    data: dict[str, str] | None = None


class Setting(Struct, frozen=True):
    """A field that running parts follow."""

    nested: str
    flat: str
    value: str
    """The chart's value that it stands in for."""
    key: str
    """Of the ConfigMap."""
    written: Callable[[Any], str]
    """What the key is to hold; a ValueError says what is wrong with the field."""
    default: object = None
    """What does not count as set."""


class Settings(Struct, frozen=True):
    """What is handed on, and what is said of it."""

    data: Mapping[str, str]
    findings: list[Finding]

    def changes(self, before: Mapping[str, str]) -> dict[str, str | None]:
        """What has to be written, by key; None where a key has to go."""
        return {
            each.key: self.data.get(each.key) for each in SETTINGS if self.data.get(each.key) != before.get(each.key)
        }

    def not_written(self, why: str) -> "Settings":
        """The same where the ConfigMap cannot be written: nothing new is followed."""
        kept = [each for each in self.findings if each.reason != FOLLOWED]
        text = f"what is asked for does not reach the nodes: {why}; what was in use before stays"
        return Settings(self.data, [*kept, Finding(_SETTINGS, NOT_WRITTEN, text)])


def _filters(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError(f"is {shown(given)}, must be a string that holds a JSON array of rules")  # noqa: TRY004
    filters.load(given)
    return given


def _words(given: object) -> str:
    words: list[object] = given if isinstance(given, list) else [given]
    for word in words:
        if not isinstance(word, str) or not _WORD.fullmatch(word):
            raise ValueError(f"has {shown(word)}, must be a list of names of letters, digits and _")
    return ",".join(map(str, words))


def _level(given: object) -> str:
    if not isinstance(given, int) or given < 0:
        raise ValueError(f"is {shown(given)}, must be 0 or a number above it")
    return "debug"


SETTINGS = (
    Setting("enricher.jsonEnricherFilters", "jsonEnricherFilters", "enricher.filters", settings.FILTERS, _filters),
    Setting("security.allowedSyscalls", "allowedSyscalls", "node.allowedSyscalls", settings.ALLOWED_SYSCALLS, _words),
    Setting(
        "security.allowedSeccompActions",
        "allowedSeccompActions",
        "node.allowedSeccompActions",
        settings.ALLOWED_ACTIONS,
        _words,
    ),
    Setting("verbosity", "verbosity", "logLevel", settings.LOG_LEVEL, _level, default=0),
)


def asked_for(spec: Mapping[str, Any], before: Mapping[str, str]) -> Settings:
    """What `spod` asks for.

    Args:
        spec: Its spec.
        before: What the ConfigMap has.

    """
    data: dict[str, str] = {}
    findings: list[Finding] = []
    for each in SETTINGS:
        path, given = asked(spec, each.nested, each.flat)
        if not path or given == each.default:
            continue
        try:
            data[each.key] = each.written(given)
        except ValueError as error:
            if each.key in before:
                data[each.key] = before[each.key]
            findings.append(Finding(path, INVALID, f"{path}: {error}; what was in use before stays"))
        else:
            text = f"{path} counts instead of the chart's value `{each.value}`; a change takes nodes up to two minutes"
            findings.append(Finding(path, FOLLOWED, text, "True"))
    return Settings(data, findings)
