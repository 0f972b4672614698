"""Which seccomp profile a container gets: one order of precedence for ProfileBindings and the namespace's label.

1. The most precise ProfileBinding for its image, also against the container's own value.
2. The container's own value, or else its pod's.
3. The ProfileBinding for `*`; against a container's own `Unconfined` only where it says so.
4. The namespace's label. RuntimeDefault counts as unset for `process-audit`, which protects as much, and Unconfined for
   `process-audit-only`, which protects as little.

A binding whose profile is not ready is passed over, so nothing waits for a profile. Of the label's profile a container
gets the variant that allows what the runtime's default does with the same capabilities; one for which there is none
would lose system calls by any, and stays as it is.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

from exectrail.contracts.images import Image
from exectrail.contracts.profile import (
    BUILT_IN,
    PROCESS_AUDIT_ONLY,
    UNCONFINED_BUILT_IN,
    added_capabilities,
    built_in_for,
)
from exectrail.contracts.session import PROFILE_LABEL
from webhook.reviews.profile_bindings import (
    ENFORCE_ANNOTATION,
    Binding,
    Policies,
    for_all_images,
    for_some_images,
    localhost_profile,
    unusable,
)

Outcome = Literal["bound", "kept", "beyond-profile", "profile-not-ready", "no-binding"]
"""`bound`: it has a profile of ours; `kept`: its own value stays; the others: why it has none."""
Source = Literal["image", "all", "label"]
MOST_NOTES = 8
"""In words, of one pod: with many containers and many bindings there are as many notes as pairs of them."""


class Profile(Struct, frozen=True):
    """A seccompProfile of the API."""

    type: str
    path: str = ""
    """Of `Localhost`: relative to the kubelet's seccomp folder."""

    def __str__(self) -> str:
        return f"{self.type} {self.path}".rstrip()[:80]


RUNTIME_DEFAULT = Profile("RuntimeDefault")


class Capabilities(Struct, frozen=True):
    """What a container says of them, as it spells them."""

    add: list[str] = []
    drop: list[str] = []

    def __str__(self) -> str:
        # A name in both is the exception, but beside ALL the dropped ones say what is left.
        drops = self.drop if any(each.upper() == "ALL" for each in self.add) else []
        return f"it adds {_few(self.add)}" + (f" and drops {_few(drops)}" if drops else "")


class Container(Struct, frozen=True):
    """A container, as far as a profile is concerned."""

    name: str
    image: Image
    own: Profile | None
    """What it says itself, or else its pod."""
    capabilities: Capabilities
    privileged: bool


class Notes(Struct):
    """What a pod's user should know: so many notes in words, and how many more there are."""

    most: int = MOST_NOTES
    said: list[str] = []
    more: int = 0

    def add(self, note: str) -> None:
        """Keep a note, or count it."""
        if len(self.said) < self.most:
            self.said.append(note)
        else:
            self.more += 1


class Judged(Struct, frozen=True):
    """A binding that means a pod, and what comes of it there, whichever container asks."""

    binding: Binding
    path: str = ""
    """The file of its profile."""
    wrong: str = ""
    """Why it is passed over; empty where it is usable."""
    not_ready: bool = False
    """Whether that is because of its profile."""


class Wide(Struct, frozen=True):
    """What holds for all containers of a pod."""

    binding: Binding | None
    """The first usable binding for `*`."""
    path: str = ""
    """The file of its profile."""
    notes: list[str] = []
    """Why others are passed over."""
    more_notes: int = 0
    not_ready: bool = False
    for_some: list[Judged] = []
    """The bindings that name an image or a repository, the first one to be asked first."""


class Choice(Struct, frozen=True):
    """What becomes of a container."""

    outcome: Outcome
    why: str
    """In words, for people."""
    path: str | None = None
    """The file of the profile that it is to have; `None` where it stays as it is."""
    source: Source | None = None
    notes: list[str] = []
    """What its user should know."""
    more_notes: int = 0


def wide(policies: Policies, labels: Mapping[str, str]) -> Wide:
    """What the bindings are for a pod with these labels: a large podSelector is read once, not for each container."""
    for_some = [each for each in (_judged(one, policies, labels) for one in for_some_images(policies)) if each]
    notes, not_ready = Notes(), False
    for binding in for_all_images(policies):
        if (judged := _judged(binding, policies, labels)) is None:
            continue
        if not judged.wrong:
            return Wide(binding, judged.path, notes.said, notes.more, not_ready, for_some)
        not_ready = not_ready or judged.not_ready
        notes.add(f"{binding} is passed over: {judged.wrong}")
    return Wide(None, "", notes.said, notes.more, not_ready, for_some)


def _judged(binding: Binding, policies: Policies, labels: Mapping[str, str]) -> Judged | None:
    """What a binding is for a pod with these labels; `None` where it just does not mean it."""
    if (wrong := unusable(binding, labels)) is not None:
        return Judged(binding, wrong=wrong) if wrong else None
    path, wrong = localhost_profile(binding.profile, policies.profiles)
    return Judged(binding, path, wrong or "", not_ready=wrong is not None)


def is_ours(profile: Profile, all_images: Wide, policies: Policies) -> bool:
    """Whether a profile is one that the namespace's policies for all images give."""
    return profile.type == "Localhost" and (profile.path in policies.built_in_files or profile.path == all_images.path)


def choose(container: Container, all_images: Wide, policies: Policies, most_notes: int = MOST_NOTES) -> Choice:
    """What becomes of a container, with so many notes in words at most."""
    notes, not_ready = Notes(most_notes), False
    choice = None
    for each in all_images.for_some:
        if not each.binding.pattern.matches(container.image):
            continue
        if not each.wrong:
            choice = _by_image(container, each)
            break
        not_ready = not_ready or each.not_ready
        notes.add(f"does not get that of {each.binding}: {each.wrong}")
    choice = choice or _without_its_image(container, all_images, policies)
    if choice.outcome == "no-binding" and (not_ready or all_images.not_ready):
        choice = Choice("profile-not-ready", "the profile of its binding is not ready", notes=choice.notes)
    for note in choice.notes:
        notes.add(note)
    return Choice(choice.outcome, choice.why, choice.path, choice.source, notes.said, notes.more)


def _by_image(container: Container, found: Judged) -> Choice:
    why = f"{found.binding} for {found.binding.pattern.image}"
    return Choice("bound", why, found.path, "image", list(_replaced(found.binding, found.path, container)))


def _replaced(binding: Binding, path: str, container: Container) -> Iterator[str]:
    if container.own not in (None, Profile("Localhost", path)):
        yield f"gets the profile of {binding} in place of its own, {container.own}"
    if container.privileged:
        yield "is privileged: the runtime ignores its profile"


def _without_its_image(container: Container, all_images: Wide, policies: Policies) -> Choice:
    own, binding = container.own, all_images.binding
    if own and own.type == "Localhost":
        ours = is_ours(own, all_images, policies)
        return Choice("bound" if ours else "kept", f"its own value, {own}")
    unconfined = own is not None and own.type == "Unconfined"
    if binding and (own is None or (unconfined and binding.enforce)):
        notes = list(_replaced(binding, all_images.path, container))
        return Choice("bound", f"{binding} for all images", all_images.path, "all", notes)
    choice = _by_label(container, policies)
    if binding and unconfined and choice.outcome == "kept":
        note = f"stays Unconfined: {binding} for all images has no annotation {ENFORCE_ANNOTATION}=true"
        return Choice("kept", choice.why, notes=[note])
    return choice


def _by_label(container: Container, policies: Policies) -> Choice:
    own, name = container.own, policies.built_in
    if name not in policies.known_built_ins:
        return Choice("kept", f"its own value, {own}") if own else Choice("no-binding", "nothing gives it a profile")
    if name == PROCESS_AUDIT_ONLY:
        return _unconfined(container)
    if own and own.type == "Unconfined":
        return Choice("kept", "its own value, Unconfined", notes=["runs without the audit profile: it is Unconfined"])
    if own and own != RUNTIME_DEFAULT:
        return Choice("kept", f"its own value, {own}")
    variant = built_in_for(added_capabilities(container.capabilities.add, container.capabilities.drop))
    if container.privileged or variant is None:
        why = "it is privileged" if container.privileged else str(container.capabilities)
        return Choice("beyond-profile", why, notes=[f"runs without the audit profile: {why}"])
    return Choice("bound", f"the namespace's label {PROFILE_LABEL}={name}", BUILT_IN[variant], "label")


def _unconfined(container: Container) -> Choice:
    """What `process-audit-only` is for: containers that no filter protects. It never takes one away."""
    own = container.own
    if own and own.type != "Unconfined":
        why = f"its own value, {own}, protects more than {PROCESS_AUDIT_ONLY}"
        return Choice("kept", why, notes=[f"runs without the audit profile: {why}"])
    if container.privileged:
        return Choice("beyond-profile", "it is privileged", notes=["runs without the audit profile: it is privileged"])
    path = UNCONFINED_BUILT_IN[PROCESS_AUDIT_ONLY]
    return Choice("bound", f"the namespace's label {PROFILE_LABEL}={PROCESS_AUDIT_ONLY}", path, "label")


def _few(names: list[str]) -> str:
    return f"{', '.join(names):.80}"
