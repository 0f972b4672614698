"""The lists of what users' profiles may allow, from the command line: the words themselves, or a file with them."""

import logging
from pathlib import Path

from profiles.installer.contents import Allowed

log = logging.getLogger(__name__)


class AllowedLists:
    """Reads files anew each time, so that a change of a mounted ConfigMap counts without a restart.

    Args:
        syscalls: Words with commas or spaces between them, or `@FILE`.
        actions: The same.

    Raises:
        OSError: A file cannot be read.
        UnicodeDecodeError: A file is no text.

    """

    def __init__(self, syscalls: str, actions: str) -> None:
        self._syscalls, self._actions = syscalls, actions
        self._last = self._read()

    def __call__(self) -> Allowed:
        """The lists as they are now; as they were where they cannot be read."""
        try:
            self._last = self._read()
        except (OSError, UnicodeDecodeError) as error:
            log.error("a list of what profiles may allow cannot be read: %s; the one before stays in force", error)
        return self._last

    def _read(self) -> Allowed:
        return Allowed(_words(self._syscalls), _words(self._actions))


def _words(given: str) -> tuple[str, ...]:
    text = Path(given[1:]).read_text() if given.startswith("@") else given
    return tuple(text.replace(",", " ").split())
