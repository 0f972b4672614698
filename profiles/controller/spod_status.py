"""What becomes of the Security Profiles Operator's configuration object, field by field.

Pure. What running parts follow is in `spod_settings`. The rest of the release's configuration is Helm's: what the
object asks for is compared with that. A field that asks for something else gets a condition that names it and the value
of the chart to set; one that asks for the same needs none.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from profiles.controller import spod_volume
from profiles.controller.objects import Condition
from profiles.controller.profile_status import dated
from profiles.controller.spod_settings import Settings
from profiles.controller.spod_spec import (
    NO_EQUIVALENT,
    SET_BY_VALUES,
    Daemon,
    DaemonStatus,
    Finding,
    Values,
    asked,
    shown,
)
from profiles.controller.spod_state import Running

READY = "Ready"
_REASONS = {"Running": "Available", "Creating": "Creating", "Updating": "Updating", "Error": "Unavailable"}
"""Of the condition `Ready`, by state."""


class Field(Struct, frozen=True):
    """A field of the object, in its nested form and its flat one, and what it corresponds to."""

    nested: str
    flat: str
    value: str = ""
    """The path of the chart's value; none where there is no equivalent."""
    advice: str = ""
    """What to do instead, where comparing makes no sense or there is no equivalent."""
    default: object = None
    """What the operator's own definition fills in: it does not count as set."""
    same: Callable[[Any, Any], bool] = operator.eq
    """Whether what is asked for is what is used."""


def _field(
    nested: str,
    value: str = "",
    flat: str = "",
    *,
    advice: str = "",
    default: object = None,
    same: Callable[[Any, Any], bool] = operator.eq,
) -> Field:
    return Field(nested, flat or nested.rpartition(".")[2], value, advice, default, same)


_OPTIONS = "enricher.jsonEnricherOptions"
FIELDS = (
    _field(
        f"{_OPTIONS}.auditLogIntervalSeconds",
        "logs.auditLogIntervalSeconds",
        "jsonEnricherOptions.auditLogIntervalSeconds",
        same=lambda asked, used: used <= asked,  # it bounds the delay: less is what was asked for
    ),
    _field(f"{_OPTIONS}.auditLogMaxSize", "logs.auditLogMaxSize", "jsonEnricherOptions.auditLogMaxSize"),
    _field(f"{_OPTIONS}.auditLogMaxBackups", "logs.auditLogMaxBackups", "jsonEnricherOptions.auditLogMaxBackups"),
    _field(f"{_OPTIONS}.auditLogMaxAge", "logs.auditLogMaxAge", "jsonEnricherOptions.auditLogMaxAge"),
    _field("imagePullSecrets", "imagePullSecrets"),
    _field("daemonResourceRequirements", "node.resources", advice="and `enricher.resources`"),
    _field("scheduling.tolerations", "node.tolerations", advice="and `enricher.tolerations`"),
    _field("scheduling.affinity", "node.affinity", advice="and `enricher.affinity`"),
    _field("scheduling.priorityClassName", "node.priorityClassName", default="system-node-critical"),
    _field("enricher.enableLogEnricher", advice="the records are in the trail: `exectrail sessions` shows them"),
    _field("enricher.logEnricherFilters", advice="filters of the trail are in `enricher.filters`"),
    _field("enricher.logEnricherSource", advice="`enricher.auditSource` and `enricher.sensor` choose by themselves"),
    _field("enricher.enableBpfRecorder", advice="profiles are not recorded"),
    _field("enableAppArmor", advice="only seccomp profiles are installed"),
    _field("enableSelinux", advice="only seccomp profiles are installed"),
    _field("selinux", advice="only seccomp profiles are installed"),
    _field("selinuxOptions", advice="only seccomp profiles are installed"),
    _field("selinuxTypeTag", advice="only seccomp profiles are installed"),
    _field("enableProfiling", advice="nothing is needed"),
    _field("enableMemoryOptimization", advice="nothing is needed, pods are kept in few words"),
    _field("enableInsecureMetricsAccess", advice="nothing is needed, metrics are plain HTTP"),
    _field("hostProcVolumePath", advice="nothing is needed, /proc of the node is mounted where it is used"),
    _field("webhook.staticConfig", flat="staticWebhookConfig", advice="nothing is needed, Helm owns the webhooks"),
    _field("security.disableOciArtifactSignatureVerification", advice="bases in registries are not used"),
    _field("security.allowedIdentityRegexp", advice="bases in registries are not used", default=".*"),
    _field("security.allowedOidcIssuerRegexp", advice="bases in registries are not used", default=".*"),
)
"""All that are compared one by one, or have no equivalent."""

_HOOKS = {
    "binding.spo.io": "set the chart's value `webhook.excludedNamespaces`",
    "execmetadata.spo.io": "label the namespaces to record, `exectrail.io/record`",
    "nodedebuggingpod.spo.io": "none can be set, pods to debug a node are tagged in every namespace",
}
"""The operator's webhooks that have an equivalent, and what stands for a selector of each."""


def status(
    daemon: Daemon,
    values: Values,
    running: Running,
    settings: Settings,
    log_volume: Mapping[str, str],
    now: datetime,
) -> DaemonStatus:
    """The status of the object.

    Args:
        daemon: As it is.
        values: What the release was installed with.
        running: How far the release runs.
        settings: What running parts follow.
        log_volume: The operator's ConfigMap with the volume of the log.
        now: The time, UTC.

    """
    spec = daemon.spec
    findings = [
        *settings.findings,
        *_always_records(spec),
        *_fields(spec, values),
        *spod_volume.findings(log_volume, spec, values),
        *_webhook_options(spec, values),
    ]
    generation = daemon.metadata.generation
    is_running = "True" if running.state == "Running" else "False"
    ready = Condition(READY, is_running, _REASONS[running.state], running.message or _summary(findings), generation)
    conditions = [
        ready,
        *(Condition(each.name, each.status, each.reason, each.message, generation) for each in findings),
    ]
    return DaemonStatus(running.state, dated(conditions, daemon.status.conditions, now))


def _summary(findings: list[Finding]) -> str:
    problems = sum(each.status == "False" for each in findings)
    if not problems:
        return "the release does what is asked for"
    return f"the release does not follow {problems} of the fields: see the conditions named after them"


def _always_records(spec: Mapping[str, Any]) -> Iterator[Finding]:
    # Only the flat form has no default: in the nested one, false may be what the API server filled in.
    path = "spec.enableJsonEnricher"
    if spec.get("enableJsonEnricher") is False and not (spec.get("enricher") or {}).get("enableJsonEnricher"):
        text = (
            f"{path} is false, but the enricher runs: take the label `exectrail.io/record` off all namespaces instead"
        )
        yield Finding(path, NO_EQUIVALENT, text)


def _fields(spec: Mapping[str, Any], values: Values) -> Iterator[Finding]:
    for field in FIELDS:
        path, given = asked(spec, field.nested, field.flat)
        if not path or given == field.default:
            continue
        if not field.value:
            yield Finding(path, NO_EQUIVALENT, f"{path} has no equivalent: {field.advice}")
        elif not field.same(given, values.get(field.value)):
            used = f"{path} asks for {shown(given)}, the release has {shown(values.get(field.value))}"
            also = f" {field.advice}" if field.advice else ""
            yield Finding(path, SET_BY_VALUES, f"{used}: set the chart's value `{field.value}`{also}")


def _webhook_options(spec: Mapping[str, Any], values: Values) -> Iterator[Finding]:
    path, options = asked(spec, "webhook.options", "webhookOptions")
    said = []
    for each in options or []:
        name, policy = each.get("name"), each.get("failurePolicy")
        advice = _HOOKS.get(name)
        if advice is None:
            said.append(f"{shown(name)}, which has no equivalent: there are {', '.join(_HOOKS)}")
            continue
        if policy and policy != values.get("webhook.failurePolicy"):
            remedy = "set the chart's value `webhook.failurePolicy`, which is that of all webhooks"
            said.append(f"failurePolicy {policy} of {name}: {remedy}")
        if each.get("namespaceSelector") or each.get("objectSelector"):
            said.append(f"a selector of {name}: {advice}")
    if said:
        yield Finding(path, SET_BY_VALUES, f"{path} asks for {'; '.join(said)}")
