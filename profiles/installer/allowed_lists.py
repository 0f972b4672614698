"""The lists of what users' profiles may allow, from the command line: the words themselves, or a file with them.

The settings' files go before both.
"""

import logging
from contextlib import suppress
from pathlib import Path

from exectrail.contracts.settings import ALLOWED_ACTIONS, ALLOWED_SYSCALLS
from profiles.installer.contents import Allowed

log = logging.getLogger(__name__)


class AllowedLists:
    """Reads files anew each time, so that a change of a mounted ConfigMap counts without a restart.

    Args:
        syscalls: Words with commas or spaces between them, or `@FILE`.
        actions: The same.
        settings: The folder of the settings; None without one.

    Raises:
        OSError: A file cannot be read.
        UnicodeDecodeError: A file is no text.

    """

    def __init__(self, syscalls: str, actions: str, settings: Path | None = None) -> None:
        self._syscalls, self._actions, self._settings = syscalls, actions, settings
        self._last = self._read()

    def __call__(self) -> Allowed:
        """The lists as they are now; as they were where they cannot be read."""
        try:
            self._last = self._read()
        except (OSError, UnicodeDecodeError) as error:
            log.error("a list of what profiles may allow cannot be read: %s; the one before stays in force", error)
        return self._last

    def _read(self) -> Allowed:
        return Allowed(self._words(ALLOWED_SYSCALLS, self._syscalls), self._words(ALLOWED_ACTIONS, self._actions))

    def _words(self, setting: str, given: str) -> tuple[str, ...]:
        if self._settings:
            with suppress(FileNotFoundError):
                return _split((self._settings / setting).read_text())
        return _split(Path(given[1:]).read_text() if given.startswith("@") else given)


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())
