"""Sweeps that could not be ranked when they are over are refused before they begin."""

from dataclasses import replace

import pytest

from earwitness.errors import InvalidArgument
from earwitness.explainer.reference import Reference, Source, Version
from earwitness.explainer.sweep.layout import Layout
from earwitness.explainer.sweep.rankings import How, check_rank_size
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.reference import KeptLayer
from earwitness.vocabulary.score import Criterion
from earwitness.vocabulary.sweep import Grid, SweepObjective, SweepPlan

UNIT = SweepObjective(Objective("fc2", 1, "maximise"), "references/r")
GRID = Grid((0.1, 0.01), (0.0,), (1, 2, 3))
REFERENCE = Reference(
    "references/r",
    Source("tiny", "0" * 64, "fc2"),
    "top",
    1,
    (KeptLayer("conv1", 3), KeptLayer("fc2", 5)),
    Version("references/r/versions/1", 1, 100),
)
UNIT_ALONE = Criterion()
BY_LAYERS = Criterion("distance", ("conv1",))


def check(objective: SweepObjective, seed_count: int, criterion=UNIT_ALONE, keep_count: int = 0) -> None:
    layout = Layout(SweepPlan("tiny", (objective,), GRID, seed_count), 128)
    references = {0: REFERENCE} if objective.reference else {}
    check_rank_size(layout, references, How(criterion, keep_count), "sweep.objectives[{}].reference")


def test_a_whole_layer_takes_more_than_a_unit() -> None:
    most = 15 * 2**20 // (4 * 5 * GRID.size)
    check(UNIT, most + 1)
    whole = replace(UNIT, whole_layer=True)
    check(whole, most)
    check(replace(whole, reference=None), most + 1)
    with pytest.raises(InvalidArgument, match=rf"6 settings × {most + 1} seeds × 5 units .* 15728640") as caught:
        check(whole, most + 1)
    assert caught.value.field == "sweep.objectives[0].reference"


def test_a_criterion_over_layers_takes_all_that_the_reference_keeps_of_the_rows_that_are_kept() -> None:
    most = 15 * 2**20 // (4 * 8 * GRID.size)
    check(UNIT, most, BY_LAYERS)
    with pytest.raises(InvalidArgument, match=rf"6 settings × {most + 1} seeds × 8 units"):
        check(UNIT, most + 1, BY_LAYERS)
    check(UNIT, most + 1, BY_LAYERS, keep_count=most)
    with pytest.raises(InvalidArgument, match=rf"6 settings × {most + 1} rows kept × 8 units"):
        check(UNIT, most + 2, BY_LAYERS, keep_count=most + 1)
