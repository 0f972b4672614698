"""Arguments and other bytes of the kernel as text."""

from typing import Final

ARGV_LIMIT: Final = 64 * 1024
"""Most bytes of arguments that any sensor takes; `ARGV_SIZE` of the eBPF program."""


def words_of(argv: bytes) -> tuple[str, ...]:
    """Arguments as text, one by one; a last one that was cut has no NUL at its end."""
    words = text(argv).split("\0")  # NUL is part of no other character
    if not words[-1]:
        del words[-1]
    return tuple(words)


def text(raw: bytes) -> str:
    r"""Bytes of the kernel as text; what is not UTF-8 stands as `\xNN`."""
    return raw.decode("utf-8", "backslashreplace")
