"""`logs.mode: stdout` while the kubelet closes the container's log after each megabyte: nothing is lost on the way."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from exectrail.contracts.record import Record, decode

from .cluster import Cluster, eventually
from .collector import collecting, complaints
from .followed import following
from .node import config, services
from .node.up import up
from .product import Release
from .shipper import recipe

_VALUES = ("logs.mode=stdout",)
pytestmark = pytest.mark.values(*_VALUES)
_LINES = 150
_LONG = 58_000
_FILL = f"for i in $(seq {_LINES}); do /bin/true $i $(head -c {_LONG} /dev/zero | tr '\\0' x); sleep 0.1; done"
"""9 MB in 15 seconds or more, each line in four pieces: the runtime cuts after 16 KiB."""
_END = ("true", "end")
_SMALL = {"containerLogMaxSize": "1Mi", "containerLogMonitorInterval": "3s"}


@dataclass(frozen=True)
class Arrived:
    """What came of a session with long lines."""

    collected: list[str]
    followed: list[Record]
    complaints: list[str]
    closed: int
    """How often the kubelet closed the log meanwhile."""


@pytest.fixture(scope="module")
def arrived(release: Release, recorded: str, tmp_path_factory: pytest.TempPathFactory) -> Arrived:
    release.with_values(*_VALUES)
    alice, inside = Cluster("alice"), ("exec", "-n", recorded, "web", "-c", "app", "--")
    with (
        kubelet_with(_SMALL),
        collecting(tmp_path_factory.mktemp("collector")) as collected,
        following(Cluster(), recorded) as followed,
    ):
        closed: set[Path] = set()
        with alice.start("kubectl", *inside, "sh", "-c", _FILL) as session:
            while session.poll() is None:
                closed.update(_closed())
                time.sleep(0.5)
        assert session.returncode == 0
        alice.kubectl(*inside, *_END)
        eventually(lambda: followed.has(*_END), 60)
        eventually(lambda: any('"true","end"' in line for line in collected.lines()), 60)
        return Arrived(collected.lines(), followed.records, followed.complaints, len(closed))


@contextmanager
def kubelet_with(settings: dict[str, str]) -> Iterator[None]:
    """Have a kubelet with other settings meanwhile."""
    file = config.KUBELET_SETTINGS / "test.conf"
    try:
        _kubelet_anew(lambda: file.write_text(json.dumps(config.KUBELET_KIND | settings)))
        yield
    finally:
        _kubelet_anew(file.unlink)


def _kubelet_anew(change: Callable[[], object]) -> None:
    services.kill("kubelet")
    change()
    up()


def _closed() -> list[Path]:
    return list(Path("/").glob(recipe().files.lstrip("/") + ".*"))


def test_the_collector_takes_the_recipe(tmp_path: Path) -> None:
    assert complaints(tmp_path) == ""


def test_a_collector_has_every_line_once_and_whole(arrived: Arrived) -> None:
    records = [decode(line) for line in arrived.collected]
    numbers = [record.seq for record in records]

    assert arrived.closed >= 3
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert _long(records) == list(range(1, _LINES + 1))


def test_whoever_follows_has_every_line_once_and_whole(arrived: Arrived) -> None:
    numbers = [record.seq for record in arrived.followed]

    assert numbers == sorted(set(numbers))
    assert _long(arrived.followed) == list(range(1, _LINES + 1))
    assert not [line for line in arrived.complaints if "missing" in line]


def _long(records: list[Record]) -> list[int]:
    """The numbers of the long lines, which have all their arguments."""
    execs = [record.argv for record in records if record.kind == "exec" and record.argv]
    return [int(argv[1]) for argv in execs if argv[0] == "/bin/true" and argv[-1] == "x" * _LONG]
