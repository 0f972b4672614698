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


def as_asked(argv: bytes, filename: bytes, cwd: bytes = b"") -> tuple[bytes, ...]:
    """The arguments that a container runtime may have been asked to run, by those that were seen.

    The kernel puts a script's interpreter, that one's argument and the script's path in front, in place of the
    script's own name (binfmt_script.c `load_script`): once more for each interpreter that is a script itself.

    Args:
        argv: The arguments, each terminated by NUL.
        filename: The path that was run: the one that was asked for, or what the runtime found for a mere name.
        cwd: The working directory: crun puts it in front of a relative path.

    """
    names = dict.fromkeys((filename, filename.rpartition(b"/")[2], filename.removeprefix(cwd + b"/")))
    words = argv.split(b"\0")
    if not filename or words[0] in names or filename not in words[1:-1]:  # nearly always
        return (argv,)
    rest = words[words.index(filename, 1) + 1 :]
    return (argv, *(b"\0".join([name, *rest]) for name in names))


def shortened(argv: bytes) -> bytes:
    """Arguments as they are kept while their process lives; of long ones a beginning, and what tells them apart."""
    return argv if len(argv) <= _SHORT else argv[: _SHORT - _DIGEST] + blake2b(argv, digest_size=_DIGEST).digest()


def text(raw: bytes) -> str:
    r"""Bytes of the kernel as text; what is not UTF-8 stands as `\xNN`."""
    return raw.decode("utf-8", "backslashreplace")
