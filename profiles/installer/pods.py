"""The pods of this node, as far as they hold files of SeccompProfiles."""

from collections.abc import Iterable

from msgspec import Struct

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.pod_profiles import PodSpec, PodStatus, files_of


class Pod(Struct, frozen=True):
    """core/v1 Pod, as far as it names profiles."""

    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


def named_by_all(pods: Iterable[Pod]) -> frozenset[str]:
    """The files of SeccompProfiles that any of the pods needs."""
    return frozenset().union(*map(files_of, pods))
