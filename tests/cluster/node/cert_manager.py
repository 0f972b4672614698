"""cert-manager in the cluster: its chart, put together from its Go module, and its installation with Helm."""

import shutil
from pathlib import Path

from .api import get
from .build import go_build
from .cache import cached
from .components import (
    CERT_MANAGER,
    CERT_MANAGER_BUILD,
    CERT_MANAGER_MODULE,
    HELM_BUILD,
    cert_manager_image,
)
from .config import kubeconfig
from .go import find_go
from .run import run, say, step

_NAMESPACE = "cert-manager"


def install() -> None:
    """Install cert-manager and wait until its webhook answers; nothing to do if it runs."""
    if _runs():
        say("  cert-manager runs")
        return
    images = {
        "image": cert_manager_image("controller"),
        "webhook.image": cert_manager_image("webhook"),
        "cainjector.image": cert_manager_image("cainjector"),
    }
    values = [f"{key}.repository={name.rpartition(':')[0]}" for key, name in images.items()]
    values += [f"{key}.pullPolicy=Never" for key in images]
    # Of what cert-manager offers, a pod that asks the API whether it is ready: --wait does that.
    values += ["startupapicheck.enabled=false"]
    with step(f"cert-manager {CERT_MANAGER} ready"):
        run(
            go_build(HELM_BUILD) / "helm",
            "--kubeconfig",
            kubeconfig("admin"),
            *("upgrade", "--install", "cert-manager", _chart()),
            *("--namespace", _NAMESPACE, "--create-namespace", "--wait", "--timeout", "3m"),
            *(argument for value in values for argument in ("--set", value)),
        )


def _runs() -> bool:
    path = f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments?labelSelector=helm.sh/chart=cert-manager-v{CERT_MANAGER}"
    deployments = (get(path) or {}).get("items", [])
    ready = [item for item in deployments if item["status"].get("availableReplicas")]
    return len(ready) == len(CERT_MANAGER_BUILD.programs)


def _chart() -> Path:
    """The chart's folder. The module holds a template of it, and the custom resources beside it."""

    def make(folder: Path) -> None:
        go, module = find_go(), CERT_MANAGER_BUILD.module
        go.run("mod", "download", CERT_MANAGER_MODULE, module=module)
        deploy = Path(go.run("list", "-m", "-f", "{{.Dir}}", CERT_MANAGER_MODULE, module=module).strip()) / "deploy"
        # Go's module cache is read-only; a chart that can't be removed would stay for ever.
        shutil.copytree(deploy / "charts/cert-manager", folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
        for crd in (deploy / "crds").glob("*.yaml"):
            shutil.copyfile(crd, folder / "templates" / crd.name)
        template = (folder / "Chart.template.yaml").read_text()
        chart = template.replace("v0.1.0", f"v{CERT_MANAGER}").replace("{{IS_PRERELEASE}}", "false")
        (folder / "Chart.yaml").write_text(chart)

    return cached("cert-manager-chart", CERT_MANAGER, make)
