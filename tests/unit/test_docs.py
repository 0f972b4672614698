"""The documentation tells all there is, and nothing else: what drifts from the code fails here."""

import argparse
import ast
import importlib
import inspect
import os
import re
import sys
import typing
from collections.abc import Iterator
from functools import partial, reduce
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram, Metric

from enricher.audit.auditlog import AuditLogSource
from enricher.audit.netlink import NetlinkSource
from enricher.config import add_flags, add_source_flags
from enricher.correlate.sessions import Rejection
from enricher.metrics import AgentCollector
from enricher.sensors.bpf.sensor import BpfSensor
from enricher.sensors.proc.sensor import ProcSensor
from enricher.sensors.procconn.sensor import ProcconnSensor
from enricher.status.losses import Losses
from enricher.status.snapshot import Snapshot
from enricher.tally import Tally
from exectrail.cli import Subcommand
from exectrail.contracts import record
from exectrail.contracts.session import VERBS
from webhook.certificates import pair

REPO = Path(__file__).parents[2]
DOCS = REPO / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *sorted(REPO.glob("*.md"))]
PARTS = ("exectrail", "webhook", "enricher", "profiles")
PROGRAMS = (
    "exectrail.cli",
    "webhook.__main__",
    "webhook.offline.review",
    "enricher.__main__",
    "enricher.support.capture",
    "enricher.support.replay",
    "profiles.controller.__main__",
    "profiles.controller.canary",
    "profiles.installer.__main__",
)


def page(name: str) -> str:
    return (DOCS / name).read_text()


def path_in_repo(file: Path) -> str:
    """A page's path in the repository."""
    return str(file.relative_to(REPO))


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next of its level or above."""
    level = heading.partition(" ")[0]
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"no heading {heading!r}"
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows."""
    lines = (line for line in text.splitlines() if line.startswith("|") and not line.startswith("|-"))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def named(text: str) -> set[str]:
    """What the first cells of tables name in backticks."""
    return {name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[0])}


# ---- records ----


def fields(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    """Every key of a struct's JSON; those of nested structs by their paths, which stand for a required struct's own."""
    for field in msgspec.structs.fields(struct):
        name = prefix + field.encode_name
        members = typing.get_args(field.type) or (field.type,)
        nested = [each for each in members if isinstance(each, type) and issubclass(each, msgspec.Struct)]
        if not nested or len(members) > 1:
            yield name
        for each in nested:
            yield from fields(each, f"{name}.")


def assigned_in(folder: Path) -> set[str]:
    """Names of attributes that the code sets, and of keywords that it passes."""
    found: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif isinstance(node, ast.keyword) and node.arg:
                found.add(node.arg)
    return found


def test_every_field_of_a_record_is_in_the_reference_and_no_other() -> None:
    assert named(section(page("reference/records.md"), "## Fields")) == set(fields(record.Record))


def test_fields_that_nobody_writes_are_marked_so() -> None:
    marked = {row[0].strip("`") for row in rows(page("reference/records.md")) if "not written yet" in row[-1]}
    written = assigned_in(REPO / "enricher")
    assert marked == {field.encode_name for field in msgspec.structs.fields(record.Record) if field.name not in written}


@pytest.mark.parametrize(
    ("heading", "choices"),
    [
        ("## What kinds of records are there?", record.Kind),
        ("## Where does a process come from?", record.Origin | record.State | record.Outcome),
        ("## Why is a UID forged?", Rejection),
    ],
    ids=["kinds", "origins, states and outcomes", "rejections"],
)
def test_every_choice_of_a_field_is_explained(heading: str, choices: object) -> None:
    members = typing.get_args(choices)
    words = {word for each in members for word in (typing.get_args(each) or (each,))}
    headers = {"kind", "origin", "state", "outcome", "reason"}
    assert named(section(page("reference/records.md"), heading)) - headers == words


def test_the_sample_is_a_record() -> None:
    sample = page("reference/records.md").partition("```json\n")[2].partition("```")[0]
    assert record.decode(sample.replace("\n", " ")).kind == "exec"


# ---- what is recorded ----

SENSORS = (BpfSensor, ProcconnSensor, ProcSensor)
"""The best first."""


def test_every_sensor_is_explained_in_the_order_in_which_they_are_tried() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    (choices,) = [action.choices for action in parser._actions if action.dest == "sensor"]
    names = [sensor.name for sensor in SENSORS]
    assert choices == ("auto", *names)
    table = rows(section(page("reference/sensors.md"), "## Which sensors are there?"))
    assert [row[0].strip("`") for row in table[1 : 1 + len(names)]] == names


def test_the_figure_names_every_sensor_audit_source_and_storage() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    add_source_flags(parser)
    choices = {
        action.dest: [each for each in action.choices or () if each not in {"auto", "none"}]
        for action in parser._actions
    }
    schema = msgspec.json.decode((REPO / "chart/values.schema.json").read_bytes())
    modes = schema["properties"]["logs"]["properties"]["mode"]["enum"]
    figure = (DOCS / "concepts/data-flow.svg").read_text()
    for names in (choices["sensor"], choices["audit_source"], modes):
        assert f">{' | '.join(names)}<" in figure


def test_what_a_sensor_is_weak_in_is_documented() -> None:
    table = rows(section(page("reference/sensors.md"), "## What is weak where?"))[1:]
    for sensor in SENSORS:
        told = {field for row in table if row[0].strip("`") == sensor.name for field in re.findall(r"`(\w+)`", row[1])}
        assert set(sensor.weak) <= told, sensor.name


def test_every_origin_says_how_it_is_recognised() -> None:
    told = named(section(page("concepts/what-is-recorded.md"), "## Where does a process come from?"))
    assert told - {"origin"} == set(typing.get_args(record.Origin))


def causes_of_loss() -> set[str]:
    """What an agent says was lost on the way to it, and the names that it counts under what it gives up itself."""
    audit = SimpleNamespace(dropped=int, unparsable=0)
    netlink = SimpleNamespace(_tail=None, _audit=audit, _dropped=0, _drops_settled=0, _lost=0, _unparsable=0)
    auditlog = SimpleNamespace(_tail=audit)
    from_sources = NetlinkSource.lost(netlink) | AuditLogSource.lost(auditlog)  # type: ignore[arg-type] # as they ask
    nothing: typing.Any = SimpleNamespace()  # as much of each part as is asked
    source: typing.Any = SimpleNamespace(lost=lambda: from_sources)
    kernel: typing.Any = SimpleNamespace(lost=0)
    nothing_lost: typing.Any = SimpleNamespace(
        _program=SimpleNamespace(lost=int, undecodable=0, without_pid=int), _connector=SimpleNamespace(dropped=int)
    )
    sensors: list[typing.Any] = [SimpleNamespace(lost=partial(sensor.lost, nothing_lost)) for sensor in SENSORS]
    asked = {cause for each in sensors for cause in Losses(each, source, kernel, nothing).before_reading()}
    code = "".join(file.read_text() for file in (REPO / "enricher").rglob("*.py"))
    by_sensors = set(re.findall(r"Dropped\(\"\w+\", \"([\w-]+)\"\)", code)) - {"not-recorded"}
    return asked | {"undecided"} | by_sensors | set(re.findall(r"tally\.lost\[\"([\w-]+)\"\]", code))


def test_every_cause_of_loss_is_explained_and_no_other() -> None:
    assert named(section(page("tasks/troubleshooting.md"), "## What was lost?")) == causes_of_loss()


# ---- values ----


def values(node: yaml.MappingNode, lines: list[str], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, default and description of everything that has a description (`# --`)."""
    for key, value in node.value:
        here = f"{path}.{key.value}".lstrip(".")
        if text := description(lines, key.start_mark.line):
            default = msgspec.json.encode(yaml.safe_load(yaml.serialize(value))).decode()
            yield here, default, text
        elif isinstance(value, yaml.MappingNode):
            yield from values(value, lines, here)
        else:
            pytest.fail(f"chart/values.yaml: {here} has no description (a comment that begins with `# --`)")


def description(lines: list[str], at: int) -> str:
    words: list[str] = []
    while at > 0 and lines[at - 1].lstrip().startswith("#"):
        at -= 1
        words.insert(0, lines[at].strip().lstrip("# "))
    text = " ".join(words)
    return text.removeprefix("-- ") if text.startswith("-- ") else ""


def values_page() -> str:
    text = (REPO / "chart/values.yaml").read_text()
    tree = yaml.compose(text)
    assert isinstance(tree, yaml.MappingNode)
    table = "\n".join(f"| `{path}` | `{default}` | {told} |" for path, default, told in values(tree, text.splitlines()))
    return (
        "# All values\n\n"
        "Made from `chart/values.yaml`, do not edit: `WRITE_GOLDEN=1 make test-unit` makes it anew.\n"
        "Which of them matter most is in [install.md](../tasks/install.md#which-values-matter).\n\n"
        f"| value | default | meaning |\n|---|---|---|\n{table}\n"
    )


def test_the_reference_of_values_is_current() -> None:
    expected = values_page()
    if os.environ.get("WRITE_GOLDEN") == "1":
        (DOCS / "reference/values.md").write_text(expected)
    assert page("reference/values.md") == expected, "make it anew: WRITE_GOLDEN=1 make test-unit"


@pytest.mark.parametrize("file", PAGES, ids=path_in_repo)
def test_every_value_that_a_page_names_exists(file: Path) -> None:
    tops = yaml.safe_load((REPO / "chart/values.yaml").read_text()).keys()
    known = set(re.findall(r"^\| `([^`]+)`", values_page(), re.MULTILINE))
    sections = {path.rpartition(".")[0] for path in known}
    others = {"node.name", "tls.crt", "tls.key"}  # a record's field, and files
    asked = set(re.findall(r"(?:`|--set )(\w+(?:\.\w+)+)(?=[`:=])", file.read_text()))
    assert {name for name in asked if name.partition(".")[0] in tops} <= known | sections | others


DEFAULTS = (
    re.compile(r"`(\w+(?:\.\w+)+)`, default ([\w.:/-]*\w)"),
    re.compile(r"`(\w+(?:\.\w+)+)[:=] ?([^`]+)` \(the\s+default\b"),
)
"""How a page names a value's default: (`logs.holdMs`, default 500), and `logs.mode: file` (the default)."""


def test_every_default_of_a_value_that_a_page_names_is_the_charts() -> None:
    text = yaml.safe_load((REPO / "chart/values.yaml").read_text())
    found = [each for file in PAGES for pattern in DEFAULTS for each in pattern.findall(file.read_text())]
    assert len(found) >= 4
    for path, said in found:
        assert said == str(reduce(dict.__getitem__, path.split("."), text)), path


# ---- metrics ----


def exposed(families: list[Metric]) -> set[str]:
    """The names as Prometheus sees them (OpenMetrics suffixes)."""
    suffix = {"counter": "_total", "info": "_info"}
    return {family.name + suffix.get(family.type, "") for family in families if family.name.startswith("exectrail_")}


def of_module(name: str) -> set[str]:
    module = importlib.import_module(name)
    metrics = [value for value in vars(module).values() if isinstance(value, Counter | Gauge | Histogram)]
    return {name for metric in metrics for name in exposed(list(metric.describe()))}


def of_enricher() -> list[Metric]:
    status: typing.Any = SimpleNamespace(snapshot=Snapshot(tally=Tally(), filter_hits={}))
    reporter: typing.Any = SimpleNamespace(waiting=0, dropped=0)
    mirror: typing.Any = SimpleNamespace(resource="pods", age=float)
    return list(AgentCollector(status, reporter, [mirror]).collect())


@pytest.mark.parametrize(
    ("heading", "metrics"),
    [
        ("## Webhook", of_module("webhook.metrics")),
        ("## Enricher", exposed(of_enricher())),
        ("## Controller", of_module("profiles.controller.metrics")),
        ("## Installer", of_module("profiles.installer.metrics")),
    ],
    ids=["webhook", "enricher", "controller", "installer"],
)
def test_every_metric_is_in_the_reference_and_no_other(heading: str, metrics: set[str]) -> None:
    assert metrics
    assert {
        name for name in named(section(page("reference/metrics.md"), heading)) if name.startswith("exectrail_")
    } == metrics


def started(family: Metric) -> set[str]:
    """The causes, or results, whose series are there before anything has happened."""
    return {[*sample.labels.values()][-1] for sample in family.samples if sample.name.endswith("_total")}


def lost_at_source() -> set[str]:
    """The causes that the functions `lost` and `before_reading` name."""
    trees = (ast.parse(file.read_text()) for file in (REPO / "enricher").rglob("*.py"))
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    asked = [each for each in functions if each.name in {"lost", "before_reading"}]
    words = {node.value for each in asked for node in ast.walk(each) if isinstance(node, ast.Constant)}
    return {each for each in words if isinstance(each, str) and re.fullmatch("[a-z-]+", each)}


def test_every_cause_of_loss_is_explained_and_counted_from_the_start_and_no_other() -> None:
    (family,) = [each for each in of_enricher() if each.name == "exectrail_enricher_lost"]
    code = "".join(file.read_text() for file in (REPO / "enricher").rglob("*.py"))

    assert set(re.findall(r'tally\.lost\["([a-z-]+)"\]', code)) <= started(family)
    told = named(section(page("tasks/troubleshooting.md"), "## What was lost?"))
    assert told - {"cause"} == started(family) | lost_at_source()


@pytest.mark.parametrize("name", ["SESSIONS_DROPPED", "REQUIRED"])
def test_what_an_alert_of_the_webhook_looks_at_is_counted_from_the_start(name: str) -> None:
    (family,) = getattr(importlib.import_module("webhook.metrics"), name).collect()
    (meaning,) = [row[3] for row in rows(page("reference/metrics.md")) if row[0] == f"`{family.name}_total`"]

    assert started(family) == set(re.findall("`([a-z-]+)`", meaning))


def test_every_reason_to_refuse_a_certificate_is_explained_and_no_other() -> None:
    table = section(page("tasks/tls.md"), "## Which certificates are refused?")
    assert named(table) - {"reason"} == set(typing.get_args(pair.Reason))


def literals(folder: Path) -> set[str]:
    """The string constants of a package's modules."""
    trees = (ast.parse(file.read_text()) for file in folder.rglob("*.py"))
    return {
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_every_reason_of_the_webhook_is_explained_and_no_other() -> None:
    metrics = section(page("reference/metrics.md"), "## Webhook")
    _, *parts = re.split(r'^(?:Values of|and)\b.*`webhook="[a-z-]+"`:', metrics, flags=re.MULTILINE)
    assert len(parts) == 4
    in_words = (re.findall(r"`([a-z-]+)`", part.split("\n\n")[0]) for part in parts)
    told = {name for part in parts for name in named(part)} | {name for each in in_words for name in each}
    said = literals(REPO / "webhook/reviews")
    # What is not one word is a reason there, or a verb.
    reasons = {each for each in said if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", each)} - {*VERBS}
    assert reasons - told == set()
    of_the_app = {"refused"}
    assert of_the_app <= literals(REPO / "webhook")
    assert told - {"reason"} - of_the_app - said == set()


def test_every_warning_that_a_page_quotes_is_the_webhooks() -> None:
    quoted = named(section(page("concepts/admission.md"), "## Why was nothing changed?"))
    texts = {re.sub(r"\{[^}]*\}", "", each) for each in literals(REPO / "webhook")}
    assert quoted
    assert {each for each in quoted if not any(each in text for text in texts)} == set()


def test_every_log_line_that_troubleshooting_quotes_in_its_text_is_logged() -> None:
    prose = re.sub(r"^\|.*$", "", page("tasks/troubleshooting.md"), flags=re.MULTILINE)  # tables quote parts of lines
    quoted = set(re.findall(r"`([^`\n]+ [^`\n]*\.\.\.[^`\n]*)`", prose))
    said = {each for part in PARTS for each in literals(REPO / part) if re.match(r"\w+ \w+", each)}  # no mere "%s; %s"
    logged = [re.escape(each).replace("%s", ".+") for each in said]
    assert {"cannot start: ..."} < quoted
    assert {each for each in quoted if not any(re.fullmatch(line, each) for line in logged)} == set()


def test_alerts_ask_for_metrics_that_exist() -> None:
    known = {name for name in named(page("reference/metrics.md")) if name.startswith("exectrail_")}
    alerts = section(page("reference/metrics.md"), "## Which ones should I watch?")
    asked = set(re.findall(r"exectrail_\w+", alerts))
    assert asked
    assert asked <= known


# ---- commands ----


class Caught(Exception):
    """Carries the parser out of the program that made it."""


def parser_of(program: str, monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """The parser as the program makes it: taken when it is about to read the command line."""

    def parse_args(parser: argparse.ArgumentParser, *_: object) -> None:
        raise Caught(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.setattr(sys, "argv", [program])
    module = importlib.import_module(program)
    start = getattr(module, "run", module.main)
    arguments: list[list[str]] = [[]] if inspect.signature(start).parameters else []
    with pytest.raises(Caught) as caught:
        start(*arguments)
    parser = caught.value.args[0]
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    for action in parser._actions:
        yield from ((option, action) for option in action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                if isinstance(subparser, Subcommand):
                    subparser.fill()
                yield from options(subparser)


def defaults(action: argparse.Action) -> set[str]:
    """An option's default as the docs write it; empty for none or off. Of a list, its elements."""
    if isinstance(action, argparse.BooleanOptionalAction):
        return {action.option_strings[0 if action.default else 1]}
    if action.default is None or action.default is False or action.default in {"", argparse.SUPPRESS}:
        return set()
    number = isinstance(action.default, float)
    return {f"{action.default:g}"} if number else set(str(action.default).split(","))


def option_rows(text: str) -> Iterator[tuple[str, set[str], set[str]]]:
    """Of each option in a table: its name, its default, and everything in backticks in its row."""
    at = 0
    for row in rows(text):
        if row[0] == "option":
            at = row.index("default")
        for option in re.findall(r"`(-[^`]+)`", row[0]):
            yield option, set(re.findall(r"`([^`]+)`", row[at])), set(re.findall(r"`([^`]+)`", " ".join(row)))


VARIABLES = ("POD_NAMESPACE", "POD_NAME", "NODE_NAME", "LOG_LEVEL")
"""Those that the programs take defaults from: the docs name them with a dollar sign."""


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_has_the_default_and_the_choices_that_the_docs_say(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, f"${variable}")
    parser = parser_of(program, monkeypatch)
    expected: dict[str, set[str]] = {}
    choices: dict[str, set[str]] = {}
    for option, action in options(parser):
        expected[option] = expected.get(option, set()) | defaults(action)
        choices[option] = choices.get(option, set()) | set(action.choices or ())
    documented = list(option_rows(section(page("reference/commands.md"), f"## {parser.prog}")))
    assert {option: default for option, default, _ in documented} == expected
    assert {option: choices[option] - said for option, _, said in documented} == {option: set() for option in expected}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_is_documented_and_no_other(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = parser_of(program, monkeypatch)
    documented = {
        name for name in named(section(page("reference/commands.md"), f"## {parser.prog}")) if name.startswith("-")
    }
    assert documented == {option for option, _ in options(parser)}


def test_every_exit_code_of_the_command_is_documented() -> None:
    cli = importlib.import_module("exectrail.cli.exit_codes")
    codes = {row[0] for row in rows(section(page("reference/commands.md"), "## exectrail")) if row[0].isdigit()}
    assert codes == {str(code) for code in (cli.OK, cli.NOT_FOUND, cli.CANNOT_LOOK, cli.INCOMPLETE, cli.INTERRUPTED)}


def test_the_rights_to_read_a_trail_are_those_that_kubectl_needs() -> None:
    told = section(page("reference/commands.md"), "### Which rights does it need?")
    granted = {
        (verb, resource)
        for verbs, resources in re.findall(r"--verb=([\w,]+) --resource=([^\s`]+)", told)
        for verb in verbs.split(",")
        for resource in resources.split(",")
    }
    # `kubectl exec` and `kubectl logs` get the pod first; newer servers ask for both verbs of an exec.
    opens = {("get", "pods"), ("get", "pods/exec"), ("create", "pods/exec"), ("get", "pods/log")}
    finds = {("list", "pods"), ("list", "auditsessions.exectrail.io")}
    assert granted == opens | finds | {("get", "auditsessions.exectrail.io")}  # with one command for both kinds


# ---- privileges ----

RULE = re.compile(r"- apiGroups: .*\n\s+resources: \[(.*)\]\n(?:\s+resourceNames: .*\n)?\s+verbs: \[(.*)\]")


def test_every_right_in_the_api_has_a_reason_and_no_other() -> None:
    granted = {
        (file.parent.name, resource, verbs)
        for file in (REPO / "chart/templates").rglob("*.yaml")
        if "kind: ClusterRole\n" in (text := file.read_text()) or "kind: Role\n" in text
        for resources, verbs in RULE.findall(text)
        for resource in resources.split(", ")
    }
    table = rows(section(page("reference/privileges.md"), "## Rights in the API"))[1:]
    assert {(row[0], row[1].strip("`"), row[2].strip("`")) for row in table} == granted
    assert all(row[-1] for row in table)


def test_every_capability_has_a_reason_and_no_other() -> None:
    templates = {file.parent.name: file.read_text() for file in (REPO / "chart/templates").rglob("daemonset.yaml")}
    all_templates = "".join(file.read_text() for file in (REPO / "chart/templates").rglob("*.yaml"))
    assert all_templates.count("add:") == len(templates) == 2, "capabilities are added in one place of each DaemonSet"
    added = {
        capability
        for text in templates.values()
        for capability in re.findall(
            r"- ([A-Z_]+)\b", text.partition("add:\n")[2].partition("terminationMessagePolicy")[0]
        )
    }
    assert named(section(page("reference/privileges.md"), "## Capabilities")) == added


def test_every_attack_names_a_test_that_tries_it_but_for_stated_limits() -> None:
    table = rows(page("reference/attacks.md"))[1:]
    outcomes = {"prevented", "recorded", "limit"}
    assert {row[2].strip("`") for row in table} == outcomes
    for _, attack, outcome, _, test in table:
        if outcome == "`limit`":
            assert not test, attack
            continue
        ((link, name),) = re.findall(r"\]\(([^)]+)\) `(\w+)`", test)
        assert f"\ndef {name}(" in (DOCS / "reference" / link).read_text(), attack


# ---- the quickstart ----


def commands(text: str) -> list[str]:
    """What a section tells the reader to type."""
    return re.findall(r"^ {4}(.+)$", text, re.MULTILINE)


@pytest.mark.parametrize("tool", ["kind", "k3d"])
def test_the_quickstart_is_what_its_script_runs(tool: str) -> None:
    text = page("tasks/quickstart.md")
    headings = (f"make a cluster with {tool}", "install exectrail there", "see an exec")
    told = [each for name in headings for each in commands(section(text, f"## How do I {name}?"))]
    lines = (DOCS / f"tasks/quickstart/{tool}.sh").read_text().splitlines()
    ran = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]

    assert told == ran


def test_the_quickstarts_clusters_go_as_the_page_says() -> None:
    removed = commands(section(page("tasks/quickstart.md"), "## How do I remove it?"))
    recipe = (REPO / "Makefile").read_text().partition("\nquickstart:")[2].partition("\n\n")[0]
    assert removed == re.findall(r"&& (.+)$", recipe, re.MULTILINE)


# ---- the pages themselves ----


def test_every_folder_is_named_in_the_readme() -> None:
    tracked = {
        path.name
        for path in REPO.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in {"build", "dist"}
    }
    assert tracked == {name.rstrip("/") for name in named(section((REPO / "README.md").read_text(), "## How it works"))}


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(([\w/-]+\.md)", (REPO / "README.md").read_text()))
    assert {str(each.relative_to(REPO)) for each in PAGES} - {"README.md"} == linked


def anchors(file: Path) -> set[str]:
    """Anchors of headings, as GitHub makes them: lower case, punctuation gone, spaces as dashes."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", PAGES, ids=path_in_repo)
def test_links_lead_somewhere(file: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", file.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_exectrail_itself_is_installed_from_a_checkout_as_it_is_on_no_index() -> None:
    said = [*PAGES, *(REPO / "exectrail").rglob("*.py")]

    assert [path_in_repo(file) for file in said if re.search(r"install [^`\n]*exectrail\[", file.read_text())] == []


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    for file in PAGES:
        named_here = set(re.findall(r"(?:`|^ {4}|=1 )make ([a-z-]+)", file.read_text(), re.MULTILINE))
        assert named_here <= targets, path_in_repo(file)


ABSOLUTE = {"/dev", "/healthz", "/memfd", "/metrics", "/proc", "/readyz", "/sys", "/tls", "/usr", "/var"}
HOSTS = {"cert-manager.io", "github.com", "loki.example.com:3100", "keepachangelog.com", "semver.org"}
ADDRESSES = {"127.0.0.1", "0.0.0.0"}


@pytest.mark.parametrize("file", PAGES, ids=path_in_repo)
def test_no_path_or_host_of_anybodys_machine_is_in_a_page(file: Path) -> None:
    text = file.read_text()
    assert {f"/{top}" for top in re.findall(r"(?<![\w./\])>*-])/([a-z][\w-]*)", text)} <= ABSOLUTE
    assert set(re.findall(r"https?://([\w.:-]+)", text)) <= HOSTS
    assert set(re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", text)) <= ADDRESSES
