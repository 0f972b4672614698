"""A new pod waits a moment for its namespace's label, and never longer."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from starlette.testclient import TestClient

from webhook.app import BINDING_PATH, Health, Webhook, admission_app
from webhook.cluster.catch_up import CatchUp

Load = Callable[..., dict[str, Any]]
PatchOf = Callable[[dict[str, Any]], list[Any]]


def test_a_pod_made_together_with_its_namespace_gets_its_profile(
    webhook: Webhook, health: Health, review: Load, patch_of: PatchOf, namespaces: dict[str, dict[str, str]]
) -> None:
    labels = namespaces.pop("default")
    hurried: list[str] = []

    def hurry() -> None:
        hurried.append("once")
        namespaces["default"] = labels  # as the API server tells it meanwhile

    webhook = _with(webhook, CatchUp(namespaces.__contains__, hurry))
    reply = TestClient(admission_app(webhook, health)).post(BINDING_PATH, json=review("pod-create")).json()

    assert hurried == ["once"]
    assert "exectrail/process-audit.json" in str(patch_of(reply))


def test_a_pod_whose_label_does_not_come_waits_for_its_time_and_is_admitted_with_a_warning(
    webhook: Webhook, health: Health, review: Load, namespaces: dict[str, dict[str, str]]
) -> None:
    namespaces.clear()
    client = TestClient(
        admission_app(_with(webhook, CatchUp(namespaces.__contains__, lambda: None, seconds=0.2)), health)
    )
    before = time.monotonic()
    response = client.post(BINDING_PATH, json=review("pod-create")).json()["response"]

    assert response["allowed"]
    assert "is not known here yet" in response["warnings"][0]
    assert time.monotonic() - before >= 0.2


def test_of_a_flood_of_unknown_namespaces_few_wait() -> None:
    async def flood() -> list[float]:
        catch_up = CatchUp(lambda _: False, lambda: None, seconds=0.5)

        async def waited() -> float:
            before = time.monotonic()
            await catch_up.wait("made-up")
            return time.monotonic() - before

        return await asyncio.gather(*(waited() for _ in range(500)))

    assert sum(each >= 0.5 for each in asyncio.run(flood())) == 32


def test_a_known_label_waits_for_nothing_and_hurries_nobody() -> None:
    def hurry() -> None:
        raise AssertionError

    asyncio.run(CatchUp(lambda _: True, hurry).wait("default"))


def _with(webhook: Webhook, catch_up: CatchUp) -> Webhook:
    return Webhook(
        **{**{name: getattr(webhook, name) for name in webhook.__struct_fields__}, "catch_up": catch_up.wait}
    )
