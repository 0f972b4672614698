"""Loads: loops of real execs in a pod, paced from here or as fast as the machine goes."""

import subprocess
import time
from collections.abc import Iterator

from msgspec import Struct

from tests.cluster.cluster import Cluster

_TICK = 0.05
# dash forks and executes one of two programs for each number that it reads: even ones end with 0, odd ones with 1.
_PACED = "while read n; do if [ $((n % 2)) = 0 ]; then /bin/true {mark} $n; else /bin/false {mark} $n; fi; done"
_FREE = "trap 'echo $n; exit' TERM; n=0; while :; do /bin/true {mark} $n; n=$((n + 1)); done"


class Load(Struct, frozen=True):
    """What was run: the numbers from 0 on, each once, after the word `mark`."""

    namespace: str
    mark: str
    execs: int
    seconds: float

    @property
    def rate(self) -> float:
        """Execs a second."""
        return self.execs / self.seconds


def paced(cluster: Cluster, namespace: str, mark: str, rate: int, seconds: int) -> Load:
    """So many execs a second, or fewer where the machine cannot."""
    shell = cluster.start("kubectl", "exec", "-i", "-n", namespace, "web", "--", "sh", "-c", _PACED.format(mark=mark))
    began = time.monotonic()
    with shell:
        if shell.stdin is None:
            raise RuntimeError("kubectl has no standard input")
        for numbers in _ticks(rate, seconds):
            shell.stdin.write(numbers)
            shell.stdin.flush()
        shell.stdin.close()
        shell.wait()
    return Load(namespace, mark, int(rate * _TICK) * int(seconds / _TICK), time.monotonic() - began)


def _ticks(rate: int, seconds: int) -> Iterator[str]:
    each, start = int(rate * _TICK), time.monotonic()
    for tick in range(int(seconds / _TICK)):
        yield "".join(f"{number}\n" for number in range(tick * each, (tick + 1) * each))
        time.sleep(max(0.0, start + (tick + 1) * _TICK - time.monotonic()))


def free(cluster: Cluster, namespace: str, mark: str, seconds: int, shells: int = 2) -> list[Load]:
    """As many as the machine can, from several shells; each has a mark of its own."""
    marks = [f"{mark}-{number}" for number in range(shells)]
    running = [_start_free(cluster, namespace, each, seconds) for each in marks]
    return [
        Load(namespace, each, int(shell.communicate()[0]), seconds) for each, shell in zip(marks, running, strict=True)
    ]


def _start_free(cluster: Cluster, namespace: str, mark: str, seconds: int) -> "subprocess.Popen[str]":
    command = ("timeout", str(seconds), "sh", "-c", _FREE.format(mark=mark))
    return cluster.start("kubectl", "exec", "-n", namespace, "web", "--", *command)
