"""OPTIMISER_DRAWS over gRPC: one pool for all rows that are drawn, beside rows that are searched."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from earwitness.explainer.optimisers import first_latent
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.rpc.tensors import decode
from tests.helpers.tiny_bundle import LATENT, TinyBundle, write_tiny_bundle
from tests.integration.explainer.running import FC3_0, Running, failure, running, search, seeds

LEAST_1 = pb.Objective(layer="fc3", unit=1, sense=pb.SENSE_MINIMISE)
CONV = pb.Objective(layer="conv1", direction=pb.Direction(units=[0, 2], weights=[1.0, -0.5]), sense=pb.SENSE_MAXIMISE)
DRAWS = {"optimiser": pb.OPTIMISER_DRAWS, "steps": None}


def drawn(*rows: pb.Row, draws: int | None = 600, **of: Any) -> pb.Search:
    return search(*rows, draws=draws, **DRAWS, **of)


def expected(tiny: TinyBundle, first: int, draws: int) -> dict[str, np.ndarray]:
    latents = np.stack([first_latent(seed, LATENT) for seed in range(first, first + draws)])
    return tiny.layers(tiny.spectrogram(latents))


async def test_one_pool_serves_all_objectives_and_senses(explainer: Running, tiny: TinyBundle) -> None:
    rows = [pb.Row(seed=20 + index, objective=each) for index, each in enumerate([FC3_0, LEAST_1, CONV] * 4)]
    answer = await explainer.explain(drawn(*rows, objective=None))
    units = expected(tiny, 20, 600)
    values = [units["fc3"][:, 0], -units["fc3"][:, 1], units["conv1"][:, 0] - 0.5 * units["conv1"][:, 2]]
    for index, of in enumerate(values):
        order = np.argsort(-of)[:4]
        found = answer.explanations[index::3]
        assert [each.seed for each in found] == (order + 20).tolist(), "the most extreme first"
        np.testing.assert_allclose(
            [each.activation for each in found], of[order] * (-1 if index == 1 else 1), atol=1e-4
        )
        for each in found:
            assert (decode(each.latent, "latent") == first_latent(each.seed, LATENT)).all()
            assert each.settings == pb.Settings(optimiser=pb.OPTIMISER_DRAWS, draws=600)
    assert [each.row_index for each in answer.explanations] == list(range(12))
    assert (answer.summary.evaluation_count, answer.summary.searched_count) == (600, 12)
    assert answer.summary.stopped_by == pb.STOPPED_BY_COMPLETED
    assert explainer.backend.steps == 0, "no gradient is needed, nor checked"


async def test_draws_beside_rows_that_are_searched(explainer: Running) -> None:
    ascent = pb.Settings(steps=15)
    mixed = [pb.Row(seed=1, settings=ascent), pb.Row(seed=9), pb.Row(seed=2, settings=ascent), pb.Row(seed=8)]
    answer = await explainer.explain(drawn(*mixed, draws=300), pb.ARTEFACT_TRAJECTORY)
    alone = await explainer.explain(search(pb.Row(seed=1), pb.Row(seed=2), steps=15), pb.ARTEFACT_TRAJECTORY)
    pool = await explainer.explain(drawn(pb.Row(seed=8), pb.Row(seed=9), draws=300), pb.ARTEFACT_TRAJECTORY)
    for index, other in enumerate(
        [alone.explanations[0], pool.explanations[0], *alone.explanations[1:], pool.explanations[1]]
    ):
        found = answer.explanations[index]
        found.row_index = other.row_index
        assert found == other
    assert answer.summary.evaluation_count == alone.summary.evaluation_count + 300
    assert [len(each.trajectory.activations) for each in pool.explanations] == [1, 1]


async def test_a_stream_tells_how_many_draws_are_classified(tiny: TinyBundle) -> None:
    async with running(tiny, max_batch=50, progress_interval_s=0.001) as explainer:
        events = await explainer.stream(drawn(*seeds(3), draws=2000))
        progress = [event.progress for event in events if event.HasField("progress")]
        assert progress
        assert all(each.step_count == 2000 and each.step % 50 == 0 for each in progress)
        best = np.array([each.best_activations for each in progress])
        assert (np.diff(best, axis=0) >= 0).all()
        assert (np.diff(best, axis=1) <= 0).all()


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        (drawn(*seeds(5), draws=4), "search.settings.draws", "got 4 for the 5 rows"),
        (drawn(*seeds(5), draws=0), "search.settings.draws", "1 to 100000"),
        (drawn(*seeds(5), draws=100_001), "search.settings.draws", "1 to 100000"),
        (drawn(pb.Row(seed=2**63 - 10), draws=11), "search.rows[0].seed", "the first of 11 draws"),
        (search(*seeds(2), optimiser=pb.OPTIMISER_DRAWS), "search.settings.steps", "take no steps"),
    ],
)
async def test_what_cannot_be_drawn_is_refused_by_field(
    explainer: Running, asked: pb.Search, field: str, said: str
) -> None:
    refused = await explainer.refusal(asked)
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = refused.violations
    assert violation.field == field
    assert said in violation.description


async def test_a_cancelled_call_stops_within_a_batch(tiny: TinyBundle) -> None:
    async with running(tiny, max_batch=8) as explainer:
        call = explainer.stub.StreamExplain(
            pb.StreamExplainRequest(search=drawn(*seeds(2), draws=100_000)), timeout=600
        )
        first = await call.read()
        assert first.progress.step_count == 100_000
        call.cancel()
        metrics = explainer.server.registry
        # Its slot is free only once nothing of it runs.
        await explainer.explain(search())
        async with asyncio.timeout(60):
            while metrics.get_sample_value("explainer_searches_in_flight"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        seen = metrics.get_sample_value("explainer_draws_total", {"model": "tiny"})
        await explainer.explain(search(steps=300))
        assert metrics.get_sample_value("explainer_draws_total", {"model": "tiny"}) == seen < 100_000


async def test_the_best_so_far_come_back_at_the_deadline(tiny: TinyBundle) -> None:
    async with running(tiny, max_batch=8) as explainer:
        answer = await explainer.explain(drawn(*seeds(4), draws=100_000), timeout_s=2.5)
        assert answer.summary.stopped_by == pb.STOPPED_BY_DEADLINE
        count = answer.summary.evaluation_count
        assert 4 <= count < 100_000
        again = await explainer.explain(drawn(*seeds(4), draws=count))
        assert [each.seed for each in again.explanations] == [each.seed for each in answer.explanations]


async def test_a_bundle_without_a_search_graph(tmp_path: Path) -> None:
    tiny = write_tiny_bundle(tmp_path / "models", gradient=False)
    async with running(tiny) as explainer:
        (model,) = (await explainer.stub.ListModels(pb.ListModelsRequest())).models
        assert not model.has_gradient
        default = await explainer.explain(pb.Search(model="models/tiny", objective=FC3_0, rows=seeds(3)))
        assert [each.settings for each in default.explanations] == [
            pb.Settings(optimiser=pb.OPTIMISER_DRAWS, draws=4000)
        ] * 3
        values = expected(tiny, 0, 4000)["fc3"][:, 0]
        assert [each.seed for each in default.explanations] == np.argsort(-values)[:3].tolist()
        for ascent in (pb.OPTIMISER_ADAM, pb.OPTIMISER_SGD, pb.OPTIMISER_NORMALISED):
            refused = await failure(explainer.explain(search(optimiser=ascent)))
            (violation,) = refused.violations
            assert violation.field == "search.settings.optimiser"
            assert "no search graph" in violation.description
            assert "OPTIMISER_WALK or OPTIMISER_DRAWS" in violation.description
