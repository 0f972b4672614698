"""What decoding bytes of somebody else may raise, so that all who read them are ready for all of it."""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""No JSON, or of another shape; not UTF-8 (`UnicodeDecodeError` is a `ValueError`); nested too deep."""
