"""Leadership: held only while it was renewed lately, whatever the connection does."""

# mypy: allow-untyped-calls
# (most of the official client has no types)

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection.electionconfig import Config
from kubernetes.leaderelection.leaderelection import LeaderElection
from urllib3.exceptions import ProtocolError

from profiles.controller.lease import Lease


class Coordination:
    """Leases as the API server keeps them; `away` is raised instead of an answer."""

    def __init__(self) -> None:
        self.leases: dict[tuple[str, str], client.V1Lease] = {}
        self.away: Exception | None = None

    def read_namespaced_lease(self, name: str, namespace: str) -> client.V1Lease:
        self._answer()
        if (namespace, name) not in self.leases:
            missing = ApiException(status=404, reason="Not Found")
            missing.body = '{"code": 404}'
            raise missing
        return self.leases[namespace, name]

    def create_namespaced_lease(self, namespace: str, body: client.V1Lease) -> client.V1Lease:
        self._answer()
        assert body.metadata
        self.leases[namespace, str(body.metadata.name)] = body
        return body

    def replace_namespaced_lease(self, name: str, namespace: str, body: client.V1Lease) -> client.V1Lease:
        self._answer()
        self.leases[namespace, name] = body
        return body

    def _answer(self) -> None:
        if self.away:
            raise self.away


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Candidate:
    def __init__(self, coordination: Coordination, identity: str) -> None:
        self.clock = Clock()
        self.lease = Lease(coordination, "exectrail", "controller", identity, self.clock)  # type: ignore[arg-type]
        config = Config(self.lease.lock, 15, 10, 2, lambda: None, lambda: None)
        self.election = LeaderElection(config)

    def stand(self) -> bool:
        won: bool = self.election.try_acquire_or_renew()
        return won


def test_the_first_candidate_holds_the_lease_and_the_second_does_not() -> None:
    coordination = Coordination()
    first, second = Candidate(coordination, "a"), Candidate(coordination, "b")
    assert (first.stand(), second.stand()) == (True, False)
    assert (first.lease.held(), second.lease.held()) == (True, False)


def test_no_candidate_leads_before_an_election() -> None:
    assert not Candidate(Coordination(), "a").lease.held()


@pytest.mark.parametrize("error", [ProtocolError("reset"), TimeoutError(), ApiException(status=500)])
def test_leadership_ends_before_another_can_have_it_when_renewals_fail(error: Exception) -> None:
    coordination = Coordination()
    leader = Candidate(coordination, "a")
    leader.stand()
    coordination.away = error
    leader.clock.now += 9
    assert not leader.stand()
    assert leader.lease.held()
    leader.clock.now += 1
    assert not leader.stand()
    assert not leader.lease.held()
    coordination.away = None
    assert leader.stand()
    assert leader.lease.held()


def test_a_leader_that_ends_gives_way_at_once_and_does_not_come_back() -> None:
    coordination = Coordination()
    leader, other = Candidate(coordination, "a"), Candidate(coordination, "b")
    assert (leader.stand(), other.stand()) == (True, False)

    leader.lease.give_back()

    assert not leader.lease.held()
    assert not leader.stand()
    assert (other.stand(), other.lease.held()) == (True, True)


def test_a_candidate_that_does_not_lead_takes_no_lease_away() -> None:
    coordination = Coordination()
    leader, other = Candidate(coordination, "a"), Candidate(coordination, "b")
    assert (leader.stand(), other.stand()) == (True, False)

    other.lease.give_back()

    assert leader.stand()
    assert coordination.leases["exectrail", "controller"].spec.holder_identity == "a"  # type: ignore[union-attr]


@pytest.mark.parametrize("error", [ProtocolError("reset"), ApiException(status=409)])
def test_where_the_lease_cannot_be_given_back_it_runs_out(error: Exception) -> None:
    coordination = Coordination()
    leader = Candidate(coordination, "a")
    leader.stand()
    coordination.away = error

    leader.lease.give_back()

    assert not leader.lease.held()
