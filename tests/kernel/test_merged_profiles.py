"""Every profile that comes of a merge loads in runc, and a program runs under it. Needs root, runc and busybox."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from msgspec.structs import replace

from exectrail.seccomp.merge import merge
from exectrail.seccomp.profile import Profile, ProfileError, Rule
from exectrail.seccomp.runtime_file import runtime_file
from tests.unit.exectrail.seccomp_profiles import NAMES, profiles

_CALLED_BY_NEITHER = dict(zip(NAMES, ("getpriority", "ioprio_set"), strict=True))
"""System calls that neither runc nor the program makes, in place of those that others of these tests are about."""


@pytest.fixture(scope="module")
def bundle() -> Iterator[Path]:
    """A container of one static program (OCI runtime-spec, "Bundle")."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in ("bin", "proc"):
            (folder / "rootfs" / each).mkdir(parents=True)
        busybox = shutil.which("busybox")
        assert busybox, "busybox is missing"
        shutil.copy(busybox, folder / "rootfs/bin/busybox")
        yield folder


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(derived=profiles, base=profiles)
def test_a_merged_profile_loads_in_runc(bundle: Path, derived: Profile, base: Profile) -> None:
    try:
        file = runtime_file(merge(_harmless(derived), _harmless(base)))
    except ProfileError:
        assume(False)
    spec = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/busybox", "true"], "cwd": "/"},
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}], "seccomp": msgspec.json.decode(file)},
    }
    (bundle / "config.json").write_text(json.dumps(spec))

    run = ["runc", "--root", str(bundle / "state"), "run", "--bundle", str(bundle), "exectrail-test-merged"]
    done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=30)

    assert done.returncode == 0, f"{done.stderr}\n{file.decode()}"


def _harmless(profile: Profile) -> Profile:
    """The same rules, of calls that are not made. NOTIFY needs a listener, and flags need runc 1.2."""
    kept = [each for each in profile.syscalls or [] if each.action != "SCMP_ACT_NOTIFY"]
    return replace(
        profile, default_action="SCMP_ACT_ALLOW", flags=[], syscalls=[_of_other_calls(each) for each in kept]
    )


def _of_other_calls(rule: Rule) -> Rule:
    return replace(rule, names=[_CALLED_BY_NEITHER[name] for name in rule.names])
