"""The Security Profiles Operator as it is published: its Go module has its definitions and its examples."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .node.components import HERE
from .node.go import find_go

VERSION = "1.0.0"
_PATH = "sigs.k8s.io/security-profiles-operator"


def definitions() -> list[dict[str, Any]]:
    """Its CustomResourceDefinitions, as its Helm chart installs them."""
    return _documents("deploy/helm/crds/crds.yaml")


def examples(kind: str) -> list[dict[str, Any]]:
    """All objects of a kind in its examples, by name; where a name is used twice, the first counts."""
    folder = _module() / "examples"
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.yaml")):
        for each in _documents(f"examples/{file.name}"):
            if each.get("kind") == kind:
                found.setdefault(each["metadata"]["name"], each)
    return list(found.values())


def _documents(path: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((_module() / path).read_text()) if each]


@cache
def _module() -> Path:
    """Its folder in Go's module cache; go.sum here holds it to what was looked at."""
    here = HERE / "security-profiles-operator"
    answer: dict[str, str] = json.loads(find_go().run("mod", "download", "-json", f"{_PATH}@v{VERSION}", module=here))
    return Path(answer["Dir"])
