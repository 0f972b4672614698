"""Starting, checking and stopping the node's long-running processes."""

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import NodeError
from .paths import LOG, PIDS, STATE
from .process import MARK, Process, end, find, wait_until
from .run import say, tail

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Service:
    """A process that shall run. `healthy` asks it whether it does its work; it may take `timeout` seconds
    until it does so first.
    """

    name: str
    argv: tuple[str, ...]
    healthy: Callable[[], bool]
    timeout: float = 60.0

    @property
    def log(self) -> Path:
        return LOG / f"{self.name}.log"

    @property
    def record(self) -> Path:
        return PIDS / f"{self.name}.json"


def ensure(service: Service) -> bool:
    """Have `service` running as described here and healthy: leave it alone if it is, else (re)start it.

    Returns whether it was started. Raises NodeError with the end of its log if it doesn't become healthy.
    """
    process, as_described = _recorded(service)
    if process and as_described and wait_until(service.healthy, 2):
        say(f"  {service.name} runs")
        return False
    if process:
        say(f"  {service.name} {'is not healthy' if as_described else 'has other settings'}: restarting it")
        end(process)
    start = time.monotonic()
    _start(service)
    say(f"  {service.name + ' ready':<44} {time.monotonic() - start:6.1f} s")
    return True


def state(service: Service) -> str:
    """`running`, `unhealthy` or `stopped`."""
    process, _ = _recorded(service)
    if not process:
        return "stopped"
    return "running" if service.healthy() else "unhealthy"


def kill(name: str) -> None:
    """End the service called `name` at once, if the process that we started for it still runs."""
    record = PIDS / f"{name}.json"
    process, _ = _read(record)
    if process:
        end(process, grace=0)
    record.unlink(missing_ok=True)


def _start(service: Service) -> None:
    LOG.mkdir(parents=True, exist_ok=True)
    PIDS.mkdir(parents=True, exist_ok=True)
    pid = _spawn(service)
    process = find(pid)
    if process:
        _write(service, process)
    if not wait_until(lambda: _exit_status(pid) is not None or service.healthy(), service.timeout):
        _fail(service, f"is not healthy after {service.timeout:.0f} s")
    if (status := _exit_status(pid)) is not None:
        _fail(service, f"ended with exit code {status}")


def _spawn(service: Service) -> int:
    environment = {"PATH": _PATH, "HOME": "/root", MARK: str(STATE)}
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(service.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        streams = ((null, 0), (log, 1), (log, 2))
        actions = [
            *((os.POSIX_SPAWN_DUP2, source, target) for source, target in streams),
            *((os.POSIX_SPAWN_CLOSE, file) for file in _inherited()),
        ]
        # Not subprocess, whose object wants to see its process end: this one outlives us. A session of its own:
        # a Ctrl-C at the terminal is for us.
        return os.posix_spawnp(
            service.argv[0],
            service.argv,
            environment,
            file_actions=actions,
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores, and a pod must not
        )
    except FileNotFoundError as error:
        raise NodeError(f"{service.name}: no program {service.argv[0]}; run `up` again to have it made") from error
    finally:
        os.close(null)
        os.close(log)


def _inherited() -> list[int]:
    """Files that our parent left open: a lock that a daemon has, too, is not given back when we end."""
    open_files = (int(name) for name in os.listdir("/proc/self/fd"))
    return [file for file in open_files if file > 2 and _is_inheritable(file)]


def _is_inheritable(file: int) -> bool:
    try:
        return os.get_inheritable(file)
    except OSError:  # the folder's own, closed by now
        return False


def _exit_status(pid: int) -> int | None:
    """Exit code, or number of the signal that ended it; None while it runs."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return ended.si_status if ended else None


def _fail(service: Service, what: str) -> None:
    end_of_log = tail(service.log.read_text(errors="replace"))
    raise NodeError(
        f"{service.name} {what}. The end of {service.log}:\n{end_of_log}\n\n"
        "Remove the cause and run `up` again, which keeps what runs; or `down` first for a fresh start"
    )


def _write(service: Service, process: Process) -> None:
    content = {"pid": process.pid, "started": process.started, "argv": service.argv}
    partial = service.record.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    os.replace(partial, service.record)


def _recorded(service: Service) -> tuple[Process | None, bool]:
    """The process that we started for `service`, if it lives, and whether its command line is today's."""
    process, argv = _read(service.record)
    return process, argv == list(service.argv)


def _read(record: Path) -> tuple[Process | None, list[str]]:
    try:
        content = json.loads(record.read_text())
    except FileNotFoundError:
        return None, []
    process = Process(content["pid"], content["started"])
    return (process if process.alive() else None), content["argv"]
