"""Which namespaces are recorded."""

import pytest

from exectrail.contracts.session import opted_in


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, False),
        ({"exectrail.io/record": "true"}, True),
        ({"exectrail.io/record": "false"}, False),
        ({"exectrail.io/profile": "process-audit"}, True),
        ({"exectrail.io/profile": ""}, False),
        ({"spo.x-k8s.io/enable-binding": "true"}, True),
        ({"spo.x-k8s.io/enable-binding": "false"}, True),  # as its webhook has it: only that it is there counts
        ({"spo.x-k8s.io/enable-binding": ""}, True),
        ({"exectrail.io/tag": "env"}, False),
    ],
)
def test_a_namespace_is_recorded_by_any_of_three_labels(labels: dict[str, str], expected: bool) -> None:
    assert opted_in(labels) is expected
