"""The ProfileBindings of each namespace, in the order in which they are asked about a pod."""

from bisect import bisect_left, insort
from typing import TypeVar

import msgspec

from exectrail.contracts.meta import ObjectMeta
from webhook.reviews.profile_bindings import (
    ENFORCE_ANNOTATION,
    Binding,
    ProfileBinding,
    SeccompProfile,
    binding_of,
)


class Bindings:
    """All bindings. Written by one thread and read by others, so a namespace's are replaced whole."""

    def __init__(self) -> None:
        self._named: dict[str, dict[str, Binding]] = {}
        self._ordered: dict[str, tuple[Binding, ...]] = {}

    def changed(self, old: ProfileBinding | None, new: ProfileBinding | None) -> None:
        """Take over a change of a ProfileBinding; either side is `None` where it came or went."""
        metadata = (new or old).metadata  # type: ignore[union-attr] # one of them is there
        named = self._named.setdefault(metadata.namespace, {})
        # A list that comes in has thousands of changes: to sort all anew at each would take seconds.
        ordered = list(self.of(metadata.namespace))
        if gone := named.pop(metadata.name, None):
            del ordered[bisect_left(ordered, gone.rank(), key=Binding.rank)]
        if binding := new and binding_of(new):
            named[metadata.name] = binding
            insort(ordered, binding, key=Binding.rank)
        if named:
            self._ordered[metadata.namespace] = tuple(ordered)
        else:
            del self._named[metadata.namespace]
            self._ordered.pop(metadata.namespace, None)

    def of(self, namespace: str) -> tuple[Binding, ...]:
        """A namespace's bindings, the first one to be asked first."""
        return self._ordered.get(namespace, ())


O = TypeVar("O", ProfileBinding, SeccompProfile)  # noqa: E741 - an object of the API


def kept(found: O) -> O:
    """An object without what is not asked for: annotations may be large, and one of SPO's holds a whole profile."""
    enforce = found.metadata.annotations.get(ENFORCE_ANNOTATION)
    annotations = {} if enforce is None else {ENFORCE_ANNOTATION: enforce}
    metadata = ObjectMeta(name=found.metadata.name, namespace=found.metadata.namespace, annotations=annotations)
    return found if found.metadata == metadata else msgspec.structs.replace(found, metadata=metadata)
