"""Where the Security Profiles Operator's JSON enricher was to write, and the chart's values that name the same place.

Pure. The operator takes the volume from a ConfigMap, and the file's path in it from `spod`. A pod's volumes cannot be
changed while it runs, and the release's are Helm's: what asks for another place gets a condition with the values.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec
from msgspec import Struct

from exectrail.contracts import spo
from exectrail.contracts.unreadable import UNREADABLE
from profiles.controller.spod_spec import INVALID, NO_EQUIVALENT, SET_BY_VALUES, Finding, Values, asked, shown

_WHOLE = f"{spo.LOG_VOLUME_SOURCE} of ConfigMap {spo.PROFILE_CONFIG_MAP}"


class _HostPath(Struct, frozen=True):
    path: str


class _Claim(Struct, frozen=True, rename="camel"):
    claim_name: str


class _Source(Struct, frozen=True, rename="camel"):
    """core/v1 VolumeSource."""

    host_path: _HostPath | None = None
    persistent_volume_claim: _Claim | None = None
    empty_dir: dict[str, Any] | None = None
    """The operator's own default: it asks for nothing."""


def findings(config_map: Mapping[str, str], spec: Mapping[str, Any], values: Values) -> Iterator[Finding]:
    """What is to be said of the place of the log.

    Args:
        config_map: Of the operator, as it is in the release's namespace; empty where it is not there.
        spec: Of `spod`.
        values: What the release was installed with.

    """
    path, log = asked(spec, "enricher.jsonEnricherOptions.auditLogPath", "jsonEnricherOptions.auditLogPath")
    text = config_map.get(spo.LOG_VOLUME_SOURCE)
    source = _Source()
    if text:
        try:
            source = msgspec.json.decode(text, type=_Source)
        except UNREADABLE as error:
            yield Finding(spo.LOG_VOLUME_SOURCE, INVALID, f"{_WHOLE} is no volume source in JSON: {error}")
        else:
            if source == _Source() and text.strip() != "{}":
                said = "only hostPath and persistentVolumeClaim have one"
                yield Finding(spo.LOG_VOLUME_SOURCE, NO_EQUIVALENT, f"{_WHOLE} has no equivalent: {said}")
    if source.host_path:
        mount = config_map.get(spo.LOG_VOLUME_MOUNT_PATH) or spo.LOG_VOLUME_MOUNT_PATH_DEFAULT
        yield from _on_node(source.host_path.path, mount, path, log, values)
    elif source.persistent_volume_claim:
        yield from _in_claim(source.persistent_volume_claim.claim_name, log, values)
    elif log and log != values.get("logs.auditLogPath"):
        used = f"{path} asks for {shown(log)}, the release has {shown(values.get('logs.auditLogPath'))}"
        yield Finding(path, SET_BY_VALUES, f"{used}: set the chart's value `logs.auditLogPath`")


def _on_node(folder: str, mount: str, path: str, log: str | None, values: Values) -> Iterator[Finding]:
    wanted = {"logs.mode": "file"}
    if log and PurePosixPath(log).is_relative_to(mount):
        wanted["logs.auditLogPath"] = str(folder / PurePosixPath(log).relative_to(mount))
        yield from _unless_so(f"hostPath {folder}", wanted, wanted.items() <= values.items())
        return
    if log:
        said = f"{path} is {shown(log)}, which is not in {mount}, where the volume of {_WHOLE} is"
        yield Finding(path, INVALID, said)
    own = values.get("logs.auditLogPath")
    used = str(PurePosixPath(own).parent) if own else values.get("logs.file.path")
    wanted["logs.file.path"] = folder
    yield from _unless_so(f"hostPath {folder}", wanted, values.get("logs.mode") == "file" and used == folder)


def _in_claim(claim: str, log: str | None, values: Values) -> Iterator[Finding]:
    wanted = {"logs.mode": "pvc", "logs.pvc.existingClaim": claim}
    if log:
        wanted["logs.auditLogPath"] = log  # of which the chart, too, takes the last part alone
    yield from _unless_so(f"persistentVolumeClaim {claim}", wanted, wanted.items() <= values.items())


def _unless_so(source: str, wanted: Mapping[str, str], so: bool) -> Iterator[Finding]:
    if not so:
        sets = " and ".join(f"`{value}={to}`" for value, to in wanted.items())
        yield Finding(
            spo.LOG_VOLUME_SOURCE, SET_BY_VALUES, f"{_WHOLE} asks for {source}: set the chart's values {sets}"
        )
