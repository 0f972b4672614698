"""Which requests have no AuditSession, by the webhook's own list."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from exectrail.contracts.unreadable import UNREADABLE
from exectrail.contracts.unwritten import Unwritten, UnwrittenList
from exectrail.doctor.finding import Checked, Finding
from exectrail.doctor.objects import ConfigMap
from exectrail.doctor.seen import Seen
from exectrail.reading.words import counted

_UNWRITTEN = "-unwritten-sessions"
"""How the name of the ConfigMap ends that has the list."""


def check(seen: Seen) -> Checked:
    """The list of unwritten sessions."""
    kept = next((each for each in seen.config_maps.items if each.metadata.name.endswith(_UNWRITTEN)), None)
    findings = list(_unwritten(kept, seen.release.namespace)) if kept else []
    return Checked("requests", "the list of requests without an AuditSession is looked at", findings)


def _unwritten(kept: ConfigMap, namespace: str) -> Iterator[Finding]:
    name = f"ConfigMap {namespace}/{kept.metadata.name}"
    sessions: list[Unwritten] = []
    notes: list[str] = []
    for key, value in sorted(kept.data.items()):
        try:
            each = msgspec.json.decode(value, type=UnwrittenList)
        except UNREADABLE:
            notes.append(f"{name}: data[{key}] cannot be read")
            continue
        sessions += each.sessions
        if each.omitted:
            notes.append(f"{name}: data[{key}] omits {each.omitted} older ones")
    if not sessions and not notes:
        return
    causes = ", ".join(f"{cause} {count}" for cause, count in Counter(each.cause for each in sessions).most_common())
    newest = sorted(sessions, key=lambda each: each.time, reverse=True)
    yield Finding(
        "requests",
        "unwritten-sessions",
        "warning",
        f"{counted(len(sessions), 'request')} without an AuditSession ({causes or 'no cause'})",
        [*notes, *(_line(each) for each in newest)],
        "their processes are recorded without a user; the API server's audit log has the requests, by UID",
        "docs/concepts/sessions.md, `What if one cannot be written?`, has the causes; the list keeps them for 30 days",
    )


def _line(each: Unwritten) -> str:
    target = "/".join(part for part in (each.namespace, each.pod) if part)
    return f"{each.time} {each.user} {each.verb} {target}, cause {each.cause}, UID {each.uid}"
