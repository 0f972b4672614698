"""A worker waits for work in a thread of its own, and ends when it is closed."""

import threading
from collections import deque

from exectrail.service.worker import Worker


class Printer:
    """Prints what is queued, until the end."""

    def __init__(self) -> None:
        self.queue: deque[str] = deque()
        self.printed: list[str] = []
        self.by: set[str] = set()
        self.worker = Worker("printer", self._run)

    def put(self, text: str) -> None:
        with self.worker.changing():
            self.queue.append(text)

    def _run(self) -> None:
        while self.queue or not self.worker.closing:
            with self.worker.when(lambda: self.queue):
                texts = list(self.queue)
                self.queue.clear()
            self.printed += texts
            self.by.add(threading.current_thread().name)


def test_work_is_done_in_the_workers_thread_and_finished_before_the_end() -> None:
    printer = Printer()
    printer.worker.start()
    for text in "abc":
        printer.put(text)
    printer.worker.close(10)

    assert printer.printed == ["a", "b", "c"]
    assert printer.by == {"printer"}
    assert printer.worker.ended


def test_an_idle_worker_ends_at_once() -> None:
    printer = Printer()
    printer.worker.start()
    assert not printer.worker.ended
    printer.worker.close(60)

    assert printer.worker.ended


def test_a_worker_that_never_started_does_its_last_work_where_it_is_closed() -> None:
    printer = Printer()
    printer.put("a")
    printer.worker.close(10)

    assert printer.printed == ["a"]
    assert printer.by == {threading.current_thread().name}
    assert not printer.worker.ended


def test_closing_gives_up_on_a_worker_that_hangs() -> None:
    hang = threading.Event()
    worker = Worker("stuck", lambda: hang.wait(60))
    worker.start()
    worker.close(0.01)

    assert not worker.ended
    hang.set()


def test_a_wait_ends_when_its_time_is_up() -> None:
    worker = Worker("idle", lambda: None)

    with worker.when(lambda: False, 0.01):
        assert not worker.closing


def test_a_wait_for_longer_than_a_lock_takes_ends_with_the_worker() -> None:
    over = threading.Event()

    def run() -> None:
        with worker.when(lambda: False, 1e12):
            over.set()

    worker = Worker("patient", run)
    worker.start()
    worker.close(10)
    assert over.is_set()
