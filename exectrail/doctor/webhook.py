"""Whether the API server asks the webhook about each request, and nothing undoes what it answers."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Struct

from exectrail.contracts.unreadable import UNREADABLE
from exectrail.contracts.webhook_configuration import changes
from exectrail.doctor.ca_bundle import validities
from exectrail.doctor.finding import Checked, Finding
from exectrail.doctor.objects import ConfigMap, Configuration
from exectrail.doctor.seen import Seen
from exectrail.doctor.words import age, moment
from exectrail.reading.words import counted

_UNWATCHED = timedelta(seconds=150)
"""As the controller takes it."""
_RECENT = timedelta(days=7)
_OUTAGES = "-webhook-outages"
"""How the name of the ConfigMap ends that keeps them."""
_EXECS = "execmetadata.exectrail.io"
"""The entry for execs where no record is required."""
_ASKED_ABOUT = (("CONNECT", "pods/exec"), ("CONNECT", "pods/attach"), ("UPDATE", "pods/ephemeralcontainers"))


class _Outage(Struct, frozen=True, rename={"since": "from"}):
    since: str = ""
    reason: str = ""
    message: str = ""
    until: str = ""


def check(seen: Seen) -> Checked:
    """The webhook's configuration, the canary's word on whether it is reached, and other webhooks."""
    findings = [*_configuration(seen), *_outages(seen), *_later(seen), *_single(seen)]
    entries = seen.configuration.webhooks if seen.configuration else []
    policy = next((entry.get("failurePolicy") for entry in entries if entry.get("name") == _EXECS), "unknown")
    words = f"the webhook is looked at for being asked and reached (failurePolicy of execs: {policy})"
    return Checked("webhook", words, findings)


def _configuration(seen: Seen) -> Iterator[Finding]:
    upgrade = f"run `helm upgrade {seen.release.instance} ./chart -n {seen.release.namespace} --reuse-values`"
    live = seen.configuration
    if live is None:
        if seen.configurations.known:
            yield Finding(
                "webhook",
                "configuration-missing",
                "error",
                "the MutatingWebhookConfiguration of the release is missing",
                [f"none has the label app.kubernetes.io/instance={seen.release.instance}"],
                "the API server does not ask the webhook: no request is recorded or tagged",
                upgrade,
            )
        return
    name = f"MutatingWebhookConfiguration {live.metadata.name}"
    if wrong := list(_wrong_ca(live)):
        yield Finding(
            "webhook",
            "ca-bundle",
            "error",
            "the API server has no certificate to trust the webhook by",
            [f"{name}: {each}" for each in wrong],
            "it cannot call the webhook: requests pass unrecorded, or are refused where failurePolicy is Fail",
            "tls.mode cert-manager: see that its cainjector runs, and the annotation cert-manager.io/inject-ca-from;"
            f" self-managed: the webhook's log says why it does not write it; existingSecret: {upgrade}",
        )
    if changed := _changed(seen, live):
        yield Finding(
            "webhook",
            "configuration-changed",
            "error",
            "the MutatingWebhookConfiguration is not as the chart made it",
            [f"{name}: {each}" for each in changed],
            "requests that no longer match pass unrecorded, or what is recorded is not what the chart says",
            f"see who changed it: `kubectl get mutatingwebhookconfiguration {live.metadata.name} -o yaml"
            f" --show-managed-fields`; then {upgrade}",
        )


def _wrong_ca(live: Configuration) -> Iterator[str]:
    for entry in live.webhooks:
        bundle = str(entry.get("clientConfig", {}).get("caBundle") or "")
        if not bundle:
            yield f"webhooks[{entry.get('name')}].clientConfig.caBundle is empty"
            continue
        try:
            validities(bundle)
        except ValueError:
            yield f"webhooks[{entry.get('name')}].clientConfig.caBundle holds no certificate"


def _changed(seen: Seen, live: Configuration) -> list[str]:
    """What the controller compares, too; a CA that is missing has its own finding."""
    controller = seen.workload("controller")
    expected: list[dict[str, Any]] = []
    if controller and (given := controller.argument("webhooks")):
        try:
            expected = msgspec.json.decode(given, type=list[dict[str, Any]])
        except UNREADABLE:
            return ["the argument --webhooks of the controller's Deployment cannot be read"]
    only_ca = " has another caBundle"
    return [each for each in changes(expected, live.webhooks) if not (each.endswith(only_ca) and any(_wrong_ca(live)))]


def _outages(seen: Seen) -> Iterator[Finding]:
    kept = next((each for each in seen.config_maps.items if each.metadata.name.endswith(_OUTAGES)), None)
    if kept is None:
        if seen.config_maps.known:
            yield _not_watched(
                seen, f"namespace {seen.release.namespace}: no ConfigMap with a name that ends in {_OUTAGES}"
            )
        return
    name = f"ConfigMap {seen.release.namespace}/{kept.metadata.name}"
    outages, reached = _read(kept), moment(kept.data.get("reached", ""))
    goes_on = [each for each in outages if not each.until]
    remedy = "docs/tasks/troubleshooting.md, `Was the webhook always reached?`, has what to do for each reason"
    if goes_on:
        yield Finding(
            "webhook",
            "not-reached",
            "error",
            "the controller finds the webhook not reached, or its configuration changed",
            [f"{name}: since {each.since}, reason {each.reason}: {each.message}" for each in goes_on],
            "requests pass unrecorded, or are refused where failurePolicy is Fail",
            remedy,
        )
    elif reached is None or seen.now - reached > _UNWATCHED:
        since = f"data.reached={kept.data['reached']}, {age(seen.now - reached)} ago" if reached else "no data.reached"
        yield _not_watched(seen, f"{name}: {since}")
    past = [each for each in outages if each.until and (end := moment(each.until)) and seen.now - end < _RECENT]
    if past:
        yield Finding(
            "webhook",
            "past-outages",
            "notice",
            f"{counted(len(past), 'outage')} of the webhook in the last 7 days",
            [f"{name}: from {each.since} until {each.until}, reason {each.reason}" for each in past],
            "requests of that time may have no AuditSession; their processes are `untracked`",
            f"{remedy}. The API server's audit log has the requests",
        )


def _not_watched(seen: Seen, found: str) -> Finding:
    return Finding(
        "webhook",
        "not-watched",
        "warning",
        "the controller has not seen lately that the webhook is reached",
        [found],
        "requests may pass unrecorded, or not: nothing looks",
        f"see `kubectl logs -n {seen.release.namespace} -l app.kubernetes.io/component=controller`",
    )


def _read(kept: ConfigMap) -> list[_Outage]:
    found = []
    for line in kept.data.get("outages", "").splitlines():
        try:
            found.append(msgspec.json.decode(line, type=_Outage))
        except UNREADABLE:
            continue  # as the controller does: the others count
    return found


def _later(seen: Seen) -> Iterator[Finding]:
    """Webhooks of others that the API server calls after ours: it goes by the names of their configurations."""
    ours = seen.configuration
    if ours is None:
        return
    found = [
        f"MutatingWebhookConfiguration {each.metadata.name}: webhooks[{entry.get('name')}].rules: {', '.join(about)}"
        for each in seen.configurations.items
        if each.metadata.name > ours.metadata.name
        for entry in each.webhooks
        if (about := _about(entry))
    ]
    if found:
        yield Finding(
            "webhook",
            "later-webhook",
            "warning",
            f"another webhook changes the same requests, after that of {ours.metadata.name}",
            found,
            "it may replace the tag or change the command: then processes lead to another UID, or count as `forged`",
            "of the Security Profiles Operator: docs/tasks/from-spo.md; else take those rules out of it, or give its"
            f" configuration a name that sorts before {ours.metadata.name}",
        )


def _about(entry: dict[str, Any]) -> list[str]:
    """Which of the requests that ours is asked about."""
    return [
        f"{operation} {resource}"
        for operation, resource in _ASKED_ABOUT
        if any(_matches(rule, operation, resource) for rule in entry.get("rules") or [])
    ]


def _matches(rule: dict[str, Any], operation: str, resource: str) -> bool:
    kind, _, sub = resource.partition("/")
    resources = {resource, f"{kind}/*", f"*/{sub}", "*/*"}
    return (
        not {"*", operation}.isdisjoint(rule.get("operations") or [])
        and not {"*", ""}.isdisjoint(rule.get("apiGroups") or [])
        and not resources.isdisjoint(rule.get("resources") or [])
    )


def _single(seen: Seen) -> Iterator[Finding]:
    webhook = seen.workload("webhook")
    if webhook and webhook.spec.replicas == 1:
        yield Finding(
            "webhook",
            "single-replica",
            "warning",
            "the webhook has one replica",
            [f"Deployment {seen.release.namespace}/{webhook.metadata.name}: spec.replicas=1"],
            "while it restarts, requests pass unrecorded, or are refused where failurePolicy is Fail",
            "set webhook.replicas to 2 or more",
        )
