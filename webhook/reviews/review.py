"""AdmissionReview, the envelope of every admission request (admission.k8s.io/v1).

Only what a decision uses is decoded: a review of a big pod is mostly bytes that are skipped. The object inside stays
as it came until it is known what it should be.
"""

import re
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from exectrail.contracts.session import TAG_VARIABLE, SessionSpec
from exectrail.contracts.unreadable import UNREADABLE
from webhook.reviews.json_value import NAME_BYTES, NOTHING, BadReview, Value

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"
MAX_BYTES = 8 << 20
"""The largest body to read: the API server takes objects of up to 3 MiB, and an update carries two."""

_UID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_USER_BYTES = 16 << 10
_ORDINARY_BYTES = 64 << 10
_EXTRA_PATH = "$.request.userInfo.extra"


class UserInfo(Struct, frozen=True):
    """Who asks (authentication.k8s.io/v1 UserInfo)."""

    username: str = ""
    uid: str = ""
    groups: list[str] = []
    extra: Value = NOTHING


class Type(NamedTuple):
    """A GroupVersionKind, or a GroupVersionResource."""

    group: str
    version: str
    name: str


class Request(Struct, frozen=True):
    """What the API server is about to do (AdmissionRequest)."""

    uid: str
    """The API server's identifier of one webhook call: it becomes an object's name and a word of a command."""
    operation: str
    kind: Type
    """Of the object."""
    resource: Type
    sub_resource: str
    name: str
    namespace: str
    user_info: UserInfo
    object: Value
    old_object: Value
    dry_run: bool

    @property
    def pods_kind(self) -> str:
        """The kind of its object, where that is of v1 and the request one for a pod or a pod's subresource; else ""."""
        return self.kind.name if self.is_for_pods and self.kind[:2] == ("", "v1") else ""

    @property
    def is_for_pods(self) -> bool:
        """Whether it is one for a pod, or a pod's subresource."""
        return self.resource == ("", "v1", "pods")


class Operation(Struct, frozen=True):
    """One step of a JSON patch (RFC 6902, 4.1).

    `add` replaces a member that is there, and moves up the elements of a list; its parent must be there.
    """

    path: str
    value: Any
    op: Literal["add"] = "add"


class Removal(Struct, frozen=True):
    """A step that takes out what is there (RFC 6902, 4.2)."""

    path: str
    op: Literal["remove"] = "remove"


Patch = list[Operation | Removal]


class Decision(Struct, frozen=True):
    """What to do with a request: a yes, for exectrail watches; a no only where a namespace requires a record."""

    reason: str
    """Why this and nothing else was done: a metric's label."""
    patch: Patch = []
    sessions: dict[str, SessionSpec] = {}
    """The AuditSessions to write, by UID: the request's own first."""
    warnings: list[str] = []
    """Shown to the user; the API server cuts each at 256 characters."""
    refusal: str = ""
    """Why the request is refused, and what to do about it; then nothing else of this counts."""


class _Status(Struct, frozen=True):
    """Why a request is refused (meta/v1 Status); kubectl shows the message."""

    message: str
    reason: str = "Forbidden"
    code: int = 403


class _Response(Struct, frozen=True, omit_defaults=True, rename="camel"):
    uid: str
    allowed: bool
    status: _Status | None = None
    patch: bytes | None = None  # msgspec writes bytes as base64, which is what the API wants
    patch_type: str | None = None
    audit_annotations: dict[str, str] = {}
    warnings: list[str] = []


class _Answer(Struct, frozen=True, rename="camel"):
    response: _Response
    api_version: str = API_VERSION
    kind: str = KIND


def decode(body: bytes) -> Request:
    """Read the request out of a webhook call's body.

    Raises:
        BadReview: It cannot be read; the message names the field by its path.

    """
    if len(body) <= _ORDINARY_BYTES and (request := _ordinary(body)):
        return request
    try:
        return _request(_checked(Value(Raw(body), "$")))
    except BadReview as error:
        raise BadReview(f"not an AdmissionReview of {API_VERSION}: {error}") from error


_OrdinaryUid = Annotated[str, Meta(pattern=rf"\A{_UID.pattern}\Z")]
_Name = Annotated[str, Meta(max_length=NAME_BYTES)] | None


class _OrdinaryType(Struct, frozen=True):
    group: _Name = None
    version: _Name = None
    kind: _Name = None
    resource: _Name = None


class _OrdinaryUser(Struct, frozen=True):
    username: str | None = None
    uid: str | None = None
    groups: list[str] | None = None
    extra: Raw = NOTHING.raw


class _OrdinaryRequest(Struct, frozen=True, rename="camel"):
    uid: _OrdinaryUid
    operation: Annotated[str, Meta(max_length=NAME_BYTES)]
    kind: _OrdinaryType
    resource: _OrdinaryType
    user_info: _OrdinaryUser
    sub_resource: _Name = None
    name: _Name = None
    namespace: _Name = None
    object: Raw = NOTHING.raw
    old_object: Raw = NOTHING.raw
    dry_run: bool | None = None


class _OrdinaryReview(Struct, frozen=True, rename="camel"):
    api_version: Literal["admission.k8s.io/v1"]
    request: _OrdinaryRequest
    kind: Literal["AdmissionReview"] | None = None


_ordinary_review = msgspec.json.Decoder(_OrdinaryReview)


def _ordinary(body: bytes) -> Request | None:
    """Read a request as the API server sends nearly all, in a third of the time; None for any other.

    It needs no bounds but the body's. The long way reports what is wrong with the others.
    """
    try:
        it = _ordinary_review.decode(body).request
    except UNREADABLE:
        return None
    user, kind, resource = it.user_info, it.kind, it.resource
    return Request(
        uid=it.uid,
        operation=it.operation,
        kind=Type(kind.group or "", kind.version or "", kind.kind or ""),
        resource=Type(resource.group or "", resource.version or "", resource.resource or ""),
        sub_resource=it.sub_resource or "",
        name=it.name or "",
        namespace=it.namespace or "",
        user_info=UserInfo(user.username or "", user.uid or "", user.groups or [], Value(user.extra, _EXTRA_PATH)),
        object=Value(it.object, "$.request.object"),
        old_object=Value(it.old_object, "$.request.oldObject"),
        dry_run=bool(it.dry_run),
    )


def _checked(review: Value) -> Value:
    version, kind, request = review.members("apiVersion", "kind", "request")
    if (said := version.text()) != API_VERSION:
        raise BadReview(f"Expected {API_VERSION!r}, got {said!r:.60} - at `{version.path}`")
    if (said := kind.text()) not in {KIND, ""}:
        raise BadReview(f"Expected {KIND!r}, got {said!r:.60} - at `{kind.path}`")
    return request.required()


def _request(value: Value) -> Request:
    # In one go: each question goes over all of the request.
    uid, operation, kind, resource, sub_resource, name, namespace, user, new, old, dry_run = value.members(
        "uid",
        "operation",
        "kind",
        "resource",
        "subResource",
        "name",
        "namespace",
        "userInfo",
        "object",
        "oldObject",
        "dryRun",
    )
    if not _UID.fullmatch(uid.text()):
        raise BadReview(f"Expected a UID, got {uid.text()!r:.60} - at `{uid.path}`")
    return Request(
        uid=uid.text(),
        operation=operation.text(),
        kind=_type(kind, "kind"),
        resource=_type(resource, "resource"),
        sub_resource=sub_resource.text(),
        name=name.text(),
        namespace=namespace.text(),
        user_info=_user(user),
        object=new,
        old_object=old,
        dry_run=dry_run.flag(),
    )


def _type(value: Value, name: str) -> Type:
    return Type(*(each.text() for each in value.members("group", "version", name)))


def _user(value: Value) -> UserInfo:
    username, uid, groups, extra = value.members("username", "uid", "groups", "extra")
    return UserInfo(username.text(_USER_BYTES), uid.text(_USER_BYTES), groups.some_words(), extra)


def answer(request: Request, decision: Decision) -> bytes:
    """The body that carries a decision back to the API server."""
    if decision.refusal:
        refused = _Response(request.uid, allowed=False, status=_Status(decision.refusal))
        return msgspec.json.encode(_Answer(refused))
    recorded = decision.sessions and not request.dry_run
    response = _Response(
        uid=request.uid,
        allowed=True,
        patch=msgspec.json.encode(decision.patch) if decision.patch else None,
        patch_type="JSONPatch" if decision.patch else None,
        audit_annotations={TAG_VARIABLE: request.uid} if recorded else {},
        warnings=decision.warnings,
    )
    return msgspec.json.encode(_Answer(response))
