"""Kubernetes' own schemas take every object of every variant, in the oldest version that the chart takes and later ones."""

import re

import kubernetes_validate
import pytest
import yaml

from tests.deploy.chart import FOLDER, VARIANTS, Chart

VERSIONS = ("1.27", "1.31", "1.35", "1.37")
OF_OPERATORS = ("ServiceMonitor", "PrometheusRule", "ScaledObject")
"""Kinds that Kubernetes does not define."""


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(chart: Chart, version: str) -> None:
    count = 0
    for variant in VARIANTS:
        if variant == "image-volume" and version < "1.35":
            continue  # refused by the chart itself, which another test shows
        for manifest in chart.variant(variant).objects:
            if manifest["kind"] not in OF_OPERATORS:
                kubernetes_validate.validate(manifest, version, strict=True)
                count += 1
    assert count > 10 * len(VARIANTS)


def test_a_wrong_object_would_be_noticed(chart: Chart) -> None:
    workload = dict(chart.variant("default").named("Deployment", "earwitness-triton"))
    workload["spec"] = {**workload["spec"], "replica": 1}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(workload, VERSIONS[-1], strict=True)


def test_the_oldest_version_is_the_charts() -> None:
    needed = yaml.safe_load((FOLDER / "Chart.yaml").read_text())["kubeVersion"]
    assert re.search(r"[\d.]+", needed)[0].startswith(VERSIONS[0])
