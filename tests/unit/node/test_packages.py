"""While packages are installed no service starts. Afterwards the user's policy rules, also if the run was killed."""

import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from tests.cluster.node import down as ending
from tests.cluster.node import packages
from tests.cluster.node.components import Package
from tests.cluster.node.errors import NodeError

USERS = "#!/bin/sh\nexit 101\n"


@pytest.fixture(autouse=True)
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packages, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(packages, "POLICY_BEFORE", tmp_path / "saved")
    monkeypatch.setattr(ending, "STATE", tmp_path / "state")
    return tmp_path / "policy-rc.d"


@pytest.fixture(params=[None, USERS], ids=["none", "the user's"])
def before(policy: Path, request: pytest.FixtureRequest) -> str | None:
    users: str | None = request.param
    if users:
        policy.write_text(users)
    return users


@pytest.fixture
def killed(before: str | None) -> AbstractContextManager[None]:
    """A run that was killed while apt-get installed: it never comes to its end."""
    run = packages._no_service_starts()
    run.__enter__()
    return run


def content(file: Path) -> str | None:
    return file.read_text() if file.exists() else None


def test_services_may_start_again_after_an_installation(policy: Path, before: str | None) -> None:
    with suppress(NodeError), packages._no_service_starts():
        assert "exit 101" in policy.read_text()
        raise NodeError("apt-get failed")
    assert [file.read_text() for file in policy.parent.iterdir()] == ([before] if before else [])


def test_no_service_starts_while_apt_get_installs(
    policy: Path, before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, seen = tmp_path / "bin/apt-get", tmp_path / "seen"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = update ] || cp {policy} {seen}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    packages.install_these((Package("make", "make"),))
    assert (seen.read_text(), content(policy)) == (packages.DENY, before)


class TestAKilledRunIsPutRight:
    @pytest.fixture(autouse=True)
    def _denied(self, killed: AbstractContextManager[None], policy: Path) -> None:
        assert policy.read_text() == packages.DENY

    def test_by_the_next_installation(self, policy: Path, before: str | None) -> None:
        with packages._no_service_starts():
            pass
        assert content(policy) == before

    def test_where_nothing_is_missing(self, policy: Path, before: str | None) -> None:
        packages.install_these(())
        assert content(policy) == before

    def test_by_down(self, policy: Path, before: str | None) -> None:
        ending.down()
        assert content(policy) == before


def test_a_run_that_was_killed_before_it_wrote_its_policy_took_nothing_away(policy: Path) -> None:
    policy.with_name("saved").write_text(USERS)
    packages.install_these(())
    assert content(policy) == USERS
