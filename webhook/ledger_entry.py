"""What the ledger keeps of a request: only what is allowed to be kept, and never more than etcd takes.

A client chooses the length of most of these words, and etcd refuses objects of 1.5 MiB: each part has a bound, and
what was cut says so.
"""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from exectrail.command_hash import command_hash
from exectrail.session import SessionSpec, Target, User, Verb
from webhook.admission import Request, UserInfo

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
"""Keys of `userInfo.extra` that tell who it was. Others may carry a credential (an OIDC or cloud assertion)."""

_COMMAND_BYTES = 64 << 10
_GROUPS_BYTES = 32 << 10
_EXTRA_BYTES = 2 << 10
_NAME_BYTES = 1 << 10


class Asked(Struct, frozen=True):
    """What the user asked for, in the user's own words."""

    verb: Verb
    container: str = ""
    command: list[str] = []
    tty: bool = False
    stdin: bool = False
    node: str = ""
    generate_name: str = ""


class Rules(Struct, frozen=True):
    """What the installation says about tags and the ledger."""

    extra_keys: frozenset[str]
    """Which keys of `userInfo.extra` to keep."""
    command_key: bytes | None
    """For hashes of commands; there is none until the key is there."""
    tag_unknown: Literal["env", "match"]
    """What tag mode `auto` is for a container of which no node has said whether it has `env`."""


def session_spec(
    request: Request, asked: Asked, *, tag: Literal["env", "match", "none"], recorded: bool, now: str, rules: Rules
) -> SessionSpec:
    """The AuditSession's spec of a request.

    Args:
        request: The request.
        asked: What its object says.
        tag: How its process will be found.
        recorded: Whether its process will be recorded.
        now: RFC 3339, UTC, microseconds.
        rules: What the installation keeps.

    """
    return SessionSpec(
        user=_user(request.user_info, rules.extra_keys),
        verb=asked.verb,
        resource=f"pods/{request.sub_resource}".rstrip("/"),
        target=_target(request, asked),
        time=now,
        command=_bounded(asked.command, _COMMAND_BYTES),
        command_hash=_hash(asked, rules.command_key),
        tty=asked.tty,
        stdin=asked.stdin,
        tag=tag,
        recorded=recorded,
    )


def _target(request: Request, asked: Asked) -> Target:
    names = (request.namespace, request.name, asked.container, asked.node, asked.generate_name)
    return Target(*map(_name, names))


def _hash(asked: Asked, key: bytes | None) -> str:
    # A new container's command may be the image's, and the kubelet expands variables in it: only an exec's is exact.
    if key is None or asked.verb != "exec" or not asked.command:
        return ""
    return command_hash(key, (word.encode(errors="replace") for word in asked.command))


def _user(info: UserInfo, extra_keys: frozenset[str]) -> User:
    extra = {
        key: _bounded(values or [], _EXTRA_BYTES) for key, values in (info.extra or {}).items() if key in extra_keys
    }
    return User(_name(info.username), _name(info.uid), _bounded(info.groups or [], _GROUPS_BYTES), extra)


def _name(word: str) -> str:
    return "".join(_bounded([word], _NAME_BYTES))


def _bounded(words: list[str], most: int) -> list[str]:
    """As many words as fit into `most` bytes; a last one tells what is missing."""
    if len(words) + sum(map(len, words)) <= most // 4:  # no character takes more than 4 bytes
        return words
    return list(_cut(words, most))


def _cut(words: list[str], most: int) -> Iterator[str]:
    left = most
    for number, word in enumerate(words):
        data = word.encode(errors="replace")
        left -= len(data) + 1  # a word costs at least one byte, or empty ones would be free
        if left < 0:
            missing = sum(len(rest.encode(errors="replace")) for rest in words[number:])
            kept = data[: max(0, left + len(data))].decode(errors="ignore")
            missing -= len(kept.encode())
            yield f"{kept}[cut: {missing} bytes in {len(words) - number} words]"
            return
        yield word
