"""The tag: the request's UID in the argv of an entry, put there by the webhook.

Only the very first words count, `env SPO_EXEC_REQUEST_UID=<uid> ...`: nothing that a user writes comes before them.
The environment is never read: any process can write there what it likes.
"""

import re

from exectrail.contracts.session import TAG_VARIABLE

_UID = rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TAGGED = re.compile(rb"(?:[^\0]*/)?env\0" + TAG_VARIABLE.encode() + rb"=(" + _UID + rb")\0")


def tag_of(argv: bytes) -> tuple[str, bytes] | None:
    """The UID that these NUL-terminated arguments are tagged with, and the arguments after it."""
    match = _TAGGED.match(argv)
    return (match[1].decode(), argv[match.end() :]) if match else None
