import pytest

from tests.unit.enricher.rig import Rig, container_starts, pod


@pytest.fixture
def rig() -> Rig:
    """A recorded container that runs."""
    made = Rig({"exectrail.io/record": "true"}, pod())
    container_starts(made)
    return made
