"""Arguments and other bytes of the kernel as text."""

from hashlib import blake2b
from typing import Final

ARGV_LIMIT: Final = 64 * 1024
"""Most bytes of arguments that any sensor takes; `ARGV_SIZE` of the eBPF program."""
_SHORT: Final = 256
_DIGEST: Final = 16


def words_of(argv: bytes) -> tuple[str, ...]:
    """Arguments as text, one by one; a last one that was cut has no NUL at its end."""
    words = text(argv).split("\0")  # NUL is part of no other character
    if not words[-1]:
        del words[-1]
    return tuple(words)


def shortened(argv: bytes) -> bytes:
    """Arguments as they are kept while their process lives; of long ones a beginning, and what tells them apart."""
    return argv if len(argv) <= _SHORT else argv[: _SHORT - _DIGEST] + blake2b(argv, digest_size=_DIGEST).digest()


def text(raw: bytes) -> str:
    r"""Bytes of the kernel as text; what is not UTF-8 stands as `\xNN`."""
    return raw.decode("utf-8", "backslashreplace")
