"""Debian packages: only what is missing, and without starting their services."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import sigterm
from .components import PACKAGES, Package
from .errors import NodeError
from .run import run, step, succeeds

# Maintainer scripts ask it before they start a service; 101 means "action forbidden by policy".
# https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_BEFORE = POLICY.with_name("policy-rc.d.exectrail-saved")
# A line of its own tells it from one of the user's, also after a run that was killed.
DENY = "#!/bin/sh\n# exectrail, while it installs packages\nexit 101\n"


def missing() -> tuple[Package, ...]:
    """The packages whose file or program isn't on this machine."""
    return tuple(package for package in PACKAGES if not _is_there(package.provides))


def _is_there(provided: str) -> bool:
    return Path(provided).exists() if provided.startswith("/") else shutil.which(provided) is not None


def install() -> None:
    """Install what is missing. Raises NodeError where there is no apt-get or it fails."""
    install_these(missing())


def install_these(wanted: tuple[Package, ...]) -> None:
    """Install packages. Raises NodeError as `install`."""
    let_services_start()
    if not wanted:
        return
    names = [package.name for package in wanted]
    if not shutil.which("apt-get"):
        programs = ", ".join(package.provides for package in wanted)
        raise NodeError(f"missing programs: {programs}; this system has no apt-get: install them, then try again")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with step(f"apt-get install {len(names)} packages"):
        run("apt-get", "update", "-q", env=env)
        # Not ended half-way: apt-get refuses all further work until somebody has repaired what that leaves.
        with sigterm.postponed(), _no_service_starts():
            run("apt-get", "install", "-q", "-y", "--no-install-recommends", *names, env=env)
    for package in wanted:
        _keep_off(package)


def let_services_start() -> None:
    """Put right what a run that was killed has left: its policy goes, and the user's comes back."""
    if POLICY.exists() and POLICY.read_text() == DENY:
        POLICY.unlink()
    if POLICY_BEFORE.exists() and not POLICY.exists():
        POLICY_BEFORE.rename(POLICY)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    let_services_start()
    if POLICY.exists():
        POLICY.rename(POLICY_BEFORE)
    try:
        POLICY.write_text(DENY)
        POLICY.chmod(0o755)
        yield
    finally:
        let_services_start()


def _keep_off(package: Package) -> None:
    # The policy only holds during the installation; an enabled unit would start with the next boot.
    if Path("/run/systemd/system").is_dir():
        for service in package.services:
            if not succeeds("systemctl", "disable", "--now", service):
                raise NodeError(f"could not disable the service {service}: run `systemctl disable --now {service}`")
