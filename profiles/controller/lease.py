"""Which replica acts: leader election by a Lease, with the official client's own election.

What the election does not give, and acting on its callbacks would need: an end to requests that hang, survival of a
lost connection, and a timely notice when leadership ends. So the controller asks `held()` before each action: it is
true only while the last successful renewal is younger than the deadline, whatever the election's thread is doing.
"""

# mypy: allow-untyped-calls
# (most of the official client has no types)

import logging
import threading
import time
from collections.abc import Callable

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection.electionconfig import Config
from kubernetes.leaderelection.leaderelection import LeaderElection
from kubernetes.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from urllib3.exceptions import HTTPError

# client-go's defaults. Others take over only after the duration, so the deadline leaves five seconds for clocks that
# run unevenly and for a request that is on its way.
_DURATION, _DEADLINE, _RETRY = 15, 10, 2

log = logging.getLogger(__name__)


class NotLeadingError(Exception):
    """Leadership was lost in the middle of the work: another replica may be acting already."""


class Lease:
    """A candidate for leadership.

    Args:
        coordination: Requests go through it; its client's timeout must be short.
        namespace: Where the Lease is.
        name: Its name.
        identity: This candidate's own name, the pod's.
        clock: Seconds, monotonic.

    """

    def __init__(
        self,
        coordination: client.CoordinationV1Api,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.lock = _Lock(coordination, name, namespace, identity, clock)
        """What the election renews."""

    def start(self) -> None:
        """Stand for election in a thread of its own, which ends with the process."""
        # It logs every renewal, every two seconds.
        logging.getLogger("leaderelection").setLevel(logging.WARNING)
        threading.Thread(target=self._run, name="lease", daemon=True).start()

    def held(self) -> bool:
        """Whether this candidate, and no other, may act now."""
        return self._clock() - self.lock.renewed < _DEADLINE

    def give_back(self) -> None:
        """Let another candidate lead at once, instead of when the Lease runs out; to be called at the end, once."""
        self.lock.give_back()

    def _run(self) -> None:
        while True:
            try:
                LeaderElection(Config(self.lock, _DURATION, _DEADLINE, _RETRY, _nothing, _nothing)).run()
            except Exception:
                log.exception("leader election failed; it starts again")
                time.sleep(_RETRY)


class _Lock(LeaseLock):
    """The client's Lease lock, which knows when it was last renewed and takes a lost connection for a failed try."""

    def __init__(
        self,
        coordination: client.CoordinationV1Api,
        name: str,
        namespace: str,
        identity: str,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(name, namespace, identity)
        self.api_instance = coordination
        self.renewed = float("-inf")
        self._clock = clock
        self._given_back = False

    def give_back(self) -> None:
        held = self.renewed > float("-inf")
        self._given_back, self.renewed = True, float("-inf")
        if not held:
            return
        for _ in range(2):  # a renewal that is on its way makes the first one a conflict
            try:
                lease = self.api_instance.read_namespaced_lease(self.name, self.namespace)
                if lease.spec and lease.spec.holder_identity == self.identity:
                    lease.spec.holder_identity = None
                    self.api_instance.replace_namespaced_lease(self.name, self.namespace, lease)
            except (ApiException, HTTPError, OSError) as error:
                log.info("the lease is not given back yet: %s", error)
            else:
                return

    def get(self, name: str, namespace: str) -> tuple[bool, LeaderElectionRecord | ApiException]:
        try:
            found: tuple[bool, LeaderElectionRecord | ApiException] = super().get(name, namespace)
        except (HTTPError, OSError) as error:
            return False, ApiException(status=0, reason=str(error))
        return found

    def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        return self._renew(super().create, name, namespace, election_record)

    def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        return self._renew(super().update, name, namespace, updated_record)

    def _renew(self, write: Callable[..., bool], *arguments: object) -> bool:
        if self._given_back:
            return False
        began = self._clock()  # the others count from when it was written, which is later
        try:
            written = write(*arguments)
        except (HTTPError, OSError) as error:
            log.warning("cannot renew the lease: %s", error)
            return False
        if written:
            self.renewed = began
        return written


def _nothing() -> None:
    """The election's callbacks are not used: see `Lease.held`."""
