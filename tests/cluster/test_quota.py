"""A flood of processes in one container: it is throttled, and what is evidence leaves all the same."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from exectrail.contracts.record import Record, decode

from .cluster import eventually
from .product import container_id, looked_into
from .sessions import Person, check_equation, enter_by_nodes_proxy
from .shipper import read, recipe

# As test_log_stores.py has it installed, and after it: an upgrade takes ten seconds.
pytestmark = pytest.mark.values("logs.mode=stdout", "enricher.quota=20")
_THROTTLE = ("throttle-start", "throttle-stop")
_FLOOD = "while :; do /bin/true; done & read line; kill $!"


def records() -> list[Record]:
    return [decode(line.text) for line in read(recipe())]


def throttled(container: str, reason: str, after: int) -> list[Record]:
    """The gaps that say that a container is, or is no longer, throttled."""
    return [each for each in records() if (each.container_id, each.reason) == (container, reason) and each.seq > after]


@contextmanager
def flooded(alice: Person, namespace: str) -> Iterator[None]:
    """More processes in the container `app` than it may leave records of."""
    flood = alice.cluster.start("kubectl", "exec", "-i", "-n", namespace, "web", "-c", "app", "--", "sh", "-c", _FLOOD)
    try:
        yield
    finally:
        flood.communicate(timeout=30)  # ends its input, and that ends it


def complete(session: dict[str, Any]) -> list[Record]:
    """The records of a session, once its end is among them."""
    own = [record for record in records() if record.request_uid == session["metadata"]["name"]]
    assert any(record.phase == "end" for record in own), f"no end among {len(own)} records"
    return own


def entered_past_admission(word: str) -> list[Record]:
    """The records of the process without a request, once its end is there."""
    untracked = [record for record in records() if record.origin == "untracked"]
    keys = {record.process_key for record in untracked if record.argv == ["true", word]}
    own = [record for record in untracked if record.process_key in keys]
    assert [record.kind for record in own][-1:] == ["exit"]
    return own


def test_a_flood_in_a_container_is_throttled_and_pushes_no_evidence_out(alice: Person, recorded: str) -> None:
    looked_into(f"{recorded}/web/app", f"{recorded}/web/sidecar")
    flooding, word = container_id(recorded), str(uuid.uuid4())
    into = ("exec", "-n", recorded, "web", "-c")
    last = max((record.seq for record in records()), default=-1)
    with flooded(alice, recorded):
        eventually(lambda: throttled(flooding, "throttle-start", last))
        _, same = alice.does(*into, "app", "--", "true", word)
        _, other = alice.does(*into, "sidecar", "--", "true", word)
        enter_by_nodes_proxy(alice.admin, recorded, "true", word)
        in_same, in_other = (eventually(partial(complete, each)) for each in (same, other))
        untracked = eventually(lambda: entered_past_admission(word))
    over = eventually(lambda: throttled(flooding, "throttle-stop", untracked[-1].seq))

    start, entry, *_, end = in_same
    assert (start.phase, start.user, start.state) == ("start", "alice", "confirmed")
    assert (entry.kind, entry.user, entry.process_key) == ("exec", "alice", start.entry_key)
    assert (end.phase, end.outcome, end.exit and end.exit.code) == ("end", "completed", 0)
    assert (end.lost or {})["throttled"] > 0
    # One process that runs `env` and what was asked for.
    assert [record.kind for record in in_other] == ["session", "exec", "exec", "exit", "session"]
    assert [record.kind for record in untracked] == ["exec", "exit"]
    assert (over[0].lost or {})["throttled"] > 0
    assert {each.container_id for each in records() if each.reason in _THROTTLE and each.seq > last} == {flooding}
    check_equation()
