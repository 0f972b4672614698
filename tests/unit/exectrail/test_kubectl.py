"""Reading from a cluster, through a kubectl that answers from a table of files."""

import json
import os
from collections.abc import Callable

import msgspec
import pytest

from exectrail import cli
from exectrail.contracts.record import Record, encode
from exectrail.reading.kubectl import Kubectl, KubectlError

from .conftest import ALICE
from .fake_cluster import FakeCluster
from .terminals import on_terminal
from .test_show import UNTAGGED, late_trail

PRINT = ("python3", "-m", "exectrail.reading.reader")


def _session(uid: str, status: dict[str, object], user: str = "alice") -> dict[str, object]:
    return {
        "apiVersion": "exectrail.io/v1alpha1",
        "kind": "AuditSession",
        "metadata": {"name": uid, "namespace": "audit", "resourceVersion": "7"},
        "spec": {
            "user": {"username": user, "groups": ["developers"]},
            "verb": "exec",
            "resource": "pods/exec",
            "target": {"namespace": "shop", "pod": "web-0", "container": "app"},
            "time": "2026-11-23T14:58:03.120456Z",
            "command": ["sh"],
        },
        "status": status,
    }


@pytest.fixture
def trail(alice_trail: list[Record]) -> bytes:
    return b"".join(map(encode, alice_trail))


def end(trail: bytes) -> bytes:
    """The reader's mark at the end of a trail of node-1."""
    numbers = [json.loads(line)["seq"] for line in trail.splitlines()]
    mark = {
        "kind": "end-of-trail",
        "chains": [{"node": "node-1", "ranges": [[min(numbers), max(numbers)]]}],
        "damaged": 0,
    }
    return json.dumps(mark, separators=(",", ":")).encode() + b"\n"


Show = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Show:
    def command(*argv: str) -> tuple[int, str, str]:
        code = cli.run(argv)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def test_sessions_come_from_the_api_oldest_first(cluster: FakeCluster, run: Show) -> None:
    late = _session("uid-late", {"startTime": "2026-11-23T15:00:00Z"}, "bob")
    broken = {"metadata": {"name": "uid-broken"}}
    cluster.answers(
        "get auditsessions", out={"items": [late, broken, _session("uid-early", {"outcome": "never-started"})]}
    )

    code, out, err = run("sessions", "-o", "json")

    assert code == 3
    assert [found["requestUID"] for found in json.loads(out)] == ["uid-early", "uid-late"]
    assert "1 line was no record" in err


def test_sessions_come_page_by_page(cluster: FakeCluster, run: Show) -> None:
    cluster.answers("get auditsessions continue=next", out={"items": [_session("uid-2", {})], "metadata": {}})
    first = {"items": [_session("uid-1", {})], "metadata": {"continue": "next"}}
    cluster.answers("get auditsessions", out=first)

    assert run("sessions", "-o", "name")[1].split() == ["uid-1", "uid-2"]


def _reading(namespace: str, container: str, command: list[str]) -> dict[str, object]:
    session = _session("uid-reading", {})
    spec = {"target": {"namespace": namespace, "pod": "node-x", "container": container}, "command": command}
    return session | {"spec": session["spec"] | spec}  # type: ignore[operator] # a dict


def test_our_own_readings_are_left_out_unless_all_are_wanted(cluster: FakeCluster, run: Show) -> None:
    own = _reading("audit", "reader", [*PRINT, "/trail/trail.jsonl"])
    cluster.answers("get auditsessions", out={"items": [own, _session("uid-1", {})]})

    code, out, err = run("sessions", "-o", "name")

    assert (code, out) == (0, "uid-1\n")
    assert "1 reading of trails by exectrail itself left out; --all lists them" in err
    assert run("sessions", "-o", "name", "--all")[1].split() == ["uid-reading", "uid-1"]


@pytest.mark.parametrize(
    ("namespace", "container", "command"),
    [
        ("shop", "reader", [*PRINT, "/trail/trail.jsonl"]),
        ("audit", "enricher", [*PRINT, "/trail/trail.jsonl"]),
        ("audit", "reader", ["sh"]),
        ("audit", "reader", ["python3", "-m", "exectrail.reading.readers"]),
    ],
    ids=["namespace", "container", "command", "module"],
)
def test_what_only_looks_like_our_own_reading_is_listed(
    namespace: str, container: str, command: list[str], cluster: FakeCluster, run: Show
) -> None:
    cluster.answers("get auditsessions", out={"items": [_reading(namespace, container, command)]})

    assert run("sessions", "-o", "name")[:2] == (0, "uid-reading\n")


def test_context_and_kubeconfig_are_passed_on(cluster: FakeCluster, run: Show) -> None:
    cluster.answers("get auditsessions", out={"items": []})

    assert run("sessions", "--context", "prod", "--kubeconfig", "/k") == (0, "", "exectrail: no sessions\n")
    assert cluster.calls[0][:2] == ["--context=prod", "--kubeconfig=/k"]


def test_the_variable_kubectl_names_another_program(
    cluster: FakeCluster, run: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.answers("get auditsessions", out={"items": []})
    monkeypatch.setenv("KUBECTL", f"{cluster.folder / 'kubectl'} --as=auditor")

    run("sessions")

    assert cluster.calls[0][0] == "--as=auditor"


def test_a_file_trail_is_read_through_the_reader_of_the_sessions_node(
    cluster: FakeCluster, run: Show, trail: bytes, alice_uid: str
) -> None:
    cluster.answers("get auditsessions", out={"items": [_session(alice_uid, {"node": "node-1"})]})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1", "node-2")
    cluster.answers("exec", out=trail + end(trail))

    code, out, err = run("show", alice_uid)

    assert (code, err) == (0, "")
    assert "sleep 0.1" in out
    about = f"--about={alice_uid}"
    reads = [call for call in cluster.calls if call[0] == "exec"]
    place = ["--namespace=audit", "node-node-1", "--container=reader"]
    assert reads == [["exec", *place, "--", *PRINT, "/trail/trail.jsonl", about]]


def test_what_ran_before_the_request_showed_is_asked_for_by_its_entry(cluster: FakeCluster, run: Show) -> None:
    trail = late_trail(UNTAGGED)
    cluster.answers("get auditsessions", out={"items": [_session("uid-1", {"node": "n"})]})
    cluster.has_pods("file", "/trail/trail.jsonl", "n")
    own = b"".join(each for each in trail.splitlines(keepends=True) if b"uid-1" in each)
    cluster.answers("exec --about=uid-1", out=own + end(trail))
    cluster.answers("exec --about=b-7-1", out=trail + end(trail))

    code, out, err = run("show", "uid-1")

    assert (code, err) == (0, "")
    assert "── sh  exit 0" in out
    assert "── ls  " in out


def test_a_pvc_trail_has_the_nodes_name_in_its_file(
    cluster: FakeCluster, run: Show, trail: bytes, alice_uid: str
) -> None:
    cluster.answers("get auditsessions", out={"items": [_session(alice_uid, {"node": "node-1"})]})
    cluster.has_pods("pvc", "/trail/trail-$(NODE_NAME).jsonl", "node-1")
    cluster.answers("exec exectrail.reading.reader /trail/trail-node-1.jsonl", out=trail + end(trail))

    assert run("show", alice_uid)[0] == 0


def test_a_stdout_trail_is_read_from_the_enrichers_log_among_its_log_lines(
    cluster: FakeCluster, run: Show, trail: bytes, alice_uid: str
) -> None:
    cluster.answers("get auditsessions", out={"items": [_session(alice_uid, {"node": "node-1"})]})
    cluster.has_pods("stdout", "", "node-1")
    log_line = b'{"time":"t","level":"info","logger":"enricher","message":"hello"}\n'
    cluster.answers("logs --namespace=audit enricher-node-1 --container=enricher", out=log_line + trail + log_line)

    code, out, err = run("show", alice_uid)

    assert (code, err) == (0, "")
    assert "sleep 0.1" in out


def test_without_an_auditsession_all_nodes_are_searched_and_one_that_fails_is_only_reported(
    cluster: FakeCluster, run: Show, trail: bytes, alice_uid: str
) -> None:
    cluster.answers("get auditsessions", out=b'{"items": []}')
    cluster.has_pods("file", "/trail/trail.jsonl", "node-0", "node-1")
    cluster.answers("exec node-node-0", code=1, err="/trail/trail.jsonl: No such file or directory\n")
    cluster.answers("exec node-node-1", out=trail + end(trail))

    code, out, err = run("show", alice_uid)

    assert code == 3
    assert "sleep 0.1" in out
    assert "trail of node node-0: /trail/trail.jsonl: No such file" in err


def test_a_session_that_never_started_is_shown_from_the_api_alone(cluster: FakeCluster, run: Show) -> None:
    cluster.answers("get auditsessions", out={"items": [_session("uid-1", {"outcome": "never-started"})]})

    code, out, _ = run("show", "uid-1")

    assert code == 0
    assert "never-started" in out
    assert "no process was recorded" in out
    assert [call for call in cluster.calls if "component%3D" in call[-1] or call[0] == "exec"] == []


def test_the_trail_and_the_auditsession_complete_each_other(
    cluster: FakeCluster, run: Show, trail: bytes, alice_uid: str
) -> None:
    without_sessions = b"".join(line for line in trail.splitlines(keepends=True) if b'"kind":"session"' not in line)
    cluster.answers("get auditsessions", out={"items": [_session(alice_uid, {"node": "node-1", "exit": {"code": 3}})]})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec", out=without_sessions + end(trail))

    out = run("show", alice_uid)[1]

    assert "developers" in out
    assert "outcome    exit 3" in out
    assert "sleep 0.1" in out


def test_the_beginning_of_a_uid_is_looked_up_in_the_api(
    cluster: FakeCluster, run: Show, trail: bytes, alice_uid: str
) -> None:
    found = {"items": [_session(alice_uid, {"node": "node-1"})]}
    cluster.answers(f"get auditsessions metadata.name%3D{alice_uid}", out=found)
    cluster.answers("get auditsessions metadata.name%3D", out={"items": []})
    cluster.answers("get auditsessions", out={"items": [_session("other-session", {}), _session(alice_uid, {})]})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec", out=trail + end(trail))

    assert run("show", alice_uid[:8])[0] == 0


def test_an_unknown_uid_exits_with_1_and_the_nearest_of_the_api(
    cluster: FakeCluster, run: Show, trail: bytes, alice_uid: str
) -> None:
    cluster.answers("get auditsessions metadata.name%3D", out={"items": []})
    cluster.answers("get auditsessions", out={"items": [_session("0b5e7777-0000", {}), _session("1111111-0000", {})]})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec", out=trail + end(trail))

    code, out, err = run("show", "0b5e7778")

    assert (code, out) == (1, "")
    assert "the nearest are 0b5e7777-0000" in err


_REFUSED = """\
E1123 15:04:30.905111    8154 memcache.go:265] "Unhandled Error" err="couldn't get current server API group list"
The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?
"""
_LOOKUP = "Unable to connect to the server: dial tcp: lookup no.such.host on 10.0.0.2:53: no such host\n"


@pytest.mark.parametrize("words", [_REFUSED, _LOOKUP], ids=["refused", "unknown host"])
@pytest.mark.parametrize("command", [["sessions"], ["show", "uid-1"]], ids=lambda words: str(words[0]))
def test_an_unreachable_cluster_exits_with_2_and_the_address_tried(
    words: str, command: list[str], cluster: FakeCluster, run: Show
) -> None:
    cluster.answers("config view --minify", out=b"https://127.0.0.1:1")
    cluster.answers("get", code=1, err=words)

    code, out, err = run(*command)

    assert (code, out) == (2, "")
    assert err == f"exectrail: cluster unreachable at https://127.0.0.1:1: {words.splitlines()[-1]}\n"


@pytest.mark.parametrize(
    "words",
    [
        'Error from server: Get "https://10.0.0.5:10250/containerLogs/audit/x": dial tcp 10.0.0.5:10250: i/o timeout',
        "Error from server: error dialing backend: dial tcp 10.0.0.5:10250: connect: connection refused",
        "Error from server (Timeout): the server was unable to return a response in the time allotted",
        "error: unable to upgrade connection: error dialing backend: dial tcp 10.0.0.5:10250: i/o timeout",
        "error: Internal error occurred: error dialing backend: dial tcp: lookup node-1: no such host",
        "TimeoutError: timed out\ncommand terminated with exit code 1",
    ],
    ids=["kubelet silent", "kubelet refuses", "slow", "upgrade", "unknown node", "command"],
)
def test_a_cluster_that_answered_is_not_called_unreachable(words: str, cluster: FakeCluster) -> None:
    cluster.answers("config view --minify", out=b"https://127.0.0.1:1")
    cluster.answers("logs", code=1, err=f"{words}\n")

    with pytest.raises(KubectlError) as failed:
        Kubectl().ask("logs")

    assert str(failed.value) == words


def test_a_user_who_may_not_exec_into_the_reader_sees_the_missing_permission(
    cluster: FakeCluster, run: Show, alice_uid: str
) -> None:
    cluster.answers("get auditsessions", out={"items": []})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    forbidden = (
        'Error from server (Forbidden): pods "node-node-1" is forbidden: User "eve" cannot create '
        'resource "pods/exec" in API group "" in the namespace "audit"\n'
    )
    cluster.answers("exec", code=1, err=forbidden)

    code, _, err = run("show", alice_uid)

    assert code == 2
    assert 'User "eve" cannot create' in err
    remedy = (
        "kubectl create role exectrail-get-create-pods-exec --namespace=audit --verb=get,create --resource=pods/exec"
    )
    assert remedy in err


def test_each_missing_permission_is_a_role_of_another_name(cluster: FakeCluster, run: Show, alice_uid: str) -> None:
    cluster.answers("get auditsessions", out={"items": []})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cannot = 'User "eve" cannot get resource "pods" in API group "" in the namespace "audit"'
    cluster.answers("exec", code=1, err=f'Error from server (Forbidden): pods "node-node-1" is forbidden: {cannot}\n')

    _, _, err = run("show", alice_uid)

    assert "kubectl create role exectrail-get-pods --namespace=audit --verb=get --resource=pods, bound to you" in err


def test_a_session_whose_trail_cannot_be_read_shows_the_request_and_exits_with_2(
    cluster: FakeCluster, run: Show
) -> None:
    cluster.answers("get auditsessions", out={"items": [_session("uid-1", {"node": "node-gone"})]})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")

    code, out, err = run("show", "uid-1")

    assert code == 2
    assert "alice exec shop/web-0/app\n└── its trail could not be read" in out
    assert "no running pod of exectrail on node node-gone" in err


def test_a_user_who_may_not_list_auditsessions_still_gets_the_trail(
    cluster: FakeCluster, run: Show, trail: bytes, alice_uid: str
) -> None:
    forbidden = (
        'Error from server (Forbidden): auditsessions.exectrail.io is forbidden: User "eve" cannot list '
        'resource "auditsessions" in API group "exectrail.io" at the cluster scope\n'
    )
    cluster.answers("get auditsessions", code=1, err=forbidden)
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec", out=trail + end(trail))

    code, out, err = run("show", alice_uid)

    assert code == 0
    assert "sleep 0.1" in out
    remedy = "kubectl create clusterrole exectrail-list-auditsessions.exectrail.io --verb=list"
    assert f"{remedy} --resource=auditsessions.exectrail.io, bound to you" in err


def test_a_user_without_any_rights_reads_at_once_which_are_needed(cluster: FakeCluster, run: Show) -> None:
    forbidden = (
        'Error from server (Forbidden): {0} is forbidden: User "eve" cannot list resource "{0}" in API group "{1}" '
        "at the cluster scope\n"
    )
    cluster.hides_namespaces()
    cluster.answers("get auditsessions", code=1, err=forbidden.format("auditsessions", "exectrail.io"))
    cluster.answers("get pods", code=1, err=forbidden.format("pods", ""))

    code, _, err = run("sessions")

    assert code == 2
    assert "--resource=pods, bound to you" in err
    assert "--resource=auditsessions.exectrail.io, bound to you" in err


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ('error: the server doesn\'t have a resource type "auditsessions"', "Is exectrail installed in this cluster?"),
        ("error: You must be logged in to the server (Unauthorized)", "No valid credentials"),
        ('error: context "x" does not exist', 'context "x" does not exist'),
        ("", "failed without a word"),
        ("\x1b[2Jerror: odd", r"\x1b[2Jerror: odd"),
    ],
    ids=["not installed", "logged out", "no context", "silent", "escape sequence"],
)
def test_kubectls_words_come_with_what_to_do(words: str, remedy: str, cluster: FakeCluster, run: Show) -> None:
    cluster.answers("get auditsessions", code=1, err=words)

    code, out, err = run("sessions")

    assert (code, out) == (2, "")
    assert remedy in err


def test_a_cluster_without_exectrails_pods_exits_with_2_and_the_label(cluster: FakeCluster, run: Show) -> None:
    cluster.answers("get auditsessions", out={"items": []})
    cluster.has_pods("file", "")

    code, _, err = run("show", "uid-1")

    assert code == 2
    assert "app.kubernetes.io/name=exectrail" in err


def test_where_no_reader_runs_an_enrichers_log_is_not_taken_for_the_trail(cluster: FakeCluster, run: Show) -> None:
    cluster.answers("get auditsessions", out={"items": []})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1", pending=["node-node-1"])

    code, _, err = run("untracked")

    assert code == 2
    assert "no running pod of exectrail" in err
    assert [call for call in cluster.calls if call[0] == "logs"] == []


def test_the_log_of_an_enricher_of_an_older_chart_is_read_where_its_nodes_other_pod_says_so(
    cluster: FakeCluster, run: Show, trail: bytes
) -> None:
    """Else an upgrade would leave out nodes until their enrichers are replaced."""
    cluster.has_pods("stdout", "", "node-1", "node-2", silent=["enricher-node-2"])
    cluster.answers("logs", out=trail)

    assert run("untracked")[0] == 0
    assert [call[2] for call in cluster.calls if call[0] == "logs"] == ["enricher-node-1", "enricher-node-2"]


@pytest.mark.parametrize(("mode", "read", "asleep"), [("file", "exec", "node"), ("stdout", "logs", "enricher")])
def test_a_node_whose_pod_does_not_run_is_reported(
    mode: str, read: str, asleep: str, cluster: FakeCluster, run: Show, trail: bytes
) -> None:
    cluster.has_pods(mode, "/trail/trail.jsonl", "node-1", "node-2", pending=[f"{asleep}-node-2"])
    cluster.answers(read, out=trail + end(trail) if mode == "file" else trail)

    code, _, err = run("untracked")

    assert code == 3
    assert f"trail of node node-2: pod audit/{asleep}-node-2 does not run: it is Pending" in err


@pytest.mark.parametrize("command", ["/nonexistent/kubectl", "'/nonexistent/kubectl --context x"])
def test_without_kubectl_the_remedy_is_named(command: str, run: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECTL", command)

    code, _, err = run("sessions")

    assert code == 2
    assert f"cannot run {command}: No such file or directory" in err
    assert "a trail can be given as FILE" in err


def test_an_answer_that_is_no_list_exits_with_2(cluster: FakeCluster, run: Show) -> None:
    cluster.answers("get auditsessions", out=b"Please enter Username: ")

    assert run("sessions")[0] == 2


def test_much_error_output_does_not_stop_kubectl(cluster: FakeCluster) -> None:
    cluster.answers("logs", code=1, out=b"line\n" * 50_000, err="x" * 200_000)

    with pytest.raises(KubectlError, match=r"^x{200000}$"), Kubectl().stream("logs") as output:
        assert len(output.read()) == 250_000


def test_leaving_a_stream_by_an_error_ends_kubectl(cluster: FakeCluster) -> None:
    (cluster.folder / "kubectl").write_text("#!/bin/sh\necho started\nexec sleep 600\n")

    def interrupted() -> None:
        with Kubectl().stream("logs") as output:
            assert output.readline() == b"started\n"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_a_stream_that_ended_before_the_trail_is_said_and_exits_with_3(
    cluster: FakeCluster, run: Show, trail: bytes, alice_uid: str
) -> None:
    cluster.answers("get auditsessions", out={"items": [_session(alice_uid, {"node": "node-1"})]})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec", out=b"".join(trail.splitlines(keepends=True)[:8]))

    code, out, err = run("show", alice_uid)

    assert code == 3
    assert "id  pid 4712" in out
    assert "trail of node node-1: the connection ended before the trail did" in err


def test_a_session_whose_reading_was_cut_is_followed_from_there_on(
    cluster: FakeCluster, run: Show, trail: bytes, alice_uid: str
) -> None:
    lines = trail.splitlines(keepends=True)
    cluster.answers("get auditsessions", out={"items": [_session(alice_uid, {"node": "node-1"})]})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers(f"exec --about={alice_uid}", out=b"".join(lines[:5]))
    cluster.answers("exec --follow --after=4", out=b'{"kind":"follows","after":4}\n' + b"".join(lines[5:]))

    code, out, err = run("show", alice_uid, "--follow")

    assert code == 3
    assert "exec  ls /" in out
    assert "session ended" in out
    assert "the connection ended before the trail did; try again" in err


def test_a_log_without_the_end_of_a_session_that_ended_exits_with_3(
    cluster: FakeCluster, run: Show, trail: bytes, alice_uid: str
) -> None:
    ended: dict[str, object] = {"node": "node-1", "outcome": "completed"}
    cluster.answers("get auditsessions", out={"items": [_session(alice_uid, ended)]})
    cluster.has_pods("stdout", "", "node-1")
    cluster.answers("logs", out=b"".join(trail.splitlines(keepends=True)[:8]))

    code, _, err = run("show", alice_uid)

    assert code == 3
    assert "the session has ended, but its end is not in what was read" in err


@pytest.mark.parametrize(
    ("command", "only"), [("untracked", "--only=untracked"), ("summary", "--only=execs")], ids=["untracked", "summary"]
)
def test_what_stands_out_is_read_from_all_nodes(
    command: str, only: str, cluster: FakeCluster, run: Show, trail: bytes
) -> None:
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1", "node-2")
    cluster.answers(f"exec {only}", out=trail + end(trail))

    code, _, err = run(command)

    assert (code, len([call for call in cluster.calls if call[0] == "exec"])) == (0, 2)
    assert "missing" not in err


@pytest.mark.parametrize("command", ["untracked", "summary"])
def test_since_is_passed_on_to_what_reads_a_trail(command: str, cluster: FakeCluster, run: Show, trail: bytes) -> None:
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec --since=2026-11-23T14:00:00+00:00", out=trail + end(trail))

    assert run(command, "--since", "2026-11-23T14:00Z")[0] == 0


@pytest.mark.parametrize("command", ["untracked", "summary"])
def test_since_is_passed_on_to_what_reads_a_log_with_a_minute_for_the_clocks(
    command: str, cluster: FakeCluster, run: Show, trail: bytes
) -> None:
    cluster.has_pods("stdout", "", "node-1")
    cluster.answers("logs --since-time=2026-11-23T13:59:00+00:00", out=trail)

    assert run(command, "--since", "2026-11-23T14:00Z")[0] == 0


def test_where_something_came_in_its_node_is_read_to_see_whether_that_was_earlier(
    cluster: FakeCluster, run: Show, alice_trail: list[Record]
) -> None:
    entered, goes_on = (
        msgspec.structs.replace(record, origin="untracked", timestamp=f"2026-11-23T{time}:00.000Z")
        for record, time in ((alice_trail[1], "13:00"), (alice_trail[4], "15:00"))
    )
    recent, whole = encode(goes_on), encode(entered) + encode(goes_on)
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1", "node-2")
    cluster.answers("exec node-node-1 --since", out=recent + end(recent))
    cluster.answers("exec node-node-2 --since", out=end(recent))
    cluster.answers("exec node-node-1", out=whole + end(whole))

    code, out, _ = run("untracked", "--since", "2026-11-23T14:00Z")

    assert (code, out) == (0, "")


def test_an_entry_is_shown_also_where_its_beginning_cannot_be_looked_for(
    cluster: FakeCluster, run: Show, alice_trail: list[Record]
) -> None:
    recent = encode(msgspec.structs.replace(alice_trail[4], origin="untracked"))
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec --since", out=recent + end(recent))
    cluster.answers("exec", code=1, err="error: connection refused\n")

    code, out, err = run("untracked", "--since", "2026-11-23T14:00Z")

    assert (code, "$ id" in out) == (1, True)
    assert "connection refused" in err


@pytest.mark.parametrize(("command", "code", "shown"), [("untracked", 1, "$ id"), ("summary", 2, "1 exec,")])
def test_what_was_read_before_the_connection_was_lost_is_shown(
    command: str, code: int, shown: str, cluster: FakeCluster, run: Show, alice_trail: list[Record]
) -> None:
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    entered = encode(msgspec.structs.replace(alice_trail[4], origin="untracked"))
    cluster.answers("exec", code=1, out=entered, err="error: connection lost\n")

    found = run(command)

    assert (found[0], shown in found[1]) == (code, True)
    assert "connection lost" in found[2]


_ASKS = """\
#!/bin/sh
printf 'To sign in, open https://login.example/device and enter the code ABC-123\\nWaiting: ' >&2
read answer < "$(dirname "$0")/answer"
printf '{"items": []}'
"""


def test_a_login_prompt_of_a_plugin_reaches_the_person_at_once(cluster: FakeCluster) -> None:
    (cluster.folder / "kubectl").write_text(_ASKS)
    os.mkfifo(cluster.folder / "answer")
    with on_terminal("sessions", "--release-namespace=audit", stdout=False, stderr=True) as terminal:
        shown = terminal.waits_for("Waiting: ")
        assert "enter the code ABC-123\n" in shown

        (cluster.folder / "answer").write_text("done\n")

        assert "exectrail: no sessions" in terminal.rest()
        assert terminal.process.wait() == 0


def test_an_error_on_a_terminal_is_said_once_and_with_its_remedy(cluster: FakeCluster) -> None:
    cluster.answers("get", code=1, err="Warning: old\nerror: You must be logged in to the server (Unauthorized)\n")
    with on_terminal("sessions", stdout=False, stderr=True) as terminal:
        shown = terminal.rest()

        assert terminal.process.wait() == 2
    assert shown.startswith("Warning: old\nexectrail: error: You must be logged in")
    assert shown.count("logged in") == 1
    assert "No valid credentials" in shown


# ---- which namespace is the release's: anyone who may make pods can label them ----

READS: list[list[str]] = [
    ["sessions"],
    ["show", ALICE],
    ["summary"],
    ["untracked"],
    ["follow"],
    ["report", ALICE, "--html=-"],
    ["report", "--limit=1", "--html=-"],
]
NONE: dict[str, object] = {"items": []}
ONLY_AUDIT = "--release-namespace=audit"


def forged_session(uid: str) -> dict[str, object]:
    session = _session(uid, {"phase": "Closed", "outcome": "completed"}, "mallory")
    return session | {"metadata": {"name": uid, "namespace": "team"}}


@pytest.mark.parametrize("command", READS, ids=lambda words: " ".join(words[:2]))
@pytest.mark.parametrize(
    ("pods", "sessions"),
    [(["audit", "team"], []), (["team"], ["audit"]), ([], ["audit", "team"]), (["team", "audit"], ["audit", "team"])],
)
def test_what_may_be_forged_is_not_read_but_named_with_the_option_that_chooses(
    command: list[str], pods: list[str], sessions: list[str], cluster: FakeCluster, run: Show
) -> None:
    cluster.has_namespaces(pods, sessions)

    code, out, err = run(*command)

    assert (code, out) == (2, "")
    first, second = dict.fromkeys([*pods, *sessions])
    assert f"are in several namespaces: {first}, {second}. Only one is the release's" in err
    assert "name the right one by --release-namespace" in err
    assert [call for call in cluster.calls if call[0] in ("exec", "logs")] == []


def test_of_many_namespaces_some_are_named(cluster: FakeCluster, run: Show) -> None:
    cluster.has_namespaces([f"team-{number}" for number in range(1000)])

    assert "namespaces: team-0, team-1, team-2, team-3, team-4 and more. Only" in run("sessions")[2]
    assert len(cluster.calls) < 20


@pytest.mark.parametrize(
    "command", [each for each in READS if each[0] != "follow"], ids=lambda words: " ".join(words[:2])
)
def test_the_option_reads_one_namespace_and_asks_of_no_other(
    command: list[str], cluster: FakeCluster, run: Show, trail: bytes
) -> None:
    cluster.has_namespaces(["team", "audit"], ["team", "audit"])
    cluster.answers("get /namespaces/audit/auditsessions", out={"items": [_session(ALICE, {"node": "node-1"})]})
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec --namespace=audit", out=trail + end(trail))

    code, out, _ = run(*command, ONLY_AUDIT)

    assert (code, "alice" in out or command == ["untracked"]) == (0, True)
    asked = [call[-1] for call in cluster.calls if "--raw" in call]
    assert asked
    assert [path for path in asked if "/namespaces/audit/" not in path] == []


def test_without_the_option_the_sessions_of_the_pods_namespace_are_listed(cluster: FakeCluster, run: Show) -> None:
    cluster.answers("get /namespaces/audit/auditsessions", out={"items": [_session("uid-1", {})]})
    cluster.answers("get auditsessions", out={"items": [forged_session("uid-2")]})

    assert run("sessions", "-o", "name")[:2] == (0, "uid-1\n")


def test_a_release_that_is_gone_still_has_its_sessions(cluster: FakeCluster, run: Show) -> None:
    cluster.has_namespaces([], ["audit"])
    cluster.answers("get /namespaces/audit/auditsessions", out={"items": [_session("uid-1", {})]})

    assert run("sessions", "-o", "name")[:2] == (0, "uid-1\n")


def test_where_there_is_nothing_of_exectrail_it_is_said(cluster: FakeCluster, run: Show) -> None:
    cluster.has_namespaces()

    assert run("sessions") == (
        2,
        "",
        "exectrail: no pod of exectrail is in this cluster (label app.kubernetes.io/name=exectrail)\n",
    )


def test_a_namespace_is_no_way_to_another_path(cluster: FakeCluster, run: Show) -> None:
    cluster.answers("get /namespaces/..%2F..%2Fsecrets/auditsessions", out={"items": []})

    assert run("sessions", "--release-namespace=../../secrets")[0] == 0


# ---- two pods of one node ----


def beside(cluster: FakeCluster, component: str, **metadata: str) -> None:
    """On node-1 another pod of this component runs, a day younger."""
    path = cluster.folder / ("answer-0" if component == "node" else "answer-1")
    pods = json.loads(path.read_text())
    (first,) = pods["items"]
    first["metadata"]["creationTimestamp"] = "2026-11-22T00:00:00Z"
    second = json.loads(json.dumps(first))
    second["metadata"] |= {"name": "another", "creationTimestamp": "2026-11-23T00:00:00Z"} | metadata
    path.write_text(json.dumps({"items": [second, first]}))


@pytest.mark.parametrize(("mode", "component"), [("file", "node"), ("stdout", "enricher")])
def test_of_two_pods_of_a_node_the_oldest_is_read_and_the_other_is_named(
    mode: str, component: str, cluster: FakeCluster, run: Show, trail: bytes
) -> None:
    cluster.has_pods(mode, "/trail/trail.jsonl", "node-1")
    beside(cluster, component)
    cluster.answers(f"--namespace=audit {component}-node-1", out=trail + (end(trail) if mode == "file" else b""))

    cluster.answers("get auditsessions", out=NONE)

    code, out, err = run("show", ALICE)

    assert (code, "sleep 0.1" in out) == (3, True)
    said = f"trail of node node-1: pod audit/another runs there beside audit/{component}-node-1, which alone is read"
    assert said in err


def test_a_pod_that_ends_gives_way_to_its_successor(cluster: FakeCluster, run: Show, trail: bytes) -> None:
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    beside(cluster, "node")
    cluster.changes_pods(
        b'"creationTimestamp": "2026-11-22',
        b'"deletionTimestamp": "2026-11-23T00:00:01Z", "creationTimestamp": "2026-11-22',
    )
    cluster.answers("get auditsessions", out=NONE)
    cluster.answers("exec another", out=trail + end(trail))

    code, out, err = run("show", ALICE)

    assert (code, "sleep 0.1" in out, err) == (0, True, "")
