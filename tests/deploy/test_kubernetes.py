"""Kubernetes' schemas take every object of every variant, from the oldest version that the chart takes on."""

import json
from functools import cache

import pytest
import yaml
from kubernetes_validate import utils

from tests.deploy.chart import FOLDER, VARIANTS, Chart

VERSIONS = ("1.27", "1.31", "1.35", "1.37")
KINDS = {
    "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Job", "NetworkPolicy", "Pod", "PodDisruptionBudget",
    "Service", "ServiceAccount", "StatefulSet",
}  # fmt: skip
OF_OPERATORS = ("ServiceMonitor", "PrometheusRule", "ScaledObject")
"""Kinds that Kubernetes does not define."""
schema_contents = cache(utils.schema_contents)


@pytest.fixture(autouse=True)
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes of definitions that the validator reads anew for each object."""
    monkeypatch.setattr(utils, "schema_contents", schema_contents)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(chart: Chart, version: str) -> None:
    checked = {}
    for variant in VARIANTS:
        if variant == "image-volume" and version < "1.35":
            continue  # the chart itself refuses that, see test_schema
        for manifest in chart.variant(variant).objects:
            if manifest["kind"] not in OF_OPERATORS:
                checked[json.dumps(manifest)] = manifest
    for manifest in checked.values():
        utils.validate(manifest, version, strict=True)
    assert {manifest["kind"] for manifest in checked.values()} == KINDS


def test_a_wrong_object_would_be_noticed(chart: Chart) -> None:
    workload = dict(chart.variant("default").named("Deployment", "earwitness-triton"))
    workload["spec"] = {**workload["spec"], "replica": 1}
    with pytest.raises(utils.ValidationError, match="replica"):
        utils.validate(workload, VERSIONS[-1], strict=True)


def test_the_oldest_version_is_the_charts() -> None:
    needed = yaml.safe_load((FOLDER / "Chart.yaml").read_text())["kubeVersion"]
    assert needed.removeprefix(">=").startswith(VERSIONS[0])
