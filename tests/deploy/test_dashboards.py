"""The dashboards are what the generator writes, and a real Prometheus on real services answers their every query."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from earwitness.bench.prometheus import Prometheus, PrometheusServer
from earwitness.explainer.server import build_server as build_explainer
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.v1 import explainer_pb2_grpc
from earwitness.inference.triton_install import fetch_tritonserver
from earwitness.inference.tritonserver import TritonServer
from earwitness.scorer.server import build_server as build_scorer
from earwitness.scorer.settings import ScorerSettings
from earwitness.scorer.v1 import scorer_pb2, scorer_pb2_grpc
from tests.deploy.chart import ROOT, tool
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.explainer.running import search, seeds
from tests.integration.explainer.sweeping import Sweeping, sweep
from tests.integration.scorer.deep import nearness
from tests.integration.scorer.running import Running, ranking, rows_of, scoring

FOLDER = ROOT / "deploy/grafana"
DASHBOARDS = sorted(FOLDER.glob("*.json"))
QUIET = {"Calls that failed"}
"""Panels that are empty where nothing is wrong."""
PATIENCE_S = 60.0
SCRAPE_S = 0.5


def panels(path: Path) -> list[tuple[str, list[str]]]:
    """Titles of a dashboard's panels, and their queries."""
    found = json.loads(path.read_text())["panels"]
    return [(each["title"], [target["expr"] for target in each["targets"]]) for each in found if each["type"] != "row"]


def test_they_are_what_the_generator_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, FOLDER / "generate.py", tmp_path], check=True)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text() for path in DASHBOARDS}
    assert len(written) == 3


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_grafana_can_tell_panels_and_queries_apart(path: Path) -> None:
    found = json.loads(path.read_text())
    numbers = [each["id"] for each in found["panels"]]
    assert len(set(numbers)) == len(numbers) > 5
    for each in found["panels"]:
        letters = [target["refId"] for target in each.get("targets", [])]
        assert len(set(letters)) == len(letters)
    assert {each["name"] for each in found["templating"]["list"]} == {"datasource", "namespace"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    """Both services and Triton, scraped while searches, a sweep, scores, refusals and freezes go on."""
    folder = tmp_path_factory.mktemp("watched")
    models = folder / "models"
    write_tiny_bundle(models)
    async with TritonServer(fetch_tritonserver(), models) as triton:
        scorer = await build_scorer(ScorerSettings(port=0, metrics_port=0, data_dir=folder))
        settings = ExplainerSettings(port=0, metrics_port=0, triton_url=triton.grpc_url, data_dir=folder)
        explainer = await build_explainer(settings)
        async with scorer, explainer:
            targets = {
                "earwitness-explainer": [f"127.0.0.1:{explainer.metrics_port}"],
                "earwitness-scorer": [f"127.0.0.1:{scorer.metrics_port}"],
                "earwitness-triton": [triton.metrics_url.removeprefix("http://").removesuffix("/metrics")],
            }
            async with PrometheusServer(tool("prometheus"), folder / "watch", targets, scrape_s=SCRAPE_S) as server:
                working = asyncio.create_task(work(explainer.port, scorer.port))
                yield server
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)


async def work(explainer_port: int, scorer_port: int) -> None:
    """A little of everything, again and again: a rate needs two scrapes with something between them."""
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{explainer_port}") as searches,
        grpc.aio.insecure_channel(f"127.0.0.1:{scorer_port}") as scores,
    ):
        stub = explainer_pb2_grpc.ExplainerServiceStub(searches)
        scorer = Running(scorer_pb2_grpc.ScorerServiceStub(scores), scores, CollectorRegistry())
        while True:
            await stub.Explain(pb.ExplainRequest(search=search(*seeds(2))))
            await Sweeping.of(searches).create(sweep())
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.GetModel(pb.GetModelRequest(name="models/nothing"))
            name = f"r{uuid4().hex[:8]}"
            await scorer.frozen_reference(rows_of(50), name)
            place = {"reference": f"references/{name}"}
            await scorer.stub.Score(scoring(rows_of(20, seed=1), **place))
            await scorer.stub.Rank(ranking({"a": rows_of(20, seed=2), "b": rows_of(20, seed=3)}, **place))
            kept = {"selection": scorer_pb2.Selection(top=scorer_pb2.Selection.Extreme(unit=0, k=9))}
            await scorer.frozen_reference(rows_of(50), f"{name}-top", **kept)
            await scorer.stub.MeasureNearness(nearness(rows_of(20), reference=f"references/{name}-top"))
            await asyncio.sleep(0.1)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
async def test_prometheus_answers_every_query(watched: Prometheus, path: Path) -> None:
    give_up = time.monotonic() + PATIENCE_S
    for title, queries in panels(path):
        for query in queries:
            asked = query.replace("$namespace", ".*").replace("$__rate_interval", "10s")
            while not await watched.query(asked):
                if title in QUIET:
                    break
                assert time.monotonic() < give_up, f"{title} stays empty: {asked}"
                await asyncio.sleep(0.5)
