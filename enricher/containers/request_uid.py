"""What counts as the UID of a request, wherever a tag is read: API servers make UUIDs, of small digits.

Tags are text that users may write themselves: what is no UID goes no further, least of all into a path of the API.
"""

import re

_is_uuid = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


def is_uid(text: str) -> bool:
    """Whether this can be a request's."""
    return _is_uuid(text) is not None
