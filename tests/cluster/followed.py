"""`exectrail follow` as a process that a test has running."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from exectrail.contracts.record import Record, decode

from .cluster import Cluster, eventually


@dataclass
class Followed:
    """What it has printed so far."""

    records: list[Record] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def has(self, *argv: str) -> bool:
        """Whether a process has run this."""
        return any(record.argv == list(argv) for record in self.records)

    @property
    def missing(self) -> list[str]:
        """What it says of records that did not come."""
        return [line for line in self.complaints if "missing" in line]


@contextmanager
def following(admin: Cluster, namespace: str) -> Iterator[Followed]:
    """Follow what runs in a namespace, whose pod is `web`, from a first command on until the block ends."""
    which = ("--namespace", namespace, "--kind", "exec", "-o", "jsonl")
    process = admin.start(sys.executable, "-m", "exectrail", "follow", *which)
    followed = Followed()

    def read() -> None:
        for line in process.stdout or ():
            followed.records.append(decode(line.encode()))

    def complain() -> None:
        followed.complaints.extend(process.stderr or ())

    def begun() -> bool:
        admin.kubectl("exec", "-n", namespace, "web", "-c", "app", "--", "true", "begin")
        return followed.has("true", "begin")

    threads = [threading.Thread(target=each) for each in (read, complain)]
    with process:
        for thread in threads:
            thread.start()
        try:
            eventually(begun, 60)
            yield followed
        finally:
            process.terminate()
            for thread in threads:
                thread.join(30)
