"""What the sensor tells about where a program's file and its working directory are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from enricher.events import ExecEvent
from tests.kernel.conftest import Drain
from tests.kernel.fake_pods import FakeContainer

PYTHON = (sys.executable, "-I", "-S", "-c")
SHELL = os.path.realpath("/bin/sh").encode()
TRUE = os.path.realpath("/bin/true").encode()


def last_exec(drain: Drain) -> ExecEvent:
    return [event for event in drain() if isinstance(event, ExecEvent)][-1]


@pytest.fixture(scope="module")
def static_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that needs no file but its own."""
    program = tmp_path_factory.mktemp("static") / "program"
    subprocess.run(["clang", "-static", "-xc", "-", "-o", program], input=b"int main(void){return 0;}", check=True)
    return program


@pytest.mark.parametrize("name", [b"two words", b"line\nline", b"\xff\xfe", b" (deleted)", b"n" * 255])
def test_the_path_is_the_file_s_own_free_of_links(
    container: FakeContainer, drain: Drain, tmp_path: Path, name: bytes
) -> None:
    program = tmp_path / os.fsdecode(name)
    shutil.copy("/bin/true", program)
    (tmp_path / "link").symlink_to(program)
    container.run(tmp_path / "link")

    event = last_exec(drain)
    assert event.filename == bytes(tmp_path / "link")
    assert (event.path, event.path_truncated) == (bytes(program), False)


def test_a_script_runs_its_interpreter_s_file(container: FakeContainer, drain: Drain, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    container.run(script)

    event = last_exec(drain)
    assert (event.filename, event.path) == (bytes(script), SHELL)


def test_a_program_in_memory_has_the_name_of_its_memfd(container: FakeContainer, drain: Drain) -> None:
    code = (
        "import os; fd = os.memfd_create('no file')\n"
        "os.write(fd, open('/bin/true', 'rb').read()); os.execve(fd, ['hidden'], {})"
    )
    container.run(*PYTHON, code)

    event = last_exec(drain)
    assert event.argv == b"hidden\0"
    assert event.path == b"/memfd:no file (deleted)"


def test_a_program_whose_file_is_gone_says_deleted(container: FakeContainer, drain: Drain, tmp_path: Path) -> None:
    program = tmp_path / "gone"
    shutil.copy("/bin/true", program)
    code = f"import os; fd = os.open('{program}', os.O_RDONLY); os.unlink('{program}'); os.execve(fd, ['x'], {{}})"
    container.run(*PYTHON, code)

    assert last_exec(drain).path == bytes(program) + b" (deleted)"


def test_a_program_that_deletes_its_own_file_was_there_when_it_began(
    container: FakeContainer, drain: Drain, tmp_path: Path
) -> None:
    shell = tmp_path / "shell"
    shutil.copy("/bin/sh", shell)
    container.run(shell, "-c", "rm $0; exec /proc/self/exe -c 'exit 0'", shell)

    events = [event for event in drain() if isinstance(event, ExecEvent)]
    own = [event.path for event in events if event.path.startswith(bytes(shell))]
    assert own == [bytes(shell), bytes(shell) + b" (deleted)"]


@pytest.mark.parametrize("cwd", ["/", "/proc", "/sys/kernel", "/usr/lib"])
def test_the_working_directory_is_told_across_mounts(container: FakeContainer, drain: Drain, cwd: str) -> None:
    container.run("/bin/sh", "-c", f"cd {cwd} && exec /bin/true")

    event = last_exec(drain)
    assert (event.cwd, event.cwd_truncated) == (cwd.encode(), False)


def test_a_working_directory_that_is_gone_says_deleted(container: FakeContainer, drain: Drain, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    container.run("/bin/sh", "-c", f"cd {folder} && rmdir {folder} && exec /bin/true")

    assert last_exec(drain).cwd == bytes(folder) + b" (deleted)"


def test_a_process_in_its_own_root_sees_paths_from_there(
    container: FakeContainer, drain: Drain, tmp_path: Path, static_program: Path
) -> None:
    shutil.copy(static_program, tmp_path / "program")
    container.run("chroot", tmp_path, "/program")

    event = last_exec(drain)
    assert (event.path, event.cwd) == (b"/program", b"/")


def test_a_working_directory_outside_of_the_root_is_unreachable(
    container: FakeContainer, drain: Drain, tmp_path: Path, static_program: Path
) -> None:
    shutil.copy(static_program, tmp_path / "program")
    container.run(*PYTHON, f"import os; os.chdir('/usr/lib'); os.chroot('{tmp_path}'); os.execv('/program', ['p'])")

    event = last_exec(drain)
    assert (event.path, event.cwd) == (b"/program", b"(unreachable)/usr/lib")


@pytest.mark.parametrize(("name", "levels"), [("d" * 200, 30), ("d", 100)], ids=["long", "deep"])
def test_of_a_path_that_is_too_long_the_end_is_told(
    container: FakeContainer, drain: Drain, tmp_path: Path, name: str, levels: int
) -> None:
    code = (
        f"import os; os.chdir('{tmp_path}')\n"
        f"for _ in range({levels}): os.mkdir('{name}'); os.chdir('{name}')\n"
        "os.execv('/bin/true', ['true'])"
    )
    container.run(*PYTHON, code)
    shutil.rmtree(tmp_path)

    event = last_exec(drain)
    assert event.cwd_truncated
    assert set(event.cwd.split(b"/")) == {name.encode()}
    assert event.path == TRUE
