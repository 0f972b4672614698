"""What the sensor tells about programs that could not be run."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from enricher.events import ExecEvent, ExecFailedEvent
from enricher.sensors.bpf.program import BpfProgram
from tests.kernel.conftest import Drain
from tests.kernel.fake_pods import FakeContainer, FakePods

PYTHON = (sys.executable, "-I", "-S", "-c")


def failed(drain: Drain) -> list[ExecFailedEvent]:
    return [event for event in drain() if isinstance(event, ExecFailedEvent)]


def script(text: str, mode: int = 0o755) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "file").write_text(text)
        (folder / "file").chmod(mode)
        return folder / "file"

    return make


def loop(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        pytest.param(lambda folder: folder / "nothing", errno.ENOENT, id="no such file"),
        pytest.param(script("", mode=0o644), errno.EACCES, id="not executable"),
        pytest.param(lambda folder: folder, errno.EACCES, id="a folder"),
        pytest.param(script("rubbish"), errno.ENOEXEC, id="not a program"),
        pytest.param(script("#!/nonexistent\n"), errno.ENOENT, id="no such interpreter"),
        pytest.param(lambda _: Path("/dev/null/program"), errno.ENOTDIR, id="not a folder"),
        pytest.param(loop, errno.ELOOP, id="links in a circle"),
        pytest.param(lambda folder: folder / ("n" * 256), errno.ENAMETOOLONG, id="name too long"),
    ],
)
def test_a_failed_exec_tells_the_program_and_why(
    container: FakeContainer, drain: Drain, tmp_path: Path, make: Callable[[Path], Path], error: int
) -> None:
    program = make(tmp_path)
    code = f"import os\ntry: os.execv('{program}', ['zero', 'one', ''])\nexcept OSError: pass"
    pid = container.run(*PYTHON, code)

    (event,) = failed(drain)
    assert event.errno == error
    assert (event.filename, event.argv, event.truncated) == (bytes(program), b"zero\0one\0\0", False)
    assert event.process.pid == pid
    assert (event.cgroup, event.cgroup_name) == (container.id, container.folder.name)
    assert event.parent.pid == os.getpid()


def test_a_failed_exec_changes_nothing_about_the_process(container: FakeContainer, drain: Drain) -> None:
    container.run(*PYTHON, "import os\ntry: os.execv('/nothing', ['x'])\nexcept OSError: os.execv('/bin/true', ['y'])")

    events = [event for event in drain() if isinstance(event, ExecEvent | ExecFailedEvent)]
    assert [type(event) for event in events] == [ExecEvent, ExecFailedEvent, ExecEvent]
    assert len({event.process for event in events}) == 1


def test_a_failed_exec_of_another_user_names_him(container: FakeContainer, drain: Drain) -> None:
    container.run("/nothing", user=4242)

    event = failed(drain)[-1]
    assert (event.filename, event.uid, event.gid) == (b"/nothing", 4242, 4242)


def test_a_failed_exec_of_an_open_file_has_the_empty_name_it_was_given(
    container: FakeContainer, drain: Drain, tmp_path: Path
) -> None:
    file = script("rubbish")(tmp_path)
    code = f"import os\ntry: os.execve(os.open('{file}', os.O_RDONLY), ['by fd'], {{}})\nexcept OSError: pass"
    container.run(*PYTHON, code)

    (event,) = failed(drain)
    assert (event.errno, event.filename, event.argv) == (errno.ENOEXEC, b"", b"by fd\0")


def test_a_failed_exec_from_a_second_thread_is_the_process_s(container: FakeContainer, drain: Drain) -> None:
    code = (
        "import os, threading\n"
        "def fail():\n"
        "    try: os.execv('/nothing', [str(threading.get_native_id())])\n"
        "    except OSError: pass\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()"
    )
    pid = container.run(*PYTHON, code)

    (event,) = failed(drain)
    assert event.process.pid == pid
    assert event.argv != f"{pid}\0".encode()


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        pytest.param(["a" * 5000], b"a" * 4095 + b"\0", id="one long"),
        pytest.param(["a" * 3000, "b" * 3000, "c"], b"a" * 3000 + b"\0" + b"b" * 3000 + b"\0", id="some long"),
        pytest.param(["x"] * 100, b"x\0" * 64, id="many"),
    ],
)
def test_arguments_of_a_failed_exec_are_cut_and_say_so(
    container: FakeContainer, drain: Drain, arguments: list[str], kept: bytes
) -> None:
    code = "import os, sys\ntry: os.execv('/nothing', sys.argv[1:])\nexcept OSError: pass"
    container.run(*PYTHON, code, *arguments)

    (event,) = failed(drain)
    assert (event.argv, event.truncated) == (kept, True)


def test_failed_execs_outside_of_recorded_containers_are_silent(
    container: FakeContainer, program: BpfProgram, drain: Drain
) -> None:
    program.decide(container.id, record=False)
    container.run("/nothing")
    subprocess.run(["/bin/sh", "-c", "/nothing; exit 0"], check=True, stderr=subprocess.DEVNULL)

    assert drain() == []


REPORT_MISSING = """
import json, sys
from pathlib import Path
from enricher.sensors.bpf.program import BpfProgram
from enricher.cgroup import Cgroup
program = BpfProgram.open(Cgroup(int(sys.argv[1]), Path("/")), object_path=Path(sys.argv[2]))
print(json.dumps(program.missing))
"""


@pytest.mark.parametrize(
    ("before", "missing"),
    [
        pytest.param("true", [], id="as this node is"),
        pytest.param("umount /sys/kernel/tracing; test ! -e /sys/kernel/debug/tracing", ["errno"], id="no tracefs"),
    ],
)
def test_without_tracefs_the_sensor_opens_and_says_what_is_missing(
    pods: FakePods, bpf_object: Path, before: str, missing: list[str]
) -> None:
    opens = [sys.executable, "-c", REPORT_MISSING, str(pods.cgroup.id), str(bpf_object)]
    command = ["unshare", "--mount", "/bin/sh", "-c", f'{before} && exec "$@"', "sh", *opens]
    result = subprocess.run(command, capture_output=True, check=True, text=True)

    assert json.loads(result.stdout) == missing
