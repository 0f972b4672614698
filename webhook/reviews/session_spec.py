"""What an AuditSession keeps of a request: allowed fields only, and never more than 8 KiB.

A client chooses the length of most of these words, and etcd holds every session: each part has a bound, and what was
cut says so.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import Struct

from exectrail.contracts.command_hash import command_hash
from exectrail.contracts.cut import is_cut
from exectrail.contracts.session import SessionSpec, Target, User, Verb
from exectrail.contracts.unreadable import UNREADABLE
from webhook.reviews.cut import MARKER_BYTES, cut, cut_away, cut_word, json_bytes
from webhook.reviews.json_value import Value
from webhook.reviews.review import Request, UserInfo

DEFAULT_EXTRA_KEYS = (
    # Which credential, and for a pod's token which pod on which node (Kubernetes 1.30 and later).
    "authentication.kubernetes.io/credential-id",
    "authentication.kubernetes.io/pod-name",
    "authentication.kubernetes.io/pod-uid",
    "authentication.kubernetes.io/node-name",
    "authentication.kubernetes.io/node-uid",
    # Amazon EKS: the person behind an assumed role.
    "arn",
    "canonicalArn",
    "sessionName",
    "accessKeyId",
    "principalId",
    # Rancher: the person behind its generated user name.
    "principalid",
    "username",
)
"""Keys of `userInfo.extra` that identify the user. Others may carry a credential (an OIDC or cloud assertion)."""

# Of JSON: together with all that has no bound of its own, an AuditSession stays below 8 KiB.
_COMMAND_BYTES = 2816
_GROUPS_BYTES = 1024
_EXTRA_BYTES = 1536
_USERNAME_BYTES = 512
_REASON_BYTES = 264
_NAME_BYTES = 264  # a name of 253 characters is never cut


class Asked(Struct, frozen=True):
    """What the user asked for, in the user's own words."""

    verb: Verb
    container: str = ""
    command: list[str] = []
    tty: bool = False
    stdin: bool = False
    node: str = ""
    generate_name: str = ""
    exact: bool = False
    """Whether the command is what will run, word for word: a new container's may be the image's, and the kubelet
    expands variables in it."""


class Rules(Struct, frozen=True):
    """What the installation says about tags and sessions."""

    extra_keys: frozenset[str]
    """Which keys of `userInfo.extra` to keep."""
    command_key: bytes | None
    """For hashes of commands; there is none until the key is there."""
    tag_unknown: Literal["env", "match"]
    """What tag mode `auto` is where no node has reported whether the container has `env`."""
    node_debug: Mapping[str, str] = {}
    """Labels of a site's own pods for debugging a node."""


def session_spec(
    request: Request,
    asked: Asked,
    *,
    uid: str,
    tag: Literal["env", "match", "none"],
    recorded: bool,
    now: str,
    rules: Rules,
    break_glass: str = "",
) -> SessionSpec:
    """The AuditSession's spec of a request.

    Args:
        request: The request.
        asked: What its object says.
        uid: The session's.
        tag: How its process will be found.
        recorded: Whether its process will be recorded.
        now: RFC 3339, UTC, microseconds.
        rules: What the installation keeps.
        break_glass: The reason that the target's namespace gives for it.

    Raises:
        BadReview: What the request says of its user is not of the right types.

    """
    kept = SessionSpec(
        user=_user(request.user_info, rules.extra_keys),
        verb=asked.verb,
        resource=cut_word(_resource(request), _NAME_BYTES),
        target=_target(request, asked),
        time=now,
        command=kept_command(asked.command),
        command_hash=_hash(asked, rules.command_key),
        tty=asked.tty,
        stdin=asked.stdin,
        tag=tag,
        recorded=recorded,
        break_glass=cut_word(break_glass, _REASON_BYTES),
        request_uid="" if uid == request.uid else request.uid,
    )
    truncated = _truncated(kept)
    return msgspec.structs.replace(kept, truncated=truncated) if truncated else kept


def _truncated(spec: SessionSpec) -> list[str]:
    """The paths of what was cut. A user may have typed a mark: then one too many stands here."""
    user, target = spec.user, spec.target
    parts = {
        "user.username": [user.username],
        "user.uid": [user.uid],
        "user.groups": user.groups,
        "target.namespace": [target.namespace],
        "target.pod": [target.pod],
        "target.container": [target.container],
        "target.node": [target.node],
        "target.generateName": [target.generate_name],
        "target.name": [target.name],
        "resource": [spec.resource],
        "command": spec.command,
        "breakGlass": [spec.break_glass],
    }
    extra = any(is_cut([key]) or is_cut(words) for key, words in user.extra.items())
    return [path for path, words in parts.items() if is_cut(words)] + ["user.extra"] * extra


def kept_command(words: list[str]) -> list[str]:
    """What a session keeps of a command."""
    return cut(words, _COMMAND_BYTES)


def _resource(request: Request) -> str:
    """As `kubectl auth can-i` takes it."""
    group, _, name = request.resource
    return f"{name}.{group}".rstrip(".") + f"/{request.sub_resource}".rstrip("/")


def _target(request: Request, asked: Asked) -> Target:
    pod, other = (request.name, "") if request.is_for_pods else ("", request.name)
    names = (request.namespace, pod, asked.container, asked.node, asked.generate_name, other)
    return Target(*(cut_word(name, _NAME_BYTES) for name in names))


def _hash(asked: Asked, key: bytes | None) -> str:
    if key is None or not asked.exact or not asked.command:
        return ""
    return command_hash(key, (word.encode() for word in asked.command))


def _user(info: UserInfo, extra_keys: frozenset[str]) -> User:
    return User(
        cut_word(info.username, _USERNAME_BYTES),
        cut_word(info.uid, _NAME_BYTES),
        cut(info.groups, _GROUPS_BYTES),
        _extra(info.extra, extra_keys),
    )


def _extra(extra: Value, keys: frozenset[str]) -> dict[str, list[str]]:
    """What is said under these keys; where that takes too much, short ones whole and the long ones cut."""
    if extra.absent:
        return {}
    if len(extra.raw) <= _EXTRA_BYTES:
        try:
            said = _short_extra.decode(extra.raw)
        except UNREADABLE:
            pass  # what is read of it may be right all the same, and else the long way names the field
        else:
            return {key: words for key, words in said.items() if words and key in keys}
    return _long_extra(extra, sorted(keys))


_short_extra = msgspec.json.Decoder(dict[str, list[str] | None])


def _long_extra(extra: Value, keys: list[str]) -> dict[str, list[str]]:
    """The space is shared among those that are long."""
    there = {key: value for key, value in zip(keys, extra.members(*keys), strict=True) if not value.absent}
    said = {key: words for key, value in there.items() if (words := value.some_words())}
    kept: dict[str, list[str]] = {}
    dropped: list[str] = []
    left = _EXTRA_BYTES - MARKER_BYTES
    for done, key in enumerate(sorted(said, key=lambda key: sum(map(json_bytes, said[key])))):
        room = left // (len(said) - done) - json_bytes(key) - len("[],")
        if room < MARKER_BYTES:
            dropped += [key, *said[key]]
            continue
        kept[key] = cut(said[key], room)
        left -= json_bytes(key) + len("[],") + sum(map(json_bytes, kept[key]))
    return kept | ({cut_away(dropped): []} if dropped else {})
