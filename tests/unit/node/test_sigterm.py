"""SIGTERM ends a command as an error does: what it had changed for a while is put right."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.cluster.node import sigterm
from tests.cluster.node.paths import REPOSITORY
from tests.cluster.node.process import descendants, wait_until

_CHANGED = """
from tests.cluster.node import sigterm
from tests.cluster.node.run import run, say
sigterm.obey()
try:
    say("changed")
    run("sleep", "60")
finally:
    say("put right")
"""


_BEGUN = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tests.cluster.node import cache, sigterm
from tests.cluster.node.run import run, say

def make(name):
    try:
        cache.cached(name, "1", lambda folder: run("sh", "-c", "sleep 60; true"))
    finally:
        say(name)

sigterm.obey()
cache.CACHE = Path(sys.argv[1])
with ThreadPoolExecutor(1) as background:
    background.submit(make, "first")
    background.submit(make, "second")
    make("third")
"""


def started(script: str, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    return process.stderr.readline().strip()


def test_what_a_command_had_changed_is_put_right() -> None:
    with started(_CHANGED) as command:
        assert line(command) == "changed"
        command.send_signal(signal.SIGTERM)
        assert line(command) == "put right"
        assert command.wait(60) == 1


def test_programs_that_run_end_and_no_other_begins(tmp_path: Path) -> None:
    with started(_BEGUN, tmp_path) as command:
        assert wait_until(lambda: len(list(descendants(command.pid))) == 4, 60)
        programs = list(descendants(command.pid))
        command.send_signal(signal.SIGTERM)
        assert command.stderr
        assert sorted(command.stderr.read().split()) == ["first", "second", "third"]
        assert command.wait(60) == 1
    assert not any(program.alive() for program in programs)
    assert list(tmp_path.glob("*/*")) == []


def test_what_must_not_stop_half_way_is_done_first() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        with sigterm.postponed():
            signal.raise_signal(signal.SIGTERM)
            assert came == []
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
