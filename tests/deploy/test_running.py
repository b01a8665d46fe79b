"""What the chart renders runs: environments, probes, secrets, test pod. It exports what rules and scalers ask for."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio
import yaml

from earwitness.explainer.sweep.migration import SCHEMA as EXPLAINER_SCHEMA
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.inference.triton import TritonBackend
from earwitness.inference.triton_install import fetch_tritonserver, library_path
from earwitness.inference.tritonserver import TritonServer, trace_options
from earwitness.rpc.errors import error_from_rpc
from earwitness.scorer.migration import SCHEMA as SCORER_SCHEMA
from earwitness.storage.database import Database
from earwitness.storage.errors import SchemaOutdated
from tests.deploy.chart import ROOT, Chart, Rendered, objects, values_file, values_of
from tests.deploy.running import Machine, Samples, machine, run_test_pod, scrape, start, write_secrets
from tests.helpers.postgresql import PostgresServer
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.explainer.sweeping import Sweeping, sweep
from tests.unit.inference.test_repository import odd_folders

RULES = yaml.safe_load((ROOT / "deploy/prometheus/rules.yaml").read_text())
SYNTHETIC = {"up": {"job", "instance", "namespace"}}
"""Made by Prometheus itself."""
OF_SCRAPE = {"job", "instance", "namespace", "service"}
"""Labels that Prometheus adds."""
WORDS = {
    "sum", "count", "rate", "by", "on", "unless", "histogram_quantile", "min_over_time", "changes", "clamp_min",
}  # fmt: skip


@dataclass(frozen=True)
class Running:
    """The variant `mtls` with the tiny bundle, once its test pod has been run."""

    rendered: Rendered
    here: Machine
    test_status: int
    exported: Samples


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(chart: Chart, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """On a real Triton, which asks for certificates as its pod's does."""
    repository, folder = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("machine")
    write_tiny_bundle(repository)
    write_secrets(folder)
    changes = "tests.model=tiny,explainer.settings.drain_notice_s=0,scorer.settings.drain_notice_s=0"
    rendered = objects(chart.render("--values", values_file("mtls"), "--set", changes))
    secured = [
        argument.replace("/etc/earwitness", str(folder))
        for argument in triton_arguments(rendered)
        if argument.startswith(("--grpc-use-ssl", "--grpc-server-", "--grpc-root-"))
    ]
    assert len(secured) == 4
    shown = credentials(folder, certificate=True)
    async with (
        TritonServer(fetch_tritonserver(), repository, options=secured, credentials=shown) as triton,
        machine(rendered, folder, triton.grpc_url) as here,
    ):
        status = await run_test_pod(rendered, here)
        exported = {**SYNTHETIC, **here.scrape("scorer"), **here.scrape("explainer"), **scrape(triton.metrics_url)}
        yield Running(rendered, here, status, exported)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_migration_jobs_prepare_an_empty_database(chart: Chart, postgresql: PostgresServer) -> None:
    """With what the chart gives them and nothing else."""
    jobs = [each for each in chart.variant("postgresql").pods() if each.owner["kind"] == "Job"]
    schemas = {"explainer-migrate": EXPLAINER_SCHEMA, "scorer-migrate": SCORER_SCHEMA}
    assert {each.component for each in jobs} == schemas.keys()
    for pods in jobs:
        url = postgresql.create_database()
        database = Database(url)
        with pytest.raises(SchemaOutdated):
            schemas[pods.component].require(database)
        service = pods.component.removesuffix("-migrate")
        arguments = pods.spec["containers"][0]["args"]
        job = await start(
            sys.executable, "-m", f"earwitness.{service}", *arguments, env=dict.fromkeys(pods.environment, url)
        )
        assert await job.wait() == 0
        schemas[pods.component].require(database)
        database.close()


def triton_arguments(rendered: Rendered) -> list[str]:
    """Of Triton's container."""
    (pods,) = [each for each in rendered.servers() if each.component == "triton"]
    return list(pods.spec["containers"][0]["args"])


@pytest.mark.parametrize("variant", ["default", "mtls", "tls", "tracing"])
def test_tritons_arguments_are_its_own(chart: Chart, variant: str) -> None:
    """Of the real program; the chart's newer one takes them too."""
    install = fetch_tritonserver()
    loader = {"LD_LIBRARY_PATH": library_path()}
    known = subprocess.run([install.server, "--help"], env=loader, capture_output=True, text=True)
    flags = set(re.findall(r"--[\w-]+", known.stdout + known.stderr))
    arguments = triton_arguments(chart.variant(variant))
    assert len(arguments) > 8
    assert {argument.partition("=")[0] for argument in arguments} <= flags


class AsRendered(TritonServer):
    """A Triton that is given a pod's arguments on models in a folder of this machine, its ports aside."""

    def __init__(self, arguments: Sequence[str], models: Path) -> None:
        super().__init__(fetch_tritonserver(), models)
        self._arguments = [each.replace("=/models", f"={models}") for each in arguments if "-port=" not in each]

    def _command(self, backends: Path) -> list[str]:
        given = {each.partition("=")[0] for each in self._arguments}
        own = [each for each in super()._command(backends) if each.partition("=")[0] not in given]
        return [*own, *self._arguments]


@pytest.mark.asyncio
async def test_the_root_of_a_volume_will_do(chart: Chart, tmp_path: Path) -> None:
    """With what lies there: of ext4 `lost+found`, of others hidden folders, models that are half copied."""
    rendered = objects(chart.render("--set", "models.source=pvc,models.pvc.existingClaim=models"))
    (pods,) = [each for each in rendered.servers() if each.component == "triton"]
    (mount,) = [each for each in pods.spec["containers"][0]["volumeMounts"] if each["name"] == "models"]
    assert mount == {"name": "models", "mountPath": "/models", "readOnly": True}
    bundle = write_tiny_bundle(tmp_path / "models")
    write_tiny_bundle(tmp_path / "models", "cut")
    (tmp_path / "models/cut_search/1/model.onnx").write_bytes(b"")
    odd_folders(tmp_path / "models")
    (tmp_path / "models/lost+found").chmod(0o700)
    (tmp_path / "models/gone").unlink()  # the one thing that Triton itself cannot pass over
    async with AsRendered(triton_arguments(rendered), tmp_path / "models") as triton:
        backend = TritonBackend(triton.grpc_url)
        assert await backend.bundles() == (bundle.metadata,)
        assert (await backend.left_out()).keys() == {"cut"}
        assert await backend.ready()
        await backend.close()


@pytest.mark.parametrize(("source", "strict"), [("init", "true"), ("baked", "true"), ("pvc", "false"), ("s3", "false")])
def test_triton_goes_on_without_a_model_only_where_others_write_too(chart: Chart, source: str, strict: str) -> None:
    """New pods of a broken image are never ready: the former ones go on."""
    given = {"pvc": "models.pvc.existingClaim=models", "s3": "models.s3.url=s3://bucket/models"}.get(
        source, "tests.model=tiny"
    )
    arguments = triton_arguments(objects(chart.render("--set", f"models.source={source},{given}")))
    assert {f"--strict-readiness={strict}", f"--exit-on-error={strict}"} <= set(arguments)


def test_triton_traces_as_on_one_machine(chart: Chart) -> None:
    expected = trace_options(values_of("tracing")["tracing"]["endpoint"])
    assert [each for each in triton_arguments(chart.variant("tracing")) if "trace" in each] == expected


def credentials(folder: Path, *, certificate: bool) -> grpc.ChannelCredentials:
    files = [folder / "tls" / name for name in ("ca.crt", "tls.key", "tls.crt")]
    return grpc.ssl_channel_credentials(*(each.read_bytes() for each in files[: 3 if certificate else 1]))


@pytest.mark.asyncio(loop_scope="module")
async def test_the_test_pod_is_content(running: Running) -> None:
    assert running.test_status == 0
    assert (running.here.folder / "explanation/index.html").is_file()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_explainer_reaches_the_scorer_with_certificate_and_token(running: Running) -> None:
    """Which knows no such reference: that it says so shows that it let the explainer in."""
    message = sweep()
    message.objectives[0].reference = "references/nothing"
    headers = (("authorization", "Bearer one-token"),)
    port = running.here.ports["explainer", "grpc"]
    async with grpc.aio.secure_channel(
        f"127.0.0.1:{port}", credentials(running.here.folder, certificate=True)
    ) as channel:
        request = pb.CreateSweepRequest(request_id="5e9ea4a9-9b8a-4d3f-9b5e-0f6b8a4c8f10", sweep=message)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await Sweeping.of(channel).explainer.CreateSweep(request, metadata=headers)
    failure = error_from_rpc(caught.value)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "references/nothing" in failure.message


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("component", ["explainer", "scorer"])
async def test_strangers_stay_outside(running: Running, component: str) -> None:
    target = f"127.0.0.1:{running.here.ports[component, 'grpc']}"
    for certificate, code in ((True, grpc.StatusCode.UNAUTHENTICATED), (False, grpc.StatusCode.UNAVAILABLE)):
        async with grpc.aio.secure_channel(
            target, credentials(running.here.folder, certificate=certificate)
        ) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/earwitness.explainer.v1.ExplainerService/ListModels")(b"", timeout=60)
            assert caught.value.code() is code


def selectors(expression: str) -> dict[str, set[str]]:
    """The metrics of an expression, each with the labels that it is selected by."""
    plain = re.sub(r"\b(by|on) \([^)]*\)", "", re.sub(r'"[^"]*"', '""', expression))
    found: dict[str, set[str]] = {
        name: set() for name in re.findall(r"(?<![\w:])[A-Za-z_:][\w:]*", re.sub(r"\{[^}]*\}", "", plain))
    }
    for name, labels in re.findall(r"([\w:]+)\{([^}]*)\}", plain):
        found[name] |= set(re.findall(r"(\w+)[!=]", labels))
    return {name: labels for name, labels in found.items() if name not in WORDS}


def test_selectors_are_found() -> None:
    found = selectors('sum by (job, le) (rate(a_total{x="y, z", b!="c"}[5m])) / 1e6 / clamp_min(n:b:rate5m, 1)')
    assert found == {"a_total": {"x", "b"}, "n:b:rate5m": set()}


@pytest.mark.asyncio(loop_scope="module")
async def test_rules_and_scalers_ask_for_what_is_exported(running: Running, chart: Chart) -> None:
    rules = [rule for group in RULES["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    scalers = chart.variant("keda").of("ScaledObject")
    queries = [each["spec"]["triggers"][0]["metadata"]["query"] for each in scalers]
    assert len(queries) == 2
    for expression in (*(rule["expr"] for rule in rules), *queries):
        asked = selectors(expression)
        assert asked
        for name, labels in asked.items():
            if name not in recorded:
                assert name in running.exported, f"nobody exports {name}"
                assert labels - OF_SCRAPE <= running.exported[name], name


def test_every_alert_has_a_section_in_the_runbook() -> None:
    runbook = (ROOT / "deploy/README.md").read_text()
    sections = re.findall(r"^### (Earwitness\w+)$", runbook, re.MULTILINE)
    alerts = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
    assert [alert["alert"] for alert in alerts] == sections
    for alert in alerts:
        assert alert["annotations"]["runbook_url"] == f"deploy/README.md#{alert['alert'].lower()}"
        text = runbook.partition(f"### {alert['alert']}\n")[2].partition("\n#")[0]
        assert all(word in text for word in ("**Means.**", "**Callers see.**", "**Do.**"))
