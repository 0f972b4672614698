"""Execs in a row while something is replaced under them."""

import itertools
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from .cluster import eventually
from .node import api
from .node.config import API_SERVER
from .sessions import Person, auditsessions
from .test_callers import fail_open

_LOOPS = 2


@contextmanager
def executing(alice: Person, where: str, least: int = 20, away: threading.Event | None = None) -> Iterator[None]:
    """Run execs meanwhile, and after that until there are enough; none may fail, and none lack its AuditSession.

    While `away` is set, Kubernetes itself cannot do them all: then they may fail, and only those that ran count.
    """
    opened = fail_open(alice.admin)
    run, numbers, over = uuid.uuid4().hex, itertools.count(), threading.Event()
    passed: list[int] = []
    failed: list[str] = []

    def loop() -> None:
        while not over.is_set() or len(passed) < least:
            # Before it is ready, it may know rights and webhooks and not yet their Services: then requests pass unseen.
            if away is not None and not api.healthy(f"{API_SERVER}/readyz"):
                time.sleep(0.1)
                continue
            number, may_fail = next(numbers), away is not None and away.is_set()
            command = ("exec", "-n", where, "web", "-c", "app", "--", "true", run, str(number))
            done = alice.cluster.kubectl(*command, check=False)
            if done.returncode == 0:
                passed.append(number)
            elif not may_fail and not (away and away.is_set()):
                failed.append(done.stderr)
                return

    loops = [threading.Thread(target=loop) for _ in range(_LOOPS)]
    for each in loops:
        each.start()
    try:
        yield
    finally:
        over.set()
        for each in loops:
            each.join()
    assert not failed, failed
    assert len(passed) >= least

    def recorded() -> bool:
        commands = [each["spec"].get("command", []) for each in auditsessions()]
        asked = {int(command[2]) for command in commands if command[1:2] == [run]}
        assert asked >= set(passed), f"{len(set(passed) - asked)} of {len(passed)} execs have no AuditSession"
        return True

    eventually(recorded, 60)
    # What passed without the webhook is counted by the API server, which begins anew when it restarts.
    assert away or fail_open(alice.admin) == opened
