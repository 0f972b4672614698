"""Runs the installer: `python -m profiles.installer --seccomp-dir /host/seccomp [--once]`."""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from exectrail.contracts.settings import LOG_LEVEL
from exectrail.contracts.spo import STATE_FOLDER
from exectrail.k8s.client import Client
from exectrail.service import logs, threads
from exectrail.service.serving import bind, serve
from profiles.installer.allowed_lists import AllowedLists
from profiles.installer.install import InstallError, install
from profiles.installer.loop import Loop
from profiles.installer.operator_folder import OperatorFolder
from profiles.installer.user_profiles import UserProfiles

log = logging.getLogger(__name__)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m profiles.installer", description="Install the seccomp profiles.")
    add = parser.add_argument
    add("--seccomp-dir", type=Path, required=True, metavar="DIR", help="seccomp folder of the kubelet")
    help_ = f"the node's {STATE_FOLDER}, where it is mounted (default %(default)s)"
    add("--spo-dir", type=Path, default=Path(STATE_FOLDER), metavar="DIR", help=help_)
    add("--once", action="store_true", help="install the built-in profiles and end, for an init container")
    help_ = "name of this node; without it only the built-in profiles are installed (default $NODE_NAME)"
    add("--node-name", default=os.environ.get("NODE_NAME", ""), metavar="NAME", help=help_)
    help_ = "install process-audit-only as well, which refuses nothing"
    add("--allow-unconfined", action="store_true", help=help_)
    help_ = "system calls that SeccompProfiles may allow, with commas between them, or @FILE; all when empty"
    add("--allowed-syscalls", default="", metavar="LIST", help=help_)
    help_ = "seccomp actions that this is about, and no others are allowed; the same form"
    add("--allowed-actions", default="", metavar="LIST", help=help_)
    help_ = "folder of the settings: its files, read anew when they change, go before --allowed-... and --log-level"
    add("--settings-dir", type=Path, metavar="DIR", help=help_)
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
    settings = arguments.settings_dir
    level = logs.Level(arguments.log_level, settings and settings / LOG_LEVEL)
    loop = Loop(arguments.seccomp_dir, at_each_look=level.refresh, allow_unconfined=arguments.allow_unconfined)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.stop())
    try:
        written = install(arguments.seccomp_dir, allow_unconfined=arguments.allow_unconfined)
    except InstallError as error:
        log.error("%s", error)
        return 1
    log.info("profiles in place", extra={"dir": str(arguments.seccomp_dir), "written": written})
    return 0 if arguments.once else _keep(loop, arguments)


def _keep(loop: Loop, arguments: argparse.Namespace) -> int:
    threads.end_process_on_fault()
    try:
        if arguments.node_name:
            loop.follow(_users(arguments))
        serve(bind("", arguments.metrics_port), loop.stuck, loop.unready)
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        log.error("cannot start: %s", error)
        return 1
    loop.run()
    return threads.exit_code()


def _users(arguments: argparse.Namespace) -> UserProfiles:
    folder = OperatorFolder(arguments.seccomp_dir, arguments.spo_dir)
    allowed = AllowedLists(arguments.allowed_syscalls, arguments.allowed_actions, arguments.settings_dir)
    return UserProfiles(Client.in_cluster(), arguments.node_name, folder, allowed)


if __name__ == "__main__":
    sys.exit(main())
