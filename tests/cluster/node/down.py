"""Taking the node down: what it started ends, what it made goes, what was there before stays."""

import shutil

from . import cgroups, host, packages, services
from .daemons import NAMES
from .errors import NodeError
from .paths import ENDING, HOST_BEFORE, STATE
from .process import end, marked, wait_until
from .run import say, step

# kubelet first, so that nothing restarts the pods; etcd after all who write to it.
_ORDER = (
    "kubelet",
    "kube-proxy",
    "kube-scheduler",
    "kube-controller-manager",
    "containerd",
    "kube-apiserver",
    "etcd",
)
if set(_ORDER) != set(NAMES):
    raise AssertionError("down must stop what up starts")


def down() -> None:
    """End the node and verify that nothing of it is left. The caches stay.

    Raises NodeError that lists what is left, if anything is.
    """
    packages.let_services_start()
    if not STATE.exists():
        say("the node is down: nothing to do")
        return
    ENDING.touch()
    with step("services stopped"):
        for name in _ORDER:
            services.kill(name)  # with no time to save anything: all of it is removed
        _end_marked()
    with step("pods ended"):
        cgroups.end_pods()
    left = [f"process {process.pid}" for process in marked(str(STATE))]
    if HOST_BEFORE.exists():
        with step("host restored"):
            host.restore()
        left += host.leftovers()
    if left:
        raise NodeError("left after `down`:\n  " + "\n  ".join(left) + "\nRun `down` again, or remove it by hand")
    shutil.rmtree(STATE)
    say("the node is down and nothing of it is left: no process, mount, cgroup, network, chain or file")


def _end_marked() -> None:
    """End containerd's shims, and services whose start was never recorded."""

    def none_left() -> bool:
        processes = list(marked(str(STATE)))
        for process in processes:
            end(process, grace=0)
        return not processes

    wait_until(none_left, 10)
