"""The cache of finished builds: `<name>/<version>-<digest of what it is built from>/`.

A build is made in a temporary folder and renamed when it is complete, so what is in the cache can be used
as it stands, and an interrupted build leaves nothing behind that looks like a finished one.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import mounts, sigterm
from .paths import CACHE
from .run import run, say

_PARTIAL = ".partial-"


def cached(name: str, inputs: str, make: Callable[[Path], None]) -> Path:
    """The folder of build `name`, made by `make(folder)` unless one from the same `inputs` is there.

    One build of each name is kept: the others, and what a killed build left, go. Whoever asks for a build that
    another thread or process makes waits for it.
    """
    target = CACHE / name / inputs
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.parent):
        if not target.is_dir():
            _make(target, make)
    return target


def digest(files: Iterable[Path], *texts: str, root: Path | None = None) -> str:
    """Twelve hexadecimal digits that change when one of the files or texts does.

    Of a file, content and name count, or its path within `root`: another checkout finds the same builds.
    """
    total = hashlib.sha256()
    for text in texts:
        total.update(f"{len(text)}:{text}".encode())
    for file in sorted(files):
        content, name = file.read_bytes(), file.relative_to(root) if root else file.name
        total.update(f"{name}:{len(content)}:".encode() + content)
    return total.hexdigest()[:12]


def _make(target: Path, make: Callable[[Path], None]) -> None:
    sigterm.require_none()
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=target.parent))
    try:
        make(partial)
        partial.chmod(0o755)
        partial.rename(target)
    finally:
        if partial.exists():
            _remove(partial)
    for other in set(target.parent.iterdir()) - {target}:
        _remove(other)


def _remove(folder: Path) -> None:
    """Also what a debootstrap that was killed has mounted in it. Raises NodeError if that can't be taken away."""
    # First, and each or none: the machine's own /dev may be among them. Lazily: something may still look into it.
    for point in mounts.within([folder.resolve()]):
        run("umount", "--lazy", point)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        say(f"  {folder} is of no use any more, but could not be removed")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Of the folder itself: nothing of the lock has to be kept or removed. Each opening of it has a lock of its own.
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
