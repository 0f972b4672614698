"""The trail's folder, held open: files are reached from it and never by their path.

A folder or a name that is swapped cannot lead elsewhere: symbolic links are not followed, and only regular files are
opened.
"""

import contextlib
import errno
import fcntl
import io
import os
import stat
import time
from pathlib import Path
from typing import Self

FILE_MODE, FOLDER_MODE = 0o640, 0o750
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO put in a file's place must not stop us
_REFUSED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES)
"""What file systems without owners and modes of their own say (CIFS, vfat, some of FUSE and NFS), or one of another
owner."""
_OF_THE_FILE_SYSTEM = "lost+found"
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_TRY_EVERY = 0.2


class Occupied(OSError):
    """Another process holds the lock."""


class Folder:
    """A folder.

    Args:
        path: Where it is.
        make: Make it where it is missing, and let in our group alone, unless others use it as well.

    Attributes:
        refused: Why it could not be let to our group alone; empty where it is.

    Raises:
        OSError: It cannot be made or opened, or is a symbolic link.

    """

    def __init__(self, path: Path, *, make: bool = False) -> None:
        self._path = path
        if make:
            path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._lock: int | None = None
        self.refused = self._let_in_our_group() if make else ""

    def _let_in_our_group(self) -> str:
        """Set group and mode where they differ: the kubelet makes a hostPath folder for root alone."""
        there = os.fstat(self._fd)
        group, mode = there.st_gid, stat.S_IMODE(there.st_mode)
        if group != os.getegid() and (shared := self._shared(mode)):
            return f"group and mode stay {group} and {mode:04o}: {shared}; a folder of its own is better"
        try:
            if group != os.getegid():
                os.fchown(self._fd, -1, os.getegid())
            if mode != FOLDER_MODE:
                os.fchmod(self._fd, FOLDER_MODE)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            return f"group and mode stay {group} and {mode:04o}: {error.strerror}"
        return ""

    def _shared(self, mode: int) -> str:
        """Why others need the folder as it is, such as /tmp or /var/log; empty where it is the trail's alone."""
        if mode & stat.S_ISVTX:
            return "anyone may write into it"
        with os.scandir(self._fd) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    if entry.is_dir(follow_symlinks=False) and entry.name != _OF_THE_FILE_SYSTEM:
                        return f"it has other folders, such as {entry.name!r}"
                    if (owner := entry.stat(follow_symlinks=False).st_uid) != os.geteuid():
                        return f"it has files of others, such as {entry.name!r} of uid {owner}"
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, name: str) -> int:
        """Open a file for appending, and for reading what is there; made where it is missing."""
        return self._open(name, os.O_RDWR | os.O_APPEND | os.O_CREAT)

    def create(self, name: str) -> io.BufferedWriter:
        """A new file; one of the name, left by a process that was killed, is replaced."""
        self.remove(name)
        return os.fdopen(self._open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")

    def read(self, name: str) -> io.BufferedReader:
        """Open a file for reading."""
        return os.fdopen(self._open(name, os.O_RDONLY), "rb")

    def files(self) -> list[str]:
        """The names in it."""
        return os.listdir(self._fd)

    def size(self, name: str) -> int:
        """A file's size, in bytes."""
        return os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_size

    def leads_to(self, name: str, fd: int) -> bool:
        """Whether a name is that of an open file."""
        try:
            there = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(fd))

    def in_place(self) -> bool:
        """Whether its path still leads to it: a volume may be mounted anew."""
        try:
            return os.path.samestat(os.stat(self._path, follow_symlinks=False), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def rename(self, name: str, to: str) -> None:
        """Give a file another name."""
        os.rename(name, to, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)

    def sync(self) -> int:
        """Another file descriptor of the folder, for syncing its names."""
        return os.dup(self._fd)

    def lock(self, name: str, wait: float = 0.0) -> bool:
        """Hold the lock file of this name until `close`; false where the file system has no locks.

        Args:
            name: The lock file; it stays when the lock is gone.
            wait: How long to wait for another holder, in seconds.

        Raises:
            Occupied: Another process holds it; the message says where that runs.

        """
        fd = self._open(name, os.O_RDWR | os.O_CREAT)
        try:
            locked = _lock(fd, wait)
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(fd)
            raise Occupied(
                f"{self._path / name} is held by {holder}: another enricher writes this trail. "
                "End that one, or give this one another folder, or its node another name"
            ) from None
        except OSError:
            os.close(fd)
            raise
        self._lock = fd
        with contextlib.suppress(OSError):  # only for the message above
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        return locked

    def close(self) -> None:
        """Let go of it, and of the lock."""
        for fd in (self._fd, self._lock):
            if fd is not None:
                os.close(fd)

    def _open(self, name: str, flags: int) -> int:
        fd = os.open(name, flags | _FLAGS, FILE_MODE, dir_fd=self._fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "is no regular file", str(self._path / name))
        return fd


def _lock(fd: int, wait: float) -> bool:
    """False where there are no locks; BlockingIOError where another process holds it all the time."""
    until = time.monotonic() + wait
    while True:
        try:
            # On NFS the kernel makes it a lock of the whole file at the server (flock(2)), so it holds over nodes.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(_TRY_EVERY)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            raise
        else:
            return True
