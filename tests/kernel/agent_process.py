"""The enricher as a process of its own, with a folder for an API: `python -m tests.kernel.agent_process FOLDER ...`.

Each collection is a file of objects, one a line, that a test may append to; what the enricher tells is appended to
`told.jsonl`.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from enricher.__main__ import main
from exectrail.k8s.client import ApiError, Client, Event, Page

T = TypeVar("T")


class FolderClient(Client):
    """A client of a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__("http://127.0.0.1:1")
        self._folder = folder

    def watch(
        self, path: str, kind: type[T], resource_version: str, seconds: int, *, metadata_only: bool = False, **_: str
    ) -> Iterator[Event[T]]:
        seen, deadline = int(resource_version), time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in self._lines(path)[seen:]:
                seen += 1
                yield Event("MODIFIED", msgspec.json.decode(line, type=kind), str(seen))
            time.sleep(0.02)

    def patch(self, path: str, merge: dict[str, Any]) -> None:
        with (self._folder / "told.jsonl").open("a") as file:
            file.write(json.dumps({"path": path, **merge}) + "\n")

    def create(self, path: str, _: Any, seconds: float | None = None) -> None:
        raise ApiError(409, "AlreadyExists", path)

    def _lines(self, path: str) -> Sequence[bytes]:
        file = self._folder / f"{path.rpartition('/')[2]}.jsonl"
        return file.read_bytes().splitlines() if file.exists() else []

    def pages(
        self, path: str, kind: type[T], *, metadata_only: bool = False, few: bool = False, **_: str
    ) -> Iterator[Page[T]]:
        lines = self._lines(path)
        yield Page((msgspec.json.decode(line, type=kind) for line in lines), str(len(lines)))


if __name__ == "__main__":
    client = FolderClient(Path(sys.argv[1]))
    Client.in_cluster = classmethod(lambda _: client)  # type: ignore[method-assign, assignment]
    sys.exit(main(sys.argv[2:]))
