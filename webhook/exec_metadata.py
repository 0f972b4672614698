"""Ties a request to the process that it starts, and tells the ledger who asked.

The tag is the request's UID in the variable `SPO_EXEC_REQUEST_UID`: a prefix of the command for an exec, an
environment variable for a container that the request makes. The node reads it from argv or from the pod's spec, never
from a process's environment. Whether there is one is up to the tag mode, and it never changes what a command does.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from exectrail.session import TAG_VARIABLE
from webhook.admission import Decision, Operation, Request, decode_object
from webhook.ledger_entry import Asked, Rules, session_spec
from webhook.node_debug import node_debug
from webhook.tag_mode import Known, mode_of, untagged_debug, untagged_exec
from webhook.tag_variable import Container, set_variable

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


class _Spec(Struct, frozen=True, rename="camel"):
    ephemeral_containers: list[Container] = []


class _Pod(Struct, frozen=True):
    spec: _Spec


class _Found(Struct, frozen=True):
    """What a request asks for, and how its process is tagged."""

    asked: Asked
    patch: list[Operation] = []
    untagged: str | None = None
    """Why the patch is not to be applied."""
    recorded: bool = False
    """Whether there will be a process, and it is recorded."""
    matched: bool = False
    """Whether the node may look for a process without a tag."""
    warnings: list[str] = []


_options = msgspec.json.Decoder(_Options)
_pod = msgspec.json.Decoder(_Pod)
_old_pod = msgspec.json.Decoder(_Pod | None)


def decide(request: Request, known: Known, rules: Rules, now: str) -> Decision:
    """Decide about an exec, attach, port-forward, a new ephemeral container or a pod to debug a node.

    Args:
        request: The request.
        known: What is known of its target.
        rules: What the installation wants.
        now: RFC 3339, UTC, microseconds.

    Raises:
        BadReview: The request's object is not what its subresource promises.

    """
    match request.operation, request.sub_resource:
        case "CONNECT", "exec":
            found = _exec(request, known, rules)
        case "CONNECT", "attach":
            found = _attach(request)
        case "CONNECT", "portforward":
            found = _Found(Asked("portforward"), untagged="ledger-only")
        case "UPDATE", "ephemeralcontainers":
            new = _new_containers(request)
            if not new:
                return Decision("no-new-container")
            found = _debug(request, known, new)
        case "CREATE", "":
            made = node_debug(request)
            if not made:
                return Decision("no-node-debug")
            found = _Found(*made, recorded=True)
        case _:
            return Decision("unsupported")
    return _decision(request, found, rules, now)


def _decision(request: Request, found: _Found, rules: Rules, now: str) -> Decision:
    tag: Literal["env", "match", "none"] = "env"
    if found.untagged:
        tag = "match" if found.matched and found.untagged != "empty-command" else "none"
    why = _WHY.get(found.untagged or "")
    return Decision(
        reason=found.untagged or "tagged",
        patch=[] if found.untagged else found.patch,
        session=session_spec(request, found.asked, tag=tag, recorded=found.recorded, now=now, rules=rules),
        warnings=[*found.warnings, *([_WARNING.format(why=why)] if why else [])],
    )


def _exec(request: Request, known: Known, rules: Rules) -> _Found:
    options = decode_object(request.object, _options, "object")
    command = options.command or []
    asked = Asked("exec", options.container, command, options.tty, options.stdin)
    # Always prefixed, also where the command has such a word already: it would be a way not to be seen.
    prefixed = Operation("/command", ["env", f"{TAG_VARIABLE}={request.uid}", *command])
    mode, warnings = mode_of(known)
    untagged = untagged_exec(mode, known, options.container, command, rules.tag_unknown)
    return _started(asked, [prefixed], untagged, known, warnings)


def _debug(request: Request, known: Known, new: list[tuple[int, Container]]) -> _Found:
    _, first = new[0]
    asked = Asked("debug", first.name, [*first.command, *first.args], first.tty, first.stdin)
    patch = [set_variable(f"/spec/ephemeralContainers/{index}", container, request.uid) for index, container in new]
    mode, warnings = mode_of(known)
    return _started(asked, patch, untagged_debug(mode, known), known, warnings)


def _started(asked: Asked, patch: list[Operation], untagged: str | None, known: Known, warnings: list[str]) -> _Found:
    """A request that starts a process. Where the namespace is not known, its node may know better."""
    out = known.not_opted_in()
    return _Found(asked, patch, untagged, recorded=not out, matched=out != "not-opted-in", warnings=warnings)


def _attach(request: Request) -> _Found:
    options = decode_object(request.object, _options, "object")
    asked = Asked("attach", options.container, tty=options.tty, stdin=options.stdin)
    return _Found(asked, untagged="ledger-only")


def _new_containers(request: Request) -> list[tuple[int, Container]]:
    """The ephemeral containers that this update brings; those there before cannot be changed any more."""
    old = decode_object(request.old_object, _old_pod, "oldObject")
    known = {container.name for container in old.spec.ephemeral_containers} if old else set()
    pod = decode_object(request.object, _pod, "object")
    return [item for item in enumerate(pod.spec.ephemeral_containers) if item[1].name not in known]
