from collections.abc import Iterator

import pytest

from tests.unit.exectrail.conftest import alice_file, alice_trail

from . import chromium

__all__ = ["alice_file", "alice_trail"]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    with chromium.running(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def tab(browser: chromium.Browser) -> Iterator[chromium.Tab]:
    opened = chromium.Tab(browser)
    yield opened
    opened.close()
