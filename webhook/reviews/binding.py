"""Gives new pods and ephemeral containers the seccomp profiles that their namespace asks for.

Which profile a container gets is decided in `profile_choice`; here is what is read of the pod, and what is changed in
it. A profile for all images goes to the pod, unless a container must not have it; then it goes to each of the others. A
second look at the same pod changes only what has been added to it meanwhile (reinvocationPolicy IfNeeded).
"""

from collections.abc import Iterator

from msgspec import Struct

from exectrail.contracts import spo
from exectrail.contracts.images import image_of
from exectrail.contracts.profile import UNCONFINED_BUILT_IN, added_capabilities, is_enough
from exectrail.contracts.session import PROFILE_LABEL
from webhook.reviews.json_value import Budget, TooLarge, Value
from webhook.reviews.profile_bindings import Policies
from webhook.reviews.profile_choice import (
    MOST_NOTES,
    RUNTIME_DEFAULT,
    Capabilities,
    Choice,
    Container,
    Profile,
    Wide,
    choose,
    is_ours,
    wide,
)
from webhook.reviews.review import Decision, Operation, Patch, Removal, Request

_MIRROR_POD = "kubernetes.io/config.mirror"
_OS_LABEL = "kubernetes.io/os"
_IMAGE_BYTES = 1024
_MEMBERS = ("containers", "initContainers")
_LATE_MEMBERS = ("ephemeralContainers",)
_MOST_LOOKS = 50_000
"""Of containers at bindings, in one pod. Users choose both numbers, and no other request is answered meanwhile."""
_WARNING_CHARACTERS = 256
"""What the API server passes on of each."""


class Chosen(Struct, frozen=True):
    """A container, where it is in its pod, and what becomes of it."""

    path: str
    """JSON pointer (RFC 6901)."""
    context: Value
    """Its securityContext."""
    profile: Profile | None
    """What it says itself."""
    container: Container
    choice: Choice


class _Read(Struct, frozen=True):
    """What is read of a pod."""

    annotations: Value
    labels: Value
    context: Value
    os: Value
    selector: Value
    """Its nodeSelector."""
    containers: list[tuple[str, Value]]
    """Its lists of containers, by their names in the spec."""


class _Pod(Struct, frozen=True):
    context: Value
    profile: Profile | None
    wide: Wide
    chosen: list[Chosen]
    has_ours: bool
    """Whether the pod's profile may be from an earlier look of the webhook."""


def decide(request: Request, policies: Policies, release_namespace: str = "") -> Decision:
    """Decide about a new pod, or new ephemeral containers.

    Args:
        request: The request.
        policies: What its namespace wants.
        release_namespace: Where exectrail's own pods are, which must start without it.

    Raises:
        BadReview: The request's object is no pod.

    """
    return explained(request, policies, release_namespace)[0]


def explained(request: Request, policies: Policies, release_namespace: str = "") -> tuple[Decision, list[Chosen]]:
    """The same, and what becomes of each container.

    Raises:
        BadReview: The request's object is no pod.

    """
    late = (request.operation, request.sub_resource) == ("UPDATE", "ephemeralcontainers")
    if request.pods_kind != "Pod" or not (late or (request.operation, request.sub_resource) == ("CREATE", "")):
        return Decision("unsupported"), []
    if request.namespace == release_namespace:
        return Decision("release-namespace"), []
    read = _read(request, _LATE_MEMBERS if late else _MEMBERS)
    if skipped := _skipped(read, request, policies):
        return skipped, []
    try:
        pod = _pod(read, _names(request.old_object) if late else frozenset(), policies, late=late)
    except TooLarge:
        return Decision("too-large", warnings=[_unbound("there is more in it than is read of a pod")]), []
    if late and not pod.chosen:
        return Decision("no-new-container"), []
    unknown = _unknown(request, policies)
    reason = _reason({each.choice.outcome for each in pod.chosen})
    if unknown and reason == "no-binding":
        reason = unknown[0]
    warnings = [*([unknown[1]] if unknown else []), *_notes(pod)]
    more = pod.wide.more_notes + sum(each.choice.more_notes for each in pod.chosen)
    return Decision(reason, _late_patch(pod) if late else _patch(pod), warnings=_few(warnings, more)), pod.chosen


def _read(request: Request, lists: tuple[str, ...]) -> _Read:
    # In one go: each question goes over all of the pod.
    metadata, spec = request.object.required().members("metadata", "spec")
    annotations, labels = metadata.members("annotations", "labels")
    context, os, selector, *containers = spec.required().members("securityContext", "os", "nodeSelector", *lists)
    return _Read(annotations, labels, context, os, selector, list(zip(lists, containers, strict=True)))


def _skipped(read: _Read, request: Request, policies: Policies) -> Decision | None:
    """Why a pod is left as it is, without a look at its containers."""
    (mirror,), (system,) = read.annotations.members(_MIRROR_POD), read.os.members("name")
    (placed,) = read.selector.members(_OS_LABEL)
    if not mirror.absent:
        return Decision("mirror-pod")  # the kubelet runs it from a file, whatever the API says
    if "windows" in (system.text(), placed.text()):
        return Decision("windows")
    # The API server asks only where it sees a label: when we do not, our copy is behind.
    if not policies.labelled:
        which = f"the label {PROFILE_LABEL} or {spo.BINDING_LABEL} of namespace {request.namespace}"
        return Decision("label-unknown", warnings=[_unbound(f"{which} is not known here yet")])
    return None


def _unknown(request: Request, policies: Policies) -> tuple[str, str] | None:
    """The reason where nothing binds because something is not known, and the warning."""
    name, known = policies.built_in, policies.known_built_ins
    if name and name not in known:
        which = "profiles.allowUnconfined installs it" if name in UNCONFINED_BUILT_IN else f"known: {', '.join(known)}"
        return "unknown-profile", f"exectrail: label {PROFILE_LABEL}: no profile {name!r:.80}; {which}"
    if policies.by_bindings and policies.bindings is None:
        why = f"exectrail: the ProfileBindings of namespace {request.namespace} are not known here yet"
        return "bindings-unknown", why
    return None


def _unbound(why: str) -> str:
    return f"exectrail: pod admitted without an audit profile: {why}"


def _pod(read: _Read, known: frozenset[str], policies: Policies, *, late: bool) -> _Pod:
    """What becomes of a pod's containers, but for those that were there before."""
    # Few bindings ask for labels, so most pods' are never read.
    labels = read.labels.mapping() if any(each.selector for each in policies.applicable) else {}
    (profile_of,) = read.context.members("seccompProfile")
    profile, all_images = _profile(profile_of), wide(policies, labels)
    if profile and is_ours(profile, all_images, policies):
        chosen = _chosen(read, None, known, policies, all_images)
        if late or _may_be_ours(profile, chosen):
            return _Pod(read.context, profile, all_images, chosen, has_ours=True)
    return _Pod(read.context, profile, all_images, _chosen(read, profile, known, policies, all_images), has_ours=False)


def _may_be_ours(profile: Profile, chosen: list[Chosen]) -> bool:
    """Whether an earlier look may have given a new pod its built-in profile: any other is its user's own.

    That one gave it what a container is to have still, or was to have before another webhook let it do more. In doubt,
    no container loses system calls.
    """
    inheriting = (each for each in chosen if each.profile is None and each.choice.source != "image")
    return any(each.choice.path == profile.path or not _is_enough(profile, each.container) for each in inheriting)


def _is_enough(profile: Profile, container: Container) -> bool:
    added = added_capabilities(container.capabilities.add, container.capabilities.drop)
    return container.privileged or is_enough(profile.path, added)


def _chosen(
    read: _Read, inherited: Profile | None, known: frozenset[str], policies: Policies, all_images: Wide
) -> list[Chosen]:
    budget, looks, room = Budget(), Budget(_MOST_LOOKS), MOST_NOTES - len(all_images.notes)
    chosen: list[Chosen] = []
    for member, listed in read.containers:
        for path, context, own, container in _containers(member, listed, inherited, budget):
            if container.name not in known:
                looks.take(objects=len(all_images.for_some))
                choice = choose(container, all_images, policies, room)
                room -= len(choice.notes)
                chosen.append(Chosen(path, context, own, container, choice))
    return chosen


def _names(old: Value) -> frozenset[str]:
    """The names of the ephemeral containers that an update finds there: they cannot be changed any more."""
    (spec,) = old.members("spec")
    (listed,) = spec.members(*_LATE_MEMBERS)
    return frozenset(name.text() for (name,) in listed.objects(Budget(), "name"))


def _containers(
    member: str, listed: Value, inherited: Profile | None, budget: Budget
) -> Iterator[tuple[str, Value, Profile | None, Container]]:
    for index, (name, image, context) in enumerate(listed.objects(budget, "name", "image", "securityContext")):
        capabilities, privileged, its = context.members("capabilities", "privileged", "seccompProfile")
        (add, drop), own = capabilities.members("add", "drop"), _profile(its)
        container = Container(
            name=name.text(),
            image=image_of(image.text(_IMAGE_BYTES)),
            own=own or inherited,
            capabilities=Capabilities(add.words(), drop.words()),
            privileged=privileged.flag(),
        )
        yield f"/spec/{member}/{index}", context, own, container


def _profile(value: Value) -> Profile | None:
    if value.absent:
        return None
    type_, path = value.members("type", "localhostProfile")
    return Profile(type_.text(), path.text())


def _patch(pod: _Pod) -> Patch:
    """Changes of a new pod."""
    if pod.profile and not pod.has_ours:
        return _alone(pod.chosen)  # the pod's own value stays
    # A profile for an image never goes to the pod: it would reach what another webhook adds later.
    inheriting = [each for each in pod.chosen if each.profile is None and each.choice.source != "image"]
    match list({each.choice.path for each in inheriting}):
        case [str() as path]:
            others = [each for each in pod.chosen if each not in inheriting]
            has_it = pod.profile == Profile("Localhost", path)
            return [*([] if has_it else [_set("/spec", pod.context, path)]), *_alone(others)]
    if pod.profile and any(each.choice.outcome == "beyond-profile" for each in inheriting):
        # It is from before another webhook added the container that must not have it.
        return [Removal("/spec/securityContext/seccompProfile"), *_alone(pod.chosen)]
    return _alone(pod.chosen)


def _alone(chosen: list[Chosen]) -> Patch:
    return [
        _set(each.path, each.context, path)
        for each in chosen
        if (path := each.choice.path) and each.profile != Profile("Localhost", path)
    ]


def _late_patch(pod: _Pod) -> Patch:
    """Changes of new ephemeral containers; their pod's own profile cannot be changed any more."""
    patch: Patch = []
    for each in pod.chosen:
        path = each.choice.path
        if path and (each.profile or pod.profile) != Profile("Localhost", path):
            patch.append(_set(each.path, each.context, path))
        elif (
            each.choice.outcome == "beyond-profile" and pod.has_ours and not (each.profile or each.container.privileged)
        ):
            # It would run under the pod's, and lose system calls by it.
            patch.append(_operation(each.path, each.context, {"type": RUNTIME_DEFAULT.type}))
    return patch


def _set(path: str, context: Value, localhost: str) -> Operation:
    return _operation(path, context, {"type": "Localhost", "localhostProfile": localhost})


def _operation(path: str, context: Value, profile: dict[str, str]) -> Operation:
    if context.absent:
        return Operation(f"{path}/securityContext", {"seccompProfile": profile})
    return Operation(f"{path}/securityContext/seccompProfile", profile)


def _reason(outcomes: set[str]) -> str:
    lacking = outcomes & {"beyond-profile", "profile-not-ready"}
    if "bound" in outcomes:
        return "bound-in-part" if lacking else "bound"
    for each in ("beyond-profile", "profile-not-ready"):
        if each in lacking:
            return each
    return "pod-has-profile" if "kept" in outcomes else "no-binding"


def _notes(pod: _Pod) -> Iterator[str]:
    yield from (f"exectrail: {note}" for note in pod.wide.notes)
    for each in pod.chosen:
        for note in each.choice.notes:
            yield f"exectrail: container {each.container.name!r:.80} {note}"


def _few(warnings: list[str], more: int) -> list[str]:
    named = [each[:_WARNING_CHARACTERS] for each in warnings[:MOST_NOTES]]
    more += len(warnings) - len(named)
    return [*named, f"exectrail: {more} more warnings"] if more else named
