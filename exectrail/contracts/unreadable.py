"""What decoding bytes from outside may raise, for readers to catch all of it."""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""No JSON, or of another shape; not UTF-8 (`UnicodeDecodeError` is a `ValueError`); nested too deep."""
