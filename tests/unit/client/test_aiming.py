"""What a search is given beside what is asked for, and what is refused before it begins."""

from dataclasses import replace

import pytest

from earwitness.client.aiming import aimed
from earwitness.client.values import (
    KeptLayer,
    Nearness,
    Objective,
    Recommendation,
    Reference,
    Row,
    Search,
    Selection,
    Settings,
    Target,
)
from earwitness.errors import InvalidArgument
from earwitness.vocabulary.limits import MAX_SEED
from tests.unit.client.runs import MODEL
from tests.unit.client.sweeps import REFERENCE

OBJECTIVE = Objective("fc9", 0)
DEEP = replace(REFERENCE, kept_layers=(KeptLayer("fc8", 3), KeptLayer("fc9", 2)))
ALL = replace(REFERENCE, name="everything", selection=Selection())
QUANTILES = Settings("normalised", target=Target(0, 1, quantile=True))
WALK = Settings("walk", 0.3, 0.0, 200, 0.0, Target(4, 7))
RECOMMENDING = replace(MODEL, recommendations=(Recommendation(OBJECTIVE, WALK, 3, "songs", 0.5, 50),))
ANYHOW = Nearness()


DEFAULTS = Settings()


def searched(settings: Settings = DEFAULTS, count: int = 4, seed: int = 10) -> Search:
    return Search.of("m", OBJECTIVE, row_count=count, seed=seed, settings=settings)


def test_a_search_without_a_reference_is_as_it_was() -> None:
    for model in (MODEL, RECOMMENDING):
        assert aimed(searched(), model, None, "", None, ANYHOW) == searched()
        assert aimed(searched(), model, ALL, "everything", None, ANYHOW) == searched()


@pytest.mark.parametrize(
    ("model", "settings", "used"),
    [
        (MODEL, Settings(), True),
        (MODEL, QUANTILES, True),
        (MODEL, Settings(steps=5), False),
        (MODEL, Settings("adam"), False),
        (MODEL, Settings("normalised", target=Target(4, 7)), False),
        (RECOMMENDING, Settings(), True),
        (RECOMMENDING, Settings(steps=5), True),
        (RECOMMENDING, Settings("walk"), True),
        (RECOMMENDING, Settings("adam"), False),
        (RECOMMENDING, Settings(target=Target(4, 7)), False),
    ],
)
def test_a_reference_is_named_where_it_changes_what_is_found(model, settings: Settings, used: bool) -> None:
    found = aimed(searched(settings), model, REFERENCE, "top50/versions/2", 1, ANYHOW)
    assert found == replace(searched(settings), reference="top50/versions/2" if used else None)


def test_more_rows_count_on_and_as_many_come_back() -> None:
    nearness = Nearness(("fc8",))
    found = aimed(searched(Settings("adam")), MODEL, DEEP, "references/top50", 3, nearness)
    assert [row.seed for row in found.rows] == list(range(10, 22))
    assert (found.keep_count, found.nearness, found.reference) == (4, nearness, "top50")


def test_the_model_says_how_many_where_there_is_something_to_choose_by() -> None:
    def rows(reference: Reference, settings: Settings = DEFAULTS, count: int = 4) -> int:
        return len(aimed(searched(settings, count), RECOMMENDING, reference, "top50", None, ANYHOW).rows)

    assert rows(DEEP) == 12
    assert rows(REFERENCE) == 4  # its own layer alone says little more than the activation
    assert rows(DEEP, Settings("adam")) == 4
    assert rows(DEEP, count=100) == 200  # no more rows than a search has
    assert rows(DEEP, count=200) == 200


@pytest.mark.parametrize(
    ("reference", "settings", "oversampling", "nearness", "field", "said"),
    [
        (None, Settings(), 2, ANYHOW, "oversample", "needs a reference: nearness is measured to the rows"),
        (ALL, Settings(), 2, ANYHOW, "oversample", "everything holds all excerpts and keeps none of them"),
        (
            None,
            QUANTILES,
            None,
            ANYHOW,
            "settings.target",
            "needs a reference: quantiles are of the rows",
        ),
        (ALL, QUANTILES, None, ANYHOW, "settings.target", "build one with --top or --bottom"),
        (None, Settings(), None, Nearness(("fc8",)), "nearness_layers", "needs a reference"),
        (DEEP, Settings(), None, Nearness(("fc8",)), "nearness_layers", "give --oversample 2 or more"),
        (DEEP, Settings(), 2, Nearness(("conv1", "fc8")), "nearness_layers", "got conv1; top50 keeps fc8, fc9"),
        (REFERENCE, Settings(), 2, Nearness(("fc8",)), "nearness_layers", "got fc8; top50 keeps fc9"),
    ],
)
def test_what_nothing_is_kept_for_is_refused_by_option(
    reference, settings: Settings, oversampling: int | None, nearness: Nearness, field: str, said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said) as caught:
        aimed(searched(settings), MODEL, reference, "x", oversampling, nearness)
    assert caught.value.field == field


def test_seeds_that_there_are_not_are_refused() -> None:
    last = Search("m", (Row(MAX_SEED - 1), Row(MAX_SEED)), OBJECTIVE)
    with pytest.raises(InvalidArgument, match="a seed is 0 to"):
        aimed(last, MODEL, DEEP, "top50", 2, ANYHOW)
