"""The list of the files that are ours, kept beside them: what is not in it is never changed or removed.

It names a file before that file is written. So a process that is killed in between leaves a name without a file, which
does no harm, and never a file that stays for ever.
"""

import logging

import msgspec
from msgspec import Struct

from exectrail.contracts.unreadable import UNREADABLE
from profiles.installer.folder import look, replace

FILE = ".exectrail.json"
"""Its name. No object of the API has a name that begins with a dot."""
_FORMAT = 1

log = logging.getLogger(__name__)


class Owned(Struct, frozen=True):
    """A file of ours."""

    uid: str
    """Of the SeccompProfile that it was written for."""
    sha256: list[str]
    """Of what we wrote into it; of two contents while one replaces the other."""


class _List(Struct, frozen=True):
    format: int
    files: dict[str, Owned]


def read(folder: int) -> dict[str, Owned]:
    """The files that are ours, by name. None are where the list is unreadable: they are then kept as they are.

    Raises:
        OSError: It cannot be read, for a reason of the disk.

    """
    found = look(folder, FILE, content=True)
    if found is None:
        return {}
    try:
        listed = msgspec.json.decode(found.content, type=_List)
    except UNREADABLE as error:
        log.error("%s cannot be read: %s; files with other contents than their profiles' are left alone", FILE, error)
        return {}
    return listed.files if listed.format == _FORMAT else {}


def write(folder: int, files: dict[str, Owned]) -> None:
    """Replace the list.

    Raises:
        OSError: It cannot be written; the old one is still there.

    """
    replace(folder, FILE, msgspec.json.encode(_List(_FORMAT, dict(sorted(files.items())))))
