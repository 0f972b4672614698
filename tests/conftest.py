"""Tests side by side: the kernel's in one process, the cluster's in another, all others where there is room."""

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(_TESTS).parts[0]
        # One node, one release: no two tests use the cluster at once. The kernel's tests count what the kernel drops.
        if folder in {"kernel", "cluster"} and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(folder))
