"""Files in a folder of the node that the kubelet reads: whole at every moment, and synced to the disk.

Everything goes through the folder's descriptor: a path could be redirected between two uses.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

MODE = 0o644
"""Of a profile: the container runtime reads it, and it holds no secret."""
PART = ".exectrail-"
"""What the name of a file begins with that is not complete yet."""

_FOLDER_MODE = 0o755
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Non-blocking: opening a named pipe left there would hang for ever.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST = 4 << 20
"""Bytes of a file that are looked at. A profile with each system call in a rule of its own has a tenth of that."""


class Found(Struct, frozen=True):
    """What stands in a folder under a name."""

    sha256: str
    """Of its content, in hex; empty for what is no regular file."""
    sound: bool
    """Whether it is a regular file of the right mode."""
    owner: int
    content: bytes = b""
    """Where that was asked for."""


@contextmanager
def opened(root: Path, *parts: str, make: bool = False) -> Iterator[int]:
    """A descriptor of `root` or of a folder inside, reached without following a symbolic link.

    Args:
        root: An existing folder.
        parts: Names of folders, each inside the one before.
        make: Make the last one where it is missing.

    Raises:
        OSError: It is missing, or something on the way is no folder.

    """
    folder = os.open(root, _FLAGS)
    try:
        for part in parts:
            if make and part is parts[-1]:
                _make_folder(folder, part)
            inner = os.open(part, _FLAGS, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def look(folder: int, name: str, content: bool = False) -> Found | None:
    """What stands under a name; None where nothing does.

    Raises:
        OSError: It cannot be read.

    """
    try:
        state = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(state.st_mode):
            return Found("", sound=False, owner=state.st_uid)
        file = os.open(name, _READ, dir_fd=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(file, "rb") as opened_file:
        data = opened_file.read(_MOST)
    sound = stat.S_IMODE(state.st_mode) == MODE
    return Found(sha256(data).hexdigest(), sound, state.st_uid, data if content else b"")


def is_in_place(folder: int, name: str, content: bytes) -> bool:
    """Whether a file is there with this content and the right mode."""
    try:
        found = look(folder, name)
    except OSError:
        return False  # replacing it either repairs it or says why not
    return found is not None and found.sound and found.sha256 == sha256(content).hexdigest()


def replace(folder: int, name: str, content: bytes) -> None:
    """Rename a complete file over the old one, so that a container that starts now finds one or the other.

    Raises:
        OSError: It cannot be written; the old file is as it was, and no part of the new one is left.

    """
    temporary = f"{PART}{secrets.token_hex(8)}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as opened_file:
            os.fchmod(file, MODE)  # whatever the umask made of it
            opened_file.write(content)
            opened_file.flush()
            os.fsync(file)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def remove(folder: int, name: str) -> None:
    """Remove a file, if it is there.

    Raises:
        OSError: It cannot be removed.

    """
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
        os.fsync(folder)


def remove_parts(folder: int) -> None:
    """Remove what a process that was killed has left of its last write.

    Raises:
        OSError: The folder cannot be read, or one of them cannot be removed.

    """
    for name in os.listdir(folder):
        if name.startswith(PART):
            remove(folder, name)


def _make_folder(parent: int, name: str) -> None:
    try:
        os.mkdir(name, _FOLDER_MODE, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)
