"""What waits while the webhook ends without the API server: a file that the next start of the container reads.

A line is a session, so that one that is damaged does not stop the others. The file is whole or absent, and only its
owner may read it: it holds commands, as the API does.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Raw

from exectrail.contracts.session import AuditSession
from exectrail.contracts.unreadable import UNREADABLE
from exectrail.service import atomic_file
from webhook.sessions.fair_queue import Entry

MOST_BYTES = 16 << 20
_NAME = "sessions.jsonl"

log = logging.getLogger(__name__)


class Spool:
    """The file.

    Args:
        folder: Where it is; it outlives the container, and goes with the pod.

    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME

    def read(self) -> list[Entry]:
        """What the container before left; nothing where that cannot be read, which is logged."""
        try:
            data = atomic_file.read(self._path, str(self._path)) or b""
        except atomic_file.Unusable as error:
            log.error("%s", error)
            return []
        lines = data.splitlines()
        entries = list(_entries(lines))
        if len(entries) < len(lines):
            log.error("left out %d lines of %s that are no AuditSessions", len(lines) - len(entries), self._path)
        return entries

    def write(self, entries: list[Entry]) -> list[Entry]:
        """Keep these, the first ones first; returns those that were too many.

        Raises:
            OSError: It cannot be written.

        """
        lines, size = [], 0
        for entry in entries:
            line = msgspec.json.encode((entry.namespace, Raw(entry.body))) + b"\n"
            if size + len(line) > MOST_BYTES:
                break
            lines.append(line)
            size += len(line)
        atomic_file.replace(self._path, b"".join(lines))
        return entries[len(lines) :]

    def remove(self) -> None:
        """Remove it, if it is there."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            # Its sessions are written once more at the next start, which changes nothing.
            log.warning("cannot remove %s: %s", self._path, error)


def _entries(lines: list[bytes]) -> Iterator[Entry]:
    for line in lines:
        try:
            namespace, body = msgspec.json.decode(line, type=tuple[str, Raw])
            session = msgspec.json.decode(body, type=AuditSession)
        except UNREADABLE:
            continue
        yield Entry(namespace, session.spec.user.username, bytes(body))
