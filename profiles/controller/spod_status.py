"""What becomes of the Security Profiles Operator's configuration object, field by field.

Pure. The release's configuration is Helm's: what the object asks for is compared with that. A field that asks for
something else gets a condition that names it and the value of the chart to set; one that asks for the same needs none.
"""

import json
import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from exectrail.contracts.unreadable import UNREADABLE
from profiles.controller.objects import Condition, Meta
from profiles.controller.profile_status import dated

Values = Mapping[str, Any]
"""The release's values by their paths, e.g. `logs.auditLogMaxSize`."""

READY = "Ready"
SET_BY_VALUES, NO_EQUIVALENT = "SetByValues", "NoEquivalent"

_MOST_SHOWN = 80


class DaemonStatus(Struct, frozen=True, omit_defaults=True):
    """The status of a SecurityProfilesOperatorDaemon."""

    state: str = ""
    conditions: list[Condition] = []


class Daemon(Struct, frozen=True):
    """A SecurityProfilesOperatorDaemon."""

    metadata: Meta
    spec: dict[str, Any] = {}
    status: DaemonStatus = DaemonStatus()


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


def _filters(asked: object, used: object) -> bool:
    try:
        return isinstance(asked, str) and bool(json.loads(asked) == used)
    except UNREADABLE:
        return False


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
    _field(f"{_OPTIONS}.auditLogPath", "logs.auditLogPath", "jsonEnricherOptions.auditLogPath"),
    _field(f"{_OPTIONS}.auditLogMaxSize", "logs.auditLogMaxSize", "jsonEnricherOptions.auditLogMaxSize"),
    _field(f"{_OPTIONS}.auditLogMaxBackups", "logs.auditLogMaxBackups", "jsonEnricherOptions.auditLogMaxBackups"),
    _field(f"{_OPTIONS}.auditLogMaxAge", "logs.auditLogMaxAge", "jsonEnricherOptions.auditLogMaxAge"),
    _field("enricher.jsonEnricherFilters", "enricher.filters", same=_filters),
    _field("security.allowedSyscalls", "node.allowedSyscalls"),
    _field("security.allowedSeccompActions", "node.allowedSeccompActions"),
    _field("verbosity", "logLevel", default=0, same=lambda _, used: used == "debug"),
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
"""All but `enableJsonEnricher`, which is always so, and the webhook's options, which are a list."""

_WEBHOOK_OPTIONS = _field("webhook.options", flat="webhookOptions")


def status(daemon: Daemon, values: Values, now: datetime) -> DaemonStatus:
    """The status of the object.

    Args:
        daemon: As it is.
        values: What the release was installed with.
        now: The time, UTC.

    """
    problems = [*_fields(daemon.spec, values), *_webhook_options(daemon.spec, values)]
    generation = daemon.metadata.generation
    conditions = [Condition(READY, "True", "Available", _summary(problems), generation)]
    conditions += [Condition(name, "False", reason, text, generation) for name, reason, text in problems]
    return DaemonStatus("Running", dated(conditions, daemon.status.conditions, now))


def _summary(problems: list[tuple[str, str, str]]) -> str:
    if not problems:
        return "the release does what is asked for"
    return f"the release does not follow {len(problems)} of the fields: see the conditions named after them"


def _fields(spec: dict[str, Any], values: Values) -> Iterator[tuple[str, str, str]]:
    for field in FIELDS:
        path, asked = _asked(spec, field)
        if not path or asked == field.default:
            continue
        if not field.value:
            yield path, NO_EQUIVALENT, f"{path} has no equivalent: {field.advice}"
        elif not field.same(asked, values.get(field.value)):
            used = f"{path} asks for {_shown(asked)}, the release has {_shown(values.get(field.value))}"
            also = f" {field.advice}" if field.advice else ""
            yield path, SET_BY_VALUES, f"{used}: set the chart's value `{field.value}`{also}"


def _webhook_options(spec: dict[str, Any], values: Values) -> Iterator[tuple[str, str, str]]:
    path, options = _asked(spec, _WEBHOOK_OPTIONS)
    wanted = {str(each["failurePolicy"]) for each in options or [] if each.get("failurePolicy")}
    said = []
    if wanted - {values.get("webhook.failurePolicy")}:
        said.append(f"failurePolicy {', '.join(sorted(wanted))}: set the chart's value `webhook.failurePolicy`")
    if any(each.get("namespaceSelector") or each.get("objectSelector") for each in options or []):
        said.append("selectors: set the chart's value `webhook.excludedNamespaces`, and label the namespaces to record")
    if said:
        yield path, SET_BY_VALUES, f"{path} asks for {'; '.join(said)}"


def _asked(spec: dict[str, Any], field: Field) -> tuple[str, Any]:
    """What is set, and by which path; an empty path where nothing is. The nested form counts where both are set."""
    for path in (field.nested, field.flat):
        found: Any = spec
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if not _unset(found):
            return f"spec.{path}", found
    return "", None


def _unset(found: object) -> bool:
    if isinstance(found, dict):
        return all(_unset(each) for each in found.values())
    return found is None or found is False or found in ("", [])  # 0 is set: it often means without a bound


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"
