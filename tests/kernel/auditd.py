"""The real auditd, with a folder of its own; what it changes in the kernel is as it was afterwards."""

import fcntl
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_TURN = 120.0
_LOCK = Path("/run/exectrail-test-auditd.lock")
_SETTINGS = {
    "local_events": "yes",
    "write_logs": "yes",
    "log_group": "root",
    "log_format": "ENRICHED",
    "flush": "INCREMENTAL_ASYNC",
    "freq": "50",
    "max_log_file": "50",
    "max_log_file_action": "IGNORE",
    "num_logs": "9",
    "priority_boost": "0",
    "name_format": "NONE",
    "space_left": "2",
    "space_left_action": "IGNORE",
    "admin_space_left": "1",
    "admin_space_left_action": "IGNORE",
    "disk_full_action": "IGNORE",
    "disk_error_action": "IGNORE",
}


class Auditd:
    """One auditd.

    Args:
        folder: For its configuration.
        log: Its log.
        settings: As in auditd.conf(5), beside Debian's defaults.

    """

    def __init__(self, folder: Path, log: Path, **settings: str) -> None:
        self.log = log
        self._folder = folder
        self._daemon: subprocess.Popen[bytes] | None = None
        plugins = folder / "plugins.d"
        plugins.mkdir(parents=True)
        log.parent.mkdir(exist_ok=True)
        lines = {"log_file": str(log), "plugin_dir": str(plugins), **_SETTINGS, **settings}
        (folder / "auditd.conf").write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))

    def start(self) -> None:
        """Run it; it has the kernel's records from then on."""
        # `nochange`: records of seccomp filters come with audit switched off, too.
        command = ["/sbin/auditd", "-n", "-s", "nochange", "-c", str(self._folder)]
        self._daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not _hears(self._daemon.pid):
            assert self._daemon.poll() is None, "auditd has ended: see its words in the system's log"
            assert time.monotonic() < deadline, "auditd does not get ready"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it."""
        if self._daemon:
            self._daemon.terminate()
            try:
                self._daemon.wait(10)
            finally:
                self._daemon.kill()
                self._daemon.wait()
                self._daemon = None

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """It takes nothing from the kernel meanwhile, as on a node without CPU or with a slow disk."""
        assert self._daemon
        self._daemon.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._daemon.send_signal(signal.SIGCONT)

    def rotate(self) -> None:
        """Have it begin a new file (auditd(8), SIGUSR1)."""
        assert self._daemon
        inode = self.log.stat().st_ino
        self._daemon.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 10
        while not self.log.exists() or self.log.stat().st_ino == inode:
            assert time.monotonic() < deadline, "auditd does not rotate"
            time.sleep(0.01)


def _hears(pid: int) -> bool:
    """Whether it has come to its loop: just before, it sets the handler of SIGCONT.

    A record that comes between its registration with the kernel and then, it takes for an answer and drops.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGCONT - 1) & 1)


def kernel_settings() -> dict[str, str]:
    """What auditd changes in the kernel."""
    status = subprocess.run(["/sbin/auditctl", "-s"], capture_output=True, text=True, check=True, timeout=10).stdout
    pairs = dict(line.split(maxsplit=1) for line in status.splitlines() if " " in line)
    return {name: pairs[name] for name in ("enabled", "failure", "pid", "rate_limit", "backlog_limit")}


def _take(lock: IO[str]) -> None:
    deadline = time.monotonic() + _TURN
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            assert time.monotonic() < deadline, "another test keeps its auditd"
            time.sleep(0.1)
        else:
            return


@contextmanager
def running_auditd(folder: Path, log: Path, **settings: str) -> Iterator[Auditd]:
    """An auditd that runs. The kernel talks to one at a time, so others wait for their turn."""
    with _LOCK.open("w") as lock:
        _take(lock)
        before = kernel_settings()
        assert before["pid"] == "0", f"an auditd runs here already, as process {before['pid']}: stop it for these tests"
        auditd = Auditd(folder, log, **settings)
        try:
            auditd.start()
            yield auditd
        finally:
            auditd.stop()
        assert kernel_settings() == before
