"""Container images by their whole names, so that two spellings of one image are the same.

`nginx` is `docker.io/library/nginx:latest`, as for every client of a registry (distribution/reference, "normalize").
A name that is no reference stays as it is written, and equals only itself.
"""

from functools import lru_cache
from typing import Literal

from msgspec import Struct

_DEFAULT_REGISTRY = "docker.io"
_LEGACY_REGISTRY = "index.docker.io"
_LATEST = "latest"
_ANY_TAG = "*"

ALL_IMAGES = "*"
"""What a ProfileBinding's `image` says to mean every container."""

Precision = Literal["digest", "tag", "repository", "all"]
"""How much of an image a ProfileBinding names, the most precise first."""


class Image(Struct, frozen=True):
    """An image's name in full."""

    repository: str
    """With its registry: `docker.io/library/nginx`."""
    tag: str = ""
    """Empty where only a digest says which one it is."""
    digest: str = ""
    """With its algorithm: `sha256:...`."""

    def __str__(self) -> str:
        return self.repository + (self.tag and f":{self.tag}") + (self.digest and f"@{self.digest}")


class ImagePattern(Struct, frozen=True):
    """What a ProfileBinding says of images.

    `nginx@sha256:...` is one digest, whatever its tag; `nginx:1.25` and `nginx` (that is, `nginx:latest`) are one tag,
    with a digest or without; `nginx:*` is every image of a repository; `*` is all images.
    """

    precision: Precision
    image: Image

    def matches(self, image: Image) -> bool:
        """Whether it means this image."""
        if self.precision == "all":
            return True
        if self.image.repository != image.repository:
            return False
        match self.precision:
            case "digest":
                return self.image.digest == image.digest
            case "tag":
                return self.image.tag == image.tag
        return True


@lru_cache(maxsize=1024)
def image_of(text: str) -> Image:
    """The image that a container's `image` names."""
    rest, _, digest = text.partition("@")
    repository, tag = _tag(rest)
    return Image(_with_registry(repository), tag or ("" if digest else _LATEST), digest)


def pattern_of(text: str) -> ImagePattern:
    """What a ProfileBinding's `image` means."""
    if text == ALL_IMAGES:
        return ImagePattern("all", Image(text))
    image = image_of(text)
    if image.digest:
        return ImagePattern("digest", image)
    return ImagePattern("repository" if image.tag == _ANY_TAG else "tag", image)


def _tag(text: str) -> tuple[str, str]:
    """A name and its tag. A colon before a slash belongs to a registry's port."""
    repository, colon, tag = text.rpartition(":")
    return (text, "") if not colon or "/" in tag else (repository, tag)


def _with_registry(repository: str) -> str:
    first, slash, rest = repository.partition("/")
    if not (slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())):
        first, rest = _DEFAULT_REGISTRY, repository
    if first == _LEGACY_REGISTRY:
        first = _DEFAULT_REGISTRY
    if first == _DEFAULT_REGISTRY and "/" not in rest:
        rest = f"library/{rest}"
    return f"{first}/{rest}"
