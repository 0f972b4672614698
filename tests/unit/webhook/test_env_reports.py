"""A node's word on which containers have `env` holds while it is fresh, and only for its own pods."""

from datetime import UTC, datetime, timedelta

import pytest

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.nodetrail import NodeTrail, NodeTrailStatus
from webhook.cluster.env_reports import EnvReports

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def trail(node: str, at: str = "2026-11-23T12:00:00Z", **env: bool) -> NodeTrail:
    """A NodeTrail; containers as `pod__container` in namespace `shop`."""
    said = {f"shop/{key.replace('__', '/')}": has for key, has in env.items()}
    return NodeTrail(ObjectMeta(name=node), NodeTrailStatus(heartbeat=at, env=said))


def asked(
    reports: EnvReports, pod: str, container: str = "app", later: float = 0, node: str | None = None
) -> bool | None:
    """What is known of a pod, `till` on node n2 and all others on n1."""
    place = node or ("n2" if pod == "till" else "n1")
    return reports.has_env("shop", pod, container, place, NOW + timedelta(seconds=later))


@pytest.fixture
def reports() -> EnvReports:
    reports = EnvReports()
    reports.changed(None, trail("n1", cart__app=True, cart__proxy=False, web__app=True, web__log=True))
    reports.changed(None, trail("n2", till__app=False))
    return reports


@pytest.mark.parametrize(
    ("pod", "container", "answer"),
    [
        ("cart", "app", True),
        ("cart", "proxy", False),
        ("till", "app", False),
        ("cart", "other", None),
        ("other", "app", None),
        # No name: the kubelet chooses, so the answer must hold for whichever it is.
        ("web", "", True),
        ("cart", "", False),
        ("other", "", None),
    ],
)
def test_a_container_has_env_where_its_node_says_so(
    reports: EnvReports, pod: str, container: str, answer: bool | None
) -> None:
    assert asked(reports, pod, container) is answer


def test_a_node_that_has_been_silent_for_two_minutes_is_not_believed(reports: EnvReports) -> None:
    assert asked(reports, "cart", later=120) is True
    assert asked(reports, "cart", later=121) is None


@pytest.mark.parametrize("heartbeat", ["", "yesterday"])
def test_a_node_that_does_not_say_when_is_not_believed(reports: EnvReports, heartbeat: str) -> None:
    reports.changed(None, trail("n3", heartbeat, new__app=True))

    assert asked(reports, "new", node="n3") is None


def test_what_a_node_no_longer_says_is_unknown(reports: EnvReports) -> None:
    before = trail("n1", cart__app=True, web__app=True)
    reports.changed(before, trail("n1", web__app=False))

    assert (asked(reports, "cart"), asked(reports, "web")) == (None, False)


def test_a_node_that_goes_takes_its_word_along(reports: EnvReports) -> None:
    reports.changed(trail("n1"), None)

    assert (asked(reports, "cart"), asked(reports, "till")) == (None, False)


@pytest.mark.parametrize("order", ["new node first", "old node first"])
def test_a_pod_that_moves_under_its_name_is_what_its_new_node_says(reports: EnvReports, order: str) -> None:
    leaves = (trail("n2", till__app=False), trail("n2"))
    arrives = (None, trail("n3", till__app=True))
    for old, new in [arrives, leaves] if order == "new node first" else [leaves, arrives]:
        reports.changed(old, new)

    assert asked(reports, "till", node="n3") is True


def test_what_a_node_says_of_another_nodes_pods_does_not_count(reports: EnvReports) -> None:
    reports.changed(None, trail("n3", till__app=True, cart__app=False, new__app=True))

    assert (asked(reports, "till"), asked(reports, "cart"), asked(reports, "new")) == (False, True, None)


def test_of_a_pod_without_a_node_nothing_is_known(reports: EnvReports) -> None:
    reports.changed(None, trail("", cart__app=True))

    assert reports.has_env("shop", "cart", "app", "", NOW) is None
