"""`exectrail profile`: profiles are checked, merged and explained before anyone applies them."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import profiles
from exectrail.cli import run
from exectrail.seccomp.runtime_default import runtime_default
from exectrail.seccomp.runtime_file import runtime_file

MANIFESTS = """\
apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata: {name: derived}
spec:
  baseProfileName: base
  defaultAction: SCMP_ACT_ERRNO
  syscalls: [{action: SCMP_ACT_LOG, names: [execve]}]
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: security-profiles-operator.x-k8s.io/v1
kind: SeccompProfile
metadata: {name: base}
spec:
  defaultAction: SCMP_ACT_KILL_PROCESS
  architectures: [SCMP_ARCH_X86_64]
  syscalls:
  - {action: SCMP_ACT_ALLOW, names: [execve, mount]}
  - {action: SCMP_ACT_ALLOW, names: [socket], args: [{index: 0, value: 1, op: SCMP_CMP_EQ}]}
"""
BUILTIN = Path(profiles.__file__).parent / "builtin"


@pytest.fixture
def manifests(tmp_path: Path) -> str:
    return put(tmp_path, "profiles.yaml", MANIFESTS)


def put(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content)
    return str(folder / name)


def spec(**fields: object) -> str:
    return json.dumps({"defaultAction": "SCMP_ACT_ERRNO"} | fields)


def test_lint_says_of_each_profile_that_it_is_sound(manifests: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profile", "lint", manifests, str(BUILTIN / "process-audit.json")]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"{manifests}: derived: ok",
        f"{manifests}: base: ok",
        f"{BUILTIN / 'process-audit.json'}: ok",
    ]
    assert not said.err


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (spec(baseProfileName="gone"), 0, ["warning: baseProfileName 'gone'", "give its file"]),
        (spec(syscalls=[{"names": ["opne"], "action": "SCMP_ACT_LOG"}]), 0, ["warning: syscalls", "opne", "correct"]),
        (spec(archMap=[], syscalls=[{"names": ["read"], "action": "SCMP_ACT_LOG", "includes": {}}]), 0,
         ["archMap, syscalls[0].includes"]),
        (spec(syscalls=[{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]), 2, ["error: listenerPath", "name the"]),
        (spec(defaultAction="SCMP_ACT_NOTIFY", listenerPath="/run/x.sock"), 2,
         ["error: defaultAction SCMP_ACT_NOTIFY", "use another"]),
        (spec(listenerPath="/run/x.sock", syscalls=[{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]), 2,
         ["error: syscalls: 'write' is SCMP_ACT_NOTIFY", "use another"]),
        (spec(baseProfileName="p"), 2, ["error: baseProfileName 'p': p -> p; remove one of them"]),
        (spec(baseProfileName="oci://x/y"), 2, ["error: baseProfileName 'oci://x/y'", "apply it"]),
        (spec(baseProfileName="gone", syscalls=[
            {"names": ["read"], "action": action, "args": [{"index": 0, "op": "SCMP_CMP_EQ"}]}
            for action in ("SCMP_ACT_ALLOW", "SCMP_ACT_TRAP")
        ]), 2, ["error: syscalls: 'read' has several actions", "leave one"]),
    ],
)  # fmt: skip
def test_lint_tells_mistakes_from_what_looks_like_one(
    content: str, code: int, said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["profile", "lint", put(tmp_path, "p.json", content)]) == code
    printed = capsys.readouterr().out
    assert all(words in printed for words in said), printed


@pytest.mark.parametrize(
    ("derived", "base", "code", "said"),
    [
        ({}, {}, 2, "d.json: error: listenerPath: missing, and 'mount' is SCMP_ACT_NOTIFY"),
        ({"listenerPath": "/run/x.sock"}, {}, 0, "d.json: ok"),
        ({"state": "Disabled"}, {}, 0, "d.json: warning: listenerPath: missing"),
        ({"syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ALLOW"}]}, {}, 0, "d.json: ok"),
        ({}, {"listenerPath": "", "state": "Disabled"}, 2, "b.json: warning: listenerPath: missing"),
        ({"baseProfileName": "gone", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}, {}, 0,
         "d.json: warning: listenerPath: missing"),
    ],
)  # fmt: skip
def test_a_bases_listener_does_not_count_for_the_profile_that_names_it(
    derived: dict[str, object],
    base: dict[str, object],
    code: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    notify = {"listenerPath": "/run/x.sock", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}
    files = [
        put(tmp_path, "d.json", spec(**{"baseProfileName": "b"} | derived)),
        put(tmp_path, "b.json", spec(**notify | base)),
    ]
    assert run(["profile", "lint", *files]) == code
    assert said in capsys.readouterr().out


def test_no_file_is_printed_that_no_container_starts_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = put(tmp_path, "p.json", spec(syscalls=[{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]))
    assert run(["profile", "merge", file]) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.startswith(f"exectrail: {file}: listenerPath: missing")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no SeccompProfile in it"),
        ("[", "neither JSON nor YAML: line 1"),
        ("{}", "neither kind nor defaultAction"),
        ("a: b: c", "neither JSON nor YAML: line 1"),
        ("just words", "'just words' is no profile"),
        ("\x00", "neither JSON nor YAML"),
        ("kind: Pod", "no SeccompProfile in it"),
        ("kind: SeccompProfile\napiVersion: other/v1\nspec: {}", "no SeccompProfile in it"),
        ("kind: SeccompProfile\napiVersion: security-profiles-operator.x-k8s.io/v1\nspec: {}", "metadata.name None"),
        (spec(defaultAction="ALLOW"), 'defaultAction "ALLOW"'),
        ("defaultAction: SCMP_ACT_LOG\nflags: &a [*a]", "JSON"),
    ],
)
def test_a_file_that_is_no_profile_is_named_and_the_others_are_done(
    content: str, said: str, manifests: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = put(tmp_path, "bad.yaml", content)
    assert run(["profile", "lint", bad, str(tmp_path / "missing"), manifests]) == 2
    printed = capsys.readouterr()
    first, second = printed.err.splitlines()
    assert first.startswith(f"exectrail: {bad}: ") and said in first
    assert second == f"exectrail: {tmp_path / 'missing'}: No such file or directory; give a file that can be read"
    assert printed.out.splitlines() == [f"{manifests}: derived: ok", f"{manifests}: base: ok"]


def test_two_profiles_of_one_name_are_a_mistake(manifests: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profile", "lint", manifests, manifests]) == 2
    assert "derived: metadata.name: " in capsys.readouterr().err


def test_a_list_of_kubectl_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    item = {"apiVersion": "security-profiles-operator.x-k8s.io/v1", "kind": "SeccompProfile"}
    items = [item | {"metadata": {"name": name}, "spec": {"defaultAction": "SCMP_ACT_LOG"}} for name in "ab"]
    file = put(tmp_path, "list.json", json.dumps({"kind": "List", "items": items}))
    assert run(["profile", "lint", file]) == 0
    assert capsys.readouterr().out == f"{file}: a: ok\n{file}: b: ok\n"


def test_merge_prints_the_runtimes_file_of_the_profile_that_is_no_base(
    manifests: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["profile", "merge", manifests]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["architectures"] == ["SCMP_ARCH_X86_64"]
    assert {name: rule["action"] for rule in printed["syscalls"] for name in rule["names"]} == {
        "execve": "SCMP_ACT_LOG",
        "mount": "SCMP_ACT_ALLOW",
        "socket": "SCMP_ACT_ALLOW",
    }
    assert run(["profile", "merge", manifests, "--name", "base"]) == 0
    assert json.loads(capsys.readouterr().out)["defaultAction"] == "SCMP_ACT_KILL_PROCESS"


@pytest.mark.parametrize(("manifest", "written"), [(True, {}), (False, {"errnoRet": 0})])
def test_an_error_number_of_0_is_none_in_a_manifest_and_stands_in_a_runtimes_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], manifest: bool, written: dict[str, int]
) -> None:
    refusal = {"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refusal]}
    head = {"apiVersion": "security-profiles-operator.x-k8s.io/v1", "kind": "SeccompProfile", "metadata": {"name": "a"}}
    file = put(tmp_path, "a.json", json.dumps(head | {"spec": profile} if manifest else profile))

    assert run(["profile", "merge", file]) == 0

    expected = {"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", **written}
    assert json.loads(capsys.readouterr().out)["syscalls"] == [expected]


@pytest.mark.parametrize(
    ("manifest", "linted", "error"),
    [
        (True, "warning: fields that are not read: defaultErrnoRet; remove them", "EPERM"),
        (False, "ok", "ENOSYS"),
    ],
)
def test_the_error_number_of_the_default_action_is_read_of_a_runtimes_file_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], manifest: bool, linted: str, error: str
) -> None:
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}
    head = {"apiVersion": "security-profiles-operator.x-k8s.io/v1", "kind": "SeccompProfile", "metadata": {"name": "a"}}
    file = put(tmp_path, "a.json", json.dumps(head | {"spec": profile} if manifest else profile))

    assert run(["profile", "lint", file]) == 0
    assert capsys.readouterr().out.endswith(f": {linted}\n")
    assert run(["profile", "explain", file]) == 0
    assert f"A system call that no rule names: refused with {error}." in capsys.readouterr().out


def test_merge_asks_which_of_several_profiles_is_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [put(tmp_path, name, spec()) for name in ("a.json", "b.json")]
    assert run(["profile", "merge", *files]) == 2
    assert capsys.readouterr().err == "exectrail: several profiles: a, b; choose one with --name\n"
    assert run(["profile", "merge", *files, "--name", "c"]) == 2
    assert capsys.readouterr().err == "exectrail: no profile 'c' in the files; there are: a, b\n"


def test_a_profile_that_cannot_be_merged_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = put(tmp_path, "a.json", spec(baseProfileName="gone"))
    for action in ("merge", "explain"):
        assert run(["profile", action, file]) == 2
        assert "baseProfileName 'gone': there is no such SeccompProfile" in capsys.readouterr().err


def paragraphs(text: str) -> dict[str, str]:
    """What is listed under each heading of an explanation."""
    found: dict[str, str] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("    "):
            found[heading] += " " + line.strip()
        else:
            heading = line.strip()
            found[heading] = ""
    return {heading: names.strip() for heading, names in found.items()}


def test_explain_says_what_a_profile_allows_logs_and_refuses(
    manifests: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["profile", "explain", manifests]) == 0
    said = paragraphs(capsys.readouterr().out)
    assert said["Allowed (1):"] == "mount"
    assert said["Allowed and logged (1):"] == "execve"
    assert (
        said["By their arguments (a0 is the first), else as if no rule named them:"] == "socket where a0 == 1: allowed"
    )
    assert "A system call that no rule names: refused with EPERM." in said
    assert said["Permits what RuntimeDefault refuses (1):"] == "mount"
    assert said["Logs what RuntimeDefault only allows (1):"] == "execve"
    assert "socket" in said["Decides by other arguments (3):"]
    (refused,) = (names for heading, names in said.items() if heading.startswith("Refuses what"))
    assert {"read", "write", "open"} <= set(refused.split(", "))


def test_explain_says_how_process_audit_differs_from_the_runtimes_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profile", "explain", str(BUILTIN / "process-audit.json")]) == 0
    said = paragraphs(capsys.readouterr().out)
    differences = list(said)[list(said).index(next(each for each in said if each.startswith("How it differs"))) :]
    assert [said[each] for each in differences[1:]] == ["execve, execveat, fork, vfork", "clone"]
    assert said["Refused with ENOSYS (1):"] == "clone3"


def differences(folder: Path, capsys: pytest.CaptureFixture[str], **changed: object) -> dict[str, str]:
    """What is said of RuntimeDefault with these fields in place of its own."""
    fields = json.loads(runtime_file(runtime_default()))
    assert run(["profile", "explain", put(folder, "p.json", json.dumps(fields | changed))]) == 0
    said = paragraphs(capsys.readouterr().out)
    (begin,) = (at for at, line in enumerate(said) if line.startswith(("How it differs", "It decides as")))
    return dict(list(said.items())[begin:])


def rules(*without: str) -> list[Any]:
    """RuntimeDefault's, but those of these calls."""
    written = json.loads(runtime_file(runtime_default()))["syscalls"]
    return [each for each in written if set(each["names"]).isdisjoint(without)]


def test_explain_names_calls_that_are_refused_in_another_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trap = {"names": ["mount", "umount2"], "action": "SCMP_ACT_TRAP"}
    first = {"index": 0, "value": 0, "valueTwo": 0, "op": "SCMP_CMP_EQ"}
    by_args = {"names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "args": [first]}
    said = differences(tmp_path, capsys, syscalls=[*rules("clone3"), trap, by_args])
    assert dict(list(said.items())[1:]) == {
        "Decides in another way: refused with EPERM; RuntimeDefault: refused with ENOSYS (1):": "clone3",
        "Decides in another way: refused with the signal SIGSYS; RuntimeDefault: refused with EPERM (2):":
            "mount, umount2",
        "Decides in another way: refused with ENOSYS or refused with EPERM; RuntimeDefault: refused with EPERM (1):":
            "acct",
    }  # fmt: skip


def test_explain_names_calls_that_a_listener_or_a_tracer_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asks = [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}, {"names": ["chmod"], "action": "SCMP_ACT_TRACE"}]
    kept = [each | {"names": sorted({*each["names"]} - {"mkdir", "chmod"})} for each in rules()]
    said = differences(tmp_path, capsys, listenerPath="/run/x.sock", syscalls=[*kept, *asks])
    assert dict(list(said.items())[1:]) == {
        "Decides in another way: decided by a tracer, refused without one; RuntimeDefault: allowed (1):": "chmod",
        "Decides in another way: decided by the listener; RuntimeDefault: allowed (1):": "mkdir",
    }


def test_explain_names_calls_that_are_logged_by_their_arguments_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = {"index": 0, "value": 0, "valueTwo": 0, "op": "SCMP_CMP_EQ"}
    logs = {"names": ["mkdir"], "action": "SCMP_ACT_LOG", "args": [first]}
    said = differences(tmp_path, capsys, defaultAction="SCMP_ACT_ALLOW", syscalls=[logs])
    assert said["Logs what RuntimeDefault only allows (1):"] == "mkdir"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"defaultErrnoRet": 38}, "refused with ENOSYS"),
        ({"defaultAction": "SCMP_ACT_KILL_PROCESS"}, "ends the process"),
    ],
)
def test_explain_says_once_that_only_the_default_action_differs(
    changed: dict[str, object], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, *said = differences(tmp_path, capsys, **changed)
    assert said == [f"A system call that neither names: {words}; RuntimeDefault: refused with EPERM."]


def test_explain_says_of_runtime_default_that_nothing_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (said,) = differences(tmp_path, capsys)
    assert said.startswith("It decides as RuntimeDefault does")


def test_what_stands_in_a_file_reaches_no_terminal_as_a_control_sequence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = spec(baseProfileName="\x1b[2J", syscalls=[{"names": ["\x1b[31m"], "action": "SCMP_ACT_LOG", "\x1b": 1}])
    good = spec(syscalls=[{"names": ["\x1b[31m"], "action": "SCMP_ACT_LOG"}])
    files = [put(tmp_path, "evil.json", evil), put(tmp_path, "good.json", good)]
    for action in ("lint", "merge", "explain"):
        run(["profile", action, *files])
    run(["profile", "merge", files[1]])
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err


def test_without_a_yaml_library_json_is_read_and_yaml_says_what_to_install(
    manifests: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert run(["profile", "lint", put(tmp_path, "a.json", spec())]) == 0
    assert run(["profile", "lint", manifests]) == 2
    assert "install the package PyYAML (pip install pyyaml), or give JSON" in capsys.readouterr().err
