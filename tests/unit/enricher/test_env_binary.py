"""Whether a container has an `env` is found out without following it out of its own file system."""

import time
from pathlib import Path

import pytest

from enricher.containers.containers import Container
from enricher.containers.env_binary import EnvReport, has_env, look_into
from exectrail.contracts.record import Resource


def program(root: Path, path: str, mode: int = 0o755) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    file.chmod(mode)
    return file


@pytest.mark.parametrize("path", ["usr/bin/env", "bin/env", "usr/local/bin/env"])
def test_it_is_found_on_the_usual_path(tmp_path: Path, path: str) -> None:
    program(tmp_path, path)

    assert has_env(tmp_path)


def test_an_image_without_it_has_none(tmp_path: Path) -> None:
    program(tmp_path, "usr/bin/app")

    assert not has_env(tmp_path)


def test_a_file_that_cannot_be_executed_does_not_count(tmp_path: Path) -> None:
    program(tmp_path, "usr/bin/env", 0o644)

    assert not has_env(tmp_path)


def test_links_are_followed_inside_the_container(tmp_path: Path) -> None:
    program(tmp_path, "bin/busybox")
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/env").symlink_to("/bin/busybox")

    assert has_env(tmp_path)


@pytest.mark.parametrize("target", ["/usr/bin/env", "../../../../../../../usr/bin/env", "/proc/self/exe"])
def test_no_link_leads_out_of_the_container(tmp_path: Path, target: str) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/env").symlink_to(target)

    assert not has_env(root)


def test_a_root_that_cannot_be_entered_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        has_env(tmp_path / "gone")


class Looks:
    """Answers as the test says, and remembers which processes it was asked for."""

    def __init__(self, *answers: bool | None) -> None:
        self.answers = list(answers)
        self.pids: list[int] = []

    def __call__(self, pid: int) -> bool | None:
        self.pids.append(pid)
        return self.answers.pop(0)


def container(runtime_id: str = "a" * 64) -> Container:
    return Container(runtime_id, Resource("shop", "web", "app"), "shop:1", "pod-1")


@pytest.mark.parametrize("found", [True, False])
def test_a_container_is_looked_into_once(found: bool) -> None:
    looks = Looks(found)
    report = EnvReport(looks)
    report.want(container(), 7)
    assert report.known() == {}

    report.step()
    report.want(container(), 8)

    assert report.known() == {"shop/web/app": found}
    assert looks.pids == [7]


def test_a_look_that_failed_is_tried_again_and_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(None, None, True)
    report = EnvReport(looks)
    for second in range(10):
        monkeypatch.setattr(time, "monotonic", lambda now=second: float(now))
        report.want(container(), second)
        while report.wanted:
            report.step()

    assert looks.pids == [0, 2, 6]
    assert report.known() == {"shop/web/app": True}


def test_the_container_that_took_anothers_place_is_looked_into_anew() -> None:
    looks = Looks(True, False)
    report = EnvReport(looks)
    report.want(container(), 7)
    report.step()
    report.want(container("b" * 64), 8)

    assert report.known() == {}
    report.step()
    assert report.known() == {"shop/web/app": False}


def test_what_comes_of_a_look_into_a_container_that_is_gone_counts_for_nothing() -> None:
    report = EnvReport(Looks(True))
    report.want(container(), 7)
    report.keep(set())
    report.step()

    assert report.known() == {}


def test_of_a_process_that_is_gone_nothing_is_said() -> None:
    assert look_into(2**22 + 1) is None
