"""The node is made of its host's release, which has to be new enough."""

import platform
from collections.abc import Callable

import pytest

from tests.cluster.node import packages, parts, release
from tests.cluster.node.errors import NodeError

Host = Callable[..., None]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """Makes this machine one of a distribution, version and codename."""

    def host(distribution: str, version: str | None, codename: str | None) -> None:
        fields = {"ID": distribution, "VERSION_ID": version, "VERSION_CODENAME": codename, "PRETTY_NAME": "The System"}
        given = {name: value for name, value in fields.items() if value}
        monkeypatch.setattr(platform, "freedesktop_os_release", lambda: given)

    return host


@pytest.mark.parametrize(
    ("distribution", "version", "codename"),
    [
        ("debian", "12", "bookworm"),
        ("debian", "13", "trixie"),
        ("debian", "14", "forky"),
        ("debian", None, "forky"),
        ("ubuntu", "24.04", "noble"),
        ("ubuntu", "26.04", "resolute"),
    ],
)
def test_a_release_that_has_what_the_node_needs_will_do(
    host: Host, distribution: str, version: str | None, codename: str
) -> None:
    host(distribution, version, codename)

    assert release.codename() == codename


@pytest.mark.parametrize(
    ("distribution", "version", "codename"),
    [
        ("debian", "11", "bullseye"),
        ("ubuntu", "22.04", "jammy"),
        ("ubuntu", "23.10", "mantic"),
        ("fedora", "44", None),
        ("linuxmint", "22", "wilma"),
    ],
)
def test_any_other_is_refused_before_a_package_is_installed(
    host: Host, monkeypatch: pytest.MonkeyPatch, distribution: str, version: str, codename: str | None
) -> None:
    host(distribution, version, codename)
    monkeypatch.setattr(packages, "install", lambda: pytest.fail("packages were installed"))

    with pytest.raises(NodeError, match=r"^The System: .* Debian 12 or 13, or Ubuntu 24\.04 or newer$"):
        parts.make()
