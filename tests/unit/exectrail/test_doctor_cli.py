"""`exectrail doctor` through a kubectl that answers from a table: what is printed, exit codes, and the bundle."""

import io
import json
import logging
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail import cli
from exectrail.cli import doctor, terminal
from exectrail.contracts.record import Record, encode
from exectrail.doctor.finding import NAMES
from exectrail.doctor.log_lines import is_log_line
from exectrail.service.logs import JsonFormatter

from .covered_cluster import NS, CoveredCluster, namespace, pod, stamp, trail
from .fake_cluster import FakeCluster
from .terminals import on_terminal

REPO = Path(__file__).parents[3]
Run = Callable[..., tuple[int, str, str]]
FORBIDDEN = (
    'Error from server (Forbidden): {0} is forbidden: User "alice" cannot list resource "{0}" in API group "{1}"'
)
LOG = b'{"time": "2026-11-29T11:59:00.000Z", "level": "info", "logger": "webhook", "message": "serving"}\n'


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*argv: object) -> tuple[int, str, str]:
        code = cli.run(["doctor", *map(str, argv)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


@pytest.fixture
def covered() -> CoveredCluster:
    return CoveredCluster()


@pytest.fixture
def seen(covered: CoveredCluster, monkeypatch: pytest.MonkeyPatch) -> CoveredCluster:
    """A cluster that was looked at already: for what is printed of it."""
    monkeypatch.setattr(doctor, "look", lambda *_: covered.seen())
    return covered


def test_a_covered_cluster_gets_a_sentence_for_each_area(
    cluster: FakeCluster, covered: CoveredCluster, run: Run
) -> None:
    covered.is_shown_by(cluster)

    code, out, err = run()

    assert (code, err) == (0, "")
    assert out == (
        "ok  release: release trail in namespace audit is looked at: webhook, controller, enricher, node\n"
        "ok  nodes: 2 nodes looked at for an enricher that is ready and reports\n"
        "ok  webhook: the webhook is looked at for being asked and reached (failurePolicy of execs: Ignore)\n"
        "ok  pods: 2 pods of 2 opted-in namespaces looked at\n"
        "ok  certificate: the webhook's certificate and its CA are looked at: the first one ends 2027-10-30T12:00:00Z\n"
        "ok  clocks: the clock of 2 nodes compared with the API server's\n"
        "ok  losses: losses and lag of 2 nodes looked at\n"
        "ok  requests: the list of requests without an AuditSession is looked at\n"
        "This cluster is covered: no findings.\n"
    )


def spoilt(covered: CoveredCluster) -> None:
    """A node without eBPF, an old pod, a loss."""
    covered.trails[0] = trail("n1", sensor="proc", lost=5, lostByCause={"vanished": 5})
    late_pod(covered)


def late_pod(covered: CoveredCluster) -> None:
    """One that started before its namespace asked for the profile."""
    covered.namespaces.append(namespace("late", stamp(days=1), profile="process-audit"))
    covered.pods.append(pod("checkout-7d4b9c8f6-x2x7q", "late", node="n2"))


def test_findings_are_grouped_by_area_the_worst_first(
    seen: CoveredCluster, run: Run, golden: Callable[[str, str], None]
) -> None:
    spoilt(seen)

    code, out, _ = run()

    assert code == 1
    golden("doctor.txt", out)
    severities = re.findall(r"^  (error|warning|notice): ", out, re.MULTILINE)
    assert severities == sorted(severities)


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_no_line_is_longer_than_the_terminal_and_nothing_is_cut(
    columns: int, seen: CoveredCluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt(seen)
    _, whole, _ = run()
    monkeypatch.setattr(terminal, "width", lambda: columns)

    _, shown, _ = run()

    assert max(map(len, shown.splitlines())) <= columns
    assert "".join(shown.split()) == "".join(whole.split())


def test_it_runs_on_a_terminal(cluster: FakeCluster, covered: CoveredCluster) -> None:
    covered.is_shown_by(cluster)

    with on_terminal("doctor", env={"COLUMNS": "60"}) as shown:
        printed = shown.rest()

    assert "ok  release: release trail in namespace audit is looked at:\n    webhook, controller" in printed
    assert printed.endswith("\x1b[1mThis cluster is covered: no findings.\x1b[0m\n")


def test_the_same_as_json(seen: CoveredCluster, run: Run) -> None:
    spoilt(seen)

    code, out, _ = run("-o", "json")

    found = json.loads(out)
    assert code == 1
    assert found["release"] == {"namespace": "audit", "instance": "trail"}
    assert (found["covered"], found["notChecked"]) == (False, [])
    assert {each["name"] for each in found["findings"]} == {
        "weak-sensor",
        "pods-not-recorded",
        "pods-without-profile",
        "lost",
    }
    assert all(each["found"] and each["meaning"] and each["remedy"] for each in found["findings"])


def test_findings_that_are_known_can_be_left_out(seen: CoveredCluster, run: Run) -> None:
    seen.trails[0] = trail("n1", lost=5, lostByCause={"vanished": 5})

    code, out, _ = run("--ignore", "lost")

    assert code == 0
    assert out.endswith("This cluster is covered: no findings, 1 ignored.\n")


def test_a_mistyped_name_to_ignore_is_an_error_that_has_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run(["doctor", "--ignore", "losses"])

    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "argument --ignore: no finding is named 'losses'; their names are agent-not-ready, ca-bundle, " in said
    assert all(name in said for name in NAMES)


def test_a_notice_leaves_the_cluster_covered(seen: CoveredCluster, run: Run) -> None:
    seen.trails[0] = trail("n1", sensor="procconn")

    code, out, _ = run()

    assert code == 0
    assert out.endswith("This cluster is covered: 1 notice.\n")


@pytest.mark.parametrize(
    ("words", "resource", "group"),
    [
        ("nodes?", "nodes", ""),
        ("namespaces?", "namespaces", ""),
        ("mutatingwebhookconfigurations?", "mutatingwebhookconfigurations", "admissionregistration.k8s.io"),
        ("nodetrails?", "nodetrails", "exectrail.io"),
        ("configmaps?", "configmaps", ""),
        ("certificates?", "certificates", "cert-manager.io"),
        ("/api/v1/pods?", "pods", ""),
        ("deployments?", "deployments", "apps"),
    ],
)
def test_what_may_not_be_looked_at_is_named_with_the_right_and_is_no_finding(
    words: str, resource: str, group: str, cluster: FakeCluster, covered: CoveredCluster, run: Run
) -> None:
    cluster.answers(f"get {words}", code=1, err=FORBIDDEN.format(resource, group))
    covered.is_shown_by(cluster)

    code, out, _ = run("-o", "json")

    found = json.loads(out)
    assert (code, found["findings"]) == (3, [])
    (missing,) = found["notChecked"]
    needed = f"{resource}.{group}" if group else resource
    assert f"--verb=list --resource={needed}" in missing["why"]


def test_findings_go_before_what_was_not_looked_at(cluster: FakeCluster, covered: CoveredCluster, run: Run) -> None:
    cluster.answers("get nodes?", code=1, err=FORBIDDEN.format("nodes", ""))
    spoilt(covered)
    covered.is_shown_by(cluster)

    code, out, _ = run()

    assert code == 1
    assert "not checked\n  nodes: Error from server (Forbidden)" in out


def test_without_the_servers_clock_this_machines_is_taken(
    cluster: FakeCluster, covered: CoveredCluster, run: Run
) -> None:
    cluster.answers("auth whoami", code=1, err="error: unknown command whoami")
    covered.is_shown_by(cluster)

    _, out, _ = run("-o", "json")

    assert [each["what"] for each in json.loads(out)["notChecked"]] == [
        "the API server's clock (this machine's is taken)"
    ]


def test_an_object_that_cannot_be_read_ends_nothing_and_is_named(
    cluster: FakeCluster, covered: CoveredCluster, run: Run
) -> None:
    broken: dict[str, Any] = {"metadata": {"name": "n3"}, "status": {"heartbeat": 7}}
    covered.trails.append(broken)
    covered.is_shown_by(cluster)

    code, out, _ = run("-o", "json")

    assert code == 3
    assert json.loads(out)["notChecked"] == [{"what": "NodeTrails", "why": "1 of them cannot be read"}]


def test_a_cluster_that_is_not_reached_is_no_finding(cluster: FakeCluster, run: Run) -> None:
    cluster.answers("auth whoami", code=1, err="The connection to the server 127.0.0.1:1 was refused")
    cluster.answers("config view", out=b"https://127.0.0.1:1")

    code, out, err = run()

    assert (code, out) == (2, "")
    assert "cluster unreachable at https://127.0.0.1:1" in err
    assert len(cluster.calls) == 2


def test_a_user_who_may_do_nothing_is_told_so(cluster: FakeCluster, run: Run) -> None:
    cluster.answers("auth whoami", out={"metadata": {"creationTimestamp": stamp()}})
    cluster.answers("get", code=1, err=FORBIDDEN.format("pods", ""))

    code, out, err = run()

    assert (code, out) == (2, "")
    assert "Needed: kubectl create clusterrole" in err


def test_a_cluster_without_exectrail_is_no_finding(cluster: FakeCluster, covered: CoveredCluster, run: Run) -> None:
    covered.workloads, covered.own_pods = [], []
    covered.is_shown_by(cluster)

    code, _, err = run()

    assert code == 2
    assert "no release of exectrail is found in this cluster" in err


def test_a_release_is_chosen_by_its_namespace(cluster: FakeCluster, covered: CoveredCluster, run: Run) -> None:
    second = json.loads(json.dumps(covered.workloads[0]).replace('"audit"', '"other"'))
    covered.workloads.insert(0, second)
    covered.is_shown_by(cluster)

    _, both, _ = run()
    _, chosen, _ = run("--namespace", "audit")
    code, _, err = run("--namespace", "elsewhere")

    assert "release trail in namespace other" in both
    assert "[several-releases]" in both
    assert "[several-releases]" not in chosen
    assert code == 2
    assert "in namespace elsewhere" in err


def test_a_release_that_the_api_server_calls_goes_before_what_is_labelled_like_one(
    cluster: FakeCluster, covered: CoveredCluster, run: Run
) -> None:
    covered.workloads += json.loads(json.dumps(covered.workloads).replace('"audit"', '"a-team"'))
    covered.is_shown_by(cluster)

    looked_at = json.loads(run("-o", "json")[1])["release"]

    assert looked_at == {"namespace": "audit", "instance": "trail"}


def test_without_cert_manager_the_replicas_say_when_their_certificate_ends(
    cluster: FakeCluster, covered: CoveredCluster, run: Run
) -> None:
    covered.configurations[0]["metadata"]["annotations"] = {}
    page = "# HELP x\nexectrail_webhook_certificate_expiry_timestamp_seconds {}\n"
    cluster.answers("pods/webhook-n1:9080/proxy/metrics", out=page.format("1.9e+09").encode())
    cluster.answers("pods/webhook-n2:9080/proxy/metrics", out=page.format("1.79e+09").encode())
    covered.is_shown_by(cluster)

    code, out, _ = run("-o", "json")

    (found,) = json.loads(out)["findings"]
    assert (code, found["name"]) == (1, "expired")
    assert found["found"][0].startswith("pod audit/webhook-n2: its certificate: not valid after 2026-09-21T")


def test_without_cert_managers_kinds_the_certificate_that_the_configuration_names_is_missing(
    cluster: FakeCluster, covered: CoveredCluster, run: Run
) -> None:
    not_found = "Error from server (NotFound): the server could not find the requested resource"
    cluster.answers("get certificates?", code=1, err=not_found)
    covered.is_shown_by(cluster)

    code, out, _ = run("-o", "json")

    (found,) = json.loads(out)["findings"]
    assert (code, found["name"], found["severity"]) == (1, "certificate-not-ready", "error")
    assert found["summary"] == "the webhook's Certificate is missing: nothing renews it"
    assert found["remedy"] == "install cert-manager, then run `helm upgrade trail ./chart -n audit --reuse-values`"


def test_a_certificate_that_the_configuration_names_counts_without_the_charts_labels(
    cluster: FakeCluster, covered: CoveredCluster, run: Run
) -> None:
    covered.certificates[0]["metadata"]["labels"] = {}
    beside = {"name": "beside", "namespace": NS, "labels": {"app.kubernetes.io/instance": "trail"}}
    covered.certificates.append({"metadata": beside, "status": {"notAfter": stamp(days=1)}})
    covered.is_shown_by(cluster)

    code, _, _ = run()

    assert code == 0
    (asked,) = [call[-1] for call in cluster.calls if "certificates?" in call[-1]]
    assert "labelSelector" not in asked


def test_pods_are_asked_for_page_by_page(cluster: FakeCluster, covered: CoveredCluster, run: Run) -> None:
    first = {"items": covered.own_pods, "metadata": {"continue": "more"}}
    cluster.answers("get /api/v1/pods? continue=more", out={"items": [pod("old", "bank")], "metadata": {}})
    cluster.answers("get /api/v1/pods?", out=first)
    covered.is_shown_by(cluster)

    _, out, _ = run("-o", "json")

    assert [each["name"] for each in json.loads(out)["findings"]] == ["pods-without-profile"]


def section(heading: str) -> str:
    """What docs/tasks/doctor.md says under a heading."""
    page = (REPO / "docs/tasks/doctor.md").read_text()
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_example_of_the_docs_is_what_is_printed(
    seen: CoveredCluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_pod(seen)
    monkeypatch.setattr(terminal, "width", lambda: 100)

    _, out, _ = run()

    page = (REPO / "docs/tasks/doctor.md").read_text()
    assert out == page.partition("```console\n")[2].partition("```")[0]


def test_the_docs_name_each_finding_and_no_other() -> None:
    code = "".join(file.read_text() for file in (REPO / "exectrail/doctor").glob("*.py"))
    made = set(re.findall(r'"([a-z-]+)",\s*"(?:error|warning|notice)"', code)) - {"error", "warning"}
    made |= set(re.findall(r'"([a-z-]+)": Kind\(', code))
    first = re.findall(r"^\| (`.*?`) \| (?:error|warning|notice)", section("What does it find?"), re.MULTILINE)

    assert {name for cell in first for name in re.findall(r"`([a-z-]+)`", cell)} == made == set(NAMES)


def test_pods_that_have_ended_or_are_about_to_are_no_finding(
    cluster: FakeCluster, covered: CoveredCluster, run: Run
) -> None:
    for number, phase in enumerate(("Running", "Succeeded", "Failed")):
        old = pod(f"old-{number}", "bank")
        old["status"]["phase"] = phase
        old["metadata"]["deletionTimestamp"] = stamp(seconds=3) if phase == "Running" else None
        covered.pods.append(old)
    covered.is_shown_by(cluster)

    code, _, _ = run()

    assert code == 0


# ---- the bundle ----


@pytest.fixture
def trail_bytes(alice_trail: list[Record]) -> bytes:
    return b"".join(map(encode, alice_trail))


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        files = {each.name: archive.extractfile(each) for each in archive.getmembers()}
        return {name: file.read() for name, file in files.items() if isinstance(file, io.BufferedReader)}


@pytest.fixture
def bundle(
    cluster: FakeCluster, covered: CoveredCluster, run: Run, trail_bytes: bytes, tmp_path: Path
) -> dict[str, bytes]:
    """The bundle of a cluster that has secrets and records in all the places where it may have some."""
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": LOG.decode() + trail_bytes[-900:].decode()}}
    covered.own_pods[3]["status"]["containerStatuses"] = [{"name": "enricher", "lastState": ended}]
    cluster.answers("logs --container=enricher --previous", code=1, err="previous terminated container not found")
    cluster.answers("logs --container=enricher", out=trail_bytes[37:] + LOG + trail_bytes[:-5])
    cluster.answers("logs", out=LOG + b"Traceback (most recent call last): hunter2\n")
    cluster.answers("version --output=json", out={"serverVersion": {"gitVersion": "v1.34.4"}})
    for each in covered.configurations[0]["webhooks"]:
        each["clientConfig"]["service"]["path"] += "/hunter2"  # as `webhook.secretPath` has it
    expected = covered.workloads[1]["spec"]["template"]["spec"]["containers"][0]["args"]
    expected[:] = [each.replace('"path":"/canary"', '"path":"/canary/hunter2"') for each in expected]
    expected += ["--webhooks=[hunter2", '--webhooks=[{"clientConfig":"hunter2"}]']  # nobody knows what is in these
    covered.is_shown_by(cluster)
    path = tmp_path / "case.tar.gz"

    code, _, err = run("--bundle", path)

    assert (code, err) == (0, f"exectrail: bundle written to {path}\n")
    assert path.stat().st_mode & 0o077 == 0
    return members(path)


def test_the_docs_list_what_a_bundle_has_and_the_rights_that_it_takes(
    bundle: dict[str, bytes], cluster: FakeCluster
) -> None:
    cells = re.findall(r"^\| (`.*?) \|", section("What is in the bundle?"), re.MULTILINE)
    listed = {name for cell in cells for name in re.findall(r"`([\w./-]+)`", cell)}

    def generic(name: str) -> str:
        name = name.removeprefix("exectrail-doctor/")
        return re.sub(r"logs/[\w-]+\.[a-z]+\.", "logs/POD.CONTAINER.", name)

    assert {generic(name) for name in bundle} | {"logs/POD.CONTAINER.previous.log"} == listed
    paths = [word.partition("?")[0].split("/") for call in cluster.calls for word in call if word.startswith("/")]
    used = {("list", f"{path[-1]}.{path[2]}" if path[1] == "apis" else path[-1]) for path in paths}
    used |= {("get", "pods/log"), ("get", "pods/proxy")}  # as others of these tests show
    used.add(("get", "pods"))  # `kubectl logs` asks for the pod first
    granted = re.findall(r"--verb=(\w+) --resource=(\S+)", section("Which rights does it need?"))

    assert {(verb, each) for verb, words in granted for each in words.split(",")} == used


def test_no_secret_and_no_line_of_a_trail_gets_into_a_bundle_and_the_rest_does(
    bundle: dict[str, bytes], cluster: FakeCluster, alice_uid: str
) -> None:
    assert [name for name, content in bundle.items() if b"hunter2" in content] == []
    assert [name for name, content in bundle.items() if alice_uid.encode() in content or b"argv" in content] == []
    assert [call for call in cluster.calls if "secret" in " ".join(call).lower()] == []
    assert [call for call in cluster.calls if "exec" in call] == []
    found = {name.removeprefix("exectrail-doctor/"): content for name, content in bundle.items()}

    log = found["logs/enricher-n1.enricher.log"]
    assert log.startswith(LOG)
    assert re.fullmatch(rb"\d+ lines were left out that are no log lines of exectrail\n", log.removeprefix(LOG))
    assert LOG + b"1 line was left out that is no log line of exectrail\n" in found.values()
    (webhook, *_) = json.loads(found["pods.json"])
    assert webhook["spec"]["containers"][0]["env"] == [{"name": "TOKEN"}]
    assert webhook["spec"]["containers"][0]["args"] == ["--log-level=info"]
    _, controller = json.loads(found["deployments.json"])
    args = controller["spec"]["template"]["spec"]["containers"][0]["args"]
    (entries, *unknown) = [each.partition("=")[2] for each in args if each.startswith("--webhooks=")]
    paths = [each["clientConfig"]["service"]["path"] for each in json.loads(entries)]
    assert paths == ["/mutate-v1-exec-metadata"] * 2 + ["/canary"]
    assert unknown == ["", ""]
    (ended,) = [each for each in json.loads(found["pods.json"]) if "containerStatuses" in each["status"]]
    state = ended["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert state == {"exitCode": 1, "reason": "Error", "message": LOG.decode().rstrip("\n")}
    assert json.loads(found["doctor.json"])["covered"] is True
    assert [each["metadata"]["name"] for each in json.loads(found["configmaps.json"])] == [
        "trail-exectrail-webhook-outages",
        "trail-exectrail-unwritten-sessions",
    ]


def has_logs(cluster: FakeCluster, covered: CoveredCluster) -> None:
    cluster.answers("logs", out=LOG)
    cluster.answers("version", out={})
    covered.is_shown_by(cluster)


def event(kind: str, name: str, message: str, container: str = "", list_: str = "containers") -> dict[str, Any]:
    about = {"kind": kind, "name": name, "namespace": NS}
    if container:
        about["fieldPath"] = f"spec.{list_}{{{container}}}"
    return {"metadata": {"name": f"{name}.17a", "namespace": NS}, "involvedObject": about, "message": message}


def test_a_bundle_has_only_events_of_the_releases_objects_and_containers(
    cluster: FakeCluster, covered: CoveredCluster, run: Run, tmp_path: Path
) -> None:
    ours = [
        event("Pod", "enricher-n1", "Back-off restarting failed container", "enricher"),
        event("Pod", "enricher-n1", "Insufficient memory"),
        event("DaemonSet", "trail-exectrail-node", "Error creating: refused"),
        event("Deployment", "trail-exectrail-webhook", "Scaled up"),
        event("ReplicaSet", "trail-exectrail-webhook-7d4b9c8f6", "Error creating: refused"),
        event("ConfigMap", "trail-exectrail-filters", "changed"),
    ]
    foreign = [
        event("Pod", "enricher-n1", "Readiness probe failed: hunter2", "mesh"),
        event("Pod", "enricher-n1", "exec hunter2: no such file", "mesh-init", "initContainers"),
        event("Pod", "enricher-n1", "exec hunter2: no such file", "debugger", "ephemeralContainers"),
        event("Pod", "billing", "Liveness probe failed: hunter2", "enricher"),
        event("ReplicaSet", "billing-7d4b9c8f6", "hunter2"),
        event("Deployment", "enricher-n1", "hunter2"),
        event("Node", "n1", "hunter2"),
        {"metadata": {"name": "about-nothing"}, "message": "hunter2"},
    ]
    cluster.answers("get events?", out={"items": [*foreign, *ours], "metadata": {}})
    has_logs(cluster, covered)

    code, _, _ = run("--bundle", tmp_path / "case.tar.gz")

    assert code == 0
    assert json.loads(members(tmp_path / "case.tar.gz")["exectrail-doctor/events.json"]) == ours


def test_what_a_bundle_lacks_is_said(cluster: FakeCluster, covered: CoveredCluster, run: Run, tmp_path: Path) -> None:
    cannot = 'User "alice" cannot get resource "pods/log" in API group "" in the namespace "audit"'
    cluster.answers("logs", code=1, err=f'pods "webhook-n1" is forbidden: {cannot}')
    cluster.answers("version", out={})
    covered.is_shown_by(cluster)

    code, _, err = run("--bundle", tmp_path / "case.tar.gz")

    assert code == 0
    assert "the bundle has no logs/webhook-n1.webhook.log: pods" in err
    assert f"kubectl create role exectrail-get-pods-log --namespace={NS} --verb=get --resource=pods/log" in err


def test_a_bundle_that_cannot_be_written_is_an_error(
    cluster: FakeCluster, covered: CoveredCluster, run: Run, tmp_path: Path
) -> None:
    covered.is_shown_by(cluster)

    code, _, err = run("--bundle", tmp_path / "none" / "case.tar.gz")

    assert code == 2
    assert "cannot write" in err


def test_a_bundle_is_its_owners_alone_also_in_the_place_of_a_file_that_all_can_read(
    cluster: FakeCluster, covered: CoveredCluster, run: Run, tmp_path: Path
) -> None:
    has_logs(cluster, covered)
    path = tmp_path / "cases" / "case.tar.gz"
    path.parent.mkdir()
    path.write_text("old")
    path.chmod(0o644)

    code, _, _ = run("--bundle", path)

    assert code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert "exectrail-doctor/doctor.json" in members(path)
    assert list(path.parent.iterdir()) == [path]


def test_a_bundle_is_not_written_to_where_a_link_leads(
    cluster: FakeCluster, covered: CoveredCluster, run: Run, tmp_path: Path
) -> None:
    has_logs(cluster, covered)
    theirs, path = tmp_path / "theirs", tmp_path / "case.tar.gz"
    theirs.write_text("theirs")
    path.symlink_to(theirs)

    code, _, _ = run("--bundle", path)

    assert (code, theirs.read_text(), path.is_symlink()) == (0, "theirs", False)
    assert "exectrail-doctor/doctor.json" in members(path)


def test_a_bundle_that_is_not_whole_leaves_what_was_there(
    cluster: FakeCluster, covered: CoveredCluster, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("exectrail.doctor.bundle._log", interrupted)
    has_logs(cluster, covered)
    path = tmp_path / "cases" / "case.tar.gz"
    path.parent.mkdir()
    path.write_text("old")

    code, _, _ = run("--bundle", path)

    assert code == 130
    assert [(each, each.read_text()) for each in path.parent.iterdir()] == [(path, "old")]


def test_a_bundle_takes_the_place_of_no_folder_or_device(
    cluster: FakeCluster, covered: CoveredCluster, run: Run, tmp_path: Path
) -> None:
    covered.is_shown_by(cluster)

    code, _, err = run("--bundle", tmp_path)

    assert (code, err) == (2, f"exectrail: cannot write {tmp_path}: it is no file\n")


@given(data=st.data())
def test_no_piece_of_a_record_passes_for_a_log_line(data: st.DataObject) -> None:
    """Not even where a user's arguments look like one."""
    argv = ["sh", "-c", LOG.decode(), data.draw(st.text())]
    line = json.dumps(
        {"version": "spo/v1_alpha", "kind": "exec", "argv": argv, "seq": 7, "node": {"name": "n1"}}
    ).encode()
    begin = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(begin, len(line)))

    assert not is_log_line(line[begin:end])


def test_what_a_part_logs_is_a_log_line() -> None:
    made = logging.makeLogRecord({"name": "webhook", "levelname": "INFO", "msg": "argv", "cause": "x"})

    assert is_log_line(JsonFormatter().format(made).encode())
