"""Sweeps over all ways that move: each result is that of its setting alone, whatever happens to the server."""

from pathlib import Path

import numpy as np
import pytest

from earwitness.explainer.v1 import explainer_pb2 as pb
from tests.helpers.tiny_bundle import TinyBundle
from tests.integration.explainer.running import FC3_0, MODEL, running, seeds
from tests.integration.explainer.sweeping import DIRECTION, LEAST_1, Sweeping, array, sweep
from tests.integration.explainer.test_sweep_process import assert_as_undisturbed, process

ADAM, SGD, NORMALISED, WALK = pb.OPTIMISER_ADAM, pb.OPTIMISER_SGD, pb.OPTIMISER_NORMALISED, pb.OPTIMISER_WALK
NEAR = pb.Target(activation=pb.Range(low=-0.5, high=0.5))
WAYS = [
    pb.Settings(optimiser=ADAM, learning_rate=0.02, prior_weight=0, steps=40, target=NEAR),
    pb.Settings(optimiser=NORMALISED, learning_rate=0.05, steps=30, target=NEAR, start_draws=6),
    pb.Settings(optimiser=NORMALISED, learning_rate=0.05, steps=8, target=NEAR, start_draws=6),
    pb.Settings(optimiser=WALK, steps=60, target=NEAR),
    pb.Settings(optimiser=WALK, steps=20, target=NEAR),
    pb.Settings(optimiser=WALK, steps=25, start_draws=3),
    pb.Settings(optimiser=SGD, learning_rate=0.1, steps=12, start_draws=2),
]


@pytest.mark.parametrize("sweep_rows", [5, 128])
async def test_each_result_is_that_of_its_setting_alone(tiny: TinyBundle, sweep_rows: int) -> None:
    async with running(tiny, sweep_rows=sweep_rows) as started:
        sweeping = Sweeping.of(started.channel)
        asked = sweep(FC3_0, LEAST_1, DIRECTION, grid=None, settings_list=pb.SettingsList(settings=WAYS))
        sweep_id = await sweeping.create(asked)
        assert (await sweeping.wait(sweep_id)).HasField("response")
        found = await sweeping.get(sweep_id)
        assert all(result.done for result in found.results)
        # At most: five runs for seven settings, as steps alone are a shorter run of the same.
        assert found.row_step_count <= 3 * 6 * (40 + 30 + 60 + 25 + 12)
        for index, result in enumerate(found.results):
            objective = found.objectives[result.objective_index].objective
            alone = await started.explain(
                pb.Search(model=MODEL, objective=objective, settings=result.settings, rows=seeds(6, 3))
            )
            assert [each.best_step for each in alone.explanations] == list(result.best_steps)
            np.testing.assert_allclose(
                array(result.latents), np.stack([array(each.latent) for each in alone.explanations]), atol=2e-4
            )
            stored = await sweeping.explanations(sweep_id, index, pb.ARTEFACT_TRAJECTORY)
            for mine, theirs in zip(stored, alone.explanations, strict=True):
                assert (mine.reached_target, mine.target) == (theirs.reached_target, theirs.target)
                assert len(mine.trajectory.activations) >= mine.best_step + 1


LONG = [
    pb.Settings(optimiser=WALK, steps=3000, start_draws=5),
    pb.Settings(optimiser=WALK, steps=20),
    pb.Settings(optimiser=NORMALISED, learning_rate=0.001, steps=2500, start_draws=4),
    pb.Settings(
        optimiser=NORMALISED, learning_rate=0.001, steps=2500,
        target=pb.Target(activation=pb.Range(low=1e3, high=1e3)),
    ),
]  # fmt: skip
MESSAGE = sweep(grid=None, settings_list=pb.SettingsList(settings=LONG), seed_count=3)
STEPS = 3 * (3000 + 20 + 2500 + 2500)


async def test_killed_and_started_again_it_is_as_undisturbed(tiny: TinyBundle, tmp_path: Path) -> None:
    async with running(tiny, sweep_rows=4) as started:
        sweeping = Sweeping.of(started.channel)
        sweep_id = await sweeping.create(MESSAGE)
        await sweeping.wait(sweep_id)
        undisturbed = await sweeping.get(sweep_id)
        paths = await sweeping.explanations(sweep_id, 0, pb.ARTEFACT_TRAJECTORY)
    sweep_id = ""
    for part in (0.2, 0.6):
        async with process(tiny, data_dir=tmp_path) as (started, sweeping):
            sweep_id = sweep_id or await sweeping.create(MESSAGE)
            seen = await sweeping.until(sweep_id, int(part * STEPS))
            assert seen.row_steps_done < STEPS
            await started.kill()
    async with process(tiny, data_dir=tmp_path) as (started, sweeping):
        assert (await sweeping.wait(sweep_id)).HasField("response")
        found = await sweeping.get(sweep_id)
        again = await sweeping.explanations(sweep_id, 0, pb.ARTEFACT_TRAJECTORY)
    assert found.row_step_count == undisturbed.row_step_count == STEPS
    assert_as_undisturbed(found, undisturbed)
    for mine, theirs in zip(again, paths, strict=True):
        assert mine.trajectory == theirs.trajectory
