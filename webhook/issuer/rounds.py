"""A thread that looks at the state of things, takes the next step, and looks again when something changes."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from exectrail.k8s.client import ApiError
from exectrail.service.backoff import Backoff
from webhook.certificates.apart import Failed
from webhook.sparse_log import SparseLog

_BACKOFF_FIRST, _BACKOFF_MOST = 0.2, 10.0
_CONFLICT, _INVALID = 409, 422
"""The API's answers where an object is not what it was: to a version, and to a JSON patch's `test`."""

log = logging.getLogger(__name__)
sparse = SparseLog(log)


class Rounds:
    """Whatever goes wrong in a round, the next one comes.

    Args:
        what: What is looked after, for the log and the thread's name.
        step: Takes the next step; returns when to look again, if nothing changes before.

    """

    def __init__(self, what: str, step: Callable[[], timedelta]) -> None:
        self._what, self._step = what, step
        self._news = threading.Event()

    def start(self) -> None:
        """Begin, in a thread that ends with the process."""
        threading.Thread(target=self._run, name=self._what, daemon=True).start()

    def noticed(self) -> None:
        """Something has changed: look at once."""
        self._news.set()

    def _run(self) -> None:
        backoff, wait = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST), timedelta(0)
        while True:
            self._news.wait(wait.total_seconds())
            self._news.clear()
            try:
                wait = self._step()
                backoff.reset()
                continue
            except ApiError as error:
                if error.status == _CONFLICT:
                    log.info("not written, because it has changed: %s", error)
                elif error.status == _INVALID:  # or what was written is refused for good
                    sparse.warning(self._what, f"{self._what}: not written; has it changed? The API server: {error}")
                else:
                    sparse.warning(self._what, f"cannot look after {self._what}: {error}")
            except Failed as error:
                sparse.warning(self._what, f"cannot look after {self._what}: {error}")
            except Exception:  # without this thread nothing is ever renewed
                log.exception("fault while looking after %s", self._what)
            wait = timedelta(seconds=backoff.next())
