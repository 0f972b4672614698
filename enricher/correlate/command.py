"""Whether a process runs the command that a request asked for.

The request's keyed hash decides, where there is one and its key is known; else the words, as far as the request has
them. Both are compared with the arguments that the kernel saw.
"""

from collections.abc import Iterator
from typing import Literal

from exectrail.contracts.command_hash import command_hash
from exectrail.contracts.cut import uncut
from exectrail.contracts.session import SessionSpec

Match = Literal["same", "beginning", "other"]
"""`beginning`: no more than the first words could be compared, and those are the same."""


def same_command(spec: SessionSpec, argv: bytes, key: bytes | None, *, truncated: bool = False) -> Match:
    """Compare a request's command with what a process runs.

    Args:
        spec: The request.
        argv: The process's arguments, each terminated by NUL.
        key: Of the hashes of commands (`exectrail.contracts.command_hash`); None while it is not known.
        truncated: Whether the process has more arguments than these.

    """
    if not truncated and key and spec.command_hash:
        if command_hash(key, argv.split(b"\0")[:-1]) == spec.command_hash:
            return "same"
        # The key may be another one by now; whole words need none.
        return "same" if _joined(spec.command) == argv and uncut(spec.command) == spec.command else "other"
    asked = uncut(spec.command)
    is_whole = asked == spec.command
    if is_whole and not truncated:
        return "same" if _joined(asked) == argv else "other"
    # Of a word that was cut, only its beginning is there.
    beginning = _joined(asked) if is_whole else _joined(asked)[:-1]
    known, seen = (beginning, argv) if len(beginning) < len(argv) else (argv, beginning)
    return "beginning" if known and seen.startswith(known) else "other"


def is_same_as_kept(kept: list[str], words: tuple[str, ...]) -> bool:
    """Whether a request's command, of which a session may have only the beginning, is these words."""
    asked = uncut(kept)
    if asked == kept:
        return tuple(kept) == words
    # Of the last word, only the beginning is there.
    whole, rest = tuple(asked[:-1]), words[len(asked) - 1 :]
    return words[: len(whole)] == whole and bool(rest) and rest[0].startswith(asked[-1])


def runs_as(command: list[str]) -> Iterator[bytes]:
    """The arguments that a command's process has at one time or another: `env A=b sh` becomes `sh`."""
    yield _joined(command)
    if command and command[0].rpartition("/")[2] == "env":
        rest = command[1:]
        while rest and "=" in rest[0]:
            rest = rest[1:]
        if rest and not rest[0].startswith("-"):
            yield _joined(rest)


def _joined(command: list[str]) -> bytes:
    return b"".join(word.encode() + b"\0" for word in command)
