"""values.schema.json refuses what cannot work, and says which value it is."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.deploy.chart import FOLDER, Chart, RenderError

TYPOS = (
    "explaner", "explainer.replica", "explainer.image.name", "explainer.settings.max_row", "explainer.autoscaling.max",
    "explainer.resources.request", "scorer.settings.max_rows", "scorer.autoscaling.searchesPerReplica", "triton.url",
    "triton.gpu.type", "triton.autoscaling.cpuPercent", "models.kind", "models.pvc.claim", "models.s3.bucket",
    "models.image.digest", "database.url", "database.sqlite.storage", "database.postgresql.password", "auth.token",
    "tls.key", "networkPolicy.client", "podDisruptionBudget.minAvailable", "topologySpread.maxSkew",
    "gateway.hostnames", "ingress.host", "serviceAccount.label", "monitoring.alerts", "monitoring.serviceMonitors.port",
    "monitoring.rules.url", "monitoring.dashboards.folder", "tracing.url", "keda.url", "tests.models",
    "imagePullSecret",
)  # fmt: skip
WRONG: tuple[tuple[str, Any], ...] = (
    ("nameOverride", "Not A Name"),
    ("fullnameOverride", "1st"),
    ("fullnameOverride", "with.dots"),
    ("fullnameOverride", "x" * 43),
    ("imagePullSecrets", ["registry"]),
    ("explainer.enabled", "yes"),
    ("explainer.image.repository", ""),
    ("explainer.image.repository", "Earwitness Explainer"),
    ("explainer.image.tag", "1.0 beta"),
    ("triton.image.tag", None),
    ("explainer.image.pullPolicy", "Sometimes"),
    ("explainer.replicas", -1),
    ("explainer.replicas", "two"),
    ("explainer.settings.drain_s", -1),
    ("explainer.settings.drain_s", None),  # Helm takes it out, and the grace period would miss it
    ("explainer.settings.log_format", "xml"),
    ("explainer.settings.log_level", "TRACE"),
    ("explainer.settings.max_rows", 0),
    ("explainer.settings.max_rows", 1.5),
    ("explainer.settings.max_message_bytes", 1000),
    ("explainer.settings.max_sweep_settings", 1001),
    ("explainer.settings.sweep_lease_s", 1),
    ("explainer.settings.reflection", "off"),
    ("explainer.settings.port", 50051),
    ("explainer.settings.database_url", "sqlite:////tmp/x.db"),
    ("explainer.autoscaling.by", "memory"),
    ("explainer.autoscaling.minReplicas", 0),
    ("explainer.autoscaling.cpuPercent", 0),
    ("explainer.autoscaling.searchesPerReplica", 0),
    ("explainer.extraEnv", [{"value": "without a name"}]),
    ("explainer.extraEnv", {"TZ": "UTC"}),
    ("explainer.tolerations", ["gpu"]),
    ("explainer.nodeSelector", {"disk": 1}),
    ("scorer.settings.compute_threads", 0),
    ("scorer.settings.cache_bytes", -1),
    ("scorer.autoscaling.by", "queue"),
    ("scorer.resources.limits", None),
    ("triton.externalUrl", "http://triton:8001"),
    ("triton.externalUrl", "triton"),
    ("triton.gpu.count", -1),
    ("triton.gpu.count", 0.5),
    ("triton.autoscaling.by", "cpu"),
    ("triton.autoscaling.waitingPerReplica", 0),
    ("triton.extraArgs", ["model-repository=/elsewhere"]),
    ("triton.drainSeconds", -5),
    ("models.source", "nfs"),
    ("models.s3.url", "https://bucket"),
    ("models.s3.port", 0),
    ("database.kind", "mysql"),
    ("database.sqlite.size", "big"),
    ("database.postgresql.port", 70000),
    ("auth.existingSecret", "Secret Name"),
    ("auth.tokensKey", ""),
    ("networkPolicy.clients", [{}]),
    ("networkPolicy.clients", [{"pods": {}}]),
    ("networkPolicy.enabled", None),
    ("gateway.parentRefs", [{"namespace": "gateways"}]),
    ("gateway.parentRefs", [{"name": "public", "listener": "https"}]),
    ("gateway.explainerHostnames", ["https://explainer.example.org"]),
    ("gateway.scorerHostnames", "scorer.example.org"),
    ("ingress.explainerHost", "explainer.example.org:443"),
    ("ingress.tlsSecret", "Public Names"),
    ("topologySpread.whenUnsatisfiable", "Never"),
    ("monitoring.serviceMonitors.interval", "often"),
    ("monitoring.rules.runbookUrl", ""),
    ("tls.triton", "yes"),
    ("explainer.settings.triton_tls_ca", "/etc/ca.pem"),
    ("scorer.settings.trace_endpoint", "http://collector:4318"),
    ("tracing.endpoint", "collector:4318"),
    ("tracing.endpoint", "http://collector"),  # the network policy goes by the port
    ("tracing.endpoint", "http://collector:4318/v1/traces"),
    ("tracing.ratio", 1.5),
    ("keda.prometheusUrl", "prometheus:9090"),
    ("tests.model", "../svd"),
)
NEEDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("models.pvc.existingClaim", {"models": {"source": "pvc"}}),
    ("models.s3.url", {"models": {"source": "s3"}}),
    ("database.postgresql.existingSecret", {"database": {"kind": "postgresql"}}),
    ("tls.existingSecret", {"tls": {"mutual": True}}),
    ("tls.existingSecret", {"tls": {"triton": True}}),
)
CLASHES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gateway.enabled makes no route: give", {"gateway": {"enabled": True, "parentRefs": [{"name": "public"}]}}),
    ("ingress.enabled makes no Ingress: give", {"ingress": {"enabled": True}}),
    (
        "gateway.enabled makes no route: give",
        {
            "gateway": {"enabled": True, "parentRefs": [{"name": "public"}], "scorerHostnames": ["a.b"]},
            "scorer": {"enabled": False},
        },
    ),
    ("explainer.replicas above 1 and explainer.autoscaling need database.kind", {"explainer": {"replicas": 2}}),
    ("scorer.replicas above 1 and scorer.autoscaling need database.kind", {"scorer": {"autoscaling": {"by": "cpu"}}}),
    ("triton.externalUrl is of a Triton elsewhere", {"triton": {"externalUrl": "triton:8001"}}),
    ("models.source: baked needs triton", {"triton": {"enabled": False}, "models": {"source": "baked"}}),
    (
        "models.source: s3 needs triton",
        {"triton": {"enabled": False}, "models": {"source": "s3", "s3": {"url": "s3://bucket/models"}}},
    ),
)


def refusal(chart: Chart, values: Mapping[str, Any], *arguments: str) -> str:
    """How helm refuses these values."""
    overrides = [word for path, value in flat(values) for word in ("--set-json", f"{path}={json.dumps(value)}")]
    with pytest.raises(RenderError) as caught:
        chart.render(*overrides, *arguments)
    return str(caught.value)


def flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{path}{key}.")
        else:
            yield path + key, value


@pytest.mark.parametrize("path", TYPOS)
def test_an_unknown_value_is_refused(chart: Chart, path: str) -> None:
    parent, _, name = path.rpartition(".")
    where = f"at '/{parent.replace('.', '/')}'" if parent else "at ''"
    assert f"{where}: additional properties '{name}' not allowed" in refusal(chart, {path: "x"})


@pytest.mark.parametrize(("path", "value"), WRONG, ids=lambda each: json.dumps(each))
def test_a_wrong_value_is_refused_by_its_name(chart: Chart, path: str, value: Any) -> None:
    message = refusal(chart, {path: value})
    assert "values don't meet the specifications of the schema" in message
    parent, _, name = path.rpartition(".")
    as_value = f"'/{path.replace('.', '/')}"
    as_key = f"'/{parent.replace('.', '/')}': "  # of a key that is missing or not allowed
    assert as_value in message or (as_key in message and f"'{name}'" in message)


@pytest.mark.parametrize(("path", "values"), NEEDS, ids=lambda each: str(each))
def test_what_a_choice_needs_is_named(chart: Chart, path: str, values: Mapping[str, Any]) -> None:
    assert f"at '/{path.replace('.', '/')}': minLength" in refusal(chart, values)


@pytest.mark.parametrize(("words", "values"), CLASHES, ids=lambda each: str(each))
def test_values_that_clash_are_refused_with_the_reason(chart: Chart, words: str, values: Mapping[str, Any]) -> None:
    assert words in refusal(chart, values)


def test_a_route_needs_a_gateway(chart: Chart) -> None:
    message = refusal(chart, {"gateway": {"enabled": True, "explainerHostnames": ["explainer.example.org"]}})
    assert "at '/gateway/parentRefs': minItems" in message


def test_an_image_volume_needs_a_cluster_that_has_them(chart: Chart) -> None:
    message = refusal(chart, {"models": {"source": "image"}}, "--kube-version", "1.34.0")
    assert "models.source: image needs Kubernetes 1.35, this is v1.34.0" in message


def test_every_object_of_the_schema_is_closed() -> None:
    """Those left open hold what Kubernetes defines, or names that the user chooses."""
    open_on_purpose = {"global", "affinity", "requests", "limits", "podSelector", "namespaceSelector", "ipBlock"}

    def check(node: Any, name: str) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object" and name not in open_on_purpose:
                assert "additionalProperties" in node, name
            for key, value in node.items():
                if key not in ("if", "then", "items"):
                    check(value, key)

    check(json.loads((FOLDER / "values.schema.json").read_text()), "values")
