"""Puts the built-in seccomp profiles where the kubelet looks for them.

A container whose profile is missing does not start, and one whose profile was emptied runs without protection; so the
installer repairs what was changed or removed. It never removes a built-in profile: a pod that is still running must be
able to restart its containers after exectrail is gone.
"""

import errno
from pathlib import Path, PurePosixPath

from exectrail.contracts.profile import BUILT_IN, UNCONFINED_BUILT_IN
from profiles.installer.folder import is_in_place, opened, replace

_BUILTIN = Path(__file__).parents[1] / "builtin"


class InstallError(Exception):
    """A profile cannot be put in place; the message names the path and what to do."""


def install(seccomp_dir: Path, *, allow_unconfined: bool = False) -> list[str]:
    """Put every built-in profile in place that is not there unchanged.

    Args:
        seccomp_dir: The kubelet's seccomp folder (`<root-dir>/seccomp`).
        allow_unconfined: Whether those that refuse nothing are wanted, too.

    Returns:
        The files written, relative to that folder; none when all were in place.

    Raises:
        InstallError: The folder is missing, a symbolic link, not writable or full.

    """
    wanted = BUILT_IN | (UNCONFINED_BUILT_IN if allow_unconfined else {})
    return [file for name, file in wanted.items() if _put(seccomp_dir, PurePosixPath(file), _content(name))]


def remedy(seccomp_dir: Path, error: OSError) -> str:
    """What to do about an error in the kubelet's folder."""
    if isinstance(error, FileNotFoundError):
        return f"mount the node's <kubelet root-dir>/seccomp at {seccomp_dir} (hostPath, type DirectoryOrCreate)"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return f"mount {seccomp_dir} writable and run as the user who owns it (root on most nodes)"
    if isinstance(error, NotADirectoryError):
        return "it must be a folder and no symbolic link: remove what is there on the node"
    return "free the path or the disk on the node; it is tried again"


def _content(name: str) -> bytes:
    return (_BUILTIN / f"{name}.json").read_bytes()


def _put(seccomp_dir: Path, file: PurePosixPath, content: bytes) -> bool:
    """Write one file if it is not there unchanged; whether it was written."""
    try:
        with opened(seccomp_dir, *file.parent.parts, make=True) as folder:
            if is_in_place(folder, file.name, content):
                return False
            replace(folder, file.name, content)
            return True
    except OSError as error:
        raise InstallError(f"{seccomp_dir / file}: {error.strerror}; {remedy(seccomp_dir, error)}") from error
