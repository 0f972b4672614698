"""Object metadata of the Kubernetes API."""

from msgspec import Struct


class Owner(Struct, frozen=True):
    """An object that another one belongs to (meta/v1 OwnerReference)."""

    kind: str
    name: str


class ObjectMeta(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The metadata fields that exectrail uses (meta/v1 ObjectMeta)."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[Owner] = []
