"""Tests side by side: the kernel's in one process, the cluster's in another, all others where there is room."""

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# How long an example takes says something about the machine that day; what is to be fast is measured in bench/.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


class _OneAtATime(LoadScopeScheduling):  # type: ignore[misc] # it has no types
    """One node, one release: no two tests use the cluster at once. The kernel's tests count what the kernel drops."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.split("/")[1]
        return folder if folder in {"kernel", "cluster"} else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _OneAtATime(config, log)
