"""A file that is there once it is whole, and that only its owner may read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """Write it under another name beside it first; it takes its name where nothing is raised meanwhile.

    Raises:
        OSError: It cannot be written.

    """
    part = NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115 - it is renamed
    try:
        with part:
            yield part
        os.replace(part.name, path)
    except BaseException:  # an interrupt, too, leaves nothing behind
        Path(part.name).unlink()
        raise
