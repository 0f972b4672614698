"""The AuditSession: one admitted request, handed from the webhook to the node that carries it out.

The webhook writes the spec, the node's enricher the status; `never-started` and `not-recorded` are the
controller's. The trail is the durable record: AuditSessions are bounded by age and number.
"""

from typing import Literal, get_args

from msgspec import Struct, field

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Exit, Outcome
from exectrail.contracts.spo import BINDING_LABEL

GROUP_VERSION = "exectrail.io/v1alpha1"
KIND = "AuditSession"
PLURAL = "auditsessions"

RECORD_LABEL = "exectrail.io/record"
"""Namespace label: `true` records its processes and changes no pod."""
PROFILE_LABEL = "exectrail.io/profile"
"""Namespace label: the built-in seccomp profile for its new pods; records its processes as well."""

TAG_LABEL = "exectrail.io/tag"
"""Label of a namespace, or of a pod, which wins: how the processes of its requests are found."""
TagMode = Literal["auto", "env", "match"]
"""What that label may say; `auto` where it is absent."""

TAG_VARIABLE = "SPO_EXEC_REQUEST_UID"
"""The environment variable, and audit annotation, that carries a request's UID to its process."""

REQUIRE_AUDIT_LABEL = "exectrail.io/require-audit"
"""Namespace label: with `true`, what cannot be written as an AuditSession before the answer is refused."""
BREAK_GLASS_ANNOTATION = "exectrail.io/break-glass"
"""Annotation of such a namespace: with a reason, it passes all the same. Who sets or removes it has an AuditSession."""

Verb = Literal["exec", "attach", "portforward", "debug", "break-glass", "console"]
VERBS: tuple[Verb, ...] = get_args(Verb)


def opted_in(labels: dict[str, str]) -> bool:
    """Whether a namespace with these labels has its processes recorded."""
    return labels.get(RECORD_LABEL) == "true" or bool(labels.get(PROFILE_LABEL)) or BINDING_LABEL in labels


class User(Struct, frozen=True, omit_defaults=True):
    """Who asked, as admitted; impersonation shows only in the API server's audit log."""

    username: str
    uid: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}


class Target(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What the request aims at; `container` is empty where the client left the choice to the kubelet."""

    namespace: str
    pod: str
    """Empty for a new pod whose name the API server makes of `generate_name`, and where the request is for none."""
    container: str = ""
    node: str = ""
    """The node, where the request makes a pod to debug it."""
    generate_name: str = ""
    name: str = ""
    """Of what it aims at, where that is no pod."""


class SessionSpec(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The request: who asked for what, when."""

    user: User
    verb: Verb
    resource: str
    """The resource asked for, e.g. `pods/exec`."""
    target: Target
    time: str
    """When it was admitted: RFC 3339, UTC, microseconds."""
    command: list[str] = []
    tty: bool = False
    stdin: bool = False
    command_hash: str = ""
    """Of an exec's whole command, also where `command` is cut (`exectrail.contracts.command_hash`)."""
    tag: Literal["env", "match", "none"] = "none"
    """How its process finds the way back: `env` has the request's UID in argv (exec) or the spec (debug); with
    `match` the node looks for it by container, command and time; with `none` it does not look."""
    recorded: bool = False
    """Whether the namespace was opted in when the request was admitted; always so for a pod to debug a node."""
    break_glass: str = ""
    """The reason that the namespace's break-glass annotation gave when the request was admitted; of `break-glass`, what
    the request made of it, so it is empty where that was removed."""
    truncated: list[str] = []
    """Which of the other fields were too long to be kept whole, by their paths: `command`, `user.groups`, ..."""
    request_uid: str = field(default="", name="requestUID")
    """The UID of the request, where that is not the session's name: of several containers that a request makes, each
    has a session, and the first one's has the request's UID for its name."""


class SessionStatus(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """How it went. `phase` is `Open` until a process enters, then `Running`, then `Closed`."""

    phase: Literal["Open", "Running", "Closed"] = "Open"
    outcome: Outcome | None = None
    exit: Exit | None = None
    node: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    duration_ms: int | None = None
    processes: int | None = None


class AuditSession(Struct, frozen=True, rename={"api_version": "apiVersion"}):
    """One admitted request; its name is the request's UID, or derived from that (`SessionSpec.request_uid`)."""

    metadata: ObjectMeta
    spec: SessionSpec
    status: SessionStatus = SessionStatus()
    api_version: str = GROUP_VERSION
    kind: str = KIND
