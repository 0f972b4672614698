"""Whether the webhook's certificate is valid, and goes on to be."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from exectrail.doctor.ca_bundle import validities
from exectrail.doctor.finding import Checked, Finding, Name, Severity
from exectrail.doctor.objects import INJECTED
from exectrail.doctor.seen import Seen
from exectrail.doctor.words import age, moment, stamp

_SOON = timedelta(days=7)
_RENEWAL_LATE = timedelta(hours=1)


def check(seen: Seen) -> Checked:
    """The certificates that cert-manager keeps or the replicas serve with, and the CA that the API server trusts."""
    findings = [*_missing(seen), *_of_cert_manager(seen), *_served(seen), *_trusted(seen)]
    ends = [end for each in seen.certificates.items if (end := moment(each.status.not_after))]
    ends += [datetime.fromtimestamp(end, UTC) for _, end in seen.expiries.items]
    until = f"the first one ends {stamp(min(ends))}" if ends else "none is known"
    return Checked("certificate", f"the webhook's certificate and its CA are looked at: {until}", findings)


def _missing(seen: Seen) -> Iterator[Finding]:
    """Whether the Certificate is gone; a cluster without cert-manager's kinds has none.

    The replicas serve with the Secret that it left, until that ends.
    """
    named = seen.certificate
    # Of other namespaces none were listed.
    looked_at = seen.certificates.known and named.startswith(f"{seen.release.namespace}/")
    if looked_at and named not in {each.key for each in seen.certificates.items}:
        upgrade = f"helm upgrade {seen.release.instance} ./chart -n {seen.release.namespace} --reuse-values"
        yield _finding(
            "certificate-not-ready",
            "error",
            "the webhook's Certificate is missing: nothing renews it",
            f"no Certificate {named}, which {INJECTED} names",
            f"install cert-manager, then run `{upgrade}`",
        )


def _of_cert_manager(seen: Seen) -> Iterator[Finding]:
    for each in seen.certificates.items:
        name = f"Certificate {each.key}"
        remedy = (
            f"see `cmctl status certificate {each.metadata.name} -n {each.metadata.namespace}` or `kubectl describe`"
        )
        begin, end = moment(each.status.not_before), moment(each.status.not_after)
        # One that cert-manager is still to renew may be a short one.
        renewal = moment(each.status.renewal_time)
        soon = timedelta() if renewal and seen.now - renewal <= _RENEWAL_LATE else _SOON
        yield from _validity(seen.now, begin, end, name, remedy, soon)
        ready = next((one for one in each.status.conditions if one.type == "Ready"), None)
        if ready is None or ready.status != "True":
            said = f"Ready={ready.status}, {ready.reason}: {ready.message}" if ready else "has no condition Ready"
            yield _finding(
                "certificate-not-ready", "error", "cert-manager has no valid certificate", f"{name}: {said}", remedy
            )
        if renewal and end and seen.now - renewal > _RENEWAL_LATE and seen.now <= end:
            found = f"{name}: status.renewalTime={each.status.renewal_time}, {age(seen.now - renewal)} ago"
            yield _finding("renewal-overdue", "warning", "a certificate was to be renewed already", found, remedy)


def _served(seen: Seen) -> Iterator[Finding]:
    """What the replicas say of the one that they serve with."""
    for pod, end in seen.expiries.items:
        remedy = f"see `kubectl logs -n {seen.release.namespace} -l app.kubernetes.io/component=webhook`"
        name = f"pod {pod}: its certificate"
        yield from _validity(seen.now, None, datetime.fromtimestamp(end, UTC), name, remedy, _soon(seen))


def _soon(seen: Seen) -> timedelta:
    """How long before its end a certificate is to have been replaced; the webhook may issue short ones itself."""
    webhook = seen.workload("webhook")
    hours = webhook.argument("tls-renew-before").removesuffix("h") if webhook else ""
    return min(_SOON, timedelta(hours=int(hours)) - _RENEWAL_LATE) if hours.isdecimal() else _SOON


def _trusted(seen: Seen) -> Iterator[Finding]:
    """The CA. Of several, as while it changes, one that is valid is enough."""
    configuration = seen.configuration
    if configuration is None:
        return
    for bundle in sorted({str(each.get("clientConfig", {}).get("caBundle") or "") for each in configuration.webhooks}):
        try:
            found = validities(bundle)
        except ValueError:
            continue  # a finding of the webhook's configuration
        if found:
            name = f"MutatingWebhookConfiguration {configuration.metadata.name}: the CA in caBundle"
            remedy = "docs/tasks/tls.md says how the CA is replaced in each tls.mode"
            best = max(found, key=lambda each: (each.begin <= seen.now, each.end))
            yield from _validity(seen.now, best.begin, best.end, name, remedy, _SOON)


def _validity(
    now: datetime, begin: datetime | None, end: datetime | None, name: str, remedy: str, soon: timedelta
) -> Iterator[Finding]:
    if begin and now < begin:
        found = f"{name}: not valid before {stamp(begin)}, in {age(begin - now)}"
        yield _finding("not-yet-valid", "error", "a certificate is not valid yet", found, remedy)
    if end and now > end:
        found = f"{name}: not valid after {stamp(end)}, {age(now - end)} ago"
        yield _finding("expired", "error", "a certificate has expired", found, remedy)
    elif end and end - now < soon:
        found = f"{name}: not valid after {stamp(end)}, in {age(end - now)}"
        yield _finding("expires-soon", "warning", "a certificate expires soon", found, remedy)


def _finding(name: Name, severity: Severity, summary: str, found: str, remedy: str) -> Finding:
    meaning = "the API server calls the webhook only by a valid one: else requests pass unrecorded, or are refused"
    return Finding("certificate", name, severity, summary, [found], meaning, remedy)
