"""Kubernetes' schemas accept every object of every variant, from the oldest version that the chart supports."""

import json
import subprocess
from functools import cache

import pytest
import yaml
from kubernetes_validate import utils

from tests.deploy.chart import FOLDER, VARIANTS, Chart, Manifest, tool

VERSIONS = ("1.27", "1.31", "1.35", "1.37")
KINDS = {
    "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Ingress", "Job", "NetworkPolicy", "Pod",
    "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet",
}  # fmt: skip
OF_OTHERS = ("ServiceMonitor", "PrometheusRule", "ScaledObject", "GRPCRoute")
"""Kinds that Kubernetes does not define."""
ROUTES = """
import { GRPCRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1";
for (const route of JSON.parse(process.argv[1])) new GRPCRoute(route).validate();
"""
"""The Gateway API's schema, by the package that tests/install-tools.sh fetches."""
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
            if manifest["kind"] not in OF_OTHERS:
                checked[json.dumps(manifest)] = manifest
    for manifest in checked.values():
        utils.validate(manifest, version, strict=True)
    assert {manifest["kind"] for manifest in checked.values()} == KINDS


def complaints(*routes: Manifest) -> str:
    """What the Gateway API's schema has against routes."""
    command = ["node", "--input-type=module", "--eval", ROUTES, json.dumps(routes)]
    done = subprocess.run(command, cwd=tool("node/package.json").parent, capture_output=True, text=True)
    assert (done.returncode == 0) is ("ValidationError" not in done.stderr), done.stderr
    return done.stderr


def test_the_gateway_api_takes_every_route(chart: Chart) -> None:
    routes = [each for variant in VARIANTS for each in chart.variant(variant).of("GRPCRoute")]
    assert len(routes) == 2
    assert complaints(*routes) == ""
    for route in routes:  # whose schema says nothing of fields that there are not
        assert route["spec"].keys() == {"parentRefs", "hostnames", "rules"}
        assert [rule.keys() for rule in route["spec"]["rules"]] == [{"backendRefs"}]
        assert [each.keys() for each in route["spec"]["rules"][0]["backendRefs"]] == [{"name", "port"}]
    spec = {**routes[0]["spec"], "hostnames": ["https://explainer.example.org"]}
    assert "data/spec/hostnames/0 must match pattern" in complaints({**routes[0], "spec": spec})


def test_a_wrong_object_would_be_noticed(chart: Chart) -> None:
    workload = dict(chart.variant("default").named("Deployment", "earwitness-triton"))
    workload["spec"] = {**workload["spec"], "replica": 1}
    with pytest.raises(utils.ValidationError, match="replica"):
        utils.validate(workload, VERSIONS[-1], strict=True)


def test_the_oldest_version_is_the_charts() -> None:
    needed = yaml.safe_load((FOLDER / "Chart.yaml").read_text())["kubeVersion"]
    assert needed.removeprefix(">=").startswith(VERSIONS[0])
