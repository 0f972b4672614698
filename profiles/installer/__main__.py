"""Runs the installer: `python -m profiles.installer --seccomp-dir /host/seccomp [--once]`."""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from exectrail.service import logs, threads
from exectrail.service.serving import serve
from profiles.installer.install import InstallError, install
from profiles.installer.loop import Loop

log = logging.getLogger(__name__)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m profiles.installer", description="Install the seccomp profiles.")
    add = parser.add_argument
    add("--seccomp-dir", type=Path, required=True, metavar="DIR", help="seccomp folder of the kubelet")
    add("--once", action="store_true", help="install the built-in profiles and end, for an init container")
    help_ = "port for /healthz, /readyz and /metrics, plain HTTP; 0 takes any (default %(default)s)"
    add("--metrics-port", type=int, default=9082, metavar="PORT", help=help_)
    level = os.environ.get("LOG_LEVEL", "info")
    level_help = "least important level to log (default $LOG_LEVEL or info)"
    add("--log-level", default=level, choices=logs.LEVELS, help=level_help)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Install, then keep installed until SIGTERM; 1 when the first installation fails or it cannot start."""
    arguments = _arguments(argv)
    logs.setup(arguments.log_level)
    loop = Loop(arguments.seccomp_dir)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    try:
        written = install(arguments.seccomp_dir)
    except InstallError as error:
        log.error("%s", error)
        return 1
    log.info("profiles in place", extra={"dir": str(arguments.seccomp_dir), "written": written})
    return 0 if arguments.once else _keep(loop, arguments)


def _keep(loop: Loop, arguments: argparse.Namespace) -> int:
    threads.end_process_on_fault()
    try:
        serve("", arguments.metrics_port, loop.stuck, loop.unready)
    except OSError as error:
        log.error("cannot start: %s", error)
        return 1
    loop.run()
    return threads.exit_code()


if __name__ == "__main__":
    sys.exit(main())
