"""Objects as the API server has them, page by page: `kubectl get -o json` would take seconds to indent them."""

from collections.abc import Iterator
from typing import TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from exectrail.contracts.unreadable import UNREADABLE
from exectrail.reading.kubectl import Kubectl, KubectlError

T = TypeVar("T")


class _ListMeta(Struct, frozen=True, rename={"continue_": "continue"}):
    continue_: str = ""


class _RawList(Struct):
    items: list[msgspec.Raw]
    metadata: _ListMeta = _ListMeta()


def listed(kubectl: Kubectl, path: str, page: int, **query: str) -> Iterator[msgspec.Raw]:
    """The objects that the API has at a path, each as JSON.

    Args:
        kubectl: The cluster.
        path: E.g. `/api/v1/pods`.
        page: Objects of one answer.
        query: E.g. `labelSelector`.

    Raises:
        KubectlError: They cannot be listed.

    """
    query["limit"] = str(page)
    more = True
    while more:
        answer = decoded(kubectl.get("--raw", f"{path}?{urlencode(query)}"), _RawList)
        yield from answer.items
        query["continue"] = answer.metadata.continue_
        more = bool(answer.metadata.continue_)


def decoded(answer: bytes, kind: type[T]) -> T:
    """What kubectl printed.

    Raises:
        KubectlError: It is something else.

    """
    try:
        return msgspec.json.decode(answer, type=kind)
    except UNREADABLE as error:
        raise KubectlError(f"kubectl's answer cannot be read: {error}") from error
