"""How settings become runs, rows and blocks."""

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.explainer.sweep.layout import Layout, check_layout
from earwitness.explainer.sweep.values import SweepLimits, check_plan
from earwitness.explainer.ways import aim, resolve
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Settings, Target
from earwitness.vocabulary.sweep import Grid, SweepObjective, SweepPlan
from tests.unit.explainer.analytic import OUT_0, bundle

PAPER = Grid((0.1, 0.01, 0.001), (0.1, 0.01, 0.001), (100, 500, 1000))
LEAST = Objective("hidden", 1, "minimise")
LIMITS = SweepLimits(
    max_steps=10_000, max_draws=100_000, max_settings=1000, max_explanations=50_000, max_row_steps=20_000_000
)


def request(plan=PAPER, *objectives: Objective, seeds: int = 50, first: int = 0) -> SweepPlan:
    return SweepPlan("analytic", tuple(map(SweepObjective, objectives or (OUT_0,))), plan, seeds, first)


def test_the_papers_sweep_is_450_000_row_steps() -> None:
    layout = Layout(request(), 128)
    check_plan(layout.plan, LIMITS)
    check_layout(layout, LIMITS)
    assert len(layout.runs) == 9
    assert layout.row_count == 450
    assert layout.row_step_count == 450_000
    assert [len(block) for block in layout.blocks] == [112, 113, 112, 113]


def test_only_adams_prefixes_share_a_run() -> None:
    grid = Grid((0.1,), (0.01,), (100, 50), ("adam", "sgd"))
    layout = Layout(request(grid, OUT_0, LEAST, seeds=2), 128)
    assert [(run.objective, run.settings.optimiser, run.stops, run.results) for run in layout.runs] == [
        (0, "sgd", (50,), (3,)),
        (1, "sgd", (50,), (7,)),
        (0, "adam", (50, 100), (1, 0)),
        (0, "sgd", (100,), (2,)),
        (1, "adam", (50, 100), (5, 4)),
        (1, "sgd", (100,), (6,)),
    ]


def test_settings_one_by_one_share_runs_too() -> None:
    settings = (Settings(steps=7), Settings(prior_weight=0.0, weight_decay=0.1, steps=5), Settings(steps=9))
    layout = Layout(request(settings, seeds=3), 128)
    assert [run.results for run in layout.runs] == [(1,), (0, 2)]
    assert layout.row_step_count == 3 * (5 + 9)


@pytest.mark.parametrize("block_rows", [1, 4, 7, 1000])
def test_every_result_finds_its_rows(block_rows: int) -> None:
    grid = Grid((0.1, 0.2), (0.01,), (4, 8, 2), ("sgd", "adam"))
    layout = Layout(request(grid, OUT_0, LEAST, seeds=5, first=11), block_rows)
    assert sum(map(len, layout.blocks)) == layout.row_count
    assert max(map(len, layout.blocks)) <= block_rows
    plans = [layout.plan_block(block, bundle()) for block in range(len(layout.blocks))]
    stops = [[(row, step) for row, each in enumerate(plan.rows) for step in each.stops] for plan in plans]
    taken = set()
    for number, places in enumerate(layout.places):
        objective, setting = divmod(number, grid.size)
        wanted = resolve(grid.settings()[setting])
        assert len(places) == 5
        for seed, place in enumerate(places):
            row = plans[place.block].rows[place.row]
            assert stops[place.block][place.stop] == (place.row, wanted.steps)
            assert row.seed == 11 + seed
            assert row.objective == (OUT_0, LEAST)[objective]
            path = (row.settings.optimiser, row.settings.learning_rate, row.settings.prior_weight)
            assert path == (wanted.optimiser, wanted.learning_rate, wanted.prior_weight)
            taken.add((place.block, place.stop))
    assert len(taken) == layout.plan.result_count * 5 == sum(map(len, stops))


def test_a_result_alone_is_a_plan() -> None:
    layout = Layout(request(PAPER, OUT_0, LEAST, seeds=4, first=2), 128)
    plan = layout.plan_result(27 + 5, [3, 0], bundle())
    assert [row.seed for row in plan.rows] == [5, 2]
    assert {row.settings for row in plan.rows} == {resolve(Settings("adam", 0.1, 0.01, 1000))}
    np.testing.assert_array_equal(plan.unit_weights[0], [0, -1, 0, 0, 0])


def test_too_much_work_is_refused() -> None:
    layout = Layout(request(PAPER, OUT_0, LEAST, seeds=925), 128)
    check_plan(layout.plan, LIMITS)
    limits = SweepLimits(10_000, 100_000, 1000, 50_000, 16_000_000)
    with pytest.raises(InvalidArgument, match=r"18 runs × 925 seeds take 16650000 row-steps; .* at most 16000000"):
        check_layout(layout, limits)


def test_objectives_are_those_of_the_model() -> None:
    wrong = Objective("out", None, "maximise", {0: 1.0, 9: 1.0})
    with pytest.raises(InvalidArgument, match=r"sweep.objectives\[1\].objective.direction.units\[1\]"):
        Layout(request(PAPER, OUT_0, wrong), 128).check_objectives(bundle())


def test_a_unit_is_compared_alone_unless_told() -> None:
    assert SweepObjective(OUT_0).unit == 0
    assert SweepObjective(OUT_0, whole_layer=True).unit is None
    assert SweepObjective(Objective("out", None, "maximise", {1: 2.0})).unit is None


def test_a_reference_needs_two_seeds() -> None:
    one = SweepPlan("analytic", (SweepObjective(OUT_0, "references/r"),), PAPER, 1)
    with pytest.raises(InvalidArgument, match=r"sweep.seed_count: got 1; it must be at least 2"):
        check_plan(one, LIMITS)


FEW, MANY = (Settings("draws", 0.0, 0.0, 0, draws=draws) for draws in (300, 2000))


@pytest.mark.parametrize("settings", [(FEW, Settings(steps=7), MANY), (MANY, FEW)])
def test_settings_that_draw_share_one_pool_after_the_blocks(settings) -> None:
    layout = Layout(request(settings, OUT_0, LEAST, seeds=5, first=11), 3)
    climbing = 10 if len(settings) == 3 else 0
    assert layout.row_count == climbing == sum(map(len, layout.blocks))
    assert (layout.pool_block, layout.block_count) == (len(layout.blocks), len(layout.blocks) + 1)
    assert layout.row_step_count == 7 * climbing + 2000
    assert len(layout.drawn) == len(layout.wanted) == 4
    for result, wanted in zip(layout.drawn, layout.wanted, strict=True):
        objective, setting = divmod(result, len(settings))
        assert (wanted.objective, wanted.draws) == ((OUT_0, LEAST)[objective], settings[setting].draws)
        assert wanted.row_count == 5
    assert layout.moving == ([0, 1] if climbing else [])
    plan = layout.plan_result(layout.drawn[0], [2, 0], bundle(), drawn=[70, 60, 50, 40, 30])
    assert [row.seed for row in plan.rows] == [50, 70]


def test_targets_in_quantiles_are_of_what_was_kept() -> None:
    target = Target(0.2, 0.8, quantile=True)
    settings = (Settings(steps=7, target=target), Settings(steps=7, target=Target(1.5, 2.5)), Settings(steps=7))
    real = np.arange(101, dtype=np.float32)
    layout = Layout(request(settings, seeds=4, first=2), 128, {0: real})
    targets = [each.target for each in layout.settings]
    aims = {row.settings.target: [] for row in layout.plan_block(0, bundle()).rows}
    for row in layout.plan_block(0, bundle()).rows:
        aims[row.settings.target].append(row.target)
    np.testing.assert_allclose(aims[targets[0]], [100 * aim(target, seed) for seed in range(2, 6)], rtol=1e-5)
    assert aims[targets[1]] == [aim(targets[1], seed) for seed in range(2, 6)]
    assert aims[None] == [None] * 4
