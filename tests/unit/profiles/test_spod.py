"""There is always a `spod` to patch, its status follows what is patched, and so do the parts that run."""

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from exectrail.contracts import spo
from exectrail.k8s.client import ApiError
from profiles.controller.spod import Names, Spod
from profiles.controller.spod_spec import Daemon, DaemonStatus
from tests.unit.profiles.fake_cluster import FakeCluster
from tests.unit.waiting import until

DAEMONS = f"/apis/{spo.GROUP_VERSION}/namespaces/release/{spo.DAEMONS}"
CONFIG_MAPS = "/api/v1/namespaces/release/configmaps"
DAEMONSETS = "/apis/apps/v1/namespaces/release/daemonsets"
FILTERS = '[{"matchKeys": ["origin"], "level": "None"}]'
NONE_READY = {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 0}


class Cluster:
    """A release in a cluster, and what the controller writes there about `spod`."""

    def __init__(self) -> None:
        self.api = FakeCluster()
        self.turns = self.status_writes = 0
        self.refusals: list[ApiError] = []
        """What the next writes of the ConfigMap fail with."""
        self.put(CONFIG_MAPS, "x-spod")
        self.put(CONFIG_MAPS, "another", data={"filters.json": "not ours"})
        for name in ("x-enricher", "x-node"):
            self.ready(name, 2)

    def put(self, path: str, name: str, **rest: Any) -> None:
        self.api.put(path, name, "release", **rest)

    def ready(self, daemonset: str, ready: int) -> None:
        self.put(DAEMONSETS, daemonset, status=NONE_READY | {"numberReady": ready})

    def patch(self, **spec: Any) -> None:
        """What a user does; a field that is None goes."""
        before = self.daemon().get("spec", {})
        spec = {key: value for key, value in {**before, **spec}.items() if value is not None}
        self.put(DAEMONS, "spod", spec=spec)

    def daemon(self) -> dict[str, Any]:
        return self.api.get(DAEMONS, "release/spod") or {}

    def conditions(self) -> dict[str, str]:
        """Status and reason by type."""
        found = self.daemon().get("status", {}).get("conditions", [])
        return {each["type"]: f"{each['status']} {each['reason']}" for each in found}

    def settings(self) -> dict[str, str]:
        found = self.api.get(CONFIG_MAPS, "release/x-spod") or {}
        data: dict[str, str] = found.get("data", {})
        return data

    # ---- the controller's writes ----

    def create(self) -> None:
        self.api.create(DAEMONS, "spod", "release", spec={})

    def write_status(self, daemon: Daemon, status: DaemonStatus) -> None:
        self.status_writes += 1
        self.put(DAEMONS, "spod", status=msgspec.to_builtins(status))

    def write_settings(self, changes: dict[str, str | None]) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        data = {key: value for key, value in {**self.settings(), **changes}.items() if value is not None}
        self.put(CONFIG_MAPS, "x-spod", data=data)


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profiles.controller.spod._BACKOFF_FIRST", 0.01)
    monkeypatch.setattr("profiles.controller.spod._LOOK_AGAIN", 0.01)


@pytest.fixture
def leads() -> bool:
    """Whether the replica leads."""
    return True


@pytest.fixture
def cluster(leads: bool) -> Iterator[Cluster]:
    """With a replica at work."""
    made, stop = Cluster(), threading.Event()
    names = Names("release", "x-spod", ("x-enricher", "x-node"))

    def leading() -> bool:
        made.turns += 1
        return leads

    spod = Spod(made.api, made, names, {"logs.mode": "file"}, leading)  # type: ignore[arg-type]
    thread = threading.Thread(target=spod.run, args=(stop,))
    thread.start()
    yield made
    stop.set()
    made.api.end()
    thread.join(10)
    assert not thread.is_alive()


def test_it_is_made_where_there_is_none_and_runs(cluster: Cluster) -> None:
    until(lambda: cluster.conditions() == {"Ready": "True Available"})
    assert cluster.daemon()["status"]["state"] == "Running"
    assert cluster.settings() == {}


@pytest.mark.parametrize("leads", [False])
def test_a_replica_that_does_not_lead_writes_nothing(cluster: Cluster) -> None:
    cluster.patch(verbosity=1)
    version, turns = cluster.daemon()["metadata"]["resourceVersion"], cluster.turns
    until(lambda: cluster.turns > turns + 2)
    assert (cluster.settings(), cluster.daemon()["metadata"]["resourceVersion"]) == ({}, version)


def test_what_is_patched_reaches_the_parts_that_run_and_goes_with_it(cluster: Cluster) -> None:
    cluster.patch(jsonEnricherFilters=FILTERS, security={"allowedSyscalls": ["read"]})
    until(lambda: cluster.settings() == {"filters.json": FILTERS, "allowed-syscalls": "read"})
    until(lambda: cluster.conditions().get("spec.jsonEnricherFilters") == "True Followed")
    assert cluster.conditions()["spec.security.allowedSyscalls"] == "True Followed"

    cluster.patch(jsonEnricherFilters=None, security=None)
    until(lambda: cluster.settings() == {})
    until(lambda: cluster.conditions() == {"Ready": "True Available"})


def test_a_mistake_is_named_and_changes_nothing(cluster: Cluster) -> None:
    cluster.patch(jsonEnricherFilters=FILTERS)
    until(lambda: cluster.settings() == {"filters.json": FILTERS})

    cluster.patch(jsonEnricherFilters='[{"level": "Nome"}]')
    until(lambda: cluster.conditions().get("spec.jsonEnricherFilters") == "False Invalid")
    assert cluster.settings() == {"filters.json": FILTERS}


def test_what_others_write_into_the_config_map_is_put_right(cluster: Cluster) -> None:
    cluster.patch(jsonEnricherFilters=FILTERS)
    until(lambda: cluster.settings() == {"filters.json": FILTERS})
    cluster.put(CONFIG_MAPS, "x-spod", data={"log-level": "debug"})
    until(lambda: cluster.settings() == {"filters.json": FILTERS})


def test_a_config_map_that_cannot_be_written_is_said_and_tried_again(cluster: Cluster) -> None:
    until(cluster.conditions)
    seen: list[str] = []
    gone = ApiError(404, "NotFound", 'configmaps "x-spod" not found')
    cluster.refusals += [gone, gone]

    write_status = cluster.write_status

    def noted(daemon: Daemon, status: DaemonStatus) -> None:
        seen.extend(each.message for each in status.conditions if each.type == "Settings")
        write_status(daemon, status)

    cluster.write_status = noted  # type: ignore[method-assign]
    cluster.patch(verbosity=1)

    until(lambda: cluster.settings() == {"log-level": "debug"})
    until(lambda: cluster.conditions() == {"Ready": "True Available", "spec.verbosity": "True Followed"})
    assert "ConfigMap x-spod, which `helm upgrade` makes anew" in seen[0]


def test_the_state_follows_the_daemonsets(cluster: Cluster) -> None:
    until(lambda: cluster.conditions() == {"Ready": "True Available"})

    cluster.ready("x-node", 1)
    until(lambda: cluster.conditions() == {"Ready": "False Updating"})
    cluster.ready("x-node", 2)
    until(lambda: cluster.conditions() == {"Ready": "True Available"})
    cluster.api.delete(DAEMONSETS, "release/x-enricher")
    until(lambda: cluster.conditions() == {"Ready": "False Unavailable"})
    assert cluster.daemon()["status"]["state"] == "Error"


def test_the_operators_config_map_for_the_logs_volume_gets_a_condition(cluster: Cluster) -> None:
    source = '{"hostPath": {"path": "/tmp/logs"}}'
    cluster.put(CONFIG_MAPS, spo.PROFILE_CONFIG_MAP, data={spo.LOG_VOLUME_SOURCE: source})
    until(lambda: cluster.conditions().get(spo.LOG_VOLUME_SOURCE) == "False SetByValues")


def test_where_all_is_as_it_should_be_nothing_is_written(cluster: Cluster) -> None:
    until(lambda: cluster.conditions() == {"Ready": "True Available"})
    writes = cluster.status_writes
    cluster.put(CONFIG_MAPS, "x-spod", metadata={"labels": {"a": "b"}})
    turns = cluster.turns
    until(lambda: cluster.turns > turns + 2)
    assert cluster.status_writes == writes
