"""Whether a container has an `env` is found out without following it out of its own file system."""

from pathlib import Path

import pytest

from enricher.attribute.env_binary import has_env


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
