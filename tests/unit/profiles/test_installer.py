"""The installer keeps the built-in profiles in the kubelet's seccomp folder."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

import profiles
from exectrail.contracts.profile import BUILT_IN
from profiles.installer.install import InstallError, install
from profiles.installer.loop import Loop
from tests.unit.waiting import until

FILE = "exectrail/process-audit.json"
CONTENT = (Path(profiles.__file__).parent / "builtin" / "process-audit.json").read_bytes()


def test_the_profiles_are_installed_readable_by_all_and_nothing_else_is_left(tmp_path: Path) -> None:
    assert install(tmp_path) == list(BUILT_IN.values())
    assert (tmp_path / FILE).read_bytes() == CONTENT
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o644
    assert {f"exectrail/{name}" for name in os.listdir(tmp_path / "exectrail")} == set(BUILT_IN.values())


def test_the_profile_that_refuses_nothing_is_installed_where_it_is_allowed_and_then_stays(tmp_path: Path) -> None:
    assert install(tmp_path, allow_unconfined=True) == [*BUILT_IN.values(), "exectrail/process-audit-only.json"]
    assert install(tmp_path) == []
    assert (tmp_path / "exectrail/process-audit-only.json").exists()


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        install(tmp_path)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o644


def test_a_profile_in_place_is_not_written_again(tmp_path: Path) -> None:
    install(tmp_path)
    before = (tmp_path / FILE).stat()
    assert install(tmp_path) == []
    assert (tmp_path / FILE).stat().st_ino == before.st_ino


def removed(file: Path) -> None:
    file.unlink()


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def with_more_behind_it(file: Path) -> None:
    file.write_bytes(CONTENT + b"\n")


def unreadable(file: Path) -> None:
    file.chmod(0o600)


def a_link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("found", [removed, emptied, with_more_behind_it, unreadable, a_link, a_pipe])
def test_what_was_changed_is_repaired(tmp_path: Path, found: Callable[[Path], None]) -> None:
    install(tmp_path)
    found(tmp_path / FILE)
    assert install(tmp_path) == [FILE]
    assert (tmp_path / FILE).read_bytes() == CONTENT
    assert stat.S_ISREG((tmp_path / FILE).lstat().st_mode)


def test_a_reader_finds_the_old_or_the_new_profile_and_never_a_part(tmp_path: Path) -> None:
    install(tmp_path)
    with (tmp_path / FILE).open("rb") as held_open:
        (tmp_path / FILE).chmod(0o600)
        install(tmp_path)
        assert held_open.read() == CONTENT
        assert (tmp_path / FILE).stat().st_ino != os.fstat(held_open.fileno()).st_ino


def test_a_folder_that_is_a_symbolic_link_is_refused_and_its_target_untouched(tmp_path: Path) -> None:
    target, seccomp = tmp_path / "target", tmp_path / "seccomp"
    target.mkdir()
    seccomp.mkdir()
    (seccomp / "exectrail").symlink_to(target)
    with pytest.raises(InstallError, match=r"seccomp/exectrail/process-audit\.json: .*no symbolic link"):
        install(seccomp)
    assert os.listdir(target) == []


def test_a_missing_folder_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match=r"gone/exectrail/process-audit\.json: No such file .*hostPath"):
        install(tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_a_profile_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir(parents=True)
    with pytest.raises(InstallError, match="Is a directory"):
        install(tmp_path)
    assert os.listdir(tmp_path / "exectrail") == ["process-audit.json"]


def run(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "profiles.installer", *arguments]
    cwd = Path(profiles.__file__).parent.parent
    return subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True)


def test_the_init_container_ends_well_when_the_profiles_are_in_place(tmp_path: Path) -> None:
    process = run("--seccomp-dir", str(tmp_path), "--once")
    _, log = process.communicate(timeout=30)
    assert (process.returncode, (tmp_path / FILE).read_bytes()) == (0, CONTENT)
    assert FILE in log


def test_the_profile_that_refuses_nothing_takes_an_option(tmp_path: Path) -> None:
    process = run("--seccomp-dir", str(tmp_path), "--once", "--allow-unconfined")
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert (tmp_path / "exectrail/process-audit-only.json").exists()


def test_a_wrong_mount_fails_at_start_with_one_line_that_names_it(tmp_path: Path) -> None:
    process = run("--seccomp-dir", str(tmp_path / "gone"))
    _, log = process.communicate(timeout=30)
    assert process.returncode == 1
    assert len(log.splitlines()) == 1
    assert str(tmp_path / "gone") in log


def test_following_the_api_needs_a_pod(tmp_path: Path) -> None:
    process = run("--seccomp-dir", str(tmp_path), "--metrics-port", "0", "--node-name", "n1")
    _, log = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "not in a pod" in log


def test_a_list_that_cannot_be_read_is_named_at_start(tmp_path: Path) -> None:
    lists = ["--node-name", "n1", "--allowed-syscalls", f"@{tmp_path}/missing"]
    process = run("--seccomp-dir", str(tmp_path), "--metrics-port", "0", *lists)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"{tmp_path}/missing" in log


def test_the_log_level_of_the_settings_counts(tmp_path: Path) -> None:
    (tmp_path / "log-level").write_text("debug")
    process = run("--seccomp-dir", str(tmp_path), "--metrics-port", "0", "--settings-dir", str(tmp_path))
    assert process.stderr is not None
    assert "profiles in place" in process.stderr.readline()
    assert "logs from level debug on" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_sigterm_ends_it_and_leaves_the_profile_for_running_pods(tmp_path: Path) -> None:
    process = run("--seccomp-dir", str(tmp_path), "--metrics-port", "0")
    assert process.stderr is not None
    assert "profiles in place" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert (tmp_path / FILE).read_bytes() == CONTENT


@pytest.fixture
def run_loop() -> Iterator[Callable[[Loop], Loop]]:
    """Starts loops in threads, and ends them with the test."""
    running: list[tuple[Loop, threading.Thread]] = []

    def start(loop: Loop) -> Loop:
        running.append((loop, threading.Thread(target=loop.run)))
        running[-1][1].start()
        return loop

    yield start
    for loop, thread in running:
        loop.stop()
        thread.join()


def test_it_goes_on_repairing_after_a_failure_and_is_unready_meanwhile(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, run_loop: Callable[[Loop], Loop]
) -> None:
    seccomp, away = tmp_path / "seccomp", tmp_path / "away"
    seccomp.mkdir()
    install(seccomp)
    seccomp.rename(away)
    loop = run_loop(Loop(seccomp, seconds=0.01))
    until(lambda: "No such file or directory" in caplog.text)
    until(lambda: "hostPath" in (loop.unready() or ""))
    assert sample("exectrail_installer_built_in_in_place") == 0
    away.rename(seccomp)
    (seccomp / FILE).unlink()
    until((seccomp / FILE).exists)
    until(lambda: loop.unready() is None)
    assert (seccomp / FILE).read_bytes() == CONTENT
    until(lambda: sample("exectrail_installer_built_in_in_place") == 1)
    assert loop.stuck() is None


def sample(name: str) -> float | None:
    return REGISTRY.get_sample_value(name)


class Faulty:
    """Users' profiles whose every look is a fault of ours."""

    failure: str | None = None
    changed: Callable[[], None]
    progressed: Callable[[], None]

    def __init__(self) -> None:
        self.looks = 0

    def update(self) -> bool:
        self.looks += 1
        raise KeyError(self.looks)


def test_a_fault_with_users_profiles_does_not_end_the_care_for_the_built_in_ones(
    tmp_path: Path, run_loop: Callable[[Loop], Loop]
) -> None:
    faulty, loop = Faulty(), Loop(tmp_path, seconds=0.01)
    loop.follow(faulty)
    run_loop(loop)
    until(lambda: faulty.looks > 1)
    (tmp_path / FILE).unlink()
    until((tmp_path / FILE).exists)


def test_a_loop_that_makes_no_progress_is_unhealthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profiles.installer.loop.time.monotonic", lambda: 1000.0)
    loop, users = Loop(tmp_path), Faulty()
    loop.follow(users)
    monkeypatch.setattr("profiles.installer.loop.time.monotonic", lambda: 1301.0)
    assert loop.stuck() == "no progress for 301 s"
    users.progressed()
    assert loop.stuck() is None
