from itertools import product

import pytest

from earwitness.client.values import Settings
from earwitness.errors import InvalidArgument
from earwitness.evidence.shape import PUBLISHED, Published, Scored, likeness, shape_of

SETTINGS = [
    Settings("adam", rate, prior, steps, 0.0)
    for rate, prior, steps in product((0.1, 0.01, 0.001), (0.1, 0.01, 0.001), (100, 500, 1000))
]
R1 = PUBLISHED[1, "vocal"]


def gentle(settings: Settings) -> float:
    """Best at rate 0.01, λ 0.001 and 100 steps, as published; a thousand times that at the other end."""
    force = (settings.learning_rate or 0) * (settings.steps or 0)
    return 1 + (force if force > 1 else (1 - force)) ** 1.5 + (settings.prior_weight or 0)


def grid(distance: object) -> list[Scored]:
    return [Scored(each, distance(each)) for each in SETTINGS]  # type: ignore[operator]


def test_published_shape_is_recognised() -> None:
    shape = shape_of(grid(gentle), R1)
    assert shape.reproduced
    assert shape.gentle_wins
    assert shape.by_orders
    assert shape.setting_count == 27
    assert shape.correlation is not None
    assert shape.correlation > 0.5
    assert (shape.best.settings.learning_rate, shape.best.settings.prior_weight) in ((0.01, 0.001), (0.001, 0.001))
    assert shape.published_rank in (1, 2)
    assert shape.worst_ratio == pytest.approx(shape.worst.distance / shape.best.distance)
    assert "Gentle settings win" in shape.words()
    assert "worst 944 times that, median 20.1 times" in shape.words()
    assert shape.words().endswith("The published shape is reproduced.")


def test_the_opposite_is_recognised_too() -> None:
    shape = shape_of(grid(lambda each: 1000 / gentle(each)), R1)
    assert not shape.reproduced
    assert not shape.gentle_wins
    assert shape.correlation is not None
    assert shape.correlation < -0.5
    assert shape.published_rank in (26, 27)
    assert "Gentle settings do not win" in shape.words()
    assert shape.words().endswith("is not reproduced.")


def test_gentle_settings_that_win_by_little_are_not_the_published_shape() -> None:
    shape = shape_of(grid(lambda each: 10 + 0.001 * gentle(each)), None)
    assert shape.gentle_wins
    assert not shape.by_orders
    assert not shape.reproduced
    assert "Published for" not in shape.words()


def small(rates: tuple[float, ...], steps: tuple[int, ...], distance: object) -> list[Scored]:
    settings = [Settings("adam", rate, 0.001, count, 0.0) for rate, count in product(rates, steps)]
    return [Scored(each, distance(each)) for each in settings]  # type: ignore[operator]


@pytest.mark.parametrize("distance", [gentle, lambda each: 1000 / gentle(each)])
@pytest.mark.parametrize(
    ("rates", "steps", "published", "why"),
    [
        ((0.1, 0.02), (10, 40), R1, "the published best setting, rate 0.01, λ 0.001, 100 steps, was not swept"),
        (
            (0.1, 0.01, 0.001),
            (10, 100),
            R1,
            "as aggressive as the published grid goes (rate × steps 100; here 10 at most)",
        ),
        (
            (0.1, 0.01, 0.001),
            (10, 40),
            None,
            "as aggressive as the published grid goes (rate × steps 100; here 4 at most)",
        ),
        ((0.1, 1.0, 5.0), (100, 1000), None, "as gentle as those that won (rate × steps 1; here 10 and more)"),
    ],
)
def test_a_small_grid_cannot_tell(
    rates: tuple[float, ...], steps: tuple[int, ...], published: Published | None, why: str, distance: object
) -> None:
    shape = shape_of(small(rates, steps, distance), published)
    assert shape.reproduced is None
    assert why in shape.untold
    assert shape.words().endswith(f"Whether the published shape is reproduced is undecided: {shape.untold}.")
    assert "not reproduced" not in shape.words()


def test_a_grid_with_both_ends_of_the_published_one_tells() -> None:
    grids = [small((0.1, 0.01, 0.001), (100, 1000), each) for each in (gentle, lambda each: 9 / gentle(each))]
    assert [shape_of(each, R1).reproduced for each in grids] == [True, False]
    four = shape_of(small((0.1, 0.01), (100, 1000), gentle), R1)
    assert four.untold.startswith("the settings swept are too few")


def test_distances_that_are_all_zero_are_no_shape() -> None:
    shape = shape_of(grid(lambda _: 0.0), R1)
    assert (shape.worst_ratio, shape.by_orders, shape.reproduced) == (None, False, False)


def test_thirds_take_ties_whole() -> None:
    """Rate × steps is 0.1 to 1 in the gentle third (12 settings) and 10 to 100 in the aggressive one (12)."""
    distances = {
        each: float(index)
        for index, each in enumerate(sorted(SETTINGS, key=lambda s: (s.learning_rate or 0) * (s.steps or 0)))
    }
    shape = shape_of([Scored(*each) for each in distances.items()], None)
    assert (shape.gentle_median, shape.aggressive_median) == (5.5, 20.5)


def test_marginals_are_medians_over_the_other_settings() -> None:
    shape = shape_of(grid(lambda each: each.steps * each.learning_rate), None)
    rate, prior, steps = shape.marginals
    assert [value for value, _ in rate.medians] == [0.001, 0.01, 0.1]
    assert [median for _, median in rate.medians] == pytest.approx([0.5, 5, 50])
    assert len({median for _, median in prior.medians}) == 1
    assert [median for _, median in steps.medians] == pytest.approx([1, 5, 10])
    assert "by steps: 100 → 1.00, 500 → 5.00, 1000 → 10.0" in shape.words()


def test_equally_aggressive_settings_have_no_correlation() -> None:
    scored = [Scored(Settings("adam", 0.01, prior, 100, 0.0), prior) for prior in (0.1, 0.2)]
    shape = shape_of(scored, R1)
    assert shape.correlation is None
    assert not shape.gentle_wins
    assert not shape.worst_is_aggressive
    assert shape.published_rank is None
    assert "that setting was not swept here" in shape.words()
    assert shape.reproduced is None
    assert shape_of([Scored(scored[0].settings, 0.0), scored[1]], None).worst_ratio is None


def test_one_setting_has_no_shape() -> None:
    with pytest.raises(InvalidArgument, match="has 1 scored settings; a shape needs at least two"):
        shape_of(grid(gentle)[:1], None)


def test_neurons_are_compared_with_both_senses() -> None:
    up, down = grid(gentle), grid(lambda each: 1 / gentle(each))
    alike = likeness(("r2 vocal", up), ("r1 maximise", up[::-1]), ("r1 minimise", down))
    assert alike is not None
    assert (alike.to_counterpart, alike.to_other) == pytest.approx((1, -1))
    assert alike.behaves_alike
    assert alike.setting_count == 27
    assert "r2 vocal behaves like r1 maximise" in alike.words()
    unlike = likeness(("r2 vocal", up), ("r1 maximise", down), ("r1 minimise", up))
    assert unlike is not None
    assert not unlike.behaves_alike
    assert "does not behave" in unlike.words()


def test_too_few_common_settings_are_not_compared() -> None:
    up = grid(gentle)
    assert likeness(("a", up[:6]), ("b", up[3:]), ("c", up)) is None
