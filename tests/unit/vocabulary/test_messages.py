"""Values come back from their messages as they went; what a message cannot mean is refused by its field."""

import pytest

from earwitness.errors import InvalidArgument
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.vocabulary.messages.enums import count, number, word
from earwitness.vocabulary.messages.score import criterion_message, criterion_value, score_message, score_value
from earwitness.vocabulary.messages.search import objective_value, search_message, search_value
from earwitness.vocabulary.messages.sweep import plan_message, plan_value, ranking_message, ranking_value
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.score import Criterion, RankedBatch, Score
from earwitness.vocabulary.search import Nearness, Row, Search, Settings, Target
from earwitness.vocabulary.sweep import PAPER_GRID, Grid, SweepObjective, SweepPlan, SweepRanking

DIRECTION = Objective("fc8", direction={2: 0.5, 0: -1.25}, sense="minimise")
SETTINGS = Settings("normalised", 0.1, 0.0, 7, 0.0, Target(0.1, 0.9, quantile=True), 3)
REFERENCE = "references/voices/versions/2"
SCORE = Score(0.1, 0.2, 0.3, 4, 5, 6, 7, True, 0.8, 0.9, 1.1, 1.2, 0.13)


@pytest.mark.parametrize(
    "search",
    [
        Search("m", ()),
        Search("m", (Row(0),), Objective("fc9", 0)),
        Search(
            "m",
            (Row(1, DIRECTION, SETTINGS, REFERENCE), Row(2, settings=Settings()), Row(2**63 - 1)),
            Objective("fc9", 1, "minimise"),
            Settings("draws", draws=9),
            REFERENCE,
            2,
            Nearness(("fc8", "fc9"), 3, 0.3),
        ),
    ],
)
def test_searches(search: Search) -> None:
    assert search_value(search_message(search), max_rows=3) == search


@pytest.mark.parametrize(
    "plan",
    [
        SweepPlan("m", (SweepObjective(DIRECTION),)),
        SweepPlan("m", (SweepObjective(DIRECTION, REFERENCE, whole_layer=True),), PAPER_GRID, 5, 2**62, 2, Criterion()),
        SweepPlan("m", (), Grid((0.1,), (0.0,), (1, 2), ("sgd", "adam")), 1),
        SweepPlan("m", (), Grid((0.1,), (0.0,), (1, 2), ()), 1),
        SweepPlan("m", (), (Settings(), SETTINGS), 1, criterion=Criterion("nearness", ("fc8",), 4, True)),
    ],
)
def test_plans_of_sweeps(plan: SweepPlan) -> None:
    assert plan_value(plan_message(plan)) == plan


@pytest.mark.parametrize("criterion", [Criterion(), Criterion("distance", ("a", "b")), Criterion("nearness", (), 3)])
@pytest.mark.parametrize("allowed", [True, False])
def test_criteria(criterion: Criterion, allowed: bool) -> None:
    asked = Criterion(criterion.kind, criterion.layers, criterion.neighbour_count, allowed)
    assert criterion_value(criterion_message(asked)) == asked


@pytest.mark.parametrize("criterion", [None, Criterion(), Criterion("distance", ("a",))])
def test_rankings(criterion: Criterion | None) -> None:
    batches = (RankedBatch("3", 1, SCORE, 0.5, True, 0.25, (0, 2)), RankedBatch("12", 2, SCORE, 0.5, False))
    for ranking in (SweepRanking(1, REFERENCE, batches, "", criterion), SweepRanking(0, "", (), "why", criterion)):
        assert ranking_value(ranking_message(ranking)) == ranking
    assert score_value(score_message(SCORE)) == SCORE


@pytest.mark.parametrize(
    ("direction", "field", "says"),
    [
        (pb.Direction(units=[0, 1], weights=[1.0]), "weights", "1 weights for 2 units"),
        (pb.Direction(units=[0], weights=[1.0, 2.0]), "weights", "2 weights for 1 units"),
        (pb.Direction(units=[1, 1], weights=[1.0, 1.0]), "units[1]", "twice"),
    ],
)
def test_directions_that_are_none(direction: pb.Direction, field: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says) as caught:
        objective_value(pb.Objective(layer="out", direction=direction, sense=pb.SENSE_MAXIMISE), "search.objective")
    assert caught.value.field == f"search.objective.direction.{field}"


def test_seeds_that_there_are_not_are_refused_by_their_row() -> None:
    message = pb.Search(model="models/m", rows=[pb.Row(seed=0), pb.Row(seed=-1)])
    with pytest.raises(InvalidArgument, match="got -1") as caught:
        search_value(message, max_rows=2)
    assert caught.value.field == "search.rows[1].seed"


def test_words_of_enums() -> None:
    enum = pb.Sense.DESCRIPTOR
    assert [word(enum, number(enum, each), "sense") for each in ("maximise", "minimise")] == ["maximise", "minimise"]
    assert count(enum) == 2
    for wrong in (0, 9):
        with pytest.raises(InvalidArgument, match="must be one of SENSE_MAXIMISE, SENSE_MINIMISE"):
            word(enum, wrong, "sense")


def test_equal_directions_are_one() -> None:
    same = Objective("fc8", direction={0: -1.25, 2: 0.5}, sense="minimise")
    assert {DIRECTION: 1}[same] == 1
