"""Whether the tests are steady: the kernel's again and again, beside the cluster's, which share the audit subsystem.

    python -m tests.steady --runs 10 --busy 2

Each round of the cluster's tests has a fresh node. It prints a line per run, keeps what failed in `build/steady`, and
exits with 1 if anything did.
"""

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BUSY = "while True: pass"
_LOGS = Path("build/steady")


def main() -> int:
    """Run them; 0 if all passed, 1 if not."""
    options = _options()
    _LOGS.mkdir(parents=True, exist_ok=True)
    over, passed = threading.Event(), []

    def beside() -> None:
        number = 0
        while not over.is_set():
            number += 1
            subprocess.run([sys.executable, "-m", "tests.cluster.node", "down"], check=True, capture_output=True)
            passed.append(_run("cluster", number))

    with _busy(options.busy):
        thread = threading.Thread(target=beside)
        thread.start()
        try:
            passed.extend(_run("kernel", number + 1) for number in range(options.runs))
        finally:
            over.set()
            thread.join()
    return 0 if all(passed) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.steady", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="of the kernel's tests (default 10)")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="busy loops beside all (default 0)")
    return parser.parse_args()


def _run(folder: str, number: int) -> bool:
    """One run; whether it passed."""
    log, began = _LOGS / f"{folder}-{number}.log", time.monotonic()
    with log.open("w") as file:
        command = [sys.executable, "-m", "pytest", "-q", f"tests/{folder}"]
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    summary = log.read_text().rstrip().rpartition("\n")[2]
    print(f"{folder} {number}: {summary} ({time.monotonic() - began:.0f} s, {log})", flush=True)
    return code == 0


@contextmanager
def _busy(number: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for each in loops:
            each.kill()
            each.wait()


if __name__ == "__main__":
    sys.exit(main())
