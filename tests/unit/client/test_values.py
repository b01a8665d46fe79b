"""Values refuse what cannot be, and say objectives in words."""

import pytest

from earwitness.client.values import Objective, Search, Selection
from earwitness.errors import InvalidArgument
from tests.unit.client.runs import MODEL


def test_objective_in_words() -> None:
    assert str(Objective("fc9", 0)) == "maximise fc9[0]"
    assert str(Objective("fc8", direction={1: 0.5, 2: -1.0}, sense="minimise")) == "minimise fc8[+0.5·1 -1·2]"


@pytest.mark.parametrize(("unit", "direction"), [(None, None), (0, {0: 1.0})])
def test_objective_has_one_target(unit: int | None, direction: dict[int, float] | None) -> None:
    with pytest.raises(InvalidArgument, match="exactly one"):
        Objective("fc9", unit, direction=direction)


@pytest.mark.parametrize(
    ("objective", "meaning"),
    [
        (Objective("fc9", 0), "vocal"),
        (Objective("fc9", 0, "minimise"), "non-vocal"),
        (Objective("fc9", 1), None),
        (Objective("fc8", 0), None),
        (Objective("fc9", direction={0: 1.0}), None),
    ],
)
def test_meaning_is_of_labelled_output_units_alone(objective: Objective, meaning: str | None) -> None:
    assert MODEL.meaning(objective) == meaning


def test_unknown_layer_and_unit_name_what_there_is() -> None:
    with pytest.raises(InvalidArgument, match="'fc7'; svd-<r1> has fc8, fc9"):
        MODEL.layer("fc7")
    with pytest.raises(InvalidArgument, match="got 3; layer fc8 has units 0 to 2"):
        MODEL.unit_in("fc8", 3)


def test_rows_count_up_from_the_seed() -> None:
    assert [row.seed for row in Search.of("m", Objective("fc9", 0), row_count=3, seed=7).rows] == [7, 8, 9]


@pytest.mark.parametrize(("kind", "unit", "k"), [("all", 0, 50), ("top", None, None), ("bottom", 0, None)])
def test_selection_has_what_its_kind_needs(kind: str, unit: int | None, k: int | None) -> None:
    with pytest.raises(InvalidArgument, match="selection"):
        Selection(kind, unit, k)  # type: ignore[arg-type]


def test_selection_in_words() -> None:
    assert [str(Selection()), str(Selection("top", 3, 50))] == ["all", "top-50 of unit 3"]
