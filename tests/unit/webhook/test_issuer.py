"""Replicas that issue their own certificate agree on it, have the API server trust it, and repair what others undo."""

import base64
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tests.unit.waiting import until
from tests.unit.webhook.small_api import SmallApi
from webhook.certificates import own_ca
from webhook.certificates.pair import Pair
from webhook.certificates.pem import blocks
from webhook.certificates.plan import Policy, State
from webhook.certificates.x509 import examine
from webhook.issuer import issuer, rounds
from webhook.issuer.configuration import PATH, Configuration, patch
from webhook.issuer.issuer import Issuer

NAME = "exectrail-webhook.exectrail.svc"
SECRET = "/api/v1/namespaces/exectrail/secrets/own"
CONFIGURATION = f"{PATH}/exectrail"
FOREIGN = own_ca.plan(State(datetime.now(UTC), {}, []), Policy(NAME)).changes["ca.crt"]
QUICK = Policy(NAME, settle=timedelta(seconds=0.2), keep=timedelta(seconds=0.2))


def configuration(*bundles: bytes, **annotations: str) -> dict[str, Any]:
    """A webhook configuration with an entry for each bundle."""
    entries = [
        {
            "name": f"{at}.exectrail.io",
            "clientConfig": {"caBundle": base64.b64encode(bundle).decode()} if bundle else {},
        }
        for at, bundle in enumerate(bundles)
    ]
    return {"metadata": {"annotations": annotations}, "webhooks": entries}


RUNNING: list[Issuer] = []


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Decides here, and without the waits that a cluster needs."""
    monkeypatch.setattr(issuer, "plan", own_ca.plan)
    for name in ("_WRITTEN", "_ABSENT"):
        monkeypatch.setattr(issuer, name, timedelta(seconds=0.05))
    monkeypatch.setattr(own_ca, "_SOON", timedelta(seconds=0.05))
    monkeypatch.setattr(rounds, "_BACKOFF_MOST", 0.05)
    yield
    while RUNNING:  # their threads would go on, with waits and processes
        RUNNING.pop()._rounds._step = lambda: timedelta(days=1)


@pytest.fixture
def api() -> SmallApi:
    """A cluster in which the chart was just installed."""
    api = SmallApi()
    api.put(SECRET, {"type": "Opaque"})
    api.put(CONFIGURATION, configuration(b"", b"", b""))
    return api


def started(api: SmallApi, policy: Policy = QUICK) -> Issuer:
    found = Issuer(api, "exectrail", "own", "exectrail", policy)
    RUNNING.append(found)
    found.start()
    return found


def trusted(api: SmallApi) -> list[set[bytes]]:
    """Whom each entry trusts."""
    entries = api.objects[CONFIGURATION]["webhooks"]
    return [set(blocks(base64.b64decode(each["clientConfig"].get("caBundle", "")))) for each in entries]


def all_trust(api: SmallApi, *cas: bytes) -> Callable[[], bool]:
    return lambda: trusted(api) == [set(cas)] * 3


def test_from_an_empty_secret_a_replica_gets_a_good_pair_that_every_entry_trusts(api: SmallApi) -> None:
    replica = started(api)
    until(lambda: replica.trusted)

    pair, data = replica.read(), api.data(SECRET)
    assert pair == Pair(data["tls.crt"], data["tls.key"])
    examine(pair, NAME)
    assert all_trust(api, data["ca.crt"])()


def test_all_replicas_serve_the_same_pair(api: SmallApi) -> None:
    replicas = [started(api) for _ in range(4)]
    for replica in replicas:
        until(lambda replica=replica: replica.trusted)  # type: ignore[misc]

    assert len({(pair.chain, pair.key) for pair in (each.read() for each in replicas)}) == 1
    assert all_trust(api, api.data(SECRET)["ca.crt"])()


def test_a_replica_hears_of_another_pair(api: SmallApi) -> None:
    replica, heard = started(api), []
    until(lambda: replica.trusted)
    replica.changed = lambda: heard.append(replica.version())
    before = replica.version()
    api.patch(SECRET, {"data": {"tls.key": base64.b64encode(b"broken").decode()}})
    until(lambda: heard and heard[-1] != before and replica.read().key.startswith(b"-----BEGIN"))

    examine(replica.read(), NAME)


@pytest.mark.parametrize("bundle", [b"", b"no certificate", FOREIGN], ids=["blanked", "nonsense", "another's"])
@pytest.mark.parametrize("entries", [1, 3])
def test_what_is_trusted_is_repaired(api: SmallApi, bundle: bytes, entries: int) -> None:
    replica = started(api)
    until(lambda: replica.trusted)
    ca = api.data(SECRET)["ca.crt"]
    api.put(CONFIGURATION, configuration(*[bundle] * entries, *[ca] * (3 - entries)))

    until(all_trust(api, ca))
    assert replica.trusted


def test_a_configuration_that_comes_again_is_written_again(api: SmallApi) -> None:
    replica = started(api)
    until(lambda: replica.trusted)
    api.remove(CONFIGURATION)
    api.put(CONFIGURATION, configuration(b"", b"", b""))

    until(all_trust(api, api.data(SECRET)["ca.crt"]))


def test_a_new_certificate_is_by_the_same_ca(api: SmallApi) -> None:
    replica = started(api)
    until(lambda: replica.trusted)
    ca, before = api.data(SECRET)["ca.crt"], replica.read()
    api.put(SECRET, {"data": {key: api.objects[SECRET]["data"][key] for key in ("ca.crt", "ca.key")}})

    until(lambda: "tls.crt" in api.data(SECRET) and replica.read() != before)
    assert blocks(replica.read().chain)[1:] == blocks(ca)


def test_a_new_ca_is_trusted_before_it_signs_and_the_old_one_until_nothing_serves_by_it(api: SmallApi) -> None:
    replica = started(api)
    until(lambda: replica.trusted)
    old, before = api.data(SECRET)["ca.crt"], replica.read()
    seen: list[tuple[bytes, list[set[bytes]]]] = []
    replica.changed = lambda: seen.append((blocks(replica.read().chain)[1], trusted(api)))
    api.put(SECRET, {"data": {key: api.objects[SECRET]["data"][key] for key in ("tls.crt", "tls.key")}})

    until(lambda: "ca.crt" in api.data(SECRET))
    new = api.data(SECRET)["ca.crt"]
    until(all_trust(api, old, new))
    until(lambda: replica.read() != before)
    assert blocks(replica.read().chain)[1:] == [new]
    until(all_trust(api, new))
    assert all({serving} <= each for serving, entries in seen for each in entries)


def test_the_ca_of_another_mode_stays_trusted_while_an_update_may_be_under_way(api: SmallApi) -> None:
    api.put(CONFIGURATION, configuration(*[FOREIGN] * 3))
    replica = started(api)
    until(lambda: replica.trusted)
    ca = api.data(SECRET)["ca.crt"]

    assert all_trust(api, FOREIGN, ca)()
    until(all_trust(api, ca))


def test_what_cert_manager_fills_is_left_to_it(api: SmallApi, caplog: pytest.LogCaptureFixture) -> None:
    injected = {"cert-manager.io/inject-ca-from": "exectrail/exectrail-webhook"}
    api.put(CONFIGURATION, configuration(*[FOREIGN] * 3, **injected))
    replica = started(api)
    until(lambda: any("is still cert-manager's" in record.getMessage() for record in caplog.records))
    assert all_trust(api, FOREIGN)()
    assert not replica.trusted

    api.put(CONFIGURATION, configuration(*[FOREIGN] * 3))  # the rest of the upgrade
    until(lambda: replica.trusted)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (SECRET, "there is no Secret exectrail/own: helm upgrade makes it"),
        (CONFIGURATION, "the configuration is not"),
    ],
)
def test_what_is_not_there_is_named_and_waited_for(
    api: SmallApi, caplog: pytest.LogCaptureFixture, missing: str, message: str
) -> None:
    there = api.objects[missing]
    api.remove(missing)
    replica = started(api)
    until(lambda: any(message in record.getMessage() for record in caplog.records))
    api.put(missing, there)

    until(lambda: replica.trusted)


@pytest.mark.parametrize("method", ["list", "patch", "json_patch"])
@pytest.mark.parametrize("status", [0, 403, 409, 422, 500])
def test_whatever_the_api_refuses_is_tried_again(api: SmallApi, method: str, status: int) -> None:
    api.refuse[method] = status or 503
    replica = started(api)
    until(lambda: replica.trusted or method == "list" or len(api.events) > 1)
    assert not replica.trusted
    del api.refuse[method]

    until(lambda: replica.trusted)


def test_a_fault_is_no_end_to_it(
    api: SmallApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(issuer, "plan", None)
        replica = started(api)
        until(lambda: any("fault" in record.getMessage() for record in caplog.records))

    until(lambda: replica.trusted)


def test_keys_are_never_logged(api: SmallApi, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    replica = started(api)
    until(lambda: replica.trusted)

    assert "PRIVATE KEY" not in caplog.text


def test_the_patch_touches_only_what_is_wrong_and_only_the_version_it_was_made_for() -> None:
    right, wrong = base64.b64encode(FOREIGN).decode(), base64.b64encode(b"x").decode()
    made = msgspec.convert(
        {
            "metadata": {"resourceVersion": "7"},
            "webhooks": [
                {"name": "a", "clientConfig": {"caBundle": right}},
                {"name": "b", "clientConfig": {"caBundle": wrong}},
            ],
        },
        Configuration,
    )
    assert patch(made, FOREIGN) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "test", "path": "/webhooks/1/name", "value": "b"},
        {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": right},
    ]
