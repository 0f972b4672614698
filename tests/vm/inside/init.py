#!/usr/bin/python3
"""Process 1 of a machine: mounts what a node has, runs the tests, says how they ended, and turns the machine off."""

import ctypes
import json
import os
import socket
import subprocess
import traceback
from pathlib import Path

VERDICT = "exectrail-verdict: "
"""Begins the line that the host waits for."""

CGROUPS = Path("/sys/fs/cgroup")
_MOUNTS = {
    "/proc": "proc",
    "/sys": "sysfs",
    "/dev": "devtmpfs",
    "/run": "tmpfs",
    "/tmp": "tmpfs",
    "/sys/kernel/tracing": "tracefs",
}
_NAME = "machine"
_POWER_OFF = 0x4321FEDC  # reboot(2)
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "COLUMNS": "120",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def main() -> None:
    """Never returns: a process 1 that ends is a panic."""
    try:
        os.environ.update(_ENVIRONMENT)
        settings = json.loads(Path("/settings.json").read_text())
        for folder, kind in _MOUNTS.items():
            mount(kind, Path(folder))
        mount_cgroups(settings["cgroups"])
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        socket.sethostname(_NAME)
        Path("/etc/hosts").write_text(f"127.0.0.1 localhost {_NAME}\n")  # auditd looks its own name up
        code = run_tests(settings["pytest"])
        print(f"\n{VERDICT}{json.dumps({'kernel': os.uname().release, 'code': code})}", flush=True)
    except BaseException:  # noqa: BLE001 - the host is to see it
        traceback.print_exc()
    finally:
        os.sync()
        ctypes.CDLL(None).reboot(_POWER_OFF)


def mount(kind: str, folder: Path, *options: str) -> None:
    """Mount a file system that has no device."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", kind, *options, kind, folder], check=True)


def mount_cgroups(layout: str) -> None:
    """As systemd lays them out: one tree, a tree for each controller, or both beside each other."""
    if layout == "v2":
        mount("cgroup2", CGROUPS)
        return
    mount("tmpfs", CGROUPS)
    for line in Path("/proc/cgroups").read_text().splitlines()[1:]:
        controller, *_, enabled = line.split()
        if enabled == "1":
            mount("cgroup", CGROUPS / controller, "-o", controller)
    if layout == "hybrid":
        mount("cgroup2", CGROUPS / "unified")


def run_tests(arguments: list[str]) -> int:
    """Run pytest to its end, and bury whoever else ends: that is process 1's."""
    tests = subprocess.Popen(["python3", "-m", "pytest", *arguments], cwd="/repository")
    while True:
        pid, status = os.wait()
        if pid == tests.pid:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()
