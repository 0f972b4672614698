"""The folder of SeccompProfiles' files: where `operator` in the kubelet's seccomp folder leads.

The Security Profiles Operator makes it a symbolic link to a folder of its own. The link's target is a path of the node,
so it is read here, and never followed: in a container it leads nowhere, or somewhere else.
"""

import errno
import os
import posixpath
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from exectrail.contracts.spo import FOLDER, STATE_FOLDER
from profiles.installer.folder import opened
from profiles.installer.install import remedy


class FolderError(Exception):
    """The folder cannot be used; the message names the path and what to do."""


class OperatorFolder:
    """Finds and opens the folder.

    Args:
        seccomp_dir: The kubelet's seccomp folder, where it is mounted.
        state_dir: `STATE_FOLDER` of the node, where it is mounted.

    """

    def __init__(self, seccomp_dir: Path, state_dir: Path) -> None:
        self._seccomp_dir, self._state_dir = seccomp_dir, state_dir
        self._link = seccomp_dir / FOLDER

    @contextmanager
    def opened(self) -> Iterator[tuple[int, bool]]:
        """A descriptor of the folder, and whether it is the operator's own and no other.

        The link is made where nothing has its name.

        Raises:
            FolderError: The link leads out of the two folders, or its target is missing or no folder.

        """
        with ExitStack() as stack:
            try:
                root, parts = self._leads_to()
                folder = stack.enter_context(opened(root, *parts))
            except OSError as error:
                raise FolderError(f"{self._link}: {error.strerror}; {self._remedy(error)}") from error
            yield folder, root == self._state_dir

    def _leads_to(self) -> tuple[Path, tuple[str, ...]]:
        """The mounted folder that it is in, and the way from there."""
        target = self._target()
        if target is None:
            return self._seccomp_dir, FOLDER.parts
        path = PurePosixPath(posixpath.normpath(target))
        if path.is_relative_to(STATE_FOLDER):
            return self._state_dir, path.relative_to(STATE_FOLDER).parts
        if not path.is_absolute() and ".." not in path.parts:
            return self._seccomp_dir, path.parts
        raise FolderError(
            f"{self._link}: it is a symbolic link to {target}, out of the folders for profiles; "
            f"remove it on the node, or let it lead to {STATE_FOLDER}"
        )

    def _target(self) -> str | None:
        """What the link says; None where it is a real folder."""
        with opened(self._seccomp_dir) as root:
            try:
                return _linked(root)
            except FileNotFoundError:
                os.symlink(STATE_FOLDER, FOLDER, dir_fd=root)
                os.fsync(root)
                return str(STATE_FOLDER)

    def _remedy(self, error: OSError) -> str:
        if isinstance(error, FileNotFoundError) and not self._state_dir.is_dir():
            return f"mount the node's {STATE_FOLDER} at {self._state_dir} (hostPath, type DirectoryOrCreate)"
        if isinstance(error, FileNotFoundError) and self._seccomp_dir.is_dir():
            return "make the folder that it leads to, or remove the link on the node"
        return remedy(self._seccomp_dir, error)


def _linked(root: int) -> str | None:
    try:
        return os.readlink(FOLDER, dir_fd=root)
    except OSError as error:
        if error.errno == errno.EINVAL:  # no link
            return None
        raise
