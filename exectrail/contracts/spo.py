"""The Security Profiles Operator's objects, as far as exectrail keeps to them: names, versions, labels, files, states.

Users' manifests of these kinds apply unchanged, so nothing here is ours to choose.
"""

from hashlib import sha256
from pathlib import PurePosixPath
from typing import Literal

GROUP = "security-profiles-operator.x-k8s.io"
GROUP_VERSION = f"{GROUP}/v1"

SECCOMP_PROFILES = "seccompprofiles"
PROFILE_BINDINGS = "profilebindings"
NODE_STATUSES = "securityprofilenodestatuses"
DAEMONS = "securityprofilesoperatordaemons"
DAEMON = "spod"
"""The name of the one SecurityProfilesOperatorDaemon that counts, in the release namespace."""

PROFILE_CONFIG_MAP = "security-profiles-operator-profile"
"""The ConfigMap that has, beside the operator's own profile, the volume for the JSON enricher's log."""
LOG_VOLUME_SOURCE = "json-enricher-log-volume-source.json"
LOG_VOLUME_MOUNT_PATH = "json-enricher-log-volume-mount-path"
LOG_VOLUME_MOUNT_PATH_DEFAULT = "/data/logs/jsonenricher"

VERSIONS = {SECCOMP_PROFILES: ("v1", "v1beta1"), PROFILE_BINDINGS: ("v1", "v1alpha1")}
"""Of each kind, the newest first. Definitions of the operator from before its 1.0 have no `v1`."""

BINDING_LABEL = "spo.x-k8s.io/enable-binding"
"""Namespace label: the ProfileBindings of the namespace apply to its new pods, whatever the label's value."""

PROFILE_ID_LABEL = "spo.x-k8s.io/profile-id"
NODE_NAME_LABEL = "spo.x-k8s.io/node-name"
PROFILE_STATE_LABEL = "spo.x-k8s.io/profile-state"
PROFILE_KIND_LABEL = "spo.x-k8s.io/profile-kind"

IN_USE_FINALIZER = "in-use-by-active-pods"
"""On a SeccompProfile: pods name it, so its deletion waits for them."""

FOLDER = PurePosixPath("operator")
"""Where the profiles' files are, relative to the kubelet's seccomp folder."""
STATE_FOLDER = PurePosixPath("/var/lib/security-profiles-operator")
"""The folder of the node that `operator` is a symbolic link to."""

State = Literal["Error", "Terminating", "Partial", "Disabled", "Pending", "InProgress", "Installed"]
"""Of a profile on a node, and on all nodes: the first of these that any node has."""

_MOST_LABEL = 63


def paths(plural: str) -> list[str]:
    """Where the API may have a kind's objects, the newest version first."""
    return [f"/apis/{GROUP}/{version}/{plural}" for version in VERSIONS[plural]]


def profile_file(name: str) -> str:
    """The file of a SeccompProfile, relative to `FOLDER`: `.json` is appended where the name lacks it."""
    return name if name.endswith(".json") else f"{name}.json"


def localhost_profile(name: str) -> str:
    """What a pod's `localhostProfile` says to get this SeccompProfile."""
    return str(FOLDER / profile_file(name))


def profile_id(kind: str, name: str) -> str:
    """The value of `PROFILE_ID_LABEL`: kind and name, or a hash of both where they are too long for a label."""
    whole = f"{kind}-{name}"
    if len(whole) < _MOST_LABEL:
        return whole
    return f"{kind}-{sha256(whole.encode()).hexdigest()[: _MOST_LABEL - len(kind) - 1]}"


def node_status_name(profile: str, node: str) -> str:
    """The name of the SecurityProfileNodeStatus of a profile on a node."""
    return f"{profile}-{node}"
