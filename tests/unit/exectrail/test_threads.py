"""A thread that dies takes its process along, in an orderly way if that goes."""

import json
import subprocess
import sys

PROGRAM = """
import signal, sys, threading
from exectrail.service import logs, threads
logs.setup()
threads.end_process_on_fault()
stop = threading.Event()
if {orderly}:
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threads._ORDERLY = 0.2
def work():
    {work}
threading.Thread(target=work, name="worker", daemon=True).start()
ended = stop.wait(2)
print("orderly" if ended else "went on")
sys.exit(threads.exit_code())
"""


def run(work: str, *, orderly: bool = True) -> tuple[int, str, list[dict[str, str]]]:
    """Run it; its exit code, what it wrote, and its log."""
    program = PROGRAM.format(orderly=orderly, work=work)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout.strip(), [json.loads(line) for line in done.stderr.splitlines()]


def test_an_exception_that_is_not_caught_ends_the_process_with_its_trace_in_the_log() -> None:
    code, wrote, log = run("1 / 0")

    assert (code, wrote) == (70, "orderly")
    assert [(line["level"], line["message"]) for line in log] == [
        ("critical", "the thread 'worker' died, so the process ends")
    ]
    assert "ZeroDivisionError" in log[0]["exception"]


def test_a_process_that_does_not_end_by_itself_is_ended() -> None:
    code, wrote, _ = run("1 / 0", orderly=False)

    assert (code, wrote) == (70, "")


def test_a_thread_that_ends_as_it_should_ends_nothing() -> None:
    assert run("raise SystemExit") == (0, "went on", [])
