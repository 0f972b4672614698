"""No thread dies in silence: an exception that a thread does not catch ends the process, which is then restarted.

A part that has lost one of its threads looks well and does half of its work, for as long as it runs.
"""

import logging
import os
import signal
import threading
from typing import Final

FAULT_EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""
_ORDERLY: Final = 30.0

log = logging.getLogger(__name__)

_faults: list[str] = []


def end_process_on_fault() -> None:
    """Have each exception that a thread does not catch end the process, from now on.

    First in an orderly way, as SIGTERM does; after 30 seconds at once, with the exit code 70.
    """
    threading.excepthook = _end_process


def exit_code(otherwise: int = 0) -> int:
    """The process's exit code: 70 if a thread has died, else the one given."""
    return FAULT_EXIT_CODE if _faults else otherwise


def _end_process(fault: threading.ExceptHookArgs) -> None:
    if fault.exc_type is SystemExit:  # as threading's own hook does
        return
    name = fault.thread.name if fault.thread else "?"
    value = fault.exc_value or fault.exc_type()
    log.critical("the thread %r died, so the process ends", name, exc_info=(fault.exc_type, value, fault.exc_traceback))
    _faults.append(name)
    last_resort = threading.Timer(_ORDERLY, os._exit, (FAULT_EXIT_CODE,))
    last_resort.daemon = True
    last_resort.start()
    os.kill(os.getpid(), signal.SIGTERM)
