"""Ties a request to the process that it starts, and tells the ledger who asked.

The tag is the request's UID in the variable `SPO_EXEC_REQUEST_UID`: a prefix of the command for an exec, an
environment variable for an ephemeral container. The node reads it from argv or from the pod's spec, never from a
process's environment. A tag is put only where the namespace has opted in, and never where it would change what
the command does.
"""

from typing import Any

import msgspec
from msgspec import Struct

from exectrail.session import TAG_VARIABLE, opted_in
from webhook.admission import Decision, Operation, Request, decode_object
from webhook.ledger_entry import Asked, session_spec

_WARNING = "exectrail: the request is in the ledger, but its process carries no tag: {why}"
_WHY = {
    "namespace-unknown": "the namespace is not known here yet",
    "assignment-command": "the command's first word has a '='",
    "not-utf8": "the command is not UTF-8",
}


class _Options(Struct, frozen=True):
    """PodExecOptions and PodAttachOptions."""

    container: str = ""
    command: list[str] | None = None  # Go writes an empty command as null
    tty: bool = False
    stdin: bool = False


class _EphemeralContainer(Struct, frozen=True):
    name: str
    command: list[str] = []
    args: list[str] = []
    env: list[dict[str, Any]] = []
    tty: bool = False
    stdin: bool = False


class _Spec(Struct, frozen=True, rename="camel"):
    ephemeral_containers: list[_EphemeralContainer] = []


class _Pod(Struct, frozen=True):
    spec: _Spec


class _Found(Struct, frozen=True):
    """What a request asks for, how its process could be tagged, and why it is not."""

    asked: Asked
    patch: list[Operation] = []
    untagged: str | None = None


_options = msgspec.json.Decoder(_Options)
_pod = msgspec.json.Decoder(_Pod)
_old_pod = msgspec.json.Decoder(_Pod | None)


def decide(request: Request, labels: dict[str, str] | None, now: str, extra_keys: frozenset[str]) -> Decision:
    """Decide about an exec, attach, port-forward, or a new ephemeral container.

    Args:
        request: The request.
        labels: Its namespace's labels; `None` when the namespace is not known.
        now: RFC 3339, UTC, microseconds.
        extra_keys: Which keys of `userInfo.extra` the ledger keeps.

    Raises:
        BadReview: The request's object is not what its subresource promises.

    """
    match request.sub_resource:
        case "exec":
            found = _exec(request)
        case "attach":
            found = _attach(request)
        case "portforward":
            found = _Found(Asked("portforward"), untagged="ledger-only")
        case "ephemeralcontainers":
            new = _new_containers(request)
            if not new:
                return Decision("no-new-container")
            found = _debug(request, new)
        case _:
            return Decision("unsupported")
    return _decision(request, found, labels, now, extra_keys)


def _decision(
    request: Request, found: _Found, labels: dict[str, str] | None, now: str, extra_keys: frozenset[str]
) -> Decision:
    out = _not_opted_in(labels)
    # A shell or a debug container starts a process; an attach or port-forward does not.
    starts = found.asked.verb in {"exec", "debug"}
    untagged = (out if starts else None) or found.untagged
    session = session_spec(
        request, found.asked, tagged=not untagged, recorded=starts and not out, now=now, extra_keys=extra_keys
    )
    why = _WHY.get(untagged or "")
    return Decision(
        reason=untagged or "tagged",
        patch=[] if untagged else found.patch,
        session=session,
        warnings=[_WARNING.format(why=why)] if why else [],
    )


def _not_opted_in(labels: dict[str, str] | None) -> str | None:
    if labels is None:
        return "namespace-unknown"
    return None if opted_in(labels) else "not-opted-in"


def _exec(request: Request) -> _Found:
    options = decode_object(request.object, _options, "object")
    command = options.command or []
    asked = Asked("exec", options.container, command, options.tty, options.stdin)
    # Always prefixed, also where the command has such a word already: it would be a way not to be seen.
    prefixed = ["env", f"{TAG_VARIABLE}={request.uid}", *command]
    return _Found(asked, [Operation("/command", prefixed)], _unprefixable(command))


def _unprefixable(command: list[str]) -> str | None:
    """Why `env` in front would make of this command another one."""
    if not command or not command[0]:
        return "empty-command"  # env alone prints the environment
    if "=" in command[0]:
        return "assignment-command"  # env takes it for one more variable
    if any("\ufffd" in word for word in command):
        # Bytes that are not UTF-8 came here as U+FFFD, and a patch would send that on in their place.
        return "not-utf8"
    return None


def _attach(request: Request) -> _Found:
    options = decode_object(request.object, _options, "object")
    asked = Asked("attach", options.container, tty=options.tty, stdin=options.stdin)
    return _Found(asked, untagged="ledger-only")


def _debug(request: Request, new: list[tuple[int, _EphemeralContainer]]) -> _Found:
    _, first = new[0]
    asked = Asked("debug", first.name, [*first.command, *first.args], first.tty, first.stdin)
    return _Found(asked, [_set_variable(index, container, request.uid) for index, container in new])


def _new_containers(request: Request) -> list[tuple[int, _EphemeralContainer]]:
    """The ephemeral containers that this update brings; those there before cannot be changed any more."""
    old = decode_object(request.old_object, _old_pod, "oldObject")
    known = {container.name for container in old.spec.ephemeral_containers} if old else set()
    pod = decode_object(request.object, _pod, "object")
    return [item for item in enumerate(pod.spec.ephemeral_containers) if item[1].name not in known]


def _set_variable(index: int, container: _EphemeralContainer, uid: str) -> Operation:
    """The container's variables with ours as the last, and the only one of its name."""
    others = [variable for variable in container.env if variable.get("name") != TAG_VARIABLE]
    return Operation(f"/spec/ephemeralContainers/{index}/env", [*others, {"name": TAG_VARIABLE, "value": uid}])
