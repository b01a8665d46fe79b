"""Targets in quantiles of what a reference keeps, read from a real scorer."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from earwitness.explainer.plan import Limits, plan_search
from earwitness.explainer.real import RealAudio
from earwitness.explainer.scorer_client import ScorerClient
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.ways import aim
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Row, Search, Settings, Target
from tests.helpers.tiny_bundle import TinyBundle, write_tiny_bundle
from tests.integration.explainer.references import build, selected
from tests.integration.explainer.running import FC3_0, Running, failure, running, search, seeds
from tests.integration.explainer.sweeping import Sweeping, sweep
from tests.integration.scorer import running as scorers

LIMITS = Limits(256, 10_000, 100_000)
TOP = Objective("fc3", 0, "maximise")
MIX = Objective("fc3", None, "maximise", {1: 2.0, 0: -1.0})
WITHIN = Settings("normalised", target=Target(0.25, 0.75, quantile=True))


@pytest.fixture
async def scorer(tmp_path: Path) -> AsyncIterator[scorers.Running]:
    async with scorers.running(tmp_path / "scorer") as started:
        yield started


async def aimed(client: ScorerClient, tiny: TinyBundle, asked: Search):
    real = RealAudio(client)
    plan = plan_search(asked, tiny.metadata, LIMITS)
    return await real.aim(plan, await real.find(asked, plan))


async def test_each_row_has_its_quantile_of_the_kept_rows(scorer: scorers.Running, tiny: TinyBundle) -> None:
    rows = await build(scorer, tiny, "r")
    client = ScorerClient(f"127.0.0.1:{scorer.port}")
    kept = rows[np.argsort(-rows[:, 0], kind="stable")[:60]]
    for objective, real in ((TOP, kept[:, 0]), (MIX, 2 * kept[:, 1] - kept[:, 0])):
        asked = Search("tiny", tuple(Row(seed) for seed in range(9)), objective, WITHIN, reference="references/r")
        plan = await aimed(client, tiny, asked)
        expected = [np.quantile(real, aim(WITHIN.target, seed)) for seed in range(9)]
        np.testing.assert_allclose([row.target for row in plan.rows], expected, rtol=1e-5)
    await client.close()


def reads(scorer: scorers.Running) -> float:
    return sum(
        sample.value
        for metric in scorer.registry.collect()
        for sample in metric.samples
        if sample.name == "grpc_server_handled_total" and sample.labels["grpc_method"] == "ReadStatistics"
    )


async def test_a_version_is_read_once_and_one_made_again_anew(scorer: scorers.Running, tiny: TinyBundle) -> None:
    await build(scorer, tiny, "r")
    client = ScorerClient(f"127.0.0.1:{scorer.port}")
    asked = Search("tiny", (Row(1),), TOP, WITHIN, reference="references/r/versions/1")
    first = await aimed(client, tiny, asked)
    seen = reads(scorer)
    assert (await aimed(client, tiny, asked)).rows == first.rows
    assert reads(scorer) == seen == 1
    await scorer.stub.DeleteReference(scorers.pb.DeleteReferenceRequest(name="references/r"))
    await build(scorer, tiny, "r", selection=selected("top", k=5))
    assert (await aimed(client, tiny, asked)).rows != first.rows
    await client.close()


@pytest.fixture
async def both(tiny: TinyBundle, scorer: scorers.Running) -> AsyncIterator[tuple[Running, scorers.Running]]:
    async with running(tiny, scorer_address=f"127.0.0.1:{scorer.port}") as explainer:
        yield explainer, scorer


def towards(*rows: pb.Row, reference: str = "references/r", **of) -> pb.Search:
    asked = search(*rows, **of)
    asked.settings.optimiser = pb.OPTIMISER_NORMALISED
    asked.settings.target.quantile.high = 1.0
    asked.reference = reference
    return asked


async def test_references_that_do_not_fit_are_refused_before_any_search(
    both: tuple[Running, scorers.Running], tiny: TinyBundle
) -> None:
    explainer, scorer = both
    await build(scorer, tiny, "r")
    await build(scorer, tiny, "all", selection=scorers.pb.Selection(all=scorers.pb.Selection.All()))
    await build(scorer, tiny, "bottom", selection=selected("bottom"))
    await build(scorer, tiny, "other", weights_sha256="ab" * 32)
    await build(scorer, tiny, "dense", layers=("fc2",), layer="fc2")
    for reference, code, field, said in (
        ("nothing", grpc.StatusCode.INVALID_ARGUMENT, "search.reference", "does not exist"),
        ("r/versions/7", grpc.StatusCode.INVALID_ARGUMENT, "search.reference", "has references/r/versions/1"),
        ("all", grpc.StatusCode.FAILED_PRECONDITION, "", "keeps none of them, which a target in quantiles needs"),
        ("bottom", grpc.StatusCode.FAILED_PRECONDITION, "", "name a reference of its top"),
        ("other", grpc.StatusCode.FAILED_PRECONDITION, "", "weights abababababab"),
        ("dense", grpc.StatusCode.FAILED_PRECONDITION, "", "is of fc2"),
    ):
        refused = await explainer.refusal(towards(reference=f"references/{reference}"))
        assert refused.code is code, refused.message
        assert [each.field for each in refused.violations] == ([field] if field else [])
        assert said in refused.message
    assert explainer.backend.steps == 0


async def test_what_needs_no_scorer_to_be_wrong_is_refused_without_one(explainer: Running) -> None:
    two = pb.Search(
        model="models/tiny", objective=FC3_0, settings=pb.Settings(steps=3),
        rows=[pb.Row(seed=0), pb.Row(seed=1, reference="references/b")], reference="references/a",
    )  # fmt: skip
    kept = search(*seeds(3))
    kept.keep_count = 2
    many = search(*seeds(3))
    many.reference, many.keep_count = "references/r", 4
    less = search(*seeds(3))
    less.reference, less.keep_count = "references/r", -1
    for asked, field, said in (
        (towards(reference=""), "search.settings.target.quantile", "give search.reference"),
        (towards(), "search.reference", "scorer_address"),
        (two, "search.rows[1].reference", "have one reference together"),
        (kept, "search.keep_count", "has no reference"),
        (many, "search.keep_count", "got 4 of the 3 rows"),
        (less, "search.keep_count", "got -1"),
    ):
        refused = await explainer.refusal(asked)
        (violation,) = refused.violations
        assert (violation.field, said in violation.description) == (field, True), violation.description
    assert explainer.backend.steps == 0


async def test_rows_stop_at_their_quantiles(both: tuple[Running, scorers.Running], tiny: TinyBundle) -> None:
    explainer, scorer = both
    rows = await build(scorer, tiny, "r", selection=selected("top", k=200))
    kept = np.sort(rows[:, 0])[-200:]
    asked = towards(*seeds(5), steps=400)
    asked.settings.target.quantile.high = 0.5
    answer = await explainer.explain(asked)
    for each in answer.explanations:
        expected = np.quantile(kept, aim(Target(0.0, 0.5, quantile=True), each.seed))
        assert each.target == pytest.approx(expected, rel=1e-5)
        assert each.reached_target
        assert each.settings.target == asked.settings.target, "as asked for: sent back, it is the same search"
    assert answer.summary.missed_count == 0
    default = pb.Search(model="models/tiny", objective=FC3_0, rows=seeds(2), reference="references/r")
    for each in (await explainer.explain(default)).explanations:
        assert (each.settings.optimiser, each.settings.start_draws) == (pb.OPTIMISER_NORMALISED, 8)
        assert each.settings.target.quantile.high == 1
        assert each.HasField("target")


async def test_a_walk_finds_targets_without_a_search_graph(tmp_path: Path) -> None:
    tiny = write_tiny_bundle(tmp_path / "models", gradient=False)
    async with (
        scorers.running(tmp_path / "scorer") as scorer,
        running(tiny, scorer_address=f"127.0.0.1:{scorer.port}") as explainer,
    ):
        await build(scorer, tiny, "r", selection=selected("top", k=200))
        asked = towards(*seeds(3), steps=300)
        asked.settings.optimiser = pb.OPTIMISER_WALK
        asked.settings.target.quantile.high = 0.2
        answer = await explainer.explain(asked)
        assert [each.reached_target for each in answer.explanations] == [True] * 3


async def test_a_sweep_keeps_the_targets_that_it_began_with(
    both: tuple[Running, scorers.Running], tiny: TinyBundle
) -> None:
    explainer, scorer = both
    rows = await build(scorer, tiny, "r")
    kept = np.sort(rows[:, 0])[-60:]
    sweeping = Sweeping.of(explainer.channel)
    target = pb.Target(quantile=pb.Range(low=0, high=1))
    settings = [pb.Settings(optimiser=pb.OPTIMISER_NORMALISED, steps=3000, target=target)]
    objectives = [pb.SweepObjective(objective=FC3_0, reference="references/r")]
    asked = sweep(objectives=objectives, grid=None, settings_list=pb.SettingsList(settings=settings), seed_count=3)
    explainer.backend.step_s = 0.01
    sweep_id = await sweeping.create(asked)
    await sweeping.cancel(sweep_id)
    await sweeping.wait(sweep_id)
    # What is real changes, and then is gone.
    await scorer.append(scorers.parts(rows + 5, reference="references/r", shard_id="more", row_count=len(rows)))
    await scorer.freeze("r")
    await scorer.stub.DeleteReference(scorers.pb.DeleteReferenceRequest(name="references/r"))
    explainer.backend.step_s = 0.0
    resumed = await sweeping.resume(sweep_id)
    await sweeping.wait(resumed)
    found = await sweeping.explanations(resumed, 0)
    assert [each.seed for each in found] == [3, 4, 5]
    for each in found:
        assert each.target == pytest.approx(np.quantile(kept, aim(Target(0, 1, quantile=True), each.seed)), rel=1e-5)
    refused = await failure(sweeping.create(asked))
    assert refused.violations[0].field == "sweep.objectives[0].reference"


async def test_a_sweep_to_quantiles_needs_rows_of_every_objective(
    both: tuple[Running, scorers.Running], tiny: TinyBundle
) -> None:
    explainer, scorer = both
    await build(scorer, tiny, "all", selection=scorers.pb.Selection(all=scorers.pb.Selection.All()))
    settings = [pb.Settings(steps=3, target=pb.Target(quantile=pb.Range(low=0, high=1)))]
    objectives = [pb.SweepObjective(objective=FC3_0, reference="references/all")]
    asked = sweep(objectives=objectives, grid=None, settings_list=pb.SettingsList(settings=settings))
    refused = await failure(Sweeping.of(explainer.channel).create(asked))
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "sweep.objectives[0].reference: references/all is of all excerpts and keeps none" in refused.message
