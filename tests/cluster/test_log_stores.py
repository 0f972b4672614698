"""The recipes in docs/tasks/log-stores: the cluster's log files, shipped to a real Loki, and what it answers."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from exectrail.contracts.record import Record, decode

from .cluster import Cluster, eventually
from .loki import Loki, running
from .node.build import go_build
from .node.components import LOKI_BUILD
from .node.paths import REPOSITORY
from .product import NAMESPACE, Release, looked_into
from .sessions import Person, enter_by_the_runtime
from .shipper import Line, read, recipe, streams

# A session of some processes, one of which has an argument longer than what a container runtime leaves in one piece.
_COMMAND = "id; ls / | head -2; /bin/true $(head -c 20000 /dev/zero | tr '\\0' x); exit 3"
_QUOTA = 20
_TWO_HOURS = 7200 * 1_000_000_000
_VALUES = ("logs.mode=stdout", f"enricher.quota={_QUOTA}")
pytestmark = pytest.mark.values(*_VALUES)
_BURST = f"for i in $(seq {20 * _QUOTA}); do /bin/true; done"

_PAGE = (REPOSITORY / "docs/tasks/log-stores.md").read_text()
QUERIES = dict(re.findall(r"^### (.+)\n(?:(?!#|```).*\n)*```logql\n(.+)\n```", _PAGE, re.MULTILINE))
"""By heading."""
ALERTS = {
    rule["alert"]: rule["expr"]
    for group in yaml.safe_load((REPOSITORY / "docs/tasks/log-stores/loki-rules.yaml").read_text())["groups"]
    for rule in group["rules"]
}


class Shipped(msgspec.Struct):
    """What happened, what the container wrote about it, and the store that has it."""

    uid: str
    namespace: str
    lines: list[Line]
    loki: Loki

    @property
    def records(self) -> list[Record]:
        return [decode(line.text) for line in self.lines]

    def those(self, wanted: Callable[[Record], object]) -> list[str]:
        """The lines whose records are wanted."""
        return [line.text for line in self.lines if wanted(decode(line.text))]

    def query(self, heading: str) -> str:
        """A query of the docs, about this."""
        names = {"UID": self.uid, "USER": "alice", "NAMESPACE": self.namespace, "POD": "web"}
        return re.sub(rf'"({"|".join(names)})"', lambda found: f'"{names[found[1]]}"', QUERIES[heading])

    def answer(self, heading: str) -> list[str]:
        return self.loki.lines(self.query(heading))

    def numbers(self, query: str) -> dict[str, float]:
        # The alerts leave time to collectors that are behind.
        return self.loki.numbers(query.replace(" offset 30m", ""))


@pytest.fixture(scope="module")
def shipped(release: Release, recorded: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    """A session, an entry past the API server and a burst over the quota, in mode `stdout`, and then in Loki."""
    with running(go_build(LOKI_BUILD) / "loki", tmp_path_factory.mktemp("loki")) as ready:
        release.with_values(*_VALUES)
        alice = Person(Cluster(), Cluster("alice"))
        looked_into(f"{recorded}/web/app")
        inside = ("exec", "-n", recorded, "web", "-c", "app", "--", "sh", "-c")
        done, session = alice.does(*inside, _COMMAND, check=False)
        assert done.returncode == 3, done.stderr
        uid = session["metadata"]["name"]
        enter_by_the_runtime(alice.admin, recorded, "id", "--user")
        _, burst = alice.does(*inside, _BURST)
        lines = eventually(lambda: _complete(uid, burst["metadata"]["name"]))
        loki = ready()
        loki.push(streams(recipe(), lines))
        yield Shipped(uid, recorded, lines, loki)


def _complete(*uids: str) -> list[Line]:
    """The container's lines once these sessions have ended, and the node has said what it lost."""
    lines = read(recipe())
    records = [decode(line.text) for line in lines]
    assert {record.request_uid for record in records if record.phase == "end"} >= set(uids)
    assert any(record.origin == "untracked" for record in records)
    assert any(record.kind == "gap" and record.reason is None for record in records)
    return lines


def test_standard_output_is_the_trail_and_nothing_else(shipped: Shipped) -> None:
    numbers = [record.seq for record in shipped.records]

    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    log = Cluster().kubectl("logs", "-n", NAMESPACE, "ds/exectrail-enricher").stdout
    assert all(json.loads(line) for line in log.splitlines())  # standard error is in it as well


def test_a_line_that_the_runtime_has_cut_is_whole_again(shipped: Shipped) -> None:
    (written,) = [file.read_bytes() for file in Path("/").glob(recipe().files.lstrip("/"))]
    assert b" stdout P " in written

    (line,) = shipped.those(lambda record: record.argv and len(record.argv[-1]) == 20_000)

    assert line in shipped.answer("What happened in a session?")


def test_a_requests_uid_returns_the_whole_session(shipped: Shipped) -> None:
    expected = shipped.those(lambda record: record.request_uid == shipped.uid)

    found = shipped.answer("What happened in a session?")

    assert found == expected
    # A selection of the trail: that nothing of it is missing cannot be seen, which the exit code says.
    done = Cluster().exectrail("show", shipped.uid, "-", stdin="".join(f"{line}\n" for line in found), check=False)
    shown = done.stdout
    assert done.returncode in {0, 3}
    assert shown == Cluster().exectrail("show", shipped.uid).stdout
    for words in ("alice", "exit 3", "├── id", "ls /", "head -2"):
        assert words in shown


def test_the_command_tells_of_loki_what_it_tells_of_the_lines_themselves(shipped: Shipped) -> None:
    lines = "".join(f"{line.text}\n" for line in shipped.lines)
    # Of another pod, which chose its label `app` itself; so old that no other test here asks for it.
    forged = shipped.those(lambda record: record.kind == "session" and record.user == "alice")[0].replace(
        "alice", "eve"
    )
    labels = {"app": "exectrail", "pod": "mallory"}
    shipped.loki.push([{"stream": labels, "values": [[str(shipped.lines[0].written - _TWO_HOURS), forged]]}])

    commands = (("sessions", "-o", "json"), ("untracked",), ("summary",), ("show", shipped.uid))
    for command in (*commands, ("show", shipped.uid[:8], "--raw")):
        of_lines = Cluster().exectrail(*command, "-", stdin=lines, check=False)
        of_loki = Cluster().exectrail(*command, "--loki", shipped.loki.url, check=False)

        assert of_loki.stdout == of_lines.stdout, of_loki.stderr
        assert of_loki.returncode == of_lines.returncode, of_loki.stderr
        assert of_loki.stdout and "mallory" not in of_loki.stdout


def test_a_users_commands(shipped: Shipped) -> None:
    found = shipped.answer("What has a user run?")

    assert {f"{shipped.namespace}/web id", f"{shipped.namespace}/web ls /"} <= set(found)
    assert len(found) == len(shipped.those(lambda record: record.kind == "exec" and record.user == "alice"))


def test_users_with_sessions_are_found(shipped: Shipped) -> None:
    found = shipped.answer("Who had sessions?")

    begun = shipped.those(lambda each: each.kind == "session" and each.phase == "start")
    assert len(found) == len(begun)
    alices = [line for line in found if line.startswith(f"alice {shipped.namespace}/web ")]
    assert [line for line in alices if "exit 3" in line]
    assert [line for line in alices if "seq" in line]


def test_what_ran_in_a_pod(shipped: Shipped) -> None:
    ran = shipped.those(lambda each: each.kind == "exec" and each.resource and each.resource.pod == "web")

    assert shipped.answer("What ran in a pod?") == ran
    assert len(ran) > 5


def test_entries_past_the_api_server_are_found(shipped: Shipped) -> None:
    (line,) = shipped.answer("Who came in past the API server?")

    assert decode(line).argv == ["id", "--user"]
    assert shipped.numbers(ALERTS["ExectrailUntrackedEntry"]) == {"node1": 1}
    assert shipped.numbers(ALERTS["ExectrailForgedSession"]) == {}


def test_gaps_and_what_was_lost_in_them(shipped: Shipped) -> None:
    gaps = [record for record in shipped.records if record.kind == "gap"]

    assert shipped.answer("Where has the trail gaps?") == shipped.those(lambda record: record.kind == "gap")
    lost = sum((record.lost or {}).get("throttled", 0) for record in gaps if record.reason is None)
    assert lost > 0
    assert shipped.numbers(shipped.query("How many records were lost?")) == {"node1": lost}
    assert shipped.numbers(ALERTS["ExectrailGap"]) == {"node1": len(gaps)}


def test_lines_that_did_not_arrive_are_missed(shipped: Shipped) -> None:
    missing = QUERIES["How many lines did not arrive?"]
    assert shipped.numbers(missing) == {"node1": 0}
    assert shipped.numbers(ALERTS["ExectrailLinesMissing"]) == {}

    lossy = msgspec.structs.replace(recipe(), fixed={"app": "lossy"})
    shipped.loki.push(streams(lossy, [*shipped.lines[:3], *shipped.lines[5:]]))

    assert shipped.numbers(missing.replace("exectrail", "lossy")) == {"node1": 2}
    assert shipped.numbers(ALERTS["ExectrailLinesMissing"].replace("exectrail", "lossy")) == {"node1": 2}


def test_every_query_and_alert_of_the_docs_is_run_here() -> None:
    here = Path(__file__).read_text()

    assert QUERIES and ALERTS
    assert [name for name in (*QUERIES, *ALERTS) if f'"{name}"' not in here] == []
