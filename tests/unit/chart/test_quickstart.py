"""The quickstart's values: what nodes that are containers themselves can have, and nothing that they cannot."""

import yaml

from tests.unit.chart.rendered import CHART, HelmTemplate, only

VALUES = CHART.parent / "docs/tasks/quickstart/values.yaml"


def test_the_quickstart_uses_the_loaded_image_and_what_works_without_cert_manager_and_audit(
    helm_template: HelmTemplate,
) -> None:
    documents = helm_template(yaml.safe_load(VALUES.read_text()))
    pods = [each["spec"]["template"]["spec"] for each in documents if each["kind"] in ("Deployment", "DaemonSet")]
    used = {(each["image"], each["imagePullPolicy"]) for pod in pods for each in pod["containers"]}
    (enricher,) = [each for pod in pods for each in pod["containers"] if each["name"] == "enricher"]

    assert used == {("exectrail:dev", "Never")}
    assert {"--sensor=bpf", "--audit-source=none"} <= set(enricher["args"])
    assert "AUDIT_READ" not in enricher["securityContext"]["capabilities"]["add"]
    assert "Certificate" not in {each["kind"] for each in documents}
    assert only(documents, "Service")
