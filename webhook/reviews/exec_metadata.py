"""Ties a request to the processes that it starts, and makes its AuditSessions.

The tag is a UID in the variable `SPO_EXEC_REQUEST_UID`: a prefix of the command for an exec, an environment variable
for a container that the request makes. The node reads it from argv or from the pod's spec, never from a process's
environment. Whether there is one is up to the tag mode, and it never changes what a command does.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from exectrail.contracts.session import TAG_VARIABLE
from webhook.reviews.json_value import Budget, Most, TooLarge
from webhook.reviews.node_debug import node_debug
from webhook.reviews.review import Decision, Operation, Patch, Request
from webhook.reviews.session_spec import Asked, Rules, session_spec
from webhook.reviews.tag_mode import Known, looks_tagged, mode_of, untagged_debug, untagged_exec
from webhook.reviews.tag_variable import Container, containers_of, set_variable, uids

_WARNING = "exectrail: the request is recorded as an AuditSession, but its process carries no tag: {why}"
_WHY = {
    "namespace-unknown": "the namespace is not known here yet",
    "assignment-command": "the command's first word has a '='",
    "not-utf8": "the command is not UTF-8",
    "too-large": "there is more in it than is read of a request",
}

_URL_BYTES = (1 << 20) + (4 << 10)
_OF_PODS = {"exec", "attach", "portforward"}
"""Subresources of pods that have a kind of their own."""
_PATH_BYTES = 16 << 10
"""A session keeps less."""
_COMMAND = Most(words=_URL_BYTES // len("&command="), characters=2 * _URL_BYTES)
"""An exec's words reach the API server in a URL, which Go's net/http bounds (DefaultMaxHeaderBytes and its slop). There
each character takes a byte or more; in JSON two at most, but for `\\uXXXX`, which counts as one."""


class _Found(Struct, frozen=True):
    """What a request asks for, and how its processes are tagged."""

    asked: dict[str, Asked]
    """By the UIDs of the sessions."""
    patch: Patch = []
    untagged: str | None = None
    """Why the patch is not to be applied."""
    recorded: bool = False
    """Whether there will be a process, and it is recorded."""
    matched: bool = False
    """Whether the node may look for a process without a tag."""
    warnings: list[str] = []


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
    match request.operation, request.sub_resource, request.pods_kind:
        case "CONNECT", "exec", "PodExecOptions":
            found = _exec(request, known, rules)
        case "CONNECT", "attach", "PodAttachOptions":
            found = _attach(request)
        case "CONNECT", "portforward", "PodPortForwardOptions":
            found = _Found({request.uid: Asked("portforward")}, untagged="session-only")
        case "CONNECT", _, _ if _is_console(request):
            found = _console(request)
        case "UPDATE", "ephemeralcontainers", "Pod":
            found = _debug(request, known)
            if not found.asked:
                return Decision("no-new-container")
        case "CREATE", "", "Pod":
            found = _node_debug(request, rules)
            if not found.asked:
                return Decision("no-node-debug")
        case _:
            return Decision("unsupported")
    return _decision(request, found, known, rules, now)


def _decision(request: Request, found: _Found, known: Known, rules: Rules, now: str) -> Decision:
    tag: Literal["env", "match", "none"] = "env"
    if found.untagged:
        tag = "match" if found.matched else "none"
    why = _WHY.get(found.untagged or "")
    return Decision(
        reason=found.untagged or "tagged",
        patch=[] if found.untagged else found.patch,
        sessions={
            uid: session_spec(
                request,
                asked,
                uid=uid,
                tag=tag,
                recorded=found.recorded,
                now=now,
                rules=rules,
                break_glass=known.break_glass,
            )
            for uid, asked in found.asked.items()
        },
        warnings=[*found.warnings, *([_WARNING.format(why=why)] if why else [])],
    )


def _exec(request: Request, known: Known, rules: Rules) -> _Found:
    container, command, tty, stdin = request.object.required().members("container", "command", "tty", "stdin")
    too_large = None
    try:
        words = command.words(_COMMAND)
    except TooLarge as error:
        words, too_large = [str(error)], "too-large"
    asked = Asked("exec", container.text(), words, tty.flag(), stdin.flag(), exact=not too_large)
    # Also where the command has such a word already, or it would be a way to hide.
    env = words[0] if looks_tagged(words) else "env"
    prefix: Patch = [Operation("/command/0", word) for word in (f"{TAG_VARIABLE}={request.uid}", env)]
    mode, warnings = mode_of(known)
    untagged = too_large or untagged_exec(mode, known, asked.container, words, rules.tag_unknown)
    findable = untagged not in {"empty-command", "too-large"}
    return _started({request.uid: asked}, prefix, untagged, known, warnings, findable=findable)


def _attach(request: Request) -> _Found:
    container, tty, stdin = request.object.required().members("container", "tty", "stdin")
    asked = Asked("attach", container.text(), tty=tty.flag(), stdin=stdin.flag())
    return _Found({request.uid: asked}, untagged="session-only")


def _is_console(request: Request) -> bool:
    """Whether it is a way in that only `webhook.consoles` asks about."""
    group, _, name = request.resource
    return bool(name and request.sub_resource) and not (
        (group, name) == ("", "pods") and request.sub_resource in _OF_PODS
    )


def _console(request: Request) -> _Found:
    """Of what it asks for, only the path of a proxy is known (core/v1)."""
    command: list[str] = []
    if request.kind[:2] == ("", "v1") and request.kind.name.endswith("ProxyOptions"):
        (path,) = request.object.members("path")
        command = [path.text(_PATH_BYTES)] if not path.absent else []
    return _Found({request.uid: Asked("console", command=command)}, untagged="session-only")


def _debug(request: Request, known: Known) -> _Found:
    asked, patch, too_large = _made(request, lambda budget: _new_containers(request, budget))
    mode, warnings = mode_of(known)
    untagged = untagged_debug(mode, known) or too_large
    # By its name, which its pod never gives to another one.
    findable = any(each.container for each in asked.values())
    return _started(asked, patch, untagged, known, warnings, findable=findable)


def _started(
    asked: dict[str, Asked], patch: Patch, untagged: str | None, known: Known, warnings: list[str], *, findable: bool
) -> _Found:
    """A request that starts a process. Where the namespace is not known, its node may know better."""
    out = known.not_opted_in()
    matched = findable and out != "not-opted-in"
    return _Found(asked, patch, untagged, recorded=not out, matched=matched, warnings=warnings)


def _node_debug(request: Request, rules: Rules) -> _Found:
    asked, patch, too_large = _made(request, lambda budget: node_debug(request, budget, rules.node_debug))
    return _Found(asked, patch, too_large, recorded=True)


def _made(
    request: Request, containers: Callable[[Budget], list[Container]]
) -> tuple[dict[str, Asked], Patch, str | None]:
    """What is asked for by the UIDs of its sessions, one for each container that a request makes, and their tags.

    A request with more in it than is read has a session all the same, or it would be a way to hide.
    """
    budget = Budget()
    asked = {request.uid: Asked("debug")}
    try:
        new = containers(budget)
        tagged = list(zip(uids(request.uid, [each.asked.container for each in new]), new, strict=True))
        asked = {uid: each.asked for uid, each in tagged}
        return asked, [step for uid, each in tagged for step in set_variable(each, uid, budget)], None
    except TooLarge:
        return asked, [], "too-large"


def _new_containers(request: Request, budget: Budget) -> list[Container]:
    """The ephemeral containers that this update brings; those there before cannot be changed any more."""
    (old,), (spec,) = request.old_object.members("spec"), request.object.required().members("spec")
    (before,), (now,) = (each.members("ephemeralContainers") for each in (old, spec.required()))
    known = frozenset(name.text() for (name,) in before.objects(budget, "name"))
    return list(containers_of(now, "ephemeralContainers", budget, known=known))
