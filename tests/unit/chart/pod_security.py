"""The Pod Security Standards' profile `restricted`, as violations of a pod spec.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (includes all of `baseline`).
AppArmor and SELinux fields are refused altogether, Windows' host processes with them: the chart has no use for any.
"""

from collections.abc import Iterator
from typing import Any

Spec = dict[str, Any]

_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_syncookies", "net.ipv4.tcp_wmem",
}  # fmt: skip
_SECCOMP = {"RuntimeDefault", "Localhost"}


def violations(spec: Spec) -> list[str]:
    """What keeps a pod out of a namespace that enforces `restricted`; empty when nothing does."""
    found = list(_of_pod(spec))
    for container in [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]:
        found += [f"{container['name']}: {text}" for text in _of_container(container, spec.get("securityContext", {}))]
    return found


def _of_pod(spec: Spec) -> Iterator[str]:
    context = spec.get("securityContext", {})
    yield from (field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field))
    for volume in spec.get("volumes", []):
        yield from (f"volume {volume['name']}: {kind}" for kind in volume.keys() - {"name"} - _VOLUMES)
    for sysctl in context.get("sysctls", []):
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _of_context(context)


def _of_context(context: Spec) -> Iterator[str]:
    """What neither a pod nor a container may say."""
    yield from (field for field in ("seLinuxOptions", "appArmorProfile", "windowsOptions") if field in context)
    if context.get("runAsUser") == 0:
        yield "runAsUser: 0"
    if context.get("runAsNonRoot") is False:
        yield "runAsNonRoot: false"
    if "seccompProfile" in context and context["seccompProfile"]["type"] not in _SECCOMP:
        yield f"seccompProfile {context['seccompProfile']['type']}"


def _of_container(container: Spec, pod_context: Spec) -> Iterator[str]:
    context = container.get("securityContext", {})
    capabilities = context.get("capabilities", {})
    yield from _of_context(context)
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities: ALL not dropped"
    yield from (f"capability {name}" for name in capabilities.get("add", []) if name != "NET_BIND_SERVICE")
    if context.get("procMount", "Default") != "Default":
        yield f"procMount {context['procMount']}"
    yield from (f"hostPort {port['hostPort']}" for port in container.get("ports", []) if port.get("hostPort"))
    yield from (f"{name} with a host" for name in _hosts(container))
    if {**pod_context, **context}.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if "seccompProfile" not in {**pod_context, **context}:
        yield "no seccompProfile"


def _hosts(container: Spec) -> Iterator[str]:
    """Probes and hooks that name a host: refused by `baseline` since Kubernetes 1.34."""
    handlers = {name: container.get(name, {}) for name in ("livenessProbe", "readinessProbe", "startupProbe")}
    handlers |= container.get("lifecycle", {})
    for name, handler in handlers.items():
        if any(handler.get(action, {}).get("host") for action in ("httpGet", "tcpSocket")):
            yield name
