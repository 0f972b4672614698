"""The collectors' settings in docs/tasks/log-stores fit the chart's objects and the records' fields."""

import fnmatch
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
import yaml

from exectrail.contracts.line import LONGEST_LINE
from exectrail.contracts.record import Kind, Node, Record, Resource
from tests.cluster.shipper import recipe
from tests.unit.chart.rendered import CHART, HelmTemplate, only, pod_spec, pod_template

FOLDER = CHART.parent / "docs/tasks/log-stores"
FLUENT_BIT = yaml.safe_load((FOLDER / "fluent-bit.yaml").read_text())
VECTOR = yaml.safe_load((FOLDER / "vector.yaml").read_text())
OTEL = yaml.safe_load((FOLDER / "otel-collector.yaml").read_text())["receivers"]["filelog"]


def fields() -> dict[str, Any]:
    """The fields of a record, and of those objects in it whose fields are asked for."""
    found = {field.encode_name: field.type for field in msgspec.structs.fields(Record)}
    for name, struct in (("node", Node), ("resource", Resource)):
        found |= {f"{name}.{field.encode_name}": field.type for field in msgspec.structs.fields(struct)}
    return found


@pytest.fixture
def pod(helm_template: HelmTemplate) -> dict[str, Any]:
    """The enricher's pod as it logs with mode `stdout`."""
    documents = helm_template({"logs": {"mode": "stdout"}})
    metadata = only(documents, "DaemonSet", "enricher")["metadata"]
    (container,) = [each["name"] for each in pod_spec(documents, "enricher")["containers"]]
    labels = pod_template(documents, "enricher")["metadata"]["labels"]
    name = f"{metadata['name']}-x7k2p"
    return {"name": name, "namespace": metadata["namespace"], "container": container, "labels": labels}


def test_alloy_reads_the_files_of_the_enrichers_container(pod: dict[str, Any]) -> None:
    # https://kubernetes.io/docs/concepts/cluster-administration/logging/#log-location-node
    file = "/var/log/pods/{namespace}_{name}_5b2e8a3c-0d3f-4a55-8c6e-2f6a1c1d9e10/{container}/0.log".format(**pod)
    assert fnmatch.fnmatch(file, recipe().files)
    assert not fnmatch.fnmatch(file.replace("enricher", "node"), recipe().files)


def test_the_otel_collector_reads_the_file_of_the_enrichers_container_that_is_written(pod: dict[str, Any]) -> None:
    file = "/var/log/pods/{namespace}_{name}_5b2e8a3c-0d3f-4a55-8c6e-2f6a1c1d9e10/{container}/0.log".format(**pod)
    (include,) = OTEL["include"]
    assert fnmatch.fnmatch(file, include)
    assert not fnmatch.fnmatch(f"{file}.20261129-101112", include)
    assert not fnmatch.fnmatch(file.replace("enricher", "node"), include)


def test_fluent_bit_reads_the_files_of_the_enrichers_container(pod: dict[str, Any]) -> None:
    (tail,) = FLUENT_BIT["pipeline"]["inputs"]
    file = "/var/log/containers/{name}_{namespace}_{container}-{id}.log".format(**pod, id="0" * 64)
    assert fnmatch.fnmatch(file, tail["path"])
    assert not fnmatch.fnmatch(file.replace("enricher", "node"), tail["path"])


def test_vector_selects_the_enrichers_pods(pod: dict[str, Any]) -> None:
    selector = VECTOR["sources"]["containers"]["extra_label_selector"]
    assert dict(each.split("=") for each in selector.split(",")).items() <= pod["labels"].items()


def test_alloys_paths_are_fields_of_a_record() -> None:
    assert set(recipe().paths.values()) <= set(fields())
    assert set(recipe().paths) == {*recipe().labels, *recipe().metadata}


def test_labels_have_few_values() -> None:
    """Loki keeps each combination of them apart: nodes are few, and all else has a fixed set of values."""
    kinds = {name: fields()[recipe().paths[name]] for name in recipe().labels}
    assert kinds.pop("node") is str
    assert all(get_origin(kind) is Literal for kind in kinds.values())
    assert len(get_args(Kind)) < 10


DROPS_AND_JOINS = {
    "config.alloy": ('selector = "{stream=\\"stderr\\"}"\n\t\taction   = "drop"', "stage.cri"),
    "fluent-bit.yaml": ("regex: stream ^stdout$", "multiline.parser: docker, cri"),
    "otel-collector.yaml": ('expr: body matches "^[^ ]+ stderr "', "type: container"),
    "vector.yaml": ('.stream == "stdout"', "auto_partial_merge: true"),
}


@pytest.mark.parametrize("name", DROPS_AND_JOINS)
def test_every_collector_drops_standard_error_and_joins_lines(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert all(setting in text for setting in DROPS_AND_JOINS[name])


def in_bytes(size: str | int) -> int:
    """A size as the collectors and Loki write it; `K` is taken for the smaller of what it may mean."""
    number, unit = re.fullmatch(r"(\d+)\s*([KMG]?)(?:i?B)?", str(size)).groups()  # type: ignore[union-attr] # it is one
    return int(int(number) * 1000 ** " KMG".index(unit or " "))


def test_the_longest_line_is_within_every_limit() -> None:
    loki = yaml.safe_load((FOLDER / "loki.yaml").read_text())["limits_config"]
    assert in_bytes(loki["max_line_size"]) >= LONGEST_LINE
    assert in_bytes(FLUENT_BIT["pipeline"]["inputs"][0]["buffer_max_size"]) >= LONGEST_LINE
    # By default these join pieces without a limit.
    assert "max_merged_line_bytes" not in VECTOR["sources"]["containers"]
    assert not any("max_log_size" in each for each in OTEL["operators"])
    assert "stage.cri { }" in (FOLDER / "config.alloy").read_text()


def test_as_many_lines_as_loki_gives_fit_into_the_messages_between_its_parts() -> None:
    loki = yaml.safe_load((FOLDER / "loki.yaml").read_text())
    message = loki["limits_config"]["max_entries_limit_per_query"] * 2_000
    clients = 100 << 20  # Loki 3's default for all of its gRPC clients

    for direction in ("recv", "send"):
        assert message <= loki["server"][f"grpc_server_max_{direction}_msg_size"] <= clients


def test_a_piece_of_a_line_is_within_the_limits() -> None:
    """Runtimes cut after 16 KiB; Docker's json-file makes up to six bytes of one in there, and frames it."""
    assert in_bytes(VECTOR["sources"]["containers"]["max_line_bytes"]) > 6 * 16 * 1024 + 1024
    assert in_bytes(OTEL["max_log_size"]) > 6 * 16 * 1024 + 1024


def test_documents_get_the_id_and_time_of_their_records() -> None:
    (parser,) = FLUENT_BIT["parsers"]
    (fluent,) = FLUENT_BIT["pipeline"]["outputs"]
    sink = VECTOR["sinks"]["elasticsearch"]
    for key in (parser["time_key"], fluent["id_key"], sink["id_key"]):
        assert fields()[key] is str
    assert parser["time_keep"] is True
    assert "parse_timestamp!(.timestamp" in VECTOR["transforms"]["records"]["source"]


def test_both_collectors_create_documents_in_the_data_stream_of_the_template() -> None:
    (fluent,) = FLUENT_BIT["pipeline"]["outputs"]
    bulk = VECTOR["sinks"]["elasticsearch"]["bulk"]
    assert (fluent["write_operation"], fluent["index"]) == (bulk["action"], bulk["index"])
    assert (bulk["action"], bulk["index"]) == ("create", "logs-exectrail-default")


def test_every_file_is_named_in_the_page() -> None:
    page = (FOLDER.parent / "log-stores.md").read_text()
    assert {file.name for file in FOLDER.iterdir()} == {
        Path(link).name for link in re.findall(r"\((log-stores/.+?)\)", page)
    }
