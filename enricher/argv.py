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


SEARCHED = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where container runtimes look for a command unless the image says otherwise."""
_SEARCHED = frozenset(map(str.encode, SEARCHED))


def as_asked(argv: bytes, filename: bytes, path: bytes, cwd: bytes = b"", *, found: bool) -> tuple[bytes, ...]:
    """The arguments that may have been asked for, by those that were seen: of a script they are others.

    The kernel puts a script's interpreter, that one's argument and the script's path in front, in place of the
    script's own name (binfmt_script.c `load_script`): once more for each interpreter that is a script itself.

    Args:
        argv: The arguments, each terminated by NUL.
        filename: The path that was run: the one that was asked for, or what was found for a mere name.
        path: The file that runs: of a script its interpreter's. A sensor that knows no other file has it in `filename`.
        cwd: The working directory: crun puts it in front of a relative path.
        found: Whether a mere name may have been asked for.

    """
    words = argv.split(b"\0")
    if filename in (b"", path) or filename not in words[1:-1]:  # nearly always
        return (argv,)
    names = dict.fromkeys((filename, filename.removeprefix(cwd + b"/")))
    if found:
        names[filename.rpartition(b"/")[2]] = None
    if words[0] in names:
        return (argv,)
    rest = words[words.index(filename, 1) + 1 :]
    return (argv, *(b"\0".join([name, *rest]) for name in names))


def as_sent(argv: bytes, filename: bytes, path: bytes, cwd: bytes) -> tuple[bytes, ...]:
    """The same for what a container runtime was asked to run: it looks for a mere name in these folders.

    Elsewhere a script may bear the name of one that another asks for, such as a probe.
    """
    return as_asked(argv, filename, path, cwd, found=filename.rpartition(b"/")[0] in _SEARCHED)


def shortened(argv: bytes) -> bytes:
    """Arguments as they are kept while their process lives; of long ones a beginning, and what tells them apart."""
    return argv if len(argv) <= _SHORT else argv[: _SHORT - _DIGEST] + blake2b(argv, digest_size=_DIGEST).digest()


def text(raw: bytes) -> str:
    r"""Bytes of the kernel as text; what is not UTF-8 stands as `\xNN`."""
    return raw.decode("utf-8", "backslashreplace")
