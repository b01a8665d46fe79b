"""Sweeps of settings that draw: one pool for all of their results, with checkpoints and resumed."""

from pathlib import Path

import grpc
import numpy as np
import pytest

from earwitness.explainer.v1 import explainer_pb2 as pb
from tests.helpers.tiny_bundle import TinyBundle, write_tiny_bundle
from tests.integration.explainer.running import FC3_0, Running, failure, running, search, seeds
from tests.integration.explainer.sweeping import LEAST_1, Sweeping, array, sweep

FEW = pb.Settings(optimiser=pb.OPTIMISER_DRAWS, draws=300)
MANY = pb.Settings(optimiser=pb.OPTIMISER_DRAWS, draws=2000)
ASCENT = pb.Settings(steps=10)


def mixed(*settings: pb.Settings, **changes) -> pb.Sweep:
    return sweep(FC3_0, LEAST_1, grid=None, settings_list=pb.SettingsList(settings=settings), **changes)


async def test_results_are_those_of_explain(explainer: Running) -> None:
    sweeping = Sweeping.of(explainer.channel)
    sweep_id = await sweeping.create(mixed(FEW, ASCENT, MANY))
    operation = await sweeping.wait(sweep_id)
    assert not operation.HasField("error")
    found = await sweeping.get(sweep_id)
    assert [each.done for each in found.results] == [True] * 6
    assert found.row_step_count == 2 * 6 * 10 + 2000, "a draw counts as a step, and is drawn once"
    for number, (objective, settings) in enumerate((o, s) for o in (FC3_0, LEAST_1) for s in (FEW, ASCENT, MANY)):
        asked = pb.Search(model="models/tiny", objective=objective, settings=settings, rows=seeds(6, first=3))
        explained = (await explainer.explain(asked, pb.ARTEFACT_TRAJECTORY)).explanations
        result = found.results[number]
        assert list(result.activations) == [each.activation for each in explained]
        again = await sweeping.explanations(sweep_id, number, pb.ARTEFACT_TRAJECTORY)
        assert [each.seed for each in again] == [each.seed for each in explained]
        assert [each.latent for each in again] == [each.latent for each in explained]
        assert [each.trajectory for each in again] == [each.trajectory for each in explained]
        if settings is ASCENT:
            assert not result.seeds
        else:
            assert list(result.seeds) == [each.seed for each in explained]
    some = await sweeping.explanations(sweep_id, 2, rows=[4, 1])
    assert [each.seed for each in some] == [found.results[2].seeds[4], found.results[2].seeds[1]]
    assert [each.row_index for each in some] == [4, 1]


async def test_a_pool_goes_on_in_the_next_process_and_finds_the_same(tiny: TinyBundle, tmp_path: Path) -> None:
    asked = mixed(FEW, pb.Settings(optimiser=pb.OPTIMISER_DRAWS, draws=30_000))
    settings = {"data_dir": tmp_path, "sweep_checkpoint_s": 0.01, "sweep_heartbeat_s": 0.05, "sweep_rows": 16}
    async with running(tiny, **settings) as first:
        sweeping = Sweeping.of(first.channel)
        sweep_id = await sweeping.create(asked)
        part = await sweeping.until(sweep_id, 1000)
        assert part.row_step_count == 30_000
    async with running(tiny, **settings) as second:
        sweeping = Sweeping.of(second.channel)
        await sweeping.wait(sweep_id)
        drawn = second.server.registry.get_sample_value("explainer_draws_total", {"model": "tiny"})
        assert 0 < drawn < 30_000, "it went on from a checkpoint"
        found = await sweeping.get(sweep_id)
        whole = await sweeping.create(asked)
        await sweeping.wait(whole)
        anew = await sweeping.get(whole)
        assert list(found.results) == list(anew.results)


async def test_a_cancelled_pool_is_resumed(tiny: TinyBundle) -> None:
    asked = mixed(pb.Settings(optimiser=pb.OPTIMISER_DRAWS, draws=50_000), ASCENT)
    async with running(tiny, sweep_checkpoint_s=0.01, sweep_heartbeat_s=0.05, sweep_rows=16) as explainer:
        sweeping = Sweeping.of(explainer.channel)
        sweep_id = await sweeping.create(asked)
        await sweeping.until(sweep_id, 1000)
        await sweeping.cancel(sweep_id)
        await sweeping.wait(sweep_id)
        left = await sweeping.get(sweep_id)
        assert left.state == pb.SWEEP_STATE_CANCELLED
        assert not left.results[0].done
        resumed = await sweeping.resume(sweep_id)
        await sweeping.wait(resumed)
        found = await sweeping.get(resumed)
        assert all(each.done for each in found.results)
        settings = pb.Settings(optimiser=pb.OPTIMISER_DRAWS, draws=50_000)
        asked_once = pb.Search(model="models/tiny", objective=FC3_0, settings=settings, rows=seeds(6, first=3))
        explained = (await explainer.explain(asked_once)).explanations
        assert list(found.results[0].seeds) == [each.seed for each in explained]


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        (mixed(pb.Settings(optimiser=pb.OPTIMISER_DRAWS, draws=5)), "sweep.settings_list.settings[0].draws", "6 rows"),
        (mixed(FEW, first_seed=2**63 - 200), "sweep.settings_list.settings[0].draws", "from first_seed"),
        (mixed(ASCENT, keep_count=3), "sweep.keep_count", "no objective has a reference"),
        (mixed(ASCENT, keep_count=7), "sweep.keep_count", "2 to 6"),
        (mixed(ASCENT, keep_count=1), "sweep.keep_count", "2 to 6"),
        (
            mixed(pb.Settings(steps=3, target=pb.Target(quantile=pb.Range(low=0, high=1)))),
            "sweep.objectives[0].reference",
            "in quantiles",
        ),
    ],
)
async def test_what_cannot_be_swept_is_refused_by_field(
    explainer: Running, asked: pb.Sweep, field: str, said: str
) -> None:
    refused = await failure(Sweeping.of(explainer.channel).create(asked))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = refused.violations
    assert (violation.field, said in violation.description) == (field, True), violation.description


async def test_a_bundle_without_a_search_graph_is_swept(tmp_path: Path) -> None:
    tiny = write_tiny_bundle(tmp_path / "models", gradient=False)
    async with running(tiny) as explainer:
        sweeping = Sweeping.of(explainer.channel)
        sweep_id = await sweeping.create(mixed(FEW))
        operation = await sweeping.wait(sweep_id)
        assert not operation.HasField("error")
        result = (await sweeping.get(sweep_id)).results[0]
        assert array(result.latents).shape == (6, tiny.metadata.latent_size)
        assert np.diff(result.activations).max() <= 0
        refused = await failure(sweeping.create(mixed(FEW, ASCENT)))
        assert refused.violations[0].field == "sweep.settings_list.settings[1].optimiser"
        refused = await failure(sweeping.create(sweep()))
        assert refused.violations[0].field == "sweep.grid.optimisers"
        refused = await failure(explainer.explain(search()))
        assert refused.violations[0].field == "search.settings.steps"
