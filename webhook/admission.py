"""AdmissionReview, the envelope of every admission request (admission.k8s.io/v1).

Only the fields that a decision uses are decoded: a review of a big pod is mostly bytes that are skipped. The
object inside stays raw until it is known what it should be.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from exectrail.session import TAG_VARIABLE, SessionSpec

API_VERSION = "admission.k8s.io/v1"
MAX_BYTES = 8 << 20
"""The largest body to read: the API server takes objects of up to 3 MiB, and an update carries two."""

_NULL = Raw(b"null")

Uid = Annotated[str, Meta(pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
"""The API server's identifier of one webhook call: it becomes an object's name and a word of a command."""

T = TypeVar("T")


class BadReview(Exception):
    """A body that is no AdmissionReview v1, or whose object is not of the kind its request says."""


class UserInfo(Struct, frozen=True):
    """Who asks (authentication.k8s.io/v1 UserInfo)."""

    username: str = ""
    uid: str = ""
    groups: list[str] | None = None
    extra: dict[str, list[str] | None] | None = None


class Request(Struct, frozen=True, rename="camel"):
    """What the API server is about to do (AdmissionRequest)."""

    uid: Uid
    operation: str
    user_info: UserInfo = UserInfo()
    name: str = ""
    namespace: str = ""
    sub_resource: str = ""
    object: Raw = _NULL
    old_object: Raw = _NULL
    dry_run: bool | None = None


class Review(Struct, frozen=True, rename="camel"):
    """The body of a webhook call."""

    api_version: Literal["admission.k8s.io/v1"]
    request: Request


class Operation(Struct, frozen=True):
    """One step of a JSON patch. `add` also replaces a member that is there; its parent must be (RFC 6902, 4.1)."""

    path: str
    value: Any
    op: Literal["add"] = "add"


class Decision(Struct, frozen=True):
    """What to do with a request: always a yes, for exectrail watches and never forbids."""

    reason: str
    """Why this and nothing else was done: a metric's label."""
    patch: list[Operation] = []
    session: SessionSpec | None = None
    """What the ledger keeps of it."""
    warnings: list[str] = []
    """Shown to the person who asked; the API server cuts each at 256 characters."""


class _Response(Struct, frozen=True, omit_defaults=True, rename="camel"):
    uid: str
    allowed: bool
    patch: bytes | None = None  # msgspec writes bytes as base64, which is what the API wants
    patch_type: str | None = None
    audit_annotations: dict[str, str] = {}
    warnings: list[str] = []


class _Answer(Struct, frozen=True, rename="camel"):
    response: _Response
    api_version: str = API_VERSION
    kind: str = "AdmissionReview"


_review = msgspec.json.Decoder(Review)


def decode(body: bytes) -> Request:
    """Read the request out of a webhook call's body.

    Raises:
        BadReview: It cannot be read; the message names the field by its path.

    """
    try:
        return _review.decode(body).request
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadReview(f"not an AdmissionReview of {API_VERSION}: {error}") from error


def decode_object(raw: Raw, decoder: msgspec.json.Decoder[T], member: str) -> T:
    """Read the request's `object` or `oldObject`.

    Raises:
        BadReview: It is of another kind; the message names the field by its path in the review.

    """
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        path = f"$.request.{member}"
        reason = str(error).replace("`$", f"`{path}")
        raise BadReview(reason if path in reason else f"{reason} - at `{path}`") from error


def answer(request: Request, decision: Decision) -> bytes:
    """The body that carries a decision back to the API server."""
    recorded = decision.session is not None and not request.dry_run
    response = _Response(
        uid=request.uid,
        allowed=True,
        patch=msgspec.json.encode(decision.patch) if decision.patch else None,
        patch_type="JSONPatch" if decision.patch else None,
        audit_annotations={TAG_VARIABLE: request.uid} if recorded else {},
        warnings=decision.warnings,
    )
    return msgspec.json.encode(_Answer(response))
