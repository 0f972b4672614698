"""Which lines of a log may leave the cluster: those that exectrail's parts log, and none of a trail.

With `logs.mode: stdout` the enricher's log is the trail. What is known is let through, instead of what is not: a log
may begin in the middle of a record, and what is left of that looks like nothing in particular.
"""

import msgspec

from exectrail.contracts.unreadable import UNREADABLE

_KEYS = {"time", "level", "logger", "message"}
"""That each line has which `exectrail.service.logs` writes, and no record of a trail."""


def is_log_line(line: bytes) -> bool:
    """Whether a part of exectrail logged it."""
    try:
        found = msgspec.json.decode(line)
    except UNREADABLE:
        return False
    return isinstance(found, dict) and found.keys() >= _KEYS and all(isinstance(found[key], str) for key in _KEYS)
