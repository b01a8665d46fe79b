"""Which ways are tried, which of them is recommended, and how that is stored."""

from dataclasses import replace

import pytest

from earwitness.client.recommending import PUBLISHED, WAYS, Tried, Way, best_of, objective_of, stored, ways_for
from earwitness.client.values import (
    KeptLayer,
    Objective,
    RankedBatch,
    Recommendation,
    Selection,
    Settings,
    Target,
)
from earwitness.errors import InvalidArgument
from earwitness.inference.recommendation import flaw
from tests.unit.client.runs import MODEL, run, score
from tests.unit.client.sweeps import REFERENCE

DEEP = replace(REFERENCE, kept_layers=(KeptLayer("fc8", 3), KeptLayer("fc9", 2)))


def tried(way: Way, place: float, *, leaves: bool = False, evaluations: int = 300) -> Tried:
    result = run(3).result
    result = replace(result, summary=replace(result.summary, evaluation_count=evaluations))
    return Tried(way, result, RankedBatch("0", 1, score(), 0.5, leaves), {}, place)


def test_the_best_stays_in_the_real_range_is_near_in_every_layer_and_cheap() -> None:
    out, far, dear, cheap = (
        tried(WAYS[0], 1.0, leaves=True),
        tried(WAYS[1], 3.0),
        tried(WAYS[2], 2.0),
        tried(WAYS[3], 2.0, evaluations=30),
    )
    assert best_of([out, far, dear, cheap]) is cheap
    assert best_of([out, far, dear]) is dear
    assert best_of([out]) is out


def test_ways_are_those_that_can_be_walked() -> None:
    assert ways_for(MODEL, DEEP) == WAYS
    assert {way.oversampling for way in ways_for(MODEL, REFERENCE)} == {1}
    without = {way.settings.optimiser for way in ways_for(replace(MODEL, has_gradient=False), DEEP)}
    assert without == {"walk", "draws"}


def test_what_is_explained_is_what_the_reference_is_of() -> None:
    assert objective_of(MODEL, REFERENCE, None, None) == Objective("fc9", 0, "maximise")
    bottom = replace(REFERENCE, selection=Selection("bottom", 1, 50))
    assert objective_of(MODEL, bottom, "fc9", 1) == Objective("fc9", 1, "minimise")


@pytest.mark.parametrize(
    ("reference", "layer", "unit", "said"),
    [
        (replace(REFERENCE, selection=Selection()), None, None, "holds all excerpts"),
        (REFERENCE, "fc8", None, "got fc8; top50 is of fc9"),
        (REFERENCE, None, 1, "got 1; top50 holds the top-50 of unit 0"),
        (
            replace(REFERENCE, identity=replace(REFERENCE.identity, weights_sha256="cd" * 32)),
            None,
            None,
            "weights cdcd",
        ),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(reference, layer, unit, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        objective_of(MODEL, reference, layer, unit)


@pytest.mark.parametrize(
    "settings",
    [PUBLISHED.settings, Settings("draws", draws=4000), Settings("walk", 0.3, target=Target(-1.5, 2), start_draws=8)],
)
def test_what_is_stored_is_what_metadata_take(settings: Settings) -> None:
    held = stored(Recommendation(Objective("fc9", 1, "minimise"), settings, 2, "songs", 0.5, 50))
    assert flaw(held, {"fc8": 3, "fc9": 2}) is None
    assert (held.aim, held.oversampling) == (("fc9", 1, "minimise"), 2)
    assert held.settings["optimiser"] == settings.optimiser
    assert ("target" in held.settings) == (settings.target is not None)
