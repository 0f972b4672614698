"""Puts the built-in seccomp profiles where the kubelet looks for them, and keeps them there.

A container whose profile is missing does not start, and one whose profile was emptied runs without protection; so the
installer repairs what was changed or removed. It never removes a file: a pod that is still running must be able to
restart its containers after exectrail is gone.
"""

import errno
import logging
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from exectrail.contracts.profile import BUILT_IN

_BUILTIN = Path(__file__).parents[1] / "builtin"
_CHECK_SECONDS = 30.0
_MODE = 0o644  # the container runtime reads it, and it holds no secret
_FOLDER_MODE = 0o755

log = logging.getLogger(__name__)


class InstallError(Exception):
    """A profile cannot be put in place; the message names the path and what to do."""


def install(seccomp_dir: Path) -> list[str]:
    """Put every built-in profile in place that is not there unchanged.

    Args:
        seccomp_dir: The kubelet's seccomp folder (`<root-dir>/seccomp`).

    Returns:
        The files written, relative to that folder; none when all were in place.

    Raises:
        InstallError: The folder is missing, a symbolic link, not writable or full.

    """
    return [file for name, file in BUILT_IN.items() if _put(seccomp_dir, PurePosixPath(file), _content(name))]


def keep_installed(seccomp_dir: Path, stop: threading.Event, seconds: float = _CHECK_SECONDS) -> None:
    """Check and repair every so often until stopped; a failure is logged and tried again."""
    while not stop.wait(seconds):
        try:
            for file in install(seccomp_dir):
                log.warning("profile was changed or removed: repaired", extra={"path": str(seccomp_dir / file)})
        except InstallError as error:
            log.error("%s", error)


def _content(name: str) -> bytes:
    return (_BUILTIN / f"{name}.json").read_bytes()


def _put(seccomp_dir: Path, file: PurePosixPath, content: bytes) -> bool:
    """Write one file if it is not there unchanged; whether it was written."""
    path = seccomp_dir / file
    try:
        with _opened_folder(seccomp_dir, file.parent) as folder:
            if _is_in_place(folder, file.name, content):
                return False
            _replace(folder, file.name, content)
            return True
    except OSError as error:
        raise InstallError(f"{path}: {error.strerror}; {_remedy(seccomp_dir, error)}") from error


@contextmanager
def _opened_folder(seccomp_dir: Path, name: PurePosixPath) -> Iterator[int]:
    """The folder's descriptor. Everything below goes through it: a path could be redirected between two uses."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    root = os.open(seccomp_dir, flags)
    try:
        _make_folder(root, str(name))
        folder = os.open(name, flags, dir_fd=root)
    finally:
        os.close(root)
    try:
        yield folder
    finally:
        os.close(folder)


def _make_folder(root: int, name: str) -> None:
    try:
        os.mkdir(name, _FOLDER_MODE, dir_fd=root)
    except FileExistsError:
        return
    os.fsync(root)


def _is_in_place(folder: int, name: str, content: bytes) -> bool:
    try:
        # Non-blocking: opening a named pipe left there would hang for ever.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return False  # missing, a link, no permission: replacing it either repairs it or says why not
    with os.fdopen(file, "rb") as opened:
        state = os.fstat(file)
        if not stat.S_ISREG(state.st_mode) or stat.S_IMODE(state.st_mode) != _MODE:
            return False
        return opened.read(len(content) + 1) == content


def _replace(folder: int, name: str, content: bytes) -> None:
    """Rename a complete file over the old one, so that a container that starts now finds one or the other."""
    temporary = f".{name}.{secrets.token_hex(4)}"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as opened:
            os.fchmod(file, _MODE)  # whatever the umask made of it
            opened.write(content)
            opened.flush()
            os.fsync(file)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def _remedy(seccomp_dir: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"mount the node's <kubelet root-dir>/seccomp at {seccomp_dir} (hostPath, type DirectoryOrCreate)"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return f"mount {seccomp_dir} writable and run as the user who owns it (root on most nodes)"
    if isinstance(error, NotADirectoryError):
        return "it must be a folder and no symbolic link: remove what is there on the node"
    return "free the path or the disk on the node; it is tried again"
