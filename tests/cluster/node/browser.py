"""Chromium, in which the tests open reports."""

import shutil

from .components import Package
from .errors import NodeError
from .packages import install_these
from .run import say

_PROGRAMS = ("chromium", "chromium-headless-shell", "google-chrome-stable", "google-chrome", "chrome-headless-shell")
_PACKAGE = Package("chromium", "chromium")
"""Of Debian. Ubuntu has Chromium only as a snap, which containers cannot run and which sees no temporary files."""
_REMEDY = f"no Chromium on PATH (any of {', '.join(_PROGRAMS)}), and this system has no package of it: install one"


def program() -> str:
    """The path of Chromium, or of Chrome. Raises NodeError where there is none."""
    for name in _PROGRAMS:
        if found := shutil.which(name):
            return found
    raise NodeError(_REMEDY)


def install() -> None:
    """Install it where it is missing. Without a package only its own tests fail: others need none."""
    try:
        program()
    except NodeError as missing:
        try:
            # Not asked before: a fresh machine has no lists of packages until this fetches them.
            install_these((_PACKAGE,))
        except NodeError as failed:
            say(f"the tests in tests/browser will fail: {missing}\n{failed}")
