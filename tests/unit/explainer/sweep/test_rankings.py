"""Sweeps that could not be ranked when they are over are refused before they begin."""

from dataclasses import replace
from pathlib import Path

import pytest

from earwitness.errors import InvalidArgument
from earwitness.explainer.objective import Objective, Sense
from earwitness.explainer.sweep.layout import Layout
from earwitness.explainer.sweep.rankings import check_rank_size
from earwitness.explainer.sweep.values import Grid, SweepObjective, SweepRequest
from tests.helpers.tiny_bundle import write_tiny_bundle

UNIT = SweepObjective(Objective("fc2", 1, Sense.MAXIMISE), "references/r")
GRID = Grid((0.1, 0.01), (0.0,), (1, 2, 3))


def test_a_whole_layer_takes_more_than_a_unit(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path).metadata
    (layer,) = (each for each in bundle.layers if each.name == "fc2")
    most = 15 * 2**20 // (4 * layer.unit_count * GRID.size)

    def check(objective: SweepObjective, seed_count: int) -> None:
        check_rank_size(Layout(SweepRequest("tiny", (objective,), GRID, seed_count), 128), bundle)

    check(UNIT, most + 1)
    whole = replace(UNIT, whole_layer=True)
    check(whole, most)
    check(replace(whole, reference=""), most + 1)
    with pytest.raises(InvalidArgument, match=rf"6 settings × {most + 1} seeds × {layer.unit_count} units .* 15728640"):
        check(whole, most + 1)
