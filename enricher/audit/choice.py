"""Which source is used: the one that a flag names, or the best that can be had. The reason goes where people look."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from enricher.audit.netlink_socket import SourceUnavailable
from enricher.audit.source import Source

NONE: Final = "none"
AUTO: Final = "auto"
SOURCES: Final = ("netlink", "auditlog")
"""The best first."""

log = logging.getLogger(__name__)


class Choice(Struct, frozen=True):
    """What is used, and why that."""

    source: Source | None
    reason: str

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name if self.source else NONE


def choose(asked: str, makers: Mapping[str, Callable[[], Source]]) -> Choice:
    """Open a source.

    Args:
        asked: A source's name, `auto` or `none`.
        makers: How to open each of `SOURCES`.

    Raises:
        SourceUnavailable: The one that was asked for cannot be had.

    """
    if asked == NONE:
        return Choice(None, "it was asked for none")
    if asked != AUTO:
        return Choice(makers[asked](), "it was asked for")
    missing: list[str] = []
    for name in SOURCES:
        try:
            return Choice(makers[name](), "; ".join(missing) or "it is the best one")
        except SourceUnavailable as error:
            missing.append(str(error))
            log.warning("no source %s: %s", name, error)
    reason = "; ".join(missing)
    log.error("no SECCOMP records: %s", reason)
    return Choice(None, reason)
