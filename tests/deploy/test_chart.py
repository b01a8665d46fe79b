"""What matters of the rendered objects, for every variant in ci/."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from earwitness import __version__
from earwitness.explainer.settings import ExplainerSettings
from earwitness.rpc.settings import ServerSettings
from earwitness.scorer.settings import ScorerSettings
from tests.deploy.chart import (
    FOLDER,
    NAMESPACE,
    RELEASE,
    ROOT,
    VARIANTS,
    Chart,
    Pods,
    Rendered,
    objects,
    strings,
    tool,
    values_file,
    values_of,
)

SETTINGS: dict[str, type[ServerSettings]] = {"explainer": ExplainerSettings, "scorer": ScorerSettings}
GRACE_FOR_CLOSING_S = 10


@pytest.fixture(params=VARIANTS)
def rendered(request: pytest.FixtureRequest, chart: Chart) -> Rendered:
    """One variant after another."""
    return chart.variant(request.param)


@pytest.mark.parametrize("variant", VARIANTS)
def test_lint_finds_nothing(chart: Chart, variant: str) -> None:
    chart.helm("lint", str(FOLDER), "--strict", "--values", values_file(variant))


def test_names_are_unique_and_of_the_release(rendered: Rendered) -> None:
    names = [(each["kind"], each["metadata"]["name"]) for each in rendered.objects]
    assert len(names) == len(set(names))
    prefixes = (RELEASE, "ears", "audio")  # the last two are what the variant `extras` asks for
    assert all(name.startswith(prefixes) for _, name in names)
    assert {each["metadata"].get("namespace", NAMESPACE) for each in rendered.objects} == {NAMESPACE}


@pytest.mark.parametrize(
    ("release", "values", "begins"),
    [
        ("earwitness", "", "earwitness-"),
        ("my-earwitness", "", "my-earwitness-"),
        ("demo", "", "demo-earwitness-"),
        ("demo", "nameOverride=ears", "demo-ears-"),
        ("ears-2", "nameOverride=ears", "ears-2-"),
        ("demo", "fullnameOverride=audio", "audio-"),
        ("demo", "fullnameOverride=audio,nameOverride=ears", "audio-"),
        ("1st", "", "earwitness-1st-"),
        ("1-earwitness", "", "earwitness-1-earwitness-"),
        ("1st", "nameOverride=2nd", "earwitness-2nd-1st-"),
        ("v1.2", "", "v1-2-earwitness-"),
        ("a" * 53, "", "a" * 33 + "-"),
        ("0" * 53, "", "earwitness-" + "0" * 22 + "-"),
        ("a" * 40 + ".b", "nameOverride=" + "c" * 63, "a" * 33 + "-"),
    ],
)
def test_objects_have_names_that_kubernetes_takes(chart: Chart, release: str, values: str, begins: str) -> None:
    """Services: a letter first, letters, digits and hyphens (RFC 1035), 63 at most; pods of StatefulSets and Jobs have
    labels of 63 characters with their names in them, StatefulSets' with a hyphen and ten of a revision behind them."""
    files = [word for each in ("default", "monitoring", "postgresql") for word in ("--values", values_file(each))]
    for given in (files[:4], files[4:]):
        rendered = objects(chart.helm("template", release, str(FOLDER), *given, *(["--set", values] if values else [])))
        for each in rendered.objects:
            name, kind = each["metadata"]["name"], each["kind"]
            assert name.startswith(begins) or name == begins.rstrip("-") or kind == "ServiceAccount", name
            assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name), name
            assert len(name) <= (52 if kind == "StatefulSet" else 63), name
            for value in each["metadata"].get("labels", {}).values():
                assert re.fullmatch(r"([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?", str(value)), value
                assert len(str(value)) <= 63
        assert rendered.of("Service")


def test_long_names_that_begin_alike_stay_apart(chart: Chart) -> None:
    names = {
        objects(chart.helm("template", "a" * 50 + end, str(FOLDER))).of("Service")[0]["metadata"]["name"]
        for end in ("-x", "-y")
    }
    assert len(names) == 2


def test_helm_has_nothing_to_say(chart: Chart) -> None:
    """Such as that there are links in the chart."""
    for command in (("template", RELEASE), ("lint",), ("show", "values")):
        done = subprocess.run([tool("helm"), *command, FOLDER], capture_output=True, text=True, check=True)
        assert done.stderr == ""


def test_selectors_match_the_pods_they_are_for(rendered: Rendered) -> None:
    servers = rendered.servers()
    assert servers
    for pods in servers:
        selector = pods.owner["spec"]["selector"]["matchLabels"]
        assert [each.component for each in rendered.selected_by(selector)] == [pods.component]
        for constraint in pods.spec["topologySpreadConstraints"]:
            assert constraint["labelSelector"]["matchLabels"] == selector
    selectors = [each["spec"]["selector"] for each in rendered.of("Service")]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in rendered.of("PodDisruptionBudget")]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in rendered.of("NetworkPolicy")]
    for selector in selectors:
        assert len(rendered.selected_by(selector)) == 1, selector
    for monitor in rendered.of("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        assert len([each for each in rendered.of("Service") if wanted <= each["metadata"]["labels"].items()]) == 1


def test_ports_are_named_and_lead_to_containers(rendered: Rendered) -> None:
    for service in rendered.of("Service"):
        (pods,) = rendered.selected_by(service["spec"]["selector"])
        assert service["spec"]["clusterIP"] == "None"
        for port in service["spec"]["ports"]:
            assert pods.ports[port["targetPort"]] == port["port"]
    for policy in rendered.of("NetworkPolicy"):
        (pods,) = rendered.selected_by(policy["spec"]["podSelector"]["matchLabels"])
        for rule in policy["spec"]["ingress"]:
            assert rule["from"], "an empty list would let everybody in"
            assert {port["port"] for port in rule["ports"]} <= pods.ports.keys()
    for monitor in rendered.of("ServiceMonitor"):
        service = rendered.named("Service", monitor["metadata"]["name"])
        names = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= names


def test_probes_ask_ports_that_are_there(rendered: Rendered) -> None:
    for pods in rendered.servers():
        (container,) = pods.spec["containers"]
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container[kind]
            port = probe["grpc"]["port"] if "grpc" in probe else probe["httpGet"]["port"]
            assert port in pods.ports or port in pods.ports.values()
        if "grpc" in container["livenessProbe"]:
            # A Triton or database that is away is no reason to start a service again.
            assert (
                container["livenessProbe"]["grpc"]["service"] == container["startupProbe"]["grpc"]["service"] == "live"
            )
            assert "service" not in container["readinessProbe"]["grpc"]
            assert container["readinessProbe"]["grpc"]["port"] == pods.ports["health"]


def test_pods_are_locked_down(rendered: Rendered) -> None:
    for pods in rendered.pods():
        assert pods.spec["automountServiceAccountToken"] is False
        assert pods.spec["enableServiceLinks"] is False
        security = pods.spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pods.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_mounts_have_volumes_and_volumes_are_mounted(rendered: Rendered) -> None:
    for pods in rendered.pods():
        claims = [each["metadata"]["name"] for each in pods.owner["spec"].get("volumeClaimTemplates", [])]
        volumes = [*claims, *(each["name"] for each in pods.spec.get("volumes", []))]
        mounts = [mount for container in pods.containers for mount in container.get("volumeMounts", [])]
        assert len(volumes) == len(set(volumes))
        assert {mount["name"] for mount in mounts} == set(volumes)
        assert {"name": "tmp", "mountPath": "/tmp"} in mounts


def test_every_variable_is_a_setting(rendered: Rendered) -> None:
    client = (ROOT / "services/earwitness/cli").rglob("*.py")
    of_client = set(re.findall(r'envvar="(EARWITNESS_\w+)"', "".join(path.read_text() for path in client)))
    for pods in rendered.pods():
        service = pods.component.removesuffix("-migrate")
        known = of_client
        if service in SETTINGS:
            prefix = SETTINGS[service].model_config["env_prefix"]
            known = {f"{prefix}{name.upper()}" for name in SETTINGS[service].model_fields}
        named = {name for name in pods.environment if name.startswith("EARWITNESS_")}
        assert named <= known
        assert named or service == "triton"


def test_settings_are_what_the_services_take(
    rendered: Rendered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The very classes that the services read their environment with read the chart's."""
    for pods in rendered.servers():
        if pods.component not in SETTINGS:
            continue
        with monkeypatch.context() as patch:
            for name, value in pods.environment.items():
                if not isinstance(value, str):
                    value = "postgresql+psycopg://user@host/database"
                elif value.startswith("/etc/earwitness/"):
                    file = tmp_path / Path(value).name
                    file.touch()
                    value = str(file)
                patch.setenv(name, value)
            settings = SETTINGS[pods.component]()
        grace_s = pods.spec["terminationGracePeriodSeconds"]
        assert grace_s >= settings.drain_notice_s + settings.drain_s + GRACE_FOR_CLOSING_S
        assert pods.ports == {"grpc": settings.port, "metrics": settings.metrics_port, "health": settings.health_port}


def test_addresses_are_of_services_that_are_there(rendered: Rendered) -> None:
    served = {
        f"{service['metadata']['name']}:{port['port']}"
        for service in rendered.of("Service")
        for port in service["spec"]["ports"]
        if port["name"] == "grpc"
    }
    for pods in rendered.pods():
        env = pods.environment
        inside = {env.get(name) for name in ("EARWITNESS_EXPLAINER_SCORER_ADDRESS", "EARWITNESS_EXPLAINER")} - {None}
        triton = env.get("EARWITNESS_EXPLAINER_TRITON_URL")
        inside |= {triton} - {None, "triton.inference.svc:8001"}  # of the variant `external-triton`
        assert inside <= served


def test_routes_lead_to_grpc_ports_that_their_callers_may_reach(chart: Chart) -> None:
    """Each service by names of its own: health and reflection of both are the same methods."""
    names: dict[str, list[str]] = {}
    for variant, namespace in (("gateway", "gateways"), ("ingress", "ingress-nginx")):
        rendered, secured = chart.variant(variant), bool(values_of(variant).get("tls"))
        for route in rendered.of("GRPCRoute", "Ingress"):
            spec, name = route["spec"], route["metadata"]["name"]
            if route["kind"] == "GRPCRoute":
                assert spec["parentRefs"] == values_of(variant)["gateway"]["parentRefs"]
                ((backend,),) = [rule["backendRefs"] for rule in spec["rules"]]
                hosts, service, port = spec["hostnames"], backend["name"], backend["port"]
            else:
                (rule,) = spec["rules"]
                (path,) = rule["http"]["paths"]
                assert (path["path"], path["pathType"]) == ("/", "Prefix")
                hosts, service, port = (
                    [rule["host"]],
                    path["backend"]["service"]["name"],
                    path["backend"]["service"]["port"]["name"],
                )
                assert spec["tls"] == [{"hosts": hosts, "secretName": "earwitness-public"}]
            (grpc,) = [each for each in rendered.named("Service", service)["spec"]["ports"] if each["name"] == "grpc"]
            assert port in (grpc["port"], grpc["name"])
            assert (grpc.get("appProtocol") == "kubernetes.io/h2c") is not secured
            assert service == name
            names.setdefault(name, []).extend(hosts)
            (policy,) = [each for each in rendered.of("NetworkPolicy") if each["metadata"]["name"] == service]
            (callers,) = [rule["from"] for rule in policy["spec"]["ingress"] if rule["ports"][0]["port"] == "grpc"]
            wanted = {"kubernetes.io/metadata.name": namespace}
            assert {"namespaceSelector": {"matchLabels": wanted}} in callers
    assert names == {
        "earwitness-explainer": ["explainer.example.org"] * 2,
        "earwitness-scorer": ["scorer.example.org", "*.scores.example.org", "scorer.example.org"],
    }
    assert not chart.variant("default").of("GRPCRoute", "Ingress")


def test_only_plain_ports_say_that_they_are(chart: Chart) -> None:
    for variant, plain in (("default", {"explainer", "scorer", "triton"}), ("tls", {"triton"}), ("mtls", set())):
        services = chart.variant(variant).of("Service")
        said = {
            each["metadata"]["labels"]["app.kubernetes.io/component"]
            for each in services
            for port in each["spec"]["ports"]
            if "appProtocol" in port
        }
        assert said == plain, variant


def test_scalers_and_budgets_leave_room(rendered: Rendered) -> None:
    for scaler in rendered.of("HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        workload = rendered.named(target["kind"], target["name"])
        assert "replicas" not in workload["spec"], "helm and the scaler would fight over it"
        pods = Pods(workload, workload["spec"]["template"])
        if scaler["kind"] == "HorizontalPodAutoscaler":  # which goes by the request
            assert pods.containers[0]["resources"]["requests"]["cpu"]
        else:
            (trigger,) = scaler["spec"]["triggers"]
            assert trigger["metadata"]["ignoreNullValues"] == "false"
            assert f'service="{target["name"]}"' in trigger["metadata"]["query"]
    for budget in rendered.of("PodDisruptionBudget"):
        assert budget["spec"]["maxUnavailable"] == 1
        assert "minAvailable" not in budget["spec"]


def test_no_secret_is_in_the_open(rendered: Rendered) -> None:
    """Secrets come from outside: the chart makes none, and what it writes names none."""
    assert not rendered.of("Secret")
    for config in rendered.of("ConfigMap"):
        assert not re.search(r"password|token|BEGIN .*KEY|postgresql\+", yaml.safe_dump(config["data"]), re.IGNORECASE)
    for pods in rendered.pods():
        for name, value in pods.environment.items():
            if "DATABASE_URL" in name:
                assert value["secretKeyRef"].keys() == {"name", "key"}
        assert not any("://" in text and "@" in text for text in strings(pods.spec))


def test_policies_cover_every_server_in_both_directions(chart: Chart) -> None:
    for variant in set(VARIANTS) - {"minimal"}:
        rendered = chart.variant(variant)
        covered = []
        for policy in rendered.of("NetworkPolicy"):
            assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
            covered += [each.component for each in rendered.selected_by(policy["spec"]["podSelector"]["matchLabels"])]
        assert sorted(covered) == sorted(pods.component for pods in rendered.servers())
    assert not chart.variant("minimal").of("NetworkPolicy")


def egress(rendered: Rendered, component: str) -> list[tuple[int, str | None]]:
    """Ports that a component may reach, with the component there; None: anywhere."""
    (policy,) = [
        each
        for each in rendered.of("NetworkPolicy")
        if each["metadata"]["labels"]["app.kubernetes.io/component"] == component
    ]
    found = []
    for rule in policy["spec"]["egress"]:
        peers = [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in rule.get("to", [])]
        found += [(port["port"], peer) for port in rule["ports"] for peer in (peers or [None]) if port["port"] != 53]
    return found


@pytest.mark.parametrize(
    ("variant", "component", "reaches"),
    [
        ("default", "explainer", [(8001, "triton"), (50052, "scorer")]),
        ("default", "scorer", []),
        ("default", "triton", []),
        ("postgresql", "scorer", [(6432, None)]),
        ("s3", "triton", [(9000, None)]),
        ("external-triton", "explainer", [(8001, None)]),
        ("pvc", "explainer", [(50052, "scorer")]),
        ("extras", "scorer", [(4317, None)]),
        ("tracing", "explainer", [(8001, "triton"), (50052, "scorer"), (4318, None)]),
        ("tracing", "scorer", [(4318, None)]),
        ("tracing", "triton", [(4318, None)]),
    ],
)
def test_pods_reach_whom_they_must(
    chart: Chart, variant: str, component: str, reaches: list[tuple[int, str | None]]
) -> None:
    assert egress(chart.variant(variant), component) == reaches


def test_sqlite_has_a_volume_and_postgresql_is_migrated_first(chart: Chart) -> None:
    for service in ("explainer", "scorer"):
        kept = chart.variant("default").named("StatefulSet", f"{RELEASE}-{service}")
        assert kept["spec"]["replicas"] == 1
        assert kept["spec"]["serviceName"] == f"{RELEASE}-{service}"
        assert len(kept["spec"]["volumeClaimTemplates"]) == 1
        shared = chart.variant("postgresql")
        assert shared.named("Deployment", f"{RELEASE}-{service}")["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 1
        job = shared.named("Job", f"{RELEASE}-{service}-migrate")
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["args"] == ["migrate"]
    assert not chart.variant("default").of("Job")
    assert not chart.variant("minimal").objects[0]["spec"].get("volumeClaimTemplates")


def test_models_come_from_where_they_are_said_to(chart: Chart) -> None:
    def triton(variant: str) -> Pods:
        (found,) = [each for each in chart.variant(variant).servers() if each.component == "triton"]
        return found

    def repository(variant: str) -> str:
        return triton(variant).spec["containers"][0]["args"][0].removeprefix("--model-repository=")

    assert [each["name"] for each in triton("default").spec["initContainers"]] == ["models"]
    assert repository("default") == "/models"
    assert repository("s3") == values_of("s3")["models"]["s3"]["url"]
    assert triton("s3").spec["containers"][0]["envFrom"] == [{"secretRef": {"name": "earwitness-s3"}}]
    (volume,) = [each for each in triton("image-volume").spec["volumes"] if each["name"] == "models"]
    assert volume["image"]["reference"] == "registry.example.org/audio/earwitness/models:0.1.0"
    assert "initContainers" not in triton("baked").spec
    for variant in ("minimal", "pvc"):
        (explainer,) = [each for each in chart.variant(variant).servers() if each.component == "explainer"]
        assert explainer.environment["EARWITNESS_EXPLAINER_BACKEND"] == "local"
        assert explainer.environment["EARWITNESS_EXPLAINER_MODEL_REPOSITORY"] == "/models"
        mounts = explainer.spec["containers"][0]["volumeMounts"]
        assert any(mount["mountPath"] == "/models" for mount in mounts)


def test_a_gpu_is_asked_for_and_waited_for(chart: Chart) -> None:
    triton = chart.variant("gpu").named("Deployment", f"{RELEASE}-triton")
    pod = triton["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["runtimeClassName"] == "nvidia"
    assert triton["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    for variant in ("default", "s3"):
        on_cpu = chart.variant(variant).named("Deployment", f"{RELEASE}-triton")
        assert "nvidia.com/gpu" not in str(on_cpu)


def test_without_operators_their_objects_are_left_out(chart: Chart) -> None:
    plain = objects(chart.render("--values", values_file("monitoring"), operators=()))
    assert not plain.of("ServiceMonitor", "PrometheusRule")
    assert len(plain.of("ConfigMap")) == 1


def test_rules_and_dashboards_are_those_of_deploy(chart: Chart) -> None:
    rendered = chart.variant("monitoring")
    shipped = rendered.named("PrometheusRule", f"{RELEASE}-rules")["spec"]
    runbook = values_of("monitoring")["monitoring"]["rules"]["runbookUrl"]
    written = (ROOT / "deploy/prometheus/rules.yaml").read_text().replace("deploy/README.md", runbook)
    assert shipped == yaml.safe_load(written)
    dashboards = {path.name: path.read_text() for path in (ROOT / "deploy/grafana").rglob("*.json")}
    assert dashboards
    assert rendered.named("ConfigMap", f"{RELEASE}-dashboards")["data"] == dashboards


def test_versions_agree() -> None:
    chart = yaml.safe_load((FOLDER / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
