"""Bringing the node up, from nothing or from whatever is left of it."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from . import cert_manager, config, host, imports, parts, pki, probes, services
from .api import get
from .daemons import NAMES, PORTS, daemons
from .down import down
from .errors import NodeError
from .parts import Parts
from .paths import BIN, ENDING, LOG, PIDS
from .process import wait_until
from .product import build_product
from .run import say, step


def up() -> None:
    """Have a ready node with cert-manager. Raises NodeError with what is wrong and what to do."""
    _node()
    cert_manager.install()


def up_with_product() -> None:
    """The same, with the product's image in it. Raises NodeError likewise."""
    _node()
    with ThreadPoolExecutor(1) as background:
        # Importing takes seconds of disk, cert-manager's start seconds of waiting: together.
        imported = background.submit(build_product)
        cert_manager.install()
        imported.result()


def _node() -> None:
    built = parts.make()

    if host.rebooted():
        say("  this machine was restarted since: starting afresh")
        down()
    elif ENDING.exists():
        say("  the node was not taken down to the end: finishing that")
        down()
    _require_free_ports()
    host.remember()
    imports.into_buildah(built.archives["base and workload image"])
    host.prepare()
    pki.make_certificates()
    config.write_config()
    _link_tools(built)

    since = datetime.now(UTC).replace(microsecond=0)  # heartbeats are given in whole seconds
    started = _start(built)
    with step("node Ready"):
        _wait(partial(_node_ready, since if "kubelet" in started else None), "the node is not Ready", "kubelet")
        _wait(_default_service_account, "no default ServiceAccount", "kube-controller-manager")
    if "kubelet" in started:
        with step("pods probed"):
            _wait(probes.done, "the kubelet has not probed all pods", "kubelet")


def _start(built: Parts) -> set[str]:
    """Start the services that don't run, import the images, and return the names of what was started."""
    etcd, containerd, *kubernetes = daemons(built.programs)
    started = {containerd.name} if services.ensure(containerd) else set()
    with ThreadPoolExecutor(1) as background:
        # Importing takes seconds of disk, the API server's start seconds of waiting: together.
        imported = background.submit(_import, built.archives)
        # In this order: the controller manager ends if it finds no ConfigMap, so the API server is ready first.
        started |= {service.name for service in (etcd, *kubernetes) if services.ensure(service)}
        imported.result()
    return started


def _import(archives: dict[str, Path]) -> None:
    for what, archive in archives.items():
        imports.into_containerd(archive, what)


def _require_free_ports() -> None:
    if any(PIDS.glob("*.json")):
        return  # ours are on them
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                raise NodeError(
                    f"something listens on 127.0.0.1:{port}, which the node needs; "
                    f"`ss -tlnp sport = :{port}` shows what: stop it and run `up` again"
                )


def _link_tools(built: Parts) -> None:
    BIN.mkdir(parents=True, exist_ok=True)
    tools = {"helm": built.helm, "kubectl": built.kubectl}
    tools |= {name: built.programs / name for name in NAMES if (built.programs / name).exists()}
    for name, program in tools.items():
        (BIN / name).unlink(missing_ok=True)
        (BIN / name).symlink_to(program)


def _wait(condition: Callable[[], bool], what: str, log: str) -> None:
    if not wait_until(condition, 60):
        raise NodeError(f"{what} after 60 s; see {LOG / log}.log")


def _node_ready(since: datetime | None) -> bool:
    """Whether the node is Ready and, if `since` is given, has said so since then: a status outlives its kubelet."""
    node = get(f"/api/v1/nodes/{pki.NODE_NAME}")
    conditions = node["status"].get("conditions", []) if node else []
    ready = next((condition for condition in conditions if condition["type"] == "Ready"), None)
    if ready is None or ready["status"] != "True":
        return False
    return since is None or datetime.fromisoformat(ready["lastHeartbeatTime"]) >= since


def _default_service_account() -> bool:
    return get("/api/v1/namespaces/default/serviceaccounts/default") is not None
