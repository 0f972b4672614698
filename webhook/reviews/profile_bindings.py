"""ProfileBindings of the Security Profiles Operator: which one gives a container its profile, and which profile.

The most precise binding comes first: by digest, by tag, by repository, for all images (`*`). Of equal ones, one with a
`podSelector` comes before one without, and then the name decides. So the order in which the API lists them is without
meaning.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import get_args

from msgspec import Struct

from exectrail.contracts import spo
from exectrail.contracts.images import ImagePattern, Precision, pattern_of
from exectrail.contracts.label_selector import LabelSelector
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.profile import BUILT_IN, PROCESS_AUDIT, PROCESS_AUDIT_ONLY, UNCONFINED_BUILT_IN
from exectrail.contracts.profile_state import AVAILABLE
from exectrail.contracts.session import PROFILE_LABEL

ENFORCE_ANNOTATION = "exectrail.io/enforce"
"""Annotation of a ProfileBinding for `*`: `true` extends it to containers that are Unconfined by their own choice."""

_PRECISIONS: tuple[Precision, ...] = get_args(Precision)


class ProfileRef(Struct, frozen=True):
    """The profile that a binding names."""

    kind: str = ""
    name: str = ""


class BindingSpec(Struct, frozen=True, rename="camel"):
    """What a binding says; the CRD requires all but `podSelector`."""

    profile_ref: ProfileRef = ProfileRef()
    image: str = ""
    pod_selector: LabelSelector | None = None


class ProfileBinding(Struct, frozen=True):
    """The object of the API."""

    metadata: ObjectMeta
    spec: BindingSpec = BindingSpec()


class Condition(Struct, frozen=True):
    """meta/v1 Condition: whether something holds."""

    type: str
    status: str


_AVAILABLE = Condition(AVAILABLE, "True")


class ProfileStatus(Struct, frozen=True, rename="camel"):
    """Where a profile stands, on all nodes."""

    status: str = ""
    localhost_profile: str = ""
    conditions: tuple[Condition, ...] = ()

    @property
    def binds(self) -> bool:
        """Whether new containers get the profile.

        With another status than `Installed` some nodes may still have a good file of it, as the condition `Available`
        says. The Security Profiles Operator writes no such condition.
        """
        return self.status == "Installed" or _AVAILABLE in self.conditions


class SeccompProfile(Struct, frozen=True):
    """The object of the API; what it allows does not matter here."""

    metadata: ObjectMeta
    status: ProfileStatus = ProfileStatus()


class Binding(Struct, frozen=True):
    """A ProfileBinding, made ready to be asked about pods."""

    name: str
    pattern: ImagePattern
    kind: str
    profile: str
    """The profile's name."""
    selector: LabelSelector | None
    mistake: str | None
    """What is wrong with the selector."""
    enforce: bool

    def rank(self) -> tuple[int, bool, str]:
        """What bindings are sorted by, the first one to be asked first."""
        return _PRECISIONS.index(self.pattern.precision), self.selector is None, self.name

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether it means a pod with these labels."""
        return self.selector is None or self.selector.matches(labels)

    def __str__(self) -> str:
        return f"ProfileBinding {self.name:.80}"


class Policies(Struct, frozen=True):
    """What a namespace wants for its new pods, as far as it is known."""

    labels: dict[str, str] | None
    """The namespace's; `None` where it is not known."""
    bindings: tuple[Binding, ...] | None = ()
    """Its ProfileBindings, the first one to be asked first; `None` where they are not known yet."""
    profiles: Mapping[str, SeccompProfile] = {}
    """All SeccompProfiles, by name."""
    allow_unconfined: bool = False
    """Whether `process-audit-only` is installed."""

    @property
    def built_in(self) -> str:
        """The built-in profile that its label names, whether there is one or not; empty without the label."""
        return (self.labels or {}).get(PROFILE_LABEL, "")

    @property
    def known_built_ins(self) -> list[str]:
        """What the label may name."""
        return [PROCESS_AUDIT, *([PROCESS_AUDIT_ONLY] if self.allow_unconfined else [])]

    @property
    def built_in_files(self) -> frozenset[str]:
        """The files of which the label chooses: a pod that names one has it from an earlier look, or might as well."""
        return frozenset((UNCONFINED_BUILT_IN if self.built_in == PROCESS_AUDIT_ONLY else BUILT_IN).values())

    @property
    def by_bindings(self) -> bool:
        """Whether the namespace's ProfileBindings apply."""
        return self.labels is not None and spo.BINDING_LABEL in self.labels

    @property
    def labelled(self) -> bool:
        """Whether the namespace has a label by which new pods come here, as far as known; it may be empty."""
        return self.by_bindings or PROFILE_LABEL in (self.labels or {})

    @property
    def applicable(self) -> tuple[Binding, ...]:
        """The bindings that apply."""
        return (self.bindings or ()) if self.by_bindings else ()


def binding_of(found: ProfileBinding) -> Binding | None:
    """A binding as it is asked about pods; `None` where it lacks what the CRD requires."""
    spec = found.spec
    if not spec.image or not spec.profile_ref.name:
        return None
    selector = None if spec.pod_selector is None or spec.pod_selector.empty else spec.pod_selector
    return Binding(
        name=found.metadata.name,
        pattern=pattern_of(spec.image),
        kind=spec.profile_ref.kind,
        profile=spec.profile_ref.name,
        selector=selector,
        mistake=selector.mistake() if selector else None,
        enforce=found.metadata.annotations.get(ENFORCE_ANNOTATION) == "true",
    )


def in_order(bindings: Iterable[Binding]) -> tuple[Binding, ...]:
    """Bindings in the order in which they are asked."""
    return tuple(sorted(bindings, key=Binding.rank))


def for_some_images(policies: Policies) -> Iterator[Binding]:
    """The namespace's bindings that name an image or a repository, the first one to be asked first."""
    for each in policies.applicable:
        if each.pattern.precision != "all":
            yield each


def for_all_images(policies: Policies) -> Iterator[Binding]:
    """The namespace's bindings for `*`, the first one to be asked first."""
    for each in policies.applicable:
        if each.pattern.precision == "all":
            yield each


def unusable(binding: Binding, labels: Mapping[str, str]) -> str | None:
    """Why a binding cannot be followed by any pod, or by this one; "" where it just does not mean the pod."""
    if binding.mistake:
        return f"its podSelector matches no pod: {binding.mistake}"
    if not binding.selects(labels):
        return ""
    if binding.kind != "SeccompProfile":
        return f"profileRef.kind {binding.kind!r:.40} is not supported; supported: SeccompProfile"
    return None


def localhost_profile(name: str, profiles: Mapping[str, SeccompProfile]) -> tuple[str, str | None]:
    """What a container's `localhostProfile` is to say for a SeccompProfile, and why it cannot be used yet."""
    if (found := profiles.get(name)) is None:
        return "", f"there is no SeccompProfile {name!r:.80}"
    status, path = found.status.status, found.status.localhost_profile
    if not found.status.binds:
        return "", f"SeccompProfile {name!r:.80} is not ready: its status is {status!r:.40}"
    if not path or path.startswith("/") or ".." in PurePosixPath(path).parts:  # the API server would refuse the pod
        return "", f"SeccompProfile {name!r:.80} has no usable localhostProfile"
    return path, None
