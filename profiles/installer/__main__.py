"""Runs the installer: `python -m profiles.installer --seccomp-dir /host/seccomp [--once]`."""

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from exectrail.service import logs
from profiles.installer.install import InstallError, install, keep_installed

log = logging.getLogger(__name__)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m profiles.installer", description="Install the seccomp profiles.")
    parser.add_argument("--seccomp-dir", type=Path, required=True, metavar="DIR", help="seccomp folder of the kubelet")
    parser.add_argument("--once", action="store_true", help="install and end, for an init container")
    level = os.environ.get("LOG_LEVEL", "info")
    level_help = "least important level to log (default $LOG_LEVEL or info)"
    parser.add_argument("--log-level", default=level, choices=logs.LEVELS, help=level_help)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Install, then keep installed until SIGTERM; 1 when the first installation fails."""
    arguments = _arguments(argv)
    logs.setup(arguments.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        written = install(arguments.seccomp_dir)
    except InstallError as error:
        log.error("%s", error)
        return 1
    log.info("profiles in place", extra={"dir": str(arguments.seccomp_dir), "written": written})
    if not arguments.once:
        keep_installed(arguments.seccomp_dir, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
