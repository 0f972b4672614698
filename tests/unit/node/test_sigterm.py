"""SIGTERM ends a command as an error does: what it had changed for a while is put right."""

import signal
import subprocess
import sys

from tests.cluster.node import sigterm
from tests.cluster.node.paths import REPOSITORY

_CHANGED = """
from tests.cluster.node import sigterm
from tests.cluster.node.run import run, say
sigterm.obey()
try:
    say("changed")
    run("sleep", "300")
finally:
    say("put right")
"""


def started(script: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script]
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
