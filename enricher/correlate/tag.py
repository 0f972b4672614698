"""The tag: the request's UID in the argv of an entry, put there by the webhook.

Only the very first words count, `env SPO_EXEC_REQUEST_UID=<uid> ...`: nothing that a user writes comes before them.
The environment is never read: any process can write there what it likes.
"""

import re

from enricher.containers.request_uid import is_uid
from exectrail.contracts.session import TAG_VARIABLE

_TAGGED = re.compile(rb"(?:[^\0]*/)?env\0" + TAG_VARIABLE.encode() + rb"=([0-9a-f-]*)\0")


def tag_of(argv: bytes) -> tuple[str, bytes] | None:
    """The UID that these NUL-terminated arguments are tagged with, and the arguments after it."""
    match = _TAGGED.match(argv)
    if match is None or not is_uid(uid := match[1].decode()):
        return None
    return uid, argv[match.end() :]
