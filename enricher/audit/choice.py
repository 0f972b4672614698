"""Chooses the audit source: the one that the flag names, or the best that works; the reason is in NodeTrail."""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from enricher.audit.netlink_socket import SourceUnavailable
from enricher.audit.source import Source

NONE: Final = "none"
AUTO: Final = "auto"

log = logging.getLogger(__name__)


class Choice(Struct, frozen=True):
    """The source in use, and why that one."""

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
        makers: How to open each source, by its name; the best first.

    Raises:
        SourceUnavailable: The one that was named does not work here.

    """
    if asked == NONE:
        return Choice(None, "disabled by --audit-source=none")
    if asked != AUTO:
        return Choice(makers[asked](), f"chosen by --audit-source={asked}")
    missing: list[str] = []
    for name, make in makers.items():
        try:
            return Choice(make(), "; ".join(missing) or "the best source")
        except SourceUnavailable as error:
            missing.append(str(error))
            log.warning("audit source %s does not work here: %s", name, error)
    reason = "; ".join(missing)
    log.error("no SECCOMP events: %s", reason)
    return Choice(None, reason)
